"""Which sentences say the same, by their letters: TF-IDF of runs of three to five letters, cosine, and the nearest two joined first.

It reads spelling, not meaning: a paraphrase in other words is missed, and `should` against `should not` lie close, so whoever merges asks the
votes as well. Source: Manning, Raghavan, Schütze, "Introduction to Information Retrieval" (2008), chapters 6 and 17.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
_SIZES = (3, 4, 5)


def runs(text: str) -> Counter[str]:
    """The runs of three to five letters, words padded with blanks."""
    words = re.findall(r"\w+", text.lower())
    plain = f" {' '.join(words)} " if words else ""
    return Counter(plain[i : i + n] for n in _SIZES for i in range(len(plain) - n + 1))


def alikeness(texts: Sequence[str]) -> Matrix:
    """(N, N): the cosine of every two texts, in [0, 1]; a text without letters is like none."""
    counts = [runs(text) for text in texts]
    spread = Counter(run for found in counts for run in found)
    column = {run: i for i, run in enumerate(sorted(spread))}
    table = np.zeros((len(texts), max(len(column), 1)))
    for row, found in zip(table, counts, strict=True):
        for run, n in found.items():
            row[column[run]] = (1 + np.log(n)) * (np.log((1 + len(texts)) / (1 + spread[run])) + 1)
    length = np.linalg.norm(table, axis=1, keepdims=True)
    table = table / np.where(length > 0, length, 1.0)
    return np.asarray(np.clip(table @ table.T, 0.0, 1.0), dtype=np.float64)


def joined(alike: Matrix, *, least: float) -> list[list[int]]:
    """Indices joined so that every two of a set are alike by `least` or more, most alike first; each index in one set."""
    sets = [[i] for i in range(len(alike))]
    pairs = [(i, j) for i, j in zip(*np.triu_indices(len(alike), 1), strict=True) if alike[i, j] >= least]
    for i, j in sorted(pairs, key=lambda p: -alike[p]):
        one, two = (next(s for s in sets if x in s) for x in (i, j))
        if one is not two and alike[np.ix_(one, two)].min() >= least:
            sets.remove(two)
            one += two
    return [sorted(s) for s in sets]
