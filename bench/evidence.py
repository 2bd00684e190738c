"""What may be read of the runs before a target is judged: which seeds, compared with what, at which look.

The seeds of a task are 0, 1, 2, ... and are submitted in that order, so the seeds up to the first that is still missing are the results
in submission order. A look is full when all of its first n seeds are there; nothing beyond the last full look is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

import numpy as np
from numpy.typing import NDArray

from bench.statistics import differences, mean
from plan.nouns import Plan, RuleKind, Run, Status, Target, Task

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Why there is nothing to judge: not yet (waiting), or never (failed)."""

    reason: str
    failed: bool = False
    n: int = 0
    values: tuple[float, ...] = ()
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The numbers one target is judged by, one per seed, in seed order."""

    own: Floats
    gaps: Floats
    """`own` minus `bars`; what parts them by rounding alone is zero."""
    bars: Floats
    """The threshold of each seed: for a relative one factor x the other task's value of the same seed (Welch: of its own seeds)."""
    rival: Floats
    """For `p<... vs task`: what `own` is tested against, paired by seed where both have as many; else empty."""
    looks: int
    """Over how many looks the declared error is shared out."""
    runs: tuple[str, ...]

    @property
    def n(self) -> int:
        """Seeds judged."""
        return len(self.own)


class SeedRuns:
    """The runs of one task by seed: the latest of each seed that was not killed."""

    def __init__(self, task: Task, runs: Sequence[Run]) -> None:
        self.task = task
        self.by_seed = {run.request.seed: run for run in runs if run.status is not Status.KILLED}
        self.settled = [self.by_seed[seed] for seed in takewhile(self.by_seed.__contains__, count())]
        self.broken = [run for _, run in sorted(self.by_seed.items()) if run.status is not Status.OK]

    def fault(self, metric: str) -> str | None:
        """What is wrong with these runs: one that failed, or does not have the metric; none when all is well."""
        if self.broken:
            run = self.broken[0]
            many = f"{len(self.broken)} of {len(self.by_seed)} runs failed; " if len(self.broken) > 1 else ""
            message = " ".join(run.message.split())[:160]
            return f"{many}seed {run.request.seed}: {run.status.value}" + (f" ({message})" if message else "")
        for run in self.settled:
            value = run.metrics.get(metric)
            if value is None or not math.isfinite(value):
                found = ", ".join(f"`{name}`" for name in sorted(run.metrics))
                return f"seed {run.request.seed} measured no `{metric}`, only {found}"
        return None

    def progress(self, wanted: int) -> str:
        """How many of the `wanted` seeds are there, and which one holds back the others."""
        gap = f"; seed {len(self.settled)} is still missing" if len(self.by_seed) > len(self.settled) else ""
        return f"{len(self.by_seed)} of {wanted} {'seed' if wanted == 1 else 'seeds'} measured{gap}"

    def values(self, metric: str, n: int) -> Floats:
        """The metric of the first `n` seeds."""
        return np.array([run.metrics[metric] for run in self.settled[:n]], dtype=float)


def gather(target: Target, task: Task, *, plan: Plan, seeds: Mapping[str, SeedRuns]) -> Evidence | Missing:
    """The evidence on `target` at the last full look, or why there is none; ValueError for a `p` rule that names no rival."""
    own, rule, wish = seeds[task.id], target.rule, target.threshold
    versus = rule.versus or wish.task if rule.kind is RuleKind.P_VALUE else None
    if rule.kind is RuleKind.P_VALUE and versus is None:
        raise ValueError(f"`{task.id}::{target.metric}`: the rule `{rule.text}` names no task to compare with")
    others = {id: wish.metric or target.metric if id == wish.task else target.metric for id in (wish.task, versus) if id}
    anytime = rule.kind is RuleKind.ANYTIME
    looks = (1,) if anytime else task.seeds.looks

    def wanted(id: str, look: int) -> int:
        """Seeds of another task that a look reads: as many, for pairs, except that a p rule may do with fewer (Welch)."""
        return min(look, plan.task(id).seeds.most) if rule.kind is RuleKind.P_VALUE else look

    def missing(reason: str, runs: Sequence[Run], *, failed: bool = False) -> Missing:
        measured = (run.metrics.get(target.metric, math.nan) for run in runs)
        values = tuple(value for value in measured if math.isfinite(value))
        return Missing(reason=reason, failed=failed, n=len(runs), values=values, runs=tuple(run.id for run in runs))

    if fault := own.fault(target.metric):
        return missing(fault, list(own.by_seed.values()), failed=True)
    if len(own.settled) < looks[0]:
        return missing(_need(task, seeds) or own.progress(looks[0]), own.settled)
    for id, metric in others.items():
        if fault := seeds[id].fault(metric):
            return missing(f"nothing to compare with: `{id}` {fault}", own.settled)
        if len(seeds[id].settled) < wanted(id, looks[0]):
            return missing(f"waits for `{id}`: {seeds[id].progress(wanted(id, looks[0]))}", own.settled)

    if anytime:
        n = min(len(seeds[id].settled) for id in (task.id, *others))
    else:
        n = max(
            look
            for look in looks
            if len(own.settled) >= look and all(len(seeds[id].settled) >= wanted(id, look) for id in others)
        )
    values = own.values(target.metric, n)
    read = {id: seeds[id].values(metric, wanted(id, n)) for id, metric in others.items()}
    bar = np.full(n, wish.value) if wish.task is None else wish.value * read[wish.task]
    return Evidence(
        own=values,
        gaps=differences(values, bar if len(bar) == n else mean(bar)),
        bars=bar,
        rival=np.empty(0) if versus is None else bar if versus == wish.task else read[versus],
        looks=len(looks),
        runs=tuple(run.id for run in own.settled[:n]),
    )


def gate_fault(task: Task, gates: Mapping[str, Run] | None) -> str | None:
    """Why no number of `task` counts yet: the contract run of its module at its config, by task id in `gates`, is missing or red."""
    if gates is None or not task.gate:
        return None
    run = gates.get(task.id)
    if run is None or run.status is Status.KILLED:
        return f"the gate of `{task.module}` has not run yet"
    if run.status is not Status.OK:
        return (
            f"the gate of `{task.module}` at this task's config is red: {run.status.value} " + " ".join(run.message.split())[:160]
        )
    failures = run.metrics.get("failures", math.nan)
    return None if failures == 0 else f"the gate of `{task.module}` at this task's config is red: {_broken(run)}"


def _broken(run: Run) -> str:
    failures, named = run.metrics.get("failures", math.nan), run.facts.get("failures")
    first = f"; {' '.join(str(named[0]).split())[:160]}" if isinstance(named, (list, tuple)) and named else ""
    return f"1 contract check fails{first}" if failures == 1 else f"{failures:g} contract checks fail{first}"


def _need(task: Task, seeds: Mapping[str, SeedRuns]) -> str | None:
    for need in task.needs:
        if seeds[need].broken:
            run = seeds[need].broken[0]
            return f"needs `{need}`, whose seed {run.request.seed} ended {run.status.value}"
        if len(seeds[need].settled) < seeds[need].task.seeds.first:
            return f"needs `{need}`, which is not measured yet"
    return None
