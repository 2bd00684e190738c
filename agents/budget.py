"""Who pays for a run, and how much time its next attempt may have: the budgets of a plan. Pure.

A run that several tasks may come to want is paid by one of them alone, the one that grants a single run the most time; to the others
it is free, as a cached run is. Who pays follows from the plan, never from which task was asked for first.

A time budget is shared out in rounds. First every run is granted the same share. What the finished ones left of theirs is then shared
equally among those that timed out, and so on until nothing worth starting is left. A round begins when the one before it has ended,
so what a run is granted does not depend on the order of the runs either. What has been granted never adds up to more than the budget,
and each attempt uses at least a second of it, so the rounds end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from agents.schedule import Job
from bench.attempts import Attempt, Spending
from plan.nouns import Budget, Status, Task

OVERSHOOT = 1.0
"""Seconds that ending a process tree may take past its limit; kept back so that a budget really holds."""
DEFAULT_SECONDS = 600.0
"""What one attempt may use where no time budget is stated."""
CHECKPOINT_LEFT = "checkpoint_left"
"""Fact of a timed-out run: whether another attempt can go on where it was ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The runs that one budget pays."""

    task: str
    """Id of the task that pays; empty for what is only a gate, which no budget limits."""
    budget: Budget
    keys: tuple[str, ...]
    """Run keys in submission order, as far as the plan wants them by now."""


def accounts(tasks: Iterable[Task], jobs: Sequence[Job], reach: Mapping[str, int]) -> tuple[Account, ...]:
    """The accounts of a whole plan, each of its `jobs` in exactly one. `reach`: seeds that each task may come to want."""
    known = {task.id: task for task in tasks}
    paying = payers(known.values(), jobs, reach)
    paid: dict[str, list[str]] = {}
    gates = []
    for job in jobs:
        if job.tasks:
            paid.setdefault(paying[job.tasks[0]][job.request.seed], []).append(job.key)
        else:
            gates.append(Account(task="", budget=Budget(), keys=(job.key,)))
    return (*gates, *(Account(task=id, budget=known[id].budget, keys=tuple(keys)) for id, keys in paid.items()))


def payers(tasks: Iterable[Task], jobs: Sequence[Job], reach: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """By task: who pays for each seed that it may come to want."""
    known = {task.id: task for task in tasks}
    kin = {id: job.tasks for job in jobs if job.tasks and job.request.seed == 0 for id in job.tasks}

    def payer(id: str, seed: int) -> str:
        able = [known[other] for other in kin[id] if reach[other] > seed]
        return max(able, key=lambda task: _share(task.budget, reach[task.id])).id

    return {id: tuple(payer(id, seed) for seed in range(reach[id])) for id in kin}


def _share(budget: Budget, runs: int) -> float:
    return DEFAULT_SECONDS if budget.seconds is None else budget.seconds / runs


def less(budget: Budget, spent: Spending) -> Budget:
    """What is left of a budget after what was spent elsewhere of it."""
    return replace(
        budget,
        seconds=None if budget.seconds is None else max(0.0, budget.seconds - spent.seconds),
        runs=None if budget.runs is None else max(0, budget.runs - spent.runs),
    )


def trial_grants(left: Budget, waiting: Sequence[str], *, runs: int, typical: float, reserve: int) -> dict[str, float]:
    """Seconds for each of the measurements that a decision asks for, first come first served; `left`: what nobody has spent or may still use.

    `runs`: how many may be started at all. `reserve`: runs of `typical` seconds that must stay payable, for the verdict on whoever wins.
    """
    served = waiting[: max(0, runs if left.runs is None else min(runs, left.runs - reserve))]
    while served:
        share = DEFAULT_SECONDS if left.seconds is None else (left.seconds - reserve * (typical + OVERSHOOT)) / len(served)
        each = min(DEFAULT_SECONDS, share) - OVERSHOOT
        if each >= max(OVERSHOOT, 1.5 * typical):
            return dict.fromkeys(served, each)
        served = served[:-1]
    return {}


class Phase(Enum):
    """Whether a run may still be given time."""

    OPEN = "open"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run as its account sees it."""

    phase: Phase = Phase.OPEN
    spent: float = 0.0
    """Seconds that all attempts at it have cost; one that runs now counts with all it may use."""
    runs: int = 0
    """What it counts in a budget of runs: attempts that run or came to an end, however they ended."""
    longest: float = 0.0
    """The longest limit at which an attempt timed out."""
    resumable: bool = False
    """Whether the next attempt goes on where the last one timed out."""

    def least(self, *, total: bool) -> float:
        """Seconds below which another attempt is not worth starting; `total`: what resumed attempts use adds up to their limit."""
        return OVERSHOOT if not self.longest or (self.resumable and total) else self.longest + OVERSHOOT


def entry(attempts: Sequence[Attempt], *, again: bool = False) -> Entry:
    """What the ledger's attempts at one run amount to. `again`: a failed one is to be measured again."""
    ended = [attempt.run for attempt in attempts if attempt.done]
    late = [attempt for attempt in attempts if attempt.done and attempt.run.status is Status.TIMED_OUT]
    running = bool(attempts) and attempts[-1].open
    stands = bool(attempts) and attempts[-1].done and attempts[-1].run.status is not Status.TIMED_OUT and not again
    return Entry(
        phase=Phase.RUNNING if running else Phase.FINISHED if stands else Phase.OPEN,
        spent=sum(a.seconds + (a.limits.seconds + OVERSHOOT if a.open else 0.0) for a in attempts),
        runs=len(ended) + sum(a.open for a in attempts),
        longest=0.0 if again else max((a.limits.seconds for a in late), default=0.0),
        resumable=bool(late) and bool(late[-1].run.facts.get(CHECKPOINT_LEFT)),
    )


def grants(budget: Budget, entries: Mapping[str, Entry]) -> dict[str, float]:
    """Seconds that the next attempt may use, by run key, for each run of one account that may be started now.

    After one was started they have to be asked for anew: it counts as running then, with all that it may use.
    """
    if budget.runs is not None and sum(one.runs for one in entries.values()) >= budget.runs:
        return {}
    waiting = {key: one for key, one in entries.items() if one.phase is Phase.OPEN}
    if budget.seconds is None:
        seconds = DEFAULT_SECONDS - OVERSHOOT
        return {key: seconds for key, one in waiting.items() if seconds >= one.least(total=False)}
    left, sharing = budget.seconds, dict(entries)
    while waiting:
        most = _level(left, [one.spent for one in sharing.values()])
        found = {
            key: seconds for key, one in waiting.items() if (seconds := most - one.spent - OVERSHOOT) >= one.least(total=True)
        }
        within = left / len(sharing) - OVERSHOOT + 1e-9  # what used more of this round's share had timed out in it
        spare = [key for key, one in sharing.items() if one.phase is Phase.FINISHED and one.spent <= within]
        if found or not spare or any(one.phase is Phase.RUNNING for one in entries.values()):
            return found
        left -= sum(sharing.pop(key).spent for key in spare)
    return {}


def _level(seconds: float, spent: Iterable[float]) -> float:
    """The largest share that all can have, where those that have spent more keep what they spent."""
    rest = sorted(spent)
    while rest and rest[-1] > seconds / len(rest):
        seconds -= rest.pop()
    return seconds / len(rest) if rest else 0.0
