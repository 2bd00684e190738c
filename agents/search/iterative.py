"""Iterative amplitude estimation (Grinko et al. 2021): exact binomial intervals behind ever more rounds of amplification."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import special


def iterative(
    successes: Callable[[int, int], int], *, epsilon: float, error: float, shots: int = 32
) -> tuple[float, float, float]:
    """Value, low and high, at most 2 `epsilon` apart, that miss the amplitude with probability at most `error`.

    `successes(k, shots)` runs the circuit. The published rule gives every number of rounds k one share of the error however often its
    interval is looked at while shots come in; here the l-th look has the share 1 / (l (l + 1)) of it, so that the sum is booked.
    """
    low, high = 0.0, math.pi / 2
    levels = math.ceil(math.log2(math.pi / (4 * epsilon))) + 1
    k, tried, hits, look = 0, 0, 0, 0
    while (math.sin(high) ** 2 - math.sin(low) ** 2) / 2 > epsilon:
        following = _next_rounds(k, low, high)
        if following != k:
            k, tried, hits, look = following, 0, 0, 0
        tried, hits, look = tried + shots, hits + successes(k, shots), look + 1
        p_low, p_high = clopper_pearson(hits, tried, error / (levels * look * (look + 1)))
        scale = 4 * k + 2
        half = math.floor(scale * (low + high) / 2 / math.pi)
        first, last = math.acos(1 - 2 * p_low), math.acos(1 - 2 * p_high)
        if half % 2:
            first, last = math.pi - last, math.pi - first
        low, high = max(low, (half * math.pi + first) / scale), min(high, (half * math.pi + last) / scale)
        if low >= high:  # an interval failed: stay with where the two would meet
            low = high = (low + high) / 2
    below, above = math.sin(low) ** 2, math.sin(high) ** 2
    return (below + above) / 2, below, above


def clopper_pearson(hits: int, tried: int, error: float) -> tuple[float, float]:
    """The exact interval of a success rate, missing it with probability at most `error`."""
    low = float(special.betaincinv(hits, tried - hits + 1, error / 2)) if hits else 0.0
    high = float(special.betaincinv(hits + 1, tried - hits, 1 - error / 2)) if hits < tried else 1.0
    return low, high


def _next_rounds(k: int, low: float, high: float) -> int:
    """The most rounds, at least twice as many, at which the success probability is monotone between `low` and `high`; else k."""
    scale = int(math.pi / (high - low)) if high > low else 4 * k + 2
    scale -= (scale - 2) % 4
    while scale >= 2 * (4 * k + 2):
        if math.floor(scale * low / math.pi) == math.ceil(scale * high / math.pi) - 1:
            return (scale - 2) // 4
        scale -= 4
    return k
