"""Where a plan stands: the ledger folded, the jobs the plan wants by now, the runs that are done, the verdicts.

Nothing here changes the world; all of it could be thrown away and folded again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agents.schedule import Job, gate_of, jobs, seeds_wanted, select
from bench.events import Wanted
from bench.fold import Facts, settled
from bench.identity import Identifier
from bench.judge import judge
from bench.ledger import Ledger
from plan.decision import Situation
from plan.nouns import Plan, Run, State, Status, Verdict


class Standing:
    """The fold of one ledger for the chosen tasks of one plan."""

    def __init__(self, plan: Plan, ledger: Ledger, *, only: Sequence[str] = (), retry_failed: bool = False) -> None:
        self.plan, self.ledger = plan, ledger
        self.tasks = select(plan, only)
        self.identifier = Identifier()
        self.facts = Facts()
        self.seeds: Mapping[str, int] = {}
        self.jobs: tuple[Job, ...] = ()
        self.done: Mapping[str, Run] = {}
        """Finished runs of this plan by key."""
        self.verdicts: tuple[Verdict, ...] = ()
        self._retry = retry_failed
        self._retried: set[str] = set()

    def refresh(self) -> None:
        """Take in what the ledger holds by now and see what the plan wants."""
        for event in self.ledger.events(after=self.facts.seq):
            self.facts.advance(event)
        self.seeds = seeds_wanted(self.tasks, self.identifier.identify, lambda id, keys: self.facts.granted(id, among=keys))
        self.jobs = jobs(self.tasks, self.seeds, self.identifier.identify)
        found = {job.key: self.facts.run(job.key) for job in self.jobs}
        self.done = {key: run for key, run in found.items() if run is not None and not self._again(run)}

    def judge(self) -> tuple[Verdict, ...]:
        """The verdicts by now; returns those worth telling: of another state than before, or unsure at another n."""
        before = {(v.task, v.target): _news(v) for v in self.verdicts}
        self.verdicts = judge(self.plan, self.runs_by_task(), gates=self._gates())
        return tuple(v for v in self.verdicts if before.get((v.task, v.target)) != _news(v))

    def look_afresh(self, job: Job) -> bool:
        """Whether the code and data of `job` are still what its key says; if not, all keys are made anew."""
        fresh = Identifier()
        same = fresh.identify(job.request).key == job.key
        if not same:
            self.identifier = fresh
        return same

    def begun(self, job: Job) -> None:
        """A failed run that is measured again counts as done once it ends, however it ends."""
        self._retried.add(job.key)

    def _again(self, run: Run) -> bool:
        return run.status is Status.KILLED or (self._retry and run.status is not Status.OK and run.key not in self._retried)

    def wanted(self) -> Wanted:
        """Which runs the plan rests on, so that a reader of the ledger needs no code to find them."""
        return Wanted(
            tasks={task.id: tuple(job.key for job in self.jobs if task.id in job.tasks) for task in self.tasks},
            gates={task.id: gate.key for task in self.tasks if (gate := gate_of(task, self.jobs)) is not None},
        )

    def runs_by_task(self) -> dict[str, tuple[Run, ...]]:
        """The runs that may be judged: per task in submission order, up to the first that is not done."""
        return {task.id: settled((job.key for job in self.jobs if task.id in job.tasks), self.done) for task in self.tasks}

    def measured(self, task: str) -> bool:
        """Whether every run that `task` wants by now is done."""
        return all(job.key in self.done for job in self.jobs if task in job.tasks)

    def situation(self) -> Situation:
        """What deciders and guards may read."""
        chosen = {task.id for task in self.tasks}
        return Situation(
            plan=replace(self.plan, tasks=self.tasks),
            verdicts=tuple(verdict for verdict in self.verdicts if verdict.task in chosen),
            runs=self.runs_by_task(),
            seeds=self.seeds,
            decisions=self.facts.decisions,
        )

    def seconds_left(self, workers: int) -> float | None:
        """Estimate for the measurements still to do, from the mean of like ones; None before the first."""
        if not self.done:
            return None
        kinds: dict[tuple[str, str], list[float]] = {}
        for run in self.done.values():
            kinds.setdefault((run.request.module, run.request.benchmark), []).append(run.cost.seconds)
        overall = [run.cost.seconds for run in self.done.values()]
        missing = [job.request for job in self.jobs if job.key not in self.done]
        known = [kinds.get((request.module, request.benchmark), overall) for request in missing]
        return sum(sum(seconds) / len(seconds) for seconds in known) / workers

    def _gates(self) -> dict[str, Run]:
        found = {task.id: gate_of(task, self.jobs) for task in self.tasks}
        return {id: self.done[gate.key] for id, gate in found.items() if gate is not None and gate.key in self.done}


def _news(verdict: Verdict) -> tuple[State, int]:
    return verdict.state, verdict.n if verdict.state is State.UNSURE else 0
