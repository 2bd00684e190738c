"""Which learning rates work: those around the best, without a gap, whose validation accuracy is high enough."""

from __future__ import annotations

from collections.abc import Sequence

WORKS = 0.9
"""Validation accuracy from which on a rate counts as one that works."""


def working(rates: Sequence[float], validation: Sequence[float], best: int) -> tuple[float, float] | None:
    """Smallest and largest of the rising `rates` around `rates[best]` that work, without a gap; None where that one does not."""
    if validation[best] < WORKS:
        return None
    low = high = best
    while low > 0 and validation[low - 1] >= WORKS:
        low -= 1
    while high + 1 < len(rates) and validation[high + 1] >= WORKS:
        high += 1
    return rates[low], rates[high]
