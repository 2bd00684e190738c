"""What a decision rests on, and whether what judges it is still what it was."""

from __future__ import annotations

import math
from hashlib import sha256
from pathlib import Path

from alignment.checks import check
from alignment.facts import Facts
from plan.nouns import Run, Status


@check("claims-name-runs")
def claims_name_runs(facts: Facts) -> str:
    """Every decision names runs that the ledger holds of its task, each once, and expects a finite number."""
    known = {run.id for run in _runs(facts)}
    named, expected = facts.decision.evidence, facts.decision.expected
    if not named:
        return "names no run as evidence"
    if strangers := [name for name in named if name not in known]:
        return f"the ledger holds no run {', '.join(map(str, strangers))} of `{facts.decision.action.task}`"
    if len(set(named)) < len(named):
        return "names a run twice, as if it were two"
    if type(expected) not in (int, float) or not math.isfinite(expected):
        return f"expects {expected!r}, which is no finite number"
    return ""


def _runs(facts: Facts) -> tuple[Run, ...]:
    """All measurements of the decision's task, those of trials too."""
    task = facts.decision.action.task
    return (*facts.situation.runs.get(task, ()), *facts.situation.trials.get(task, ()))


@check("numbers-come-from-ok-runs")
def numbers_come_from_ok_runs(facts: Facts) -> str:
    """A run that the decision cites has numbers only if its status is ok, and they are finite floats under the key it was asked by."""
    cited = set(facts.decision.evidence)
    for run in _runs(facts):
        if run.id not in cited:
            continue
        if run.status is not Status.OK and run.metrics:
            return f"run {run.id} ended {run.status.value} and yet has numbers"
        for name, value in run.metrics.items():
            if type(value) not in (int, float) or not math.isfinite(value):
                return f"run {run.id}: `{name}` is {value!r}"
    return ""


@check("seeds-are-counted-from-zero")
def seeds_are_counted_from_zero(facts: Facts) -> str:
    """The runs of a task are of the seeds 0, 1, 2, ... in turn, each once: none was chosen, left out or measured under two names."""
    runs = facts.situation.runs.get(facts.decision.action.task, ())
    seeds = [run.request.seed for run in runs]
    return "" if sorted(seeds) == list(range(len(seeds))) else f"the runs it rests on are of the seeds {seeds}"


@check("data-is-one")
def data_is_one(facts: Facts) -> str:
    """All runs of a task were measured on the same data, told by its digest."""
    digests = {digest for run in facts.situation.runs.get(facts.decision.action.task, ()) if (digest := _data(run))}
    return (
        ""
        if len(digests) < 2
        else f"its runs were measured on {len(digests)} different data: {', '.join(d[:8] for d in sorted(digests))}"
    )


def _data(run: Run) -> str:
    identity = run.facts.get("identity")
    data = identity.get("data") if isinstance(identity, dict) else None
    return str(data.get("digest") or "") if isinstance(data, dict) else ""


@check("plan-is-as-read")
def plan_is_as_read(facts: Facts) -> str:
    """The plan that is judged by is the text whose digest the session recorded, and the file still says the same."""
    plan = facts.situation.plan
    if not plan.source:
        return ""
    if plan.digest != sha256(plan.source.encode("utf-8", "surrogatepass")).hexdigest():
        return "the plan is not the text that its digest is of"
    try:
        there = Path(plan.path).read_bytes()
    except OSError:
        return ""
    if sha256(there).hexdigest() != plan.digest:
        return f"{plan.path} was changed since this session read it; end the session and see `orchestrate plan diff`"
    return ""


@check("judge-is-as-it-was")
def judge_is_as_it_was(facts: Facts) -> str:
    """Every file that measures, judges or decides is the one it was when the session began."""
    before, now = facts.baseline, facts.now() if facts.baseline else {}
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return (
        f"`{changed[0]}` was changed since this session began" + (f", and {len(changed) - 1} more" if changed[1:] else "")
        if changed
        else ""
    )
