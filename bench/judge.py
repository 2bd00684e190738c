"""The judge: from a plan and its runs to one verdict per target. Pure: no clock, no file, no chance.

What is claimed (a = 1 - level of the rule; K = the number of looks the plan registered):

| rule | pass or fail is given | probability that it is wrong |
|---|---|---|
| `every seed`, `mean`, `median`, `iqm` | always, with an interval to look at | none claimed |
| `lower`, `upper` | when a one-sided bound of the mean at error a/K clears the threshold | at most a over all looks; see below |
| `anytime` | when one side of the e-process reached 1/a at some seed | at most a at any stopping time, nothing assumed but 0..1 |
| `p<a vs task` | when the Holm-adjusted p times K is below a | at most a over all p rules of the plan, each direction |

`lower` and `upper` rest on Student's t and hold their level for noise that is not much skewed; by how much they miss it otherwise stands in
`bench/statistics.py` and is measured by `python -m bench.false_verdicts`. Seeds of zeros and ones belong under `anytime`.
Seeds that all give the same number show no variance: their interval is a point and no error is claimed (right for counts and sizes; three
lucky ones of a rate of 0.9 look the same). A run that is not ok is never a number: it fails its targets. A red gate gives no verdict at all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench import draws, eprocess, statistics
from bench.evidence import Evidence, Missing, SeedRuns, gate_fault, gather
from bench.statistics import Compared, Floats, Interval
from plan.nouns import Comparator, Plan, RuleKind, Run, State, Target, Verdict
from plan.units import show

PLAIN: Mapping[RuleKind, Callable[[Floats], float]] = {
    RuleKind.MEAN: statistics.mean,
    RuleKind.MEDIAN: statistics.median,
    RuleKind.IQM: statistics.iqm,
}
DISPLAYED = 0.95
"""Confidence of the two-sided interval shown beside every number."""
ROUNDING = 1e-9
"""How far outside of 0..1 arithmetic may leave a value that belongs there."""


def judge(
    plan: Plan,
    runs: Mapping[str, Sequence[Run]],
    *,
    gates: Mapping[str, Run] | None = None,
    shares: Mapping[str, float] = {},
    tests: Mapping[str, int] = {},
) -> tuple[Verdict, ...]:
    """One verdict per target, in the order of the plan.

    `runs`: by task id, in submission order (of a seed measured twice the later counts). `gates`: by task id, the contract
    run of its module at its config; None when gates are not kept. `shares`: by task id, what part of the error its rules declare may be
    spent on these runs (default: all), where other modules or configs have been judged for the task before. `tests`: by task id, what
    `bench.draws.test_of` says of its runs (default: 1). Raises KeyError for a threshold on a task the plan does not have.
    """
    seeds = {task.id: SeedRuns(task, runs.get(task.id, ())) for task in plan.tasks}
    p_rules = sum(target.rule.kind is RuleKind.P_VALUE for task in plan.tasks for target in task.targets)
    verdicts: list[Verdict] = []
    compared: dict[int, tuple[Evidence, Compared, float]] = {}
    for task in plan.tasks:
        gate = gate_fault(task, gates)
        for target in task.targets:
            evidence = Missing(reason=gate) if gate else gather(target, task, plan=plan, seeds=seeds)
            if isinstance(evidence, Missing):
                verdicts.append(_without_numbers(task.id, target, evidence))
                continue
            shown = _describe(task.id, target, evidence)
            read = sorted({id for id in (task.id, target.threshold.task, target.rule.versus) if id})
            share = math.prod([shares.get(task.id, 1.0), *(draws.share(tests.get(id, 1)) for id in read)])
            if not share and claims_error(target):
                verdicts.append(replace(shown, state=State.UNSURE, reason=_mixed([id for id in read if not tests.get(id, 1)])))
            elif target.rule.kind is RuleKind.P_VALUE and target.comparator is not Comparator.EQ:
                compared[len(verdicts)] = evidence, _compare(evidence, target, p_rules, share), share
                verdicts.append(shown)
            else:
                verdicts.append(_rule(shown, evidence, share))
    return _adjust(verdicts, compared, p_rules)


def claims_error(target: Target) -> bool:
    """Whether the rule of `target` is one whose verdicts state an error."""
    return target.rule.kind is not RuleKind.EVERY_SEED and target.rule.kind not in PLAIN


def tally(verdicts: Iterable[Verdict]) -> dict[State, int]:
    """How many targets are in each state, every state named."""
    counted = Counter(verdict.state for verdict in verdicts)
    return {state: counted[state] for state in State}


def _rule(shown: Verdict, evidence: Evidence, share: float) -> Verdict:
    match shown.target.rule.kind:
        case RuleKind.EVERY_SEED:
            return _every_seed(shown, evidence)
        case kind if kind in PLAIN:
            return _plain(shown, evidence)
        case _ if shown.target.comparator is Comparator.EQ:
            return replace(shown, state=State.UNSURE, reason="no interval can show `=`; say `every seed`, or use >= and <=")
        case RuleKind.ANYTIME:
            return _anytime(shown, evidence, share)
        case _:
            return _bounds(shown, evidence, share)


def _without_numbers(task: str, target: Target, missing: Missing) -> Verdict:
    return Verdict(
        task=task, target=target, state=State.FAIL if missing.failed else State.WAITING, reason=missing.reason, n=missing.n,
        threshold=None if target.threshold.task else target.threshold.value, values=missing.values, runs=missing.runs,
    )  # fmt: skip


def _describe(task: str, target: Target, evidence: Evidence) -> Verdict:
    """The verdict before its rule has spoken: value, interval, threshold, margin."""
    own, statistic = evidence.own, _statistic(target, evidence)
    value, bar, interval = statistic(own), statistic(evidence.bars), statistics.mean_interval(own, confidence=DISPLAYED)
    match target.rule.kind:
        case RuleKind.EVERY_SEED:
            interval = Interval(float(own.min()), float(own.max()), 1.0)
        case RuleKind.MEDIAN:
            interval = statistics.median_interval(own, confidence=DISPLAYED)
        case RuleKind.IQM:
            interval = statistics.iqm_interval(own, confidence=DISPLAYED)
        case RuleKind.ANYTIME if _bounded(own):
            interval = Interval(*eprocess.confidence_bounds(np.clip(own, 0.0, 1.0), error=1 - DISPLAYED), DISPLAYED)
    gap = _gap(target, evidence)
    towards = -abs(gap) if target.comparator is Comparator.EQ else gap * _sign(target)
    return Verdict(
        task=task, target=target, state=State.UNSURE, n=evidence.n, value=value, threshold=bar,
        low=interval.low if interval else None, high=interval.high if interval else None,
        confidence=interval.confidence if interval and target.rule.kind is not RuleKind.EVERY_SEED else None,
        margin=towards / abs(bar) if bar else None, values=tuple(own.tolist()), runs=evidence.runs,
    )  # fmt: skip


def _every_seed(shown: Verdict, evidence: Evidence) -> Verdict:
    missed = [seed for seed, gap in enumerate(evidence.gaps) if not shown.target.comparator.holds(float(gap), 0.0)]
    if not missed:
        return replace(shown, state=State.PASS, reason=f"each of {_seeds(evidence.n)} holds")
    named = ", ".join(map(str, missed[:8])) + (", ..." if len(missed) > 8 else "")
    reason = f"{len(missed)} of {_seeds(evidence.n)} {'misses' if len(missed) == 1 else 'miss'} it: seed {named}"
    return replace(shown, state=State.FAIL, reason=reason)


def _plain(shown: Verdict, evidence: Evidence) -> Verdict:
    kind, gap = shown.target.rule.kind, _gap(shown.target, evidence)
    holds = shown.target.comparator.holds(gap, 0.0)
    word = "holds" if holds else "misses"
    reason = f"the {kind.value} of {_seeds(evidence.n)} {word} by {abs(gap):.3g}; no error rate is claimed"
    if shown.confidence is not None and shown.confidence < DISPLAYED:
        reason += f"; smallest to largest covers the median with {100 * shown.confidence:.3g} % only"
    return replace(shown, state=State.PASS if holds else State.FAIL, reason=reason)


def _bounds(shown: Verdict, evidence: Evidence, share: float) -> Verdict:
    target, gaps = shown.target, evidence.gaps
    declared = (1 - (target.rule.level or DISPLAYED)) * share
    error = declared / evidence.looks
    if evidence.n < 2:
        return replace(shown, state=State.UNSURE, reason="one seed shows no variance; a bound needs two")
    low, high = statistics.mean_bounds(gaps, error=error)
    good, bad = (low, high) if target.comparator.wants_more else (high, low)
    holds, may_hold = target.comparator.holds(good, 0.0), target.comparator.holds(bad, 0.0)
    state = State.PASS if holds else State.UNSURE if may_hold else State.FAIL
    wish = target.threshold
    if statistics.is_point(gaps):
        same = "differ by the same" if wish.task else "gave the same number"
        return replace(shown, state=state, reason=f"all {evidence.n} seeds {same}: no variance seen, no error rate claimed")
    what = f"the mean difference to {wish.value:g} x {wish.task}" if wish.task else "the mean"
    shift = 0.0 if wish.task else wish.value
    reason = f"{what} lies within {show(shift + low)} .. {show(shift + high)}, each end at {100 * (1 - error):.4g} % ({_looks(evidence)})"
    if state is not State.UNSURE:
        return replace(shown, state=state, error=declared, reason=reason)
    return _undecided(shown, reason, statistics.seeds_needed(gaps, error=error))


def _anytime(shown: Verdict, evidence: Evidence, share: float) -> Verdict:
    target = shown.target
    declared = (1 - (target.rule.level or DISPLAYED)) * share
    values, tau = evidence.own, target.threshold.value
    suits = _bounded(values)
    if target.threshold.task:
        factor = target.threshold.value
        values, tau = (evidence.gaps + factor) / (1 + factor), factor / (1 + factor)
        suits = suits and factor > 0 and _bounded((evidence.own - evidence.gaps) / factor)
    if not (suits and 0 < tau < 1):
        reason = "`anytime` needs values from 0 to 1 and a threshold strictly between; use `lower` or `upper`"
        return replace(shown, state=State.UNSURE, reason=reason)
    stake = eprocess.process(np.clip(values, 0.0, 1.0), tau)
    good, bad = (stake.above, stake.below) if target.comparator.wants_more else (stake.below, stake.above)
    limit = -math.log(declared)
    crossed = np.flatnonzero(np.maximum(good, bad) >= limit)
    if crossed.size:
        at = int(crossed[0])
        state, won = (State.PASS, good) if good[at] >= limit else (State.FAIL, bad)
        reason = f"the e-process reached 1/{declared:.3g} at seed {at}"
        return replace(shown, state=state, error=declared, e_value=_exp(won[at]), reason=reason)
    total = eprocess.trials_needed(statistics.mean(values), tau, error=declared)
    best = _exp(max(good[-1], bad[-1]))
    unsure = replace(shown, e_value=best)
    return _undecided(unsure, f"the e-process stands at {best:.3g} of {1 / declared:.3g} after {_seeds(evidence.n)}", total)


def _compare(evidence: Evidence, target: Target, p_rules: int, share: float) -> Compared:
    rival = evidence.rival
    level = (target.rule.level or 0.05) * share / (p_rules * evidence.looks)
    if len(rival) == evidence.n >= 2:
        found = statistics.paired(statistics.differences(evidence.own, rival), level=level)
    elif min(len(rival), evidence.n) >= 2 and not (statistics.is_point(evidence.own) and statistics.is_point(rival)):
        found = statistics.welch(evidence.own, rival)
    else:
        found = Compared(1.0, 1.0, "no test")
    above, below = (min(1.0, p * evidence.looks) for p in found[:2])
    return Compared(above, below, found.test) if _sign(target) > 0 else Compared(below, above, found.test)


def _adjust(
    verdicts: list[Verdict], compared: Mapping[int, tuple[Evidence, Compared, float]], p_rules: int
) -> tuple[Verdict, ...]:
    """Holm over all p rules of the plan, in each direction; those that are not measured yet count as p = 1."""
    idle = [1.0] * (p_rules - len(compared))
    better = statistics.holm([found.above for _, found, _ in compared.values()] + idle)
    worse = statistics.holm([found.below for _, found, _ in compared.values()] + idle)
    for (index, (evidence, found, share)), p, opposite in zip(compared.items(), better, worse, strict=False):
        verdicts[index] = _p_value(verdicts[index], evidence, found, p, opposite, p_rules, share)
    return tuple(verdicts)


def _p_value(
    shown: Verdict, evidence: Evidence, found: Compared, p: float, opposite: float, p_rules: int, share: float
) -> Verdict:
    target, rival = shown.target, evidence.rival
    level, versus = (target.rule.level or 0.05) * share, target.rule.versus or target.threshold.task
    shown = replace(shown, p_value=p)
    reason = f"{found.test} against `{versus}`: p = {p:.3g} after Holm over {p_rules} p rules and {_looks(evidence)}"
    gap = _gap(target, evidence)
    claimed = level if versus == target.threshold.task else None
    if claimed is None:
        reason += "; whether the mean clears the threshold is not tested, so no error rate is claimed"
    if versus != target.threshold.task and not target.comparator.holds(gap, 0.0):
        return replace(shown, state=State.FAIL, reason=f"the mean misses the threshold by {abs(gap):.3g}; {reason}")
    if p < level:
        return replace(shown, state=State.PASS, error=claimed, reason=reason)
    if opposite < level:
        return replace(shown, state=State.FAIL, error=claimed, reason=f"{reason}; p = {opposite:.3g} for the opposite")
    if found.test in ("sign test", "no test"):
        return replace(shown, state=State.UNSURE, reason=f"no variance between seeds to test with; use `every seed`; {reason}")
    if len(rival) < evidence.n:
        return replace(shown, state=State.UNSURE, reason=reason)
    total = statistics.seeds_needed(evidence.own - rival, error=level / (p_rules * evidence.looks))
    return _undecided(shown, reason, total)


def _mixed(tasks: Sequence[str]) -> str:
    named = ", ".join(f"`{id}`" for id in tasks)
    return (
        f"a seed of {named} came to no number and was measured anew, which is a second chance that the others did not have: "
        "no error can be claimed; `orchestrate run --retry-failed` measures those anew as well"
    )


def _undecided(shown: Verdict, reason: str, total: int | None) -> Verdict:
    if total is None:
        return replace(shown, state=State.UNSURE, reason=f"{reason}; a difference this small is not decidable at this variance")
    return replace(shown, state=State.UNSURE, more_seeds=max(1, total - shown.n), reason=reason)


def _statistic(target: Target, evidence: Evidence) -> Callable[[Floats], float]:
    """What stands for all seeds on display: the rule's own statistic; under `every seed` the seed that comes off worst."""
    if target.rule.kind is not RuleKind.EVERY_SEED:
        return PLAIN.get(target.rule.kind, statistics.mean)
    gaps = evidence.gaps
    worst = np.argmax(np.abs(gaps)) if target.comparator is Comparator.EQ else np.argmin(gaps * _sign(target))
    return lambda values: float(values[worst])


def _gap(target: Target, evidence: Evidence) -> float:
    """The statistic of the differences, seed by seed, which is what a plain rule judges."""
    scale = max(np.abs(evidence.own).max(), np.abs(evidence.bars).max())
    return float(statistics.unrounded(_statistic(target, evidence)(evidence.gaps), scale))


def _sign(target: Target) -> int:
    return 1 if target.comparator.wants_more else -1


def _bounded(values: Floats) -> bool:
    return bool(values.min() >= -ROUNDING and values.max() <= 1 + ROUNDING)


def _exp(log: float) -> float:
    return math.exp(min(float(log), 700.0))


def _seeds(n: int) -> str:
    return f"{n} seed" if n == 1 else f"{n} seeds"


def _looks(evidence: Evidence) -> str:
    return "1 look" if evidence.looks == 1 else f"{evidence.looks} looks"
