"""A recorded grid of measurements, and the environment that answers from it: any number of policies and seeds for one recording."""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.candidates import candidates
from agents.learning.record import SEEDS, name_of
from envs.changes import KINDS, Aim, asks
from plan import catalogue
from plan.catalogue import HOUSE
from plan.decision import Action, Candidate, Situation
from plan.nouns import Plan, Request, Run, Status, Target, Task

LEDGER = HOUSE / "docs" / "refactor-ledger.csv"
"""The grid of `plan/Improve.md`."""
PLAN = HOUSE / "plan" / "Improve.md"
TRIALS = tuple(seed for seed in SEEDS if seed >= 1000)
VERDICTS = tuple(seed for seed in SEEDS if seed < 1000)


class NotRecorded(KeyError):
    """The grid lacks a candidate that was asked for."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Grid:
    """Numbers by candidate, metric and seed."""

    numbers: Mapping[tuple[str, str, str], Mapping[str, tuple[float | None, ...]]]
    about: str
    """Where they were measured."""
    _spaces: dict[tuple[str, str, str], tuple[Candidate, ...]] = field(default_factory=dict, compare=False)

    @classmethod
    def read(cls, path: Path = LEDGER) -> Grid:
        """The grid that `agents.learning.record` wrote to `path`."""
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        numbers: dict[tuple[str, str, str], dict[str, tuple[float | None, ...]]] = {}
        for row in rows:
            values = tuple(float(row[str(seed)]) if row[str(seed)] else None for seed in SEEDS)
            numbers.setdefault((row["benchmark"], row["module"], row["config"]), {})[row["metric"]] = values
        return cls(numbers, lines[0].removeprefix("# "))

    def run(self, task: Task, candidate: Candidate, seed: int) -> Run:
        """What the candidate measured with `seed`, one of `SEEDS`; NotRecorded when it was never measured."""
        key = name_of(task, candidate)
        if key not in self.numbers:
            raise NotRecorded(
                f"`{candidate.module}` with {key[2]} is not in the grid; record it with `python -m agents.learning.record`"
            )
        found = {metric: values[SEEDS.index(seed)] for metric, values in self.numbers[key].items()}
        metrics = {metric: value for metric, value in found.items() if value is not None}
        request = Request(module=candidate.module, benchmark=task.benchmark, seed=seed, config=candidate.config)
        digest = hashlib.sha256("\n".join((*key, str(seed))).encode()).hexdigest()
        return Run(key=digest, request=request, status=Status.OK if metrics else Status.NOT_FINITE, metrics=metrics)

    def untried(self, task: Task, kind: str, situation: Situation) -> tuple[Candidate, ...]:
        """As `agents.candidates.untried`, without what was not recorded: the neighbours of later champions mostly were not."""
        champion = situation.champions.get(task.id)
        before = [one.candidate for one in situation.tried if one.task == task.id and one.stands and one.champion == champion]
        return tuple(one for one in self.space(task, kind, situation) if one not in before)

    def space(self, task: Task, kind: str, situation: Situation) -> tuple[Candidate, ...]:
        """What of `agents.candidates` was recorded; looked up on the shelves once per task and champion."""
        key = task.id, kind, repr(situation.champions.get(task.id))
        if key not in self._spaces:
            found = candidates(task, kind, situation)
            self._spaces[key] = tuple(one for one in found if name_of(task, one) in self.numbers)
        return self._spaces[key]

    def margin(self, task: Task, candidate: Candidate, aim: Aim) -> float:
        """Mean over the seeds of verdicts of value - threshold over |threshold|, positive on the good side; -1 at least, and for no number."""
        found = [self.run(task, candidate, seed) for seed in VERDICTS]
        return sum(_margin(aim, run) for run in found) / len(found)

    def passes(self, task: Task, candidate: Candidate) -> bool:
        """Whether every target holds on every seed of verdicts."""
        return all(aim.met(self.run(task, candidate, seed)) for aim in aims_of(task) for seed in VERDICTS)


def aims_of(task: Task) -> tuple[Aim, ...]:
    """The task's targets that name a number."""
    return tuple(_aim(task, target) for target in task.targets if target.threshold.task is None)


def own(task: Task) -> Candidate:
    """The task as the plan has it."""
    return Candidate(module=task.module, config=task.config)


def spaces(plan: Plan, grid: Grid) -> dict[str, dict[str, tuple[Candidate, ...]]]:
    """By task and kind: what was recorded of what may be tried against the plan's own champion, in the order of `agents.candidates`."""
    nothing = Situation(plan=plan, verdicts=(), runs={}, seeds={})
    return {t.id: {kind: grid.space(t, kind, nothing) if kind in t.improve else () for kind in KINDS} for t in plan.tasks}


def replayed(grid: Grid, task: Task, *, draw: random.Random) -> Callable[[Action], Run]:
    """An `evaluate` that answers from the grid, each candidate's trial seeds in an order of their own; then they come again."""
    order: dict[tuple[str, str, str], list[int]] = {}

    def evaluate(action: Action) -> Run:
        candidate = Candidate.of(action.details)
        left = order.setdefault(name_of(task, candidate), [])
        if not left:
            left += draw.sample(TRIALS, len(TRIALS))
        return grid.run(task, candidate, left.pop())

    return evaluate


def _aim(task: Task, target: Target) -> Aim:
    units: Mapping[str, str] = catalogue.shelf("benchmark")[task.benchmark].arguments.get("metrics") or {}
    about = asks(units.get(target.metric, ""), target.metric)
    return Aim(metric=target.metric, comparator=target.comparator, threshold=target.threshold.value, asks=about)


def _margin(aim: Aim, run: Run) -> float:
    value = run.metrics.get(aim.metric)
    if value is None:
        return -1.0
    size = abs(value - aim.threshold) / (abs(aim.threshold) or 1.0)
    return size if aim.met(run) else -min(1.0, size)


def failing(grid: Grid, plan: Plan) -> Sequence[tuple[Task, Aim]]:
    """The targets that fail as the plan stands."""
    found = ((task, aim) for task in plan.tasks for aim in aims_of(task))
    return [(task, aim) for task, aim in found if not all(aim.met(grid.run(task, own(task), seed)) for seed in VERDICTS)]
