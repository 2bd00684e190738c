"""Where a plan stands: the ledger folded, the jobs the plan wants by now, the runs that are done, the verdicts.

Nothing here changes the world; all of it could be thrown away and folded again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from agents.budget import Account, Entry, Phase, accounts, entry, grants, less, payers
from agents.champions import Reign, done_by, pending, reign, tried
from agents.schedule import Job, gate_of, jobs, obstacle, partners, reach, request_of, seeds_wanted, select
from agents.trials import Trials
from bench.attempts import Spending
from bench.draws import test_of, tests
from bench.events import Wanted
from bench.fold import Facts, settled
from bench.identity import Identifier
from bench.judge import claims_error, judge
from bench.ledger import Ledger
from bench.overlay import Trees, no_trees
from bench.pulls import hold
from plan.decision import Situation, Tried
from plan.nouns import Budget, Plan, Run, State, Status, Task, Verdict


class Standing:
    """The fold of one ledger for the chosen tasks of one plan."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger | None,
        *,
        only: Sequence[str] = (),
        retry_failed: bool = False,
        alternate: bool = False,
        trees: Trees = no_trees,
        ahead: int = 1,
    ) -> None:
        self.plan, self.ledger, self.alternate, self.trees = plan, ledger, alternate, trees
        self.tasks = select(plan, only)
        self.identifier = Identifier(trees=trees)
        self.reigns: dict[str, Reign] = {}
        """By task of the plan: who stands for it."""
        self.now = plan
        """The plan as its champions do it."""
        self.trials = Trials(self, ahead=ahead)
        """What decisions ask to be measured."""
        self.facts = Facts()
        self.lost: dict[str, str] = {}
        """Tasks whose code or data cannot be read by now, and why; nothing of them is measured."""
        self.seeds: Mapping[str, int] = {}
        self.jobs: tuple[Job, ...] = ()
        self.accounts: tuple[Account, ...] = ()
        """Who pays for what in the whole plan, chosen or not, so that a budget means the same whatever is chosen."""
        self.payers: Mapping[str, tuple[str, ...]] = {}
        """By task: who pays for each seed that it may come to want."""
        self.done: Mapping[str, Run] = {}
        """Finished runs of this plan by key."""
        self.verdicts: tuple[Verdict, ...] = ()
        self._again: tuple[str, ...] = ()
        self._behind: frozenset[str] = frozenset()
        """Runs whose number would have to be drawn anew beside those of other seeds that were."""
        self._retry = retry_failed
        self._retried: set[str] = set()

    def take_in(self) -> None:
        """Fold what the ledger holds by now."""
        for event in self.ledger.events(after=self.facts.seq) if self.ledger else ():
            self.facts.advance(event)

    def refresh(self) -> None:
        """Take in what the ledger holds by now and see what the plan wants."""
        self.take_in()
        self.lost = {}
        found = {task.id for task in self.plan.tasks if self._found(task)}
        self.reigns = {task.id: reign(task, self.facts, self.identifier.identify) for task in self.plan.tasks if task.id in found}
        held = [self.reigns[task.id].held if task.id in found else task for task in self.plan.tasks]
        self.now = replace(self.plan, tasks=tuple(held))
        self.trials.recall()
        whole = [task for task in held if task.id in found]
        seeds, everything = self._jobs(whole)
        selected = {task.id for task in self.tasks}
        chosen = [task for task in whole if task.id in selected]
        self.seeds, self.jobs = (seeds, everything) if chosen == whole else self._jobs(chosen)
        most = reach(whole, seeds)
        self.accounts, self.payers = accounts(whole, everything, most), payers(whole, everything, most)
        if self._retry:
            self._behind = self._left_behind(whole, everything)
        done: dict[str, Run] = {}
        again: list[str] = []
        for account in self.accounts:
            entries = self._entries(account)
            moves = bool(grants(self._left(account), entries)) or any(one.phase is Phase.RUNNING for one in entries.values())
            for key, one in entries.items():
                run = self.facts.latest(key)
                if run is not None and (one.phase is Phase.FINISHED or not moves):
                    done[key] = run
                elif run is not None and run.status is Status.TIMED_OUT:
                    again.append(key)
        self.done, self._again = {job.key: done[job.key] for job in self.jobs if job.key in done}, tuple(again)
        self.trials.refresh()

    def grants(self) -> dict[str, float]:
        """Seconds that the next attempt may use, by run key, for all runs that their budgets let start now."""
        found: dict[str, float] = {}
        for account in self.accounts:
            found |= grants(self._left(account), self._entries(account))
        return {**self.trials.grants(), **found}

    def starved(self) -> Mapping[str, int]:
        """By the task whose budget should pay: how many measurements could start if it had more left."""
        granted, payers = self.grants(), {key: account.task for account in self.accounts for key in account.keys}
        missing = (job for job in self.jobs if job.key not in self.done and job.key not in granted)
        return Counter(payers[job.key] for job in missing if obstacle(job, self.now, self.jobs, self.done) is None)

    def _left(self, account: Account) -> Budget:
        """What its budget still has for what the plan wants by now."""
        return less(account.budget, self.elsewhere(account)) if account.task else account.budget

    def elsewhere(self, account: Account) -> Spending:
        """What the task's budget has paid for champions that stand no more, and for what decisions asked for."""
        if not self.facts.duels and not self.trials.cases:
            return Spending()
        former = {
            self.identifier.identify(request_of(done_by(chief.task, champion), seed)).key
            for chief in [self.reigns[account.task]]
            for champion in chief.chain[:-1]
            for seed in range(chief.task.seeds.most)
        }
        return self.facts.spent_for(former.difference(account.keys)) + self.trials.spent(account.task)

    def _entries(self, account: Account) -> dict[str, Entry]:
        return {key: entry(self.facts.attempts.get(key, ()), again=self._wants_retry(key)) for key in account.keys}

    def _wants_retry(self, key: str) -> bool:
        run = self.facts.latest(key) if self._retry and key not in self._retried else None
        return run is not None and (run.status is not Status.OK or key in self._behind)

    def _left_behind(self, tasks: Sequence[Task], all_jobs: Sequence[Job]) -> frozenset[str]:
        """Runs of seeds beside which others had a second chance, where an error is to be claimed of them all."""
        claiming = [task for task in tasks if any(map(claims_error, task.targets))]
        read = {task.id for task in claiming}.union(*map(partners, claiming))
        return frozenset[str]().union(*(tests(_keys(id, all_jobs), self.facts.attempts)[1] for id in read))

    def _jobs(self, tasks: Sequence[Task]) -> tuple[Mapping[str, int], tuple[Job, ...]]:
        identify = self.identifier.identify
        seeds = seeds_wanted(tasks, identify, lambda id, keys: self.facts.granted(id, among=keys))
        return seeds, jobs(tasks, seeds, identify, alternate=self.alternate)

    def _found(self, task: Task) -> bool:
        try:
            jobs([task], {task.id: 1}, self.identifier.identify)
        except Exception as error:  # a candidate may have done anything to its files
            self.lost[task.id] = _short(error)
        return task.id not in self.lost

    def judge(self) -> tuple[Verdict, ...]:
        """The verdicts by now; returns those worth telling: of another state than before, or unsure at another n."""
        before = {(v.task, v.target): _news(v) for v in self.verdicts}
        judged = judge(self.now, self.runs_by_task(), gates=self._gates(), shares=self._shares(), tests=self._tests())
        self.verdicts = hold(judged, self.facts.pulls, self.plan)
        return tuple(v for v in self.verdicts if before.get((v.task, v.target)) != _news(v))

    def look_afresh(self, job: Job) -> str | None:
        """What keeps `job` from being what its key says; None when its code and data are the same. If not, all keys are made anew."""
        fresh = Identifier(trees=self.trees)
        try:
            if fresh.identify(job.request).key == job.key:
                return None
            told = "its code or data changed while it ran; measured again as changed"
        except Exception as error:  # a candidate may have done anything to its files
            told = f"its code or data vanished while it ran ({_short(error)}); not counted"
        self.identifier = fresh
        return told

    def begun(self, job: Job) -> None:
        """A failed run that is measured again counts as done once it ends, however it ends."""
        self._retried.add(job.key)

    def wanted(self) -> Wanted:
        """Which runs the plan rests on, so that a reader of the ledger needs no code to find them."""
        owners = {job.key: job.tasks for job in self.jobs}
        return Wanted(
            tasks={task.id: tuple(job.key for job in self.jobs if task.id in job.tasks) for task in self.tasks},
            gates={task.id: gate.key for task in self.held if (gate := gate_of(task, self.jobs)) is not None},
            again=self._again,
            payers={key: account.task for account in self.accounts for key in account.keys if len(owners.get(key, ())) > 1},
            champions={task.id: found for task in self.tasks if (found := self._standing(task.id))},
        )

    @property
    def held(self) -> tuple[Task, ...]:
        """The chosen tasks as their champions do them."""
        return tuple(self.now.task(task.id) for task in self.tasks)

    def _standing(self, task: str) -> str:
        """The decision that made the task's champion; empty for the plan's own."""
        return self.reigns[task].champion.decision if task in self.reigns else ""

    def _shares(self) -> dict[str, float]:
        return {task.id: self.facts.verdict_share(task.id, self._standing(task.id)) for task in self.tasks}

    def _tests(self) -> dict[str, int]:
        return {task.id: test_of(_keys(task.id, self.jobs), self.facts.attempts) for task in self.tasks}

    def runs_by_task(self) -> dict[str, tuple[Run, ...]]:
        """The runs that may be judged: per task in submission order, up to the first that is not done."""
        return {task.id: settled(_keys(task.id, self.jobs), self.done) for task in self.tasks}

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
            free={id: frozenset(seed for seed, payer in enumerate(paying) if payer != id) for id, paying in self.payers.items()},
            decisions=tuple(case.decision for case in self.facts.cases.values() if not pending(case)),
            champions={id: found.champion.candidate for id, found in self.reigns.items() if id in chosen},
            tried=tuple(self._tried()),
            trials=self.trials.runs(),
            trials_left={task.id: self.trials.left(task.id) for task in self.tasks},
            former=self._former(),
            votes={id: tuple(case.votes[: case.blind]) for id, case in self.facts.cases.items() if case.blind},
            opinions={id: tuple(case.opinions) for id, case in self.facts.cases.items()},
            precepts=self.facts.precepts,
        )

    def _tried(self) -> Iterator[Tried]:
        runs = [*self.runs_by_task().values(), *self.trials.runs().values()]
        return tried(
            {task.id: task for task in self.tasks},
            self.facts,
            fresh={case.decision.id for case in self.trials.cases},
            known={run.id for found in runs for run in found},
            standing={task.id: self._standing(task.id) for task in self.tasks},
        )

    def _former(self) -> tuple[Verdict, ...]:
        """Of tasks whose champion won a duel: the verdicts of the champion before it, on its own runs."""
        found: list[Verdict] = []
        for task in self.tasks:
            if not self._standing(task.id):
                continue
            before = self.reigns[task.id].chain[-2]
            then = done_by(task, before)
            keys = [self.identifier.identify(request_of(then, seed)).key for seed in range(task.seeds.most)]
            runs = settled(keys, {key: run for key in keys if (run := self.facts.latest(key)) is not None})
            plan = replace(self.now, tasks=tuple(then if one.id == task.id else one for one in self.now.tasks))
            shares = {**self._shares(), task.id: self.facts.verdict_share(task.id, before.decision)}
            drawn = {**self._tests(), task.id: test_of(keys, self.facts.attempts)}
            verdicts = judge(plan, {**self.runs_by_task(), task.id: runs}, shares=shares, tests=drawn)
            found += [verdict for verdict in verdicts if verdict.task == task.id]
        return tuple(found)

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
        found = {task.id: gate_of(task, self.jobs) for task in self.held}
        return {id: self.done[gate.key] for id, gate in found.items() if gate is not None and gate.key in self.done}


def _keys(task: str, all_jobs: Sequence[Job]) -> Iterator[str]:
    return (job.key for job in all_jobs if task in job.tasks)


def _news(verdict: Verdict) -> tuple[State, int]:
    return verdict.state, verdict.n if verdict.state is State.UNSURE else 0


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
