"""Compares the speed of two pieces of work by running them in turn, so that what disturbs one disturbs the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Work = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speedup:
    """How many times faster the second work is than the first: median over the pairs, with a bootstrap interval."""

    ratio: float
    low: float
    high: float
    pairs: tuple[tuple[float, float], ...]
    """Seconds of (first, second) per pair."""
    clock: str
    """`cpu` seconds of this process, or `wall` seconds."""

    @property
    def seconds(self) -> float:
        """Median of the second work."""
        return float(np.median([b for _, b in self.pairs]))


def speedup(
    first: Work, second: Work, *, pairs: int, device: str = "cpu", progress: Callable[[int, int], None] | None = None
) -> Speedup:
    """Time `pairs` interleaved pairs, after one untimed call of each; every other pair runs in reverse order.

    One thread is timed by the CPU seconds of the process, which a busy machine stretches less than the wall clock's.
    """
    clock = "cpu" if torch.get_num_threads() == 1 and device == "cpu" else "wall"
    seconds = []
    _timed(first, clock, device)
    _timed(second, clock, device)
    for i in range(pairs):
        if i % 2:
            b, a = _timed(second, clock, device), _timed(first, clock, device)
        else:
            a, b = _timed(first, clock, device), _timed(second, clock, device)
        seconds.append((a, b))
        if progress:
            progress(i + 1, pairs)
    ratio, low, high = median_ratio(seconds)
    return Speedup(ratio=ratio, low=low, high=high, pairs=tuple(seconds), clock=clock)


def median_ratio(
    pairs: Sequence[tuple[float, float]], *, level: float = 0.95, resamples: int = 2000
) -> tuple[float, float, float]:
    """Median of first / second over the pairs, and the percentile bootstrap interval of that median (fixed random numbers)."""
    ratios = np.array([a / b for a, b in pairs])
    draws = np.random.default_rng(0).integers(0, len(ratios), size=(resamples, len(ratios)))
    medians = np.median(ratios[draws], axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return float(np.median(ratios)), float(low), float(high)


def _timed(work: Work, clock: str, device: str) -> float:
    now = time.process_time if clock == "cpu" else time.perf_counter
    _settle(device)
    began = now()
    work()
    _settle(device)
    return now() - began


def _settle(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
