"""Tags texts safe or unsafe, with the clause that decided and a calibrated probability; abstains where both stay possible.

    labeller = Labeller.fit(texts, unsafe, families, clauses={"c1": "nobody is harmed"})
    label_responses(answers, labeller=labeller)

What it knows comes from the texts it was fitted on; `families` are what is left out together for calibration (a type, a model, a template). The
default encoder reads words only, and says so in `Labeller.encoder`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alignment.encoder import Encoder, Lexical
from alignment.heads import KernelHead, Matrix
from alignment.polis_export import Labels

Tag = Literal["safe", "unsafe", "abstain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a text was found to be."""

    tag: Tag
    unsafe: float
    """The calibrated probability that it is unsafe."""
    clause: str | None
    """The clause nearest to it, which the tag is told with; None where no clause shares a word with it."""
    nearness: float
    """Cosine with that clause, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeller:
    """A calibrated head over sentence vectors, and clauses to cite."""

    encoder: Encoder
    vectors: Matrix
    """(N, D): the texts it was fitted on."""
    head: KernelHead
    clauses: tuple[str, ...]
    sentences: Matrix
    """(C, D)."""
    band: float
    """A tag stays possible where its probability reaches this."""

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        unsafe: Sequence[bool],
        families: Sequence[str],
        *,
        clauses: Mapping[str, str],
        encoder: Encoder | None = None,
        error: float = 0.1,
        ridge: float = 1.0,
    ) -> Labeller:
        """Learn from labelled texts. The band is set so that the truth was left out for `error` of them, judged by heads that had not seen
        their family. ValueError with one family, no clause, one kind of label, or lists that differ in length."""
        if not len(texts) == len(unsafe) == len(families):
            raise ValueError(
                f"{len(texts)} texts, {len(unsafe)} labels, {len(families)} families: give one of each. nothing was learned"
            )
        if not clauses or len(set(unsafe)) < 2:
            raise ValueError("safe and unsafe texts and at least one clause are needed. nothing was learned")
        encoder = encoder or Lexical()
        vectors = encoder.encode(texts)
        labels: Labels = np.asarray(unsafe, dtype=np.int64)
        head = KernelHead.fit(vectors @ vectors.T, labels, families, classes=2, ridge=ridge)
        return cls(
            encoder=encoder,
            vectors=vectors,
            head=head,
            clauses=tuple(clauses),
            sentences=encoder.encode(list(clauses.values())),
            band=head.band(error),
        )

    def label(self, texts: Sequence[str]) -> tuple[Label, ...]:
        """One label a text, in their order."""
        if not texts:
            return ()
        rows = self.encoder.encode(texts)
        near = np.clip(rows @ self.sentences.T, 0.0, 1.0)
        return tuple(
            self._label(float(p), close)
            for p, close in zip(self.head.probabilities(rows @ self.vectors.T)[:, 1], near, strict=True)
        )

    def _label(self, unsafe: float, near: Matrix) -> Label:
        chances: dict[Tag, float] = {"unsafe": unsafe, "safe": 1 - unsafe}
        possible = [tag for tag, chance in chances.items() if chance >= self.band]
        best = int(near.argmax())
        return Label(
            tag="abstain" if len(possible) == 2 else max(chances, key=lambda tag: chances[tag]),
            unsafe=unsafe,
            clause=self.clauses[best] if near[best] > 0 else None,
            nearness=float(near[best]),
        )


def label_responses(responses: Sequence[str], *, labeller: Labeller) -> tuple[Label, ...]:
    """Every response's tag, probability and clause, in their order."""
    return labeller.label(responses)
