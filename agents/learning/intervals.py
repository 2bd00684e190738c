"""Means over seeds with their 95 % intervals (Student's t), and claims about them, as both proofs of learning print them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import stats


def half(values: Sequence[float]) -> float:
    """Half the 95 % interval of the mean; infinite for one value."""
    if len(values) < 2:
        return math.inf
    return float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))


def told(values: Sequence[float], form: str = "{:.1%}") -> str:
    """The mean and its interval, each in this form."""
    mean, by = statistics.fmean(values), half(values)
    return f"{form.format(mean)} ({form.format(mean - by)} .. {form.format(mean + by)})"


def claim(name: str, values: Sequence[float], limit: float, *, at_most: bool = False, form: str = "{:.1%}") -> bool:
    """Print whether the whole interval lies on the claimed side of `limit`, and say so."""
    mean, by = statistics.fmean(values), half(values)
    holds = mean + by <= limit if at_most else mean - by > limit
    side = "at most" if at_most else "more than"
    print(f"    claimed: {name} {side} {form.format(limit)}: {told(values, form)}{'' if holds else '  DOES NOT HOLD'}")
    return holds
