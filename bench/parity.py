"""Are two implementations one function? Compares the probes that two runs of `parity-v1` took of outputs and gradients."""

from __future__ import annotations

import math

from plan.nouns import Run, Status

BENCHMARK = "parity-v1"
TOLERANCE = 1e-4
"""Largest root-mean-square difference of a probe's numbers over their root mean square; two orders of summation in float32 stay well below."""
NOTHING = 1e-6
"""Of the largest probe: what is smaller counts as zero, where a ratio says nothing."""


def differs(champion: Run, candidate: Run) -> str | None:
    """What parts the two functions, in words; None when nothing does."""
    for run, who in ((champion, "champion"), (candidate, "candidate")):
        if run.status is not Status.OK:
            return f"the {who}'s probes ended {run.status.value}: {run.message}"
    if champion.series.keys() != candidate.series.keys():
        strange = sorted(champion.series.keys() ^ candidate.series.keys())
        return f"only one of them has {', '.join(f'`{name}`' for name in strange[:3])}"
    if not champion.series:
        return "there are no probes to compare"
    found = {name: _apart(champion.series[name], candidate.series[name]) for name in champion.series}
    name, worst = max(found.items(), key=lambda item: math.inf if math.isnan(item[1]) else item[1])
    return None if worst <= TOLERANCE else f"`{name}` differs by {worst:.2g} of its size; {TOLERANCE:g} is allowed"


def _apart(one: tuple[tuple[float, float], ...], two: tuple[tuple[float, float], ...]) -> float:
    if len(one) != len(two):
        return math.inf
    gap = math.fsum((a - b) ** 2 for (_, a), (_, b) in zip(one, two, strict=True))
    size = math.fsum(a**2 for _, a in one)
    return math.sqrt(gap / size) if size > NOTHING**2 else math.sqrt(gap)
