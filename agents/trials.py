"""What decisions ask to be measured beside the plan: candidates on the seeds of trials, and duels. A part of where the plan stands.

Both are paid by the budget of their task, which keeps back what the verdict on a new champion will cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agents.budget import DEFAULT_SECONDS, OVERSHOOT, less, trial_grants
from agents.champions import Champion, current, done_by, terms_of
from agents.duels import Duel, agenda, open_duels, starved
from agents.schedule import Job, request_of
from bench.attempts import Attempt, Spending
from bench.fold import Case
from plan.decision import Bout, Candidate
from plan.nouns import Budget, Run, Status

if TYPE_CHECKING:
    from agents.standing import Standing

TRIAL = "trial"
"""Kind of the action that measures candidates on the seeds of trials: its details are `{"candidates": [...], "seeds": [...]}`."""
SEEDS = range(1000, 2000)
PLENTY = 1_000_000


class Trials:
    """What the decisions that stand want measured by now; thrown away and folded again like all of `Standing`."""

    def __init__(self, standing: Standing, *, ahead: int) -> None:
        self.standing, self.ahead = standing, ahead
        self.cases: tuple[Case, ...] = ()
        """Trials, and duels that are or were fought with what is there today."""
        self.duels: tuple[Duel, ...] = ()
        """Under way."""
        self.void: dict[str, str] = {}
        """Decisions whose duel cannot go on, since its code, data, champion or task is not today's any more, and why."""
        self.ended: dict[str, Bout] = {}
        """Decisions whose duel has its answer, which is not in the ledger yet."""
        self.jobs: tuple[Job, ...] = ()

    def recall(self) -> None:
        """See which decisions count today."""
        standing, facts = self.standing, self.standing.facts
        tasks = {id: chief.task for id, chief in standing.reigns.items()}
        self.cases = tuple(
            case
            for case in facts.cases.values()
            if (task := tasks.get(case.decision.action.task)) is not None
            and ((case.decision.action.kind == TRIAL and case.stands) or current(case, task, facts, standing.identifier.identify))
        )

    def refresh(self) -> None:
        """See what is wanted, and what has ended, under what the ledger holds by now."""
        standing, facts = self.standing, self.standing.facts
        identify, found = standing.identifier.identify, facts.latest
        tasks = {task.id: standing.reigns[task.id].task for task in standing.tasks if task.id in standing.reigns}
        duels, fresh = list(open_duels(facts, tasks)), {case.decision.id for case in self.cases}
        self.void, self.ended = dict.fromkeys(self._orphaned(), "its task is not in the plan any more"), {}
        jobs: list[Job] = []
        for duel in duels:
            if duel.id not in fresh:
                self.void[duel.id] = "the code, the data, the plan or the machine is not what it was begun with"
            elif duel.terms.champion != standing.reigns[duel.task].champion.decision:
                self.void[duel.id] = "its champion does not stand any more"
            elif duel.case.decision.action.kind not in tasks[duel.task].improve:
                self.void[duel.id] = "the plan does not allow it any more"
            else:
                bout, wanted = agenda(duel, identify, found, ahead=self.ahead)
                jobs += wanted
                if bout is not None:
                    self.ended[duel.id] = bout
        self.duels = tuple(duel for duel in duels if duel.id not in self.void and duel.id not in self.ended)
        jobs += [job for job in self._trial_jobs() if found(job.key) is None]
        planned = {job.key for job in standing.jobs}
        self.jobs = tuple({job.key: job for job in jobs if job.key not in planned}.values())

    def _orphaned(self) -> Iterator[str]:
        """Duels without an answer that an earlier state of this plan has left."""
        plan, facts = self.standing.plan, self.standing.facts
        planned = {task.id for task in plan.tasks}
        for id, case in facts.cases.items():
            if case.decision.action.task not in planned and case.bout is None and case.stands and terms_of(case) is not None:
                session = facts.sessions.get(case.session)
                if session is not None and Path(session.path).resolve() == Path(plan.path).resolve():
                    yield id

    def grants(self) -> dict[str, float]:
        """Seconds that each of its measurements may use that can be paid now, by run key."""
        granted = {job.key: DEFAULT_SECONDS - OVERSHOOT for job in self.jobs if not _paid(job)}
        for id in {job.payer for job in self.jobs}:
            waiting = [job.key for job in self.jobs if job.payer == id and _paid(job) and not self._open(job.key)]
            reserve, typical = self.standing.now.task(id).seeds.first, self._typical(id)
            granted |= trial_grants(self._budget(id), waiting, runs=self._allowed(id), typical=typical, reserve=reserve)
        return granted

    def starved(self) -> dict[str, Bout]:
        """Duels that go on no more because nothing is left to pay for them; asked when nothing runs."""
        granted, identify, found = self.grants(), self.standing.identifier.identify, self.standing.facts.latest
        planned = {job.key for job in self.standing.jobs}
        return {
            duel.id: starved(duel, identify, found)
            for duel in self.duels
            if not any(job.key in granted for job in self.jobs if job.decision == duel.id)
            and not any(job.key in planned for job in agenda(duel, identify, found, ahead=self.ahead)[1])
        }

    def spent(self, task: str) -> Spending:
        """What trials and duels of the task have cost, as far as its budget pays."""
        total = Spending()
        for attempt in self._attempts(task):
            total += Spending(seconds=attempt.seconds, runs=int(attempt.open or attempt.done))
        return total

    def left(self, task: str) -> int:
        """Measurements that trying may still cost, by the plan's `trials` and by the task's budget."""
        budget, typical = self._budget(task), self._typical(task)
        reserve = self.standing.now.task(task).seeds.first
        allowed = self._allowed(task) if budget.runs is None else min(self._allowed(task), budget.runs - reserve)
        if budget.seconds is not None and typical:
            allowed = min(allowed, int(budget.seconds / (typical + OVERSHOOT)) - reserve)
        return max(0, allowed)

    def lack(self, task: str, needed: int) -> str | None:
        """What keeps trying from costing `needed` measurements, and what the plan would have to say; None where nothing does."""
        if (room := self.left(task)) >= needed:
            return None
        asked, left, typical = self.standing.now.task(task), self._budget(task), self._typical(task)
        all_needed = needed + asked.seeds.first
        more = Budget(
            seconds=max(0.0, all_needed * (typical + OVERSHOOT) - (left.seconds or 0.0)) if typical else 0.0,
            runs=max(0, all_needed - (left.runs or 0)),
        )
        mends = [f"`- **budget**: {words}`"] if (words := _raised(asked.budget, more)) else []
        if asked.trials is not None and self._allowed(task) < needed:
            mends.append(f"`- **trials**: {self.spent(task).runs + needed}`")
        room_for = f"its plan leaves room for {room} of the {needed} measurements that a trial and a duel may take"
        return f"{room_for}; with {' and '.join(mends)} they fit"

    def runs(self) -> dict[str, tuple[Run, ...]]:
        """By task: the results of its trials so far, in submission order."""
        keys: dict[str, list[str]] = {}
        for job in self._trial_jobs():
            keys.setdefault(job.payer, []).append(job.key)
        return {task: self.standing.facts.runs_for(found) for task, found in keys.items()}

    def _trial_jobs(self) -> Iterator[Job]:
        identify = self.standing.identifier.identify
        for case in self.cases:
            action = case.decision.action
            if action.kind != TRIAL:
                continue
            task = self.standing.reigns[action.task].task
            for seed in action.details["seeds"]:
                for details in action.details["candidates"]:
                    request = request_of(done_by(task, Champion(candidate=Candidate.of(details))), seed)
                    yield Job(request=request, identity=identify(request), tasks=(), payer=task.id, decision=case.decision.id)

    def _attempts(self, task: str) -> Iterator[Attempt]:
        ours = {case.decision.id for case in self.cases if case.decision.action.task == task}
        for attempts in self.standing.facts.attempts.values():
            yield from (one for one in attempts if one.decision in ours and one.request.seed >= SEEDS.start)

    def _open(self, key: str) -> bool:
        attempts = self.standing.facts.attempts.get(key)
        return bool(attempts and attempts[-1].open)

    def _allowed(self, task: str) -> int:
        limit = self.standing.now.task(task).trials
        return PLENTY if limit is None else max(0, limit - self.spent(task).runs)

    def _budget(self, task: str) -> Budget:
        """What of the task's budget nobody has spent, or may still use."""
        standing = self.standing
        account = next((one for one in standing.accounts if one.task == task), None)
        budget = standing.now.task(task).budget
        if account is None:
            return less(budget, self.spent(task))
        left = less(budget, standing.facts.spent_for(account.keys) + standing.elsewhere(account))
        running = [one for key in account.keys for one in standing.facts.attempts.get(key, ()) if one.open]
        running += [one for one in self._attempts(task) if one.open]
        return less(left, Spending(seconds=sum(one.limits.seconds + OVERSHOOT for one in running)))

    def _typical(self, task: str) -> float:
        runs = [run.cost.seconds for run in self.standing.runs_by_task().get(task, ()) if run.status is Status.OK]
        return sum(runs) / len(runs) if runs else 0.0


def _raised(budget: Budget, more: Budget) -> str:
    """The limits that have to be raised by `more`, with the others, as a plan says them; empty when none has to be."""
    seconds = None if budget.seconds is None else budget.seconds + (more.seconds or 0.0)
    runs = None if budget.runs is None else budget.runs + (more.runs or 0)
    if (seconds, runs) == (budget.seconds, budget.runs):
        return ""
    parts = [] if seconds is None else [f"{math.ceil(seconds)} s" if seconds < 90 else f"{math.ceil(seconds / 60)} min"]
    parts += [f"{number} {unit}" for number, unit in ((budget.steps, "steps"), (runs, "runs")) if number is not None]
    return ", ".join(parts)


def _paid(job: Job) -> bool:
    """Whether the task's budget pays; a gate, and what is like one, is free."""
    return job.request.seed >= SEEDS.start
