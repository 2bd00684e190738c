"""Pairs of replies that people compared, and what can be seen of a reply: its words, its form, and how a small encoder reads it.

Reads the harmless pairs of HH-RLHF (Bai et al. 2022, arXiv:2204.05862): each line a `chosen` and a `rejected` dialogue that part in the last turn.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignment.published import DataFault, records
from alignment.reward import Block
from alignment.straight import straight

_TURN = re.compile(r"\n\n(Human|Assistant):(.*?)(?=\n\n(?:Human|Assistant):|\Z)", re.S)
_WORD = re.compile(r"[a-z']+|\d+|[^\sa-z\d]")
PHRASES = (
    "i can't", "i cannot", "i won't", "i'm not sure", "i don't", "sorry", "unfortunately", "not able", "i'm not going", "illegal",
    "against the law", "not a good idea", "dangerous", "harm", "don't think", "wouldn't", "should not", "shouldn't", "please", "why do you",
    "what do you mean", "i'd recommend", "you could", "you can", "try", "here are", "first", "sure", "of course", "i don't know",
    "i don't understand", "feel", "help", "therapist", "police", "professional", "i'm glad", "that's", "really", "wrong", "offensive",
    "hurt", "respect", "people", "would you like", "are you", "is there", "can you tell me",
)  # fmt: skip
STARTS = ("i ", "i'm", "you", "yes", "no", "that", "what", "why", "sorry", "if", "well", "it")
LAYERS = (2, 4)
"""Layers of the encoder that tell a refusal from help better than its last one, which was trained to tell topics apart."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the assistant said, and what it answered."""

    text: str
    asked: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one dialogue, of which a person found the first less harmful."""

    chosen: Reply
    rejected: Reply
    opening: str
    """The first thing the person said: dialogues that share it are never split."""


def read_pairs(path: Path) -> list[Pair]:
    """All pairs of the file, in its order; DataFault where it is not the published one's like."""
    found = [_pair(row, where) for where, row in records(path)]
    if not found:
        raise DataFault(f"{path}: holds no pairs; fetch it anew. nothing was read")
    return found


def _pair(row: Mapping[str, Any], where: str) -> Pair:
    if not all(isinstance(row.get(side), str) and re.match(r"\n\nHuman:", row[side]) for side in ("chosen", "rejected")):
        raise DataFault(
            f"{where}: no dialogues `chosen` and `rejected` that a person opens; fetch the file anew. nothing was read"
        )
    one, two = ([(m[1], m[2].strip()) for m in _TURN.finditer(straight(row[side]))] for side in ("chosen", "rejected"))
    same = next((k for k, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    asked = next((text for who, text in reversed(one[:same]) if who == "Human"), "")
    chosen, rejected = (Reply(" ".join(text for who, text in turns[same:] if who == "Assistant"), asked) for turns in (one, two))
    return Pair(chosen, rejected, " ".join(re.findall(r"\w+", one[0][1].lower())))


@lru_cache(maxsize=20_000)
def words(reply: Reply) -> Mapping[str, float]:
    """Words and pairs of words."""
    found = _WORD.findall(reply.text.lower())
    return Counter([*found, *(f"{a} {b}" for a, b in pairwise(found))])


@lru_cache(maxsize=20_000)
def letters(reply: Reply) -> Mapping[str, float]:
    """Two to five letters in a row within words."""
    found = (f" {word} " for word in reply.text.lower().split())
    return Counter(word[i : i + n] for word in found for n in range(2, 6) for i in range(len(word) - n + 1))


@lru_cache(maxsize=20_000)
def form(reply: Reply) -> Mapping[str, float]:
    """Length, questions, lists, overlap with what was asked, how it begins, and phrases of refusing, asking and helping."""
    low, text = reply.text.lower(), reply.text
    said, asked = _WORD.findall(low), set(_WORD.findall(reply.asked.lower()))
    sentences = [part for part in re.split(r"(?<=[.!?])\s+", low) if part]
    share = len(set(said) & asked)
    found = {
        "long": float(np.log1p(len(text))), "over 60 words": float(len(said) > 60), "under 8 words": float(len(said) < 8),
        "questions": float(min(low.count("?"), 3)), "asks": float("?" in low), "ends asking": float(low.strip().endswith("?")),
        "exclaims": float(low.count("!")), "lines": float(low.count("\n") > 1), "list": float(bool(re.search(r"^\s*\d+[.)]|^[-*•]", text, re.M))),
        "repeats the question": share / (1 + len(asked)), "of the question": share / (1 + len(set(said))),
        "sentences": float(len(sentences)), "words a sentence": len(said) / (1 + len(sentences)), "digits": float(bool(re.search(r"\d", text))),
        "variety": len(set(said)) / (1 + len(said)), "quotes": float('"' in text), "cut off": float(text.strip()[-1:] not in '.!?"'),
        "i": float(said.count("i")), "you": float(said.count("you")), "not": float(said.count("not") + low.count("n't")),
    }  # fmt: skip
    found |= {f"says {phrase}": 1.0 for phrase in PHRASES if phrase in low}
    return found | {f"begins {start}": 1.0 for start in STARTS if low.startswith(start)}


Read = Callable[[Sequence[str]], NDArray[np.float64]]
"""Texts to one matrix: text x (layer, feature)."""


def blocks(read: Read | None = None) -> list[Block[Reply]]:
    """What a reward for replies is made of; with `read`, also how the encoder's middle layers see them."""
    shares = (0.21, 0.21, 0.18) if read else (0.35, 0.35, 0.3)
    found: list[Block[Reply]] = [
        Block("word", words, counts=True, share=shares[0]),
        Block("letters", letters, counts=True, share=shares[1]),
        Block("form", form, share=shares[2]),
    ]
    if read is not None:
        found.append(Block("meaning", vectors=partial(_read, read), share=0.4))
    return found


def _read(read: Read, replies: Sequence[Reply]) -> NDArray[np.float64]:
    return read([reply.text for reply in replies])


def encoder(folder: Path) -> Read:
    """Mean-pooled middle layers of the sentence encoder in `folder` (transformers' files), each text read once."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokens, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    seen: dict[str, NDArray[np.float64]] = {}

    def read(texts: Sequence[str]) -> NDArray[np.float64]:
        new = sorted({text for text in texts if text not in seen}, key=len)
        with torch.inference_mode():
            for start in range(0, len(new), 32):
                part = new[start : start + 32]
                given = tokens(part, padding=True, truncation=True, max_length=96, return_tensors="pt")
                mask = given["attention_mask"][..., None].float()
                layers = net(**given, output_hidden_states=True).hidden_states
                rows = torch.cat([(layers[layer] * mask).sum(1) / mask.sum(1) for layer in LAYERS], dim=1)
                seen.update(zip(part, rows.double().numpy(), strict=True))
        return np.stack([seen[text] for text in texts])

    return read
