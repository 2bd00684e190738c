"""A duel from its first measurement to its answer: gate, parity, then pairs on fresh seeds. Pure: a function of terms and finished runs.

What is to be measured next, and how it ended, follow from the ledger alone, so a duel that was killed anywhere goes on where it
was, and its answer can be computed again from the runs it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from agents.champions import Terms, seeds_of, sides, terms_of, way
from agents.schedule import Identify, Job, gate_request, gate_word, request_of
from bench import parity, promotion
from bench.direction import Better
from bench.fold import Case, Facts
from plan.decision import Bout
from plan.nouns import Request, Run, State, Status, Target, Task, Verdict

STOPPED = frozenset({Status.TIMED_OUT, Status.OUT_OF_MEMORY})
ERROR = 0.05
"""The chance, over all duels of a ledger, that any candidate is promoted which is no better than its champion."""
Find = Callable[[str], Run | None]
"""Run key -> its result, None when it has none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """One duel under way."""

    case: Case
    terms: Terms
    champion: Task
    """The task as the champion does it."""
    challenger: Task

    @property
    def id(self) -> str:
        """Of its decision."""
        return self.case.decision.id

    @property
    def task(self) -> str:
        """Id of its task."""
        return self.case.decision.action.task


def open_duels(facts: Facts, tasks: dict[str, Task]) -> Iterator[Duel]:
    """The duels that were begun on `tasks` and have no answer yet, in the order of their decisions."""
    for case in facts.cases.values():
        terms, task = terms_of(case), tasks.get(case.decision.action.task)
        if terms is not None and task is not None and case.bout is None and case.stands:
            champion, challenger = sides(case, task, facts)
            yield Duel(case=case, terms=terms, champion=champion, challenger=challenger)


def subject_of(verdicts: tuple[Verdict, ...], task: Task) -> tuple[Target, Better, float | None] | None:
    """What a duel on the task is about: its first target that fails, else the first that is unsure; which way is better, or near to what.

    None when there is nothing to improve, or nobody has said which way is better.
    """
    mine = [verdict for verdict in verdicts if verdict.task == task.id]
    wanting = [v for state in (State.FAIL, State.UNSURE) for v in mine if v.state is state]
    if not wanting:
        return None
    better, about = way(wanting[0].target, task)
    return None if better is None else (wanting[0].target, better, about)


def agenda(duel: Duel, identify: Identify, found: Find, *, ahead: int) -> tuple[Bout | None, tuple[Job, ...]]:
    """How the duel ended, or what it has to measure now, at most `ahead` pairs at once."""
    job = _asking(duel, identify)
    if duel.challenger.gate:
        gate = job(gate_request(duel.challenger))
        run = found(gate.key)
        if run is None:
            return None, (gate,)
        if word := gate_word(run):
            return _ended(duel, "reject", f"the gate is red: {word}"), ()
    if duel.case.decision.action.kind == "refactor":
        probes = [job(replace(gate_request(side), benchmark=parity.BENCHMARK)) for side in (duel.champion, duel.challenger)]
        runs = [found(probe.key) for probe in probes]
        if waiting := tuple(probe for probe, run in zip(probes, runs, strict=True) if run is None):
            return None, waiting
        if word := parity.differs(*(run for run in runs if run is not None)):
            return _ended(duel, "reject", f"it is not the same function: {word}"), ()
    return _pairs(duel, job, found, ahead)


def answer(duel: Duel, pairs: list[tuple[Run | None, Run | None]]) -> promotion.Duel:
    """What the promotion rule says of these pairs of runs.

    Where the champion was stopped by a limit that the loop set, which a slow hour may do, nothing is learnt of the pair.
    """
    terms = duel.terms
    numbers = [
        None if a is None or b is None else (None, None) if a.status in STOPPED else (number(a, terms), number(b, terms))
        for a, b in pairs
    ]
    return promotion.duel(
        numbers,
        better="less" if terms.better == "less" else "more",
        error=promotion.share(terms.k, ERROR),
        most=terms.most,
        margin=terms.margin,
    )


def number(run: Run, terms: Terms) -> float | None:
    """What the duel reads of a run; None when it ended without the metric."""
    value = run.metrics.get(terms.metric) if run.status is Status.OK else None
    return value if value is None or terms.about is None else abs(value - terms.about)


def starved(duel: Duel, identify: Identify, found: Find) -> Bout:
    """The end of a duel that its task's budget cannot pay any further."""
    pairs = list(_runs(duel, _asking(duel, identify), found))
    return _told(duel, pairs, "undecided", f"the budget of `{duel.task}` has too little left for another pair")


def _pairs(duel: Duel, job: Callable[[Request], Job], found: Find, ahead: int) -> tuple[Bout | None, tuple[Job, ...]]:
    runs = list(_runs(duel, job, found))
    said = answer(duel, runs)
    if said.ended:
        return _told(duel, runs, said.answer.value, said.reason), ()
    waiting: list[Job] = []
    for place, ((a, b), both) in enumerate(zip(runs, _jobs(duel, job), strict=False)):
        missing = [one for one, run in zip(both, (a, b), strict=True) if run is None]
        if missing:
            waiting += (
                missing if place % 2 == 0 else missing[::-1]
            )  # who goes first alternates, as what drifts on a machine may favour it
            ahead -= 1
        if not ahead:
            break
    return None, tuple(waiting)


def _runs(duel: Duel, job: Callable[[Request], Job], found: Find) -> Iterator[tuple[Run | None, Run | None]]:
    for champion, challenger in _jobs(duel, job):
        yield found(champion.key), found(challenger.key)


def _jobs(duel: Duel, job: Callable[[Request], Job]) -> Iterator[tuple[Job, Job]]:
    for seed in islice(seeds_of(duel.terms.k), duel.terms.most):
        yield job(request_of(duel.champion, seed)), job(request_of(duel.challenger, seed))


def _asking(duel: Duel, identify: Identify) -> Callable[[Request], Job]:
    def job(request: Request) -> Job:
        return Job(request=request, identity=identify(request), tasks=(), payer=duel.task, decision=duel.id)

    return job


def _told(duel: Duel, runs: list[tuple[Run | None, Run | None]], word: str, why: str) -> Bout:
    said = answer(duel, runs)
    read = [(a, b) for a, b in runs[: said.n] if a is not None and b is not None]
    return Bout(
        answer=word, why=why, metric=duel.terms.metric, better=duel.terms.better, error=said.error, low=said.low, high=said.high,
        runs=tuple(run.id for pair in read for run in pair), e_value=said.e_value,
        pairs=tuple((number(a, duel.terms), number(b, duel.terms)) for a, b in read),
    )  # fmt: skip


def _ended(duel: Duel, word: str, why: str) -> Bout:
    return Bout(
        answer=word, why=why, metric=duel.terms.metric, better=duel.terms.better, error=promotion.share(duel.terms.k, ERROR)
    )
