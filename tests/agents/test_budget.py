"""Who pays for a shared run, and that sharing out its payer's budget ends, keeps within it, and knows no order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.budget import DEFAULT_SECONDS, OVERSHOOT, Account, accounts, entry, grants
from agents.schedule import reach
from bench.events import Abandoned, Event, Started, attempt_key
from bench.fold import Facts
from plan.nouns import Budget, Cost, Limits, Request, Run, Seeds, Status, Task
from plan.wire import encode
from tests.agents.test_schedule import task, wanted

REQUEST = Request(module="m", benchmark="b-v1", seed=0)


@dataclass
class World:
    """Runs that last as long as they last, and a ledger that tells of the attempts at them."""

    budget: Budget
    lasts: Mapping[str, float]
    """Run key -> seconds it takes on its own."""
    resumable: bool
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    late: float = 0.0
    """Most seconds that ending an attempt may take past its limit."""
    facts: Facts = field(default_factory=Facts)
    had: dict[str, float] = field(default_factory=dict)
    seq: int = 0

    def tell(self, kind: str, key: str, noun: object) -> None:
        self.seq += 1
        self.facts.advance(Event(seq=self.seq, at=0.0, kind=kind, key=key, body=encode(noun)))

    def grants(self, *, again: bool = False) -> dict[str, float]:
        attempts = self.facts.attempts
        return grants(self.budget, {key: entry(attempts.get(key, ()), again=again) for key in self.lasts})

    def start(self, key: str, seconds: float) -> str:
        name = attempt_key(key, self.facts.next_attempt(key))
        self.tell("started", name, Started(tasks=("t",), request=REQUEST, limits=Limits(seconds=seconds)))
        return name

    def end(self, name: str) -> None:
        key, attempt = name.split("#")
        limit = self.facts.attempts[key][-1].limits.seconds
        needs = self.lasts[key] - (self.had.get(key, 0.0) if self.resumable else 0.0)
        status = Status.OK if needs <= limit else Status.TIMED_OUT
        cost = needs if status is Status.OK else limit + self.rng.uniform(0.0, self.late)
        self.had[key] = self.had.get(key, 0.0) + min(limit, cost)
        run = Run(
            key=key, request=REQUEST, status=status, cost=Cost(seconds=cost), attempt=int(attempt),
            facts={"checkpoint_left": self.resumable},
        )  # fmt: skip
        self.tell("run", name, run)

    def abandon(self, name: str) -> None:
        """Its orchestrator dies somewhere on the way, and what it had done is lost."""
        limit = self.facts.attempts[name.split("#")[0]][-1].limits.seconds
        self.tell("abandoned", name, Abandoned(seconds=self.rng.uniform(0.0, limit)))

    def work(self, keys: Sequence[str], *, workers: int = 1, dying: float = 0.0) -> int:
        """Start and end attempts at `keys`, which is also the order of preference, until none may start; how many there were."""
        running: list[str] = []
        for count in itertools.count():
            assert count < 10_000, "it goes on and on"
            granted = self.grants()
            able = [key for key in keys if key in granted]
            while able and len(running) < workers:
                running.append(self.start(able[0], granted[able[0]]))
                granted = self.grants()
                able = [key for key in keys if key in granted]
            if not running:
                return count
            name = running.pop(self.rng.randrange(len(running)))
            if self.rng.random() < dying:
                self.abandon(name)
            else:
                self.end(name)
        raise AssertionError

    @property
    def finished(self) -> set[str]:
        return {key for key in self.lasts if self.facts.done(key) and self.facts.runs[key].status is Status.OK}

    @property
    def spent(self) -> float:
        return self.facts.spent.seconds


LASTS = st.lists(st.floats(0.01, 120.0), min_size=1, max_size=7).map(lambda all: dict(zip("abcdefg", all, strict=False)))
SECONDS = st.one_of(st.none(), st.floats(0.5, 400.0))
RUNS = st.one_of(st.none(), st.integers(1, 9))


@settings(max_examples=150, deadline=None)
@given(
    lasts=LASTS, seconds=SECONDS, runs=RUNS, resumable=st.booleans(), workers=st.integers(1, 4), dying=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_sharing_out_ends_keeps_within_the_budget_and_starts_nothing_the_second_time(
    lasts: dict[str, float], seconds: float | None, runs: int | None, resumable: bool, workers: int, dying: float, seed: int
) -> None:
    world = World(
        budget=Budget(seconds=seconds, runs=runs), lasts=lasts, resumable=resumable, rng=random.Random(seed), late=OVERSHOOT
    )
    attempts = world.work(list(lasts), workers=workers, dying=dying)
    assert seconds is None or world.spent <= seconds + 1e-6
    assert runs is None or world.facts.spent.runs <= runs
    assert world.grants() == {}
    assert world.work(list(lasts), workers=workers) == 0
    if not dying:
        assert attempts <= len(lasts) if seconds is None else attempts <= seconds / OVERSHOOT


@settings(max_examples=150, deadline=None)
@given(
    lasts=LASTS, seconds=st.floats(2.0, 400.0), resumable=st.booleans(), first=st.sets(st.sampled_from("abcdefg")),
    order=st.permutations("abcdefg"), workers=st.integers(1, 4), seed=st.integers(0, 99),
)  # fmt: skip
@example(
    lasts=dict(zip("abcdefg", (1.0, 1.0, 1.0, 1.0, 1.0, 33.0, 33.0), strict=True)), seconds=232.0, resumable=True, first=set(),
    order=list("agcdefb"), workers=1, seed=0,
)  # fmt: skip
def test_which_runs_finish_depends_neither_on_their_order_nor_on_which_were_asked_for_first(
    lasts: dict[str, float], seconds: float, resumable: bool, first: set[str], order: list[str], workers: int, seed: int
) -> None:
    at_once = World(budget=Budget(seconds=seconds), lasts=lasts, resumable=resumable)
    at_once.work(list(lasts))
    other = World(budget=Budget(seconds=seconds), lasts=lasts, resumable=resumable, rng=random.Random(seed))
    other.work([key for key in lasts if key in first], workers=workers)
    other.work([key for key in order if key in lasts], workers=workers)
    assert other.finished == at_once.finished
    assert {k: [a.limits.seconds for a in all] for k, all in other.facts.attempts.items()} == {
        k: [a.limits.seconds for a in all] for k, all in at_once.facts.attempts.items()
    }


@settings(max_examples=100, deadline=None)
@given(lasts=LASTS, seconds=st.floats(0.5, 100.0), resumable=st.booleans(), more=st.floats(1.0, 50.0))
def test_a_raised_budget_measures_again_what_timed_out_and_enough_of_it_finishes_everything(
    lasts: dict[str, float], seconds: float, resumable: bool, more: float
) -> None:
    world = World(budget=Budget(seconds=seconds), lasts=lasts, resumable=resumable)
    world.work(list(lasts))
    finished = world.finished
    world.budget = Budget(seconds=seconds + more)
    world.work(list(lasts))
    assert finished <= world.finished
    assert world.spent <= seconds + more + 1e-6
    world.budget = Budget(seconds=1000 + sum(10 * last for last in lasts.values()) * len(lasts))
    world.work(list(lasts))
    assert world.finished == set(lasts)


def test_each_run_is_granted_the_same_and_what_is_left_over_goes_to_those_that_timed_out() -> None:
    world = World(budget=Budget(seconds=60.0), lasts={"a": 30.0, "b": 4.0, "c": 5.0}, resumable=True)
    assert world.grants() == dict.fromkeys("abc", 19.0)
    world.work(["a"])
    assert world.grants() == dict.fromkeys("bc", 19.0)
    world.work(["a", "b", "c"])
    assert [a.limits.seconds for a in world.facts.attempts["a"]] == [19.0, 60.0 - 9.0 - 19.0 - OVERSHOOT]
    assert world.finished == {"a", "b", "c"}


@pytest.mark.parametrize(("resumable", "attempts"), [(True, 2), (False, 1)])
def test_without_a_checkpoint_a_run_is_measured_again_only_with_more_than_any_attempt_had(resumable: bool, attempts: int) -> None:
    world = World(budget=Budget(seconds=60.0), lasts={"a": 1000.0, "b": 1000.0}, resumable=resumable)
    world.work(["a", "b"])
    world.budget = Budget(seconds=70.0)
    world.work(["a", "b"])
    assert len(world.facts.attempts["a"]) == attempts
    world.budget = Budget(seconds=200.0)
    world.work(["a", "b"])
    assert len(world.facts.attempts["a"]) == attempts + 1


def test_where_no_time_is_stated_a_timed_out_run_stands_but_not_one_that_had_less() -> None:
    world = World(budget=Budget(seconds=20.0), lasts={"a": 1000.0}, resumable=True)
    world.work(["a"])
    world.budget = Budget()
    assert world.grants() == {"a": DEFAULT_SECONDS - OVERSHOOT}
    world.work(["a"])
    assert world.work(["a"]) == 0


def test_a_failed_run_that_is_to_be_measured_again_gets_what_is_left_and_never_more() -> None:
    world = World(budget=Budget(seconds=30.0), lasts={"a": 100.0}, resumable=False)
    world.tell("started", "a#1", Started(tasks=("t",), request=REQUEST, limits=Limits(seconds=29.0)))
    world.tell("run", "a#1", Run(key="a", request=REQUEST, status=Status.CRASHED, cost=Cost(seconds=10.0)))
    assert world.grants() == {}
    assert world.grants(again=True) == {"a": 19.0}


def shared(*tasks: Task) -> tuple[Account, ...]:
    """The accounts of tasks that ask for the same measurement."""
    same = [replace(one, benchmark="same-v1") for one in tasks]
    jobs = wanted(*same)
    return accounts(same, jobs, reach(same, {one.id: one.seeds.first for one in same}))


def pays(*tasks: Task) -> dict[str, int]:
    return {account.task: len(account.keys) for account in shared(*tasks)}


def test_a_shared_run_is_paid_once_by_the_task_that_grants_a_single_run_the_most() -> None:
    small, big = task("small", budget=Budget(seconds=30)), task("big", budget=Budget(seconds=300))
    assert pays(small, big) == pays(big, small) == {"big": 2}
    free = task("free")
    assert pays(small, free) == {"free": 2}
    assert pays(free, task("huge", budget=Budget(seconds=2 * DEFAULT_SECONDS + 2))) == {"huge": 2}
    many = task("many", budget=Budget(seconds=40), seeds=Seeds(first=20, most=20))
    assert pays(small, many) == {"small": 2, "many": 18}


def test_equally_generous_tasks_pay_in_the_order_of_submission() -> None:
    assert pays(task("a"), task("b")) == {"a": 2}
    assert pays(task("a"), task("b", priority=1)) == {"b": 2}


def test_who_pays_does_not_change_when_seeds_are_bought() -> None:
    big = task("big", budget=Budget(seconds=1000), seeds=Seeds(first=2, most=4))
    assert pays(task("small", budget=Budget(seconds=9), seeds=Seeds(first=3, most=5)), big) == {"big": 3}
    small = task("small", budget=Budget(seconds=9), seeds=Seeds(first=5, most=5))
    assert pays(small, big) == {"big": 4, "small": 1}


def test_tasks_that_measure_different_things_each_pay_their_own_and_a_gate_is_nobodys() -> None:
    tasks = task("a", gate=True), task("b", gate=True)
    found = accounts(tasks, wanted(*tasks), {"a": 2, "b": 2})
    assert [(account.task, len(account.keys)) for account in found] == [("", 1), ("a", 2), ("b", 2)]
