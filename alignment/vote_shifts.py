"""Do the labels of a block of rows belong to rows further up or down? Every shift is tried in windows, against labels that are shuffled.

How well a label fits a row is the share of those who vote most alike that carry it. Of a window, the fit of the labels of every other place is
measured in standard deviations of a random order of these labels (Hoeffding 1951); the best of all windows and shifts has to exceed what the best is
among labels shuffled throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from alignment.polis_export import Labels

NEAR, LEAST = 15, 30
"""Neighbours whose labels are asked; rows that a window must have."""
PARTS = (1, 2, 3, 4, 6, 8)
CLEARLY, SHUFFLES = 3.0, 99
"""Standard deviations that a shift has to fit better than no shift; how often all labels are shuffled for comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Rows `first` to before `last` fit the labels `by` rows further down (further up where negative)."""

    first: int
    last: int
    by: int
    fit: float
    """Standard deviations from labels in random order."""


def shifted(points: NDArray[np.float64], groups: Labels, rng: np.random.Generator) -> Shift | None:
    """The shift that the labels (N,) of `points` (N, 2) show, or None; false in about one of a hundred orders of rows at most."""
    names, labels = np.unique(groups, return_inverse=True)
    carried = (labels[:, None] == np.arange(len(names))).astype(np.float64)
    shares = _shares(points, carried)
    best = _best(shares, carried)
    if best is None:
        return None
    for _ in range(SHUFFLES):
        chance = _best(shares, rng.permutation(carried))
        if chance is not None and chance.fit >= best.fit:
            return None
    return best


def _best(shares: NDArray[np.float64], carried: NDArray[np.float64]) -> Shift | None:
    """The shift that fits best of those that fit clearly better than none; (N, G): the neighbours' labels, and each row's own as 0 and 1."""
    total = np.vstack([np.zeros(carried.shape[1]), carried.cumsum(0)])
    best = None
    for first, last in windows(len(carried)):
        size = last - first
        away = shares[first:last] - shares[first:last].mean(0)
        if size == len(carried):
            fit = np.array([(away * np.roll(carried, -by, axis=0)).sum() for by in range(size)])
            held = np.repeat(carried.mean(0)[None], size, axis=0)
            by = (np.arange(size) + size // 2) % size - size // 2
        else:
            fit = np.sum([np.correlate(carried[:, g], away[:, g], "valid") for g in range(carried.shape[1])], axis=0)
            held = (total[size:] - total[:-size]) / size
            by = np.arange(len(fit)) - first
        spread = away.T @ away / size
        mixed = held @ spread
        variance = size**2 / (size - 1) * ((held * np.diag(spread)).sum(1) - (mixed * held).sum(1))
        fit = np.where(variance > 1e-6, fit / np.sqrt(np.maximum(variance, 1e-6)), 0.0)
        own = fit[by == 0][0]
        at = int(np.where(by == 0, -np.inf, fit).argmax())
        if fit[at] > max(own, 0.0) + CLEARLY and (best is None or fit[at] > best.fit):
            best = Shift(first=first, last=last, by=int(by[at]), fit=float(fit[at]))
    return best


def windows(n: int) -> list[tuple[int, int]]:
    """All rows, then overlapping halves, thirds and so on to eighths, none shorter than `LEAST`."""
    found = []
    for parts in PARTS:
        size = n // parts
        if size >= LEAST:
            found += [(start, start + size) for start in range(0, n - size + 1, max(size // 2, 1))]
    return found


def _shares(points: NDArray[np.float64], carried: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, G): the share of each group among the nearest others."""
    _, near = cKDTree(points).query(points, k=min(NEAR + 1, len(points)))
    mine = near == np.arange(len(points))[:, None]
    mine[~mine.any(1), -1] = True
    return np.asarray(carried[near[~mine].reshape(len(points), -1)].mean(1), dtype=np.float64)
