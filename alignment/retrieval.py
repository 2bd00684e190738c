"""Finds the clauses that a sentence is about: nearness to a clause's own words and to sentences that break it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alignment.encoder import Encoder
from alignment.heads import Matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseIndex:
    """Vectors of clauses: each has those of its text and of its examples."""

    ids: tuple[str, ...]
    vectors: Matrix
    owner: Matrix
    """Which clause each row of `vectors` is of, as an index into `ids`."""

    @classmethod
    def of(cls, clauses: Mapping[str, Sequence[str]], encoder: Encoder) -> ClauseIndex:
        """An index of clauses, each with sentences that say what it is about."""
        owner = [index for index, texts in enumerate(clauses.values()) for _ in texts]
        texts = [text for each in clauses.values() for text in each]
        return cls(ids=tuple(clauses), vectors=encoder.encode(texts), owner=np.asarray(owner))

    def nearness(self, steps: Matrix) -> Matrix:
        """(steps, clauses): the best similarity of each step to a sentence of each clause."""
        alike = steps @ self.vectors.T
        return np.stack([alike[:, self.owner == index].max(axis=1) for index in range(len(self.ids))], axis=1)

    def relevant(self, steps: Matrix, *, k: int = 3) -> list[tuple[str, ...]]:
        """The k nearest clauses of each step, nearest first."""
        order = np.argsort(-self.nearness(steps), axis=1, kind="stable")[:, :k]
        return [tuple(self.ids[index] for index in row) for row in order]
