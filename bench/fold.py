"""The ledger read as facts: which runs are done, what was spent, granted and decided.

Nothing here does I/O and nothing is stored: `fold(events)` is the state, and a live reader goes on
with `Facts.advance(event)`. Bodies are turned into nouns only when they are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any

from bench.events import Abandoned, Effect, Event, Session, Stopped, Wanted
from bench.fingerprint import Code
from plan.decision import Decision, Opinion
from plan.nouns import Limits, Request, Run, Status
from plan.wire import rebuild

MEASURE_AGAIN = "measure-again"
"""Kind of the action that grants a task more seeds: its details are `{"seeds": total}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What runs have cost so far."""

    seconds: float = 0.0
    """Seconds of finished runs, killed ones included, and those charged for abandoned attempts."""
    runs: int = 0
    """Measurements: attempts that are open or came to an end. Killed and abandoned ones are the same
    measurement as the attempt that takes their place, and are not counted."""

    def __add__(self, other: Spending) -> Spending:
        return Spending(seconds=self.seconds + other.seconds, runs=self.runs + other.runs)


class Attempt:
    """One attempt at a run, from `started` to whatever became of it. Bodies are parsed when asked for."""

    def __init__(self, started: Event, session: str | None) -> None:
        self.key, _, number = started.key.rpartition("#")
        self.number = int(number)
        self.seq = started.seq
        """Place in submission order."""
        self.at = started.at
        self.session = session
        """Uuid of the session that submitted it."""
        self.charged: float | None = None
        """Seconds it is charged for because its orchestrator died."""
        self._started = started
        self._ended: Event | None = None

    def end(self, run: Event) -> None:
        """Take in its `run` event."""
        self._ended = run

    @cached_property
    def _asked(self) -> dict[str, Any]:
        return self._started.plain()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Ids of the tasks it was submitted for."""
        return tuple(self._asked["tasks"])

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the run key was made of."""
        parts: dict[str, Any] = self._asked["identity"]
        return parts

    @cached_property
    def request(self) -> Request:
        """What was to be measured."""
        found: Request = rebuild(Request, self._asked["request"])
        return found

    @cached_property
    def limits(self) -> Limits:
        """What it was allowed to use."""
        found: Limits = rebuild(Limits, self._asked["limits"])
        return found

    @property
    def open(self) -> bool:
        """Started, and nothing known since: running now, or its orchestrator died."""
        return self._ended is None and self.charged is None

    @property
    def done(self) -> bool:
        """It has a result that stands, of whatever status but `killed`."""
        return self._ended is not None and self._result["status"] != Status.KILLED

    @property
    def seconds(self) -> float:
        """What it is charged; 0 while it is open."""
        return (float(self._result["cost"]["seconds"]) if self._ended else 0.0) + (self.charged or 0.0)

    @cached_property
    def _result(self) -> dict[str, Any]:
        if self._ended is None:
            raise ValueError(f"attempt `{self.key}#{self.number}` has no result")
        return self._ended.plain()

    @cached_property
    def run(self) -> Run:
        """Its result; ValueError when there is none."""
        found: Run = rebuild(Run, self._result)
        return found


@dataclass(slots=True, kw_only=True)
class Case:
    """A decision and what became of it."""

    decision: Decision
    seq: int
    opinions: list[Opinion] = field(default_factory=list)
    applied: Effect | None = None
    undone: Effect | None = None

    @property
    def stands(self) -> bool:
        """Applied and not undone."""
        return self.applied is not None and self.undone is None


class Facts:
    """What the events so far amount to. Only `advance` changes it."""

    def __init__(self) -> None:
        self.seq = 0
        """The last event taken in: go on with `ledger.events(after=facts.seq)`."""
        self.attempts: dict[str, list[Attempt]] = {}
        """By run key, oldest first; the keys stand in submission order."""
        self.cases: dict[str, Case] = {}
        """By decision id, in the order they were made."""
        self.sessions: dict[str, Session] = {}
        self.stops: dict[str, Stopped] = {}
        """By session uuid, as `sessions`; a session without one was killed, or is running."""
        self.code: dict[str, Code] = {}
        """By its digest."""
        self.wanted = Wanted(tasks={})
        """What each task rests on, as the latest session that worked on it told."""
        self._session: str | None = None

    def advance(self, event: Event) -> None:
        """Take in the next event; ValueError when it is not newer than the last."""
        if event.seq <= self.seq:
            raise ValueError(f"event {event.seq} comes after event {self.seq}: events are folded in order, once")
        self.seq = event.seq
        match event.kind:
            case "started":
                attempt = Attempt(event, self._session)
                self.attempts.setdefault(attempt.key, []).append(attempt)
            case "run":
                self._attempt(event.key).end(event)
            case "abandoned":
                self._attempt(event.key).charged = event.read(Abandoned).seconds
            case "decision":
                self.cases[event.key] = Case(decision=event.read(Decision), seq=event.seq)
            case "opinion":
                opinion = event.read(Opinion)
                self.cases[opinion.decision].opinions.append(opinion)
            case "applied":
                self.cases[event.key].applied = event.read(Effect)
            case "undone":
                self.cases[event.key].undone = event.read(Effect)
            case "session":
                self.sessions[event.key] = event.read(Session)
                self._session = event.key
            case "wanted":
                latest = event.read(Wanted)
                self.wanted = Wanted(tasks={**self.wanted.tasks, **latest.tasks}, gates={**self.wanted.gates, **latest.gates})
            case "stopped":
                self.stops[event.key] = event.read(Stopped)
            case "code":
                self.code[event.key] = event.read(Code)

    def done(self, key: str) -> bool:
        """Whether the latest attempt at `key` has a result that stands."""
        return key in self.attempts and self.attempts[key][-1].done

    def run(self, key: str) -> Run | None:
        """The result of the latest attempt at `key`; none unless it is done."""
        return self.attempts[key][-1].run if self.done(key) else None

    @property
    def runs(self) -> dict[str, Run]:
        """All results that stand, by run key, in submission order."""
        return {key: attempts[-1].run for key, attempts in self.attempts.items() if attempts[-1].done}

    def next_attempt(self, key: str) -> int:
        """The number the next attempt at `key` has to carry, from 1."""
        return self.attempts[key][-1].number + 1 if key in self.attempts else 1

    @property
    def open_attempts(self) -> list[Attempt]:
        """Attempts without an end, in submission order. To a process that has just taken hold of the
        ledger they are those of a dead orchestrator: to be charged (`abandoned`) and started again."""
        return sorted((a for a in self._all() if a.open), key=lambda a: a.seq)

    def submitted(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that were ever started, in submission order.

        A run keeps the place of its first attempt: being killed says nothing of its result.
        """
        return sorted({key for key in keys if key in self.attempts}, key=lambda key: self.attempts[key][0].seq)

    def runs_for(self, keys: Iterable[str]) -> tuple[Run, ...]:
        """The results there are for `keys`, in submission order, never in completion order."""
        return tuple(self.attempts[key][-1].run for key in self.submitted(keys) if self.done(key))

    def spent_for(self, keys: Iterable[str]) -> Spending:
        """What all attempts at `keys` have cost together."""
        return _spending(a for key in set(keys) for a in self.attempts.get(key, ()))

    @property
    def spent(self) -> Spending:
        """What everything in the ledger has cost."""
        return _spending(self._all())

    @property
    def spent_by_task(self) -> dict[str, Spending]:
        """What the attempts submitted for each task id have cost; one that serves two counts for both."""
        found: dict[str, list[Attempt]] = {}
        for attempt in self._all():
            for task in attempt.tasks:
                found.setdefault(task, []).append(attempt)
        return {task: _spending(attempts) for task, attempts in found.items()}

    def granted(self, task: str, *, among: Collection[str] | None = None) -> int | None:
        """Seeds in all that decisions have granted `task`; none when no grant stands.

        With `among` (run keys), only decisions whose evidence is among them count: a grant earned
        by the code of last week says nothing of the code of today.
        """
        known = None if among is None else {"r" + key[:8] for key in among}
        grants = [
            int(case.decision.action.details["seeds"])
            for case in self.cases.values()
            if case.stands
            and case.decision.action.kind == MEASURE_AGAIN
            and case.decision.action.task == task
            and (known is None or known.issuperset(case.decision.evidence))
        ]
        return max(grants, default=None)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in the order they were made."""
        return tuple(case.decision for case in self.cases.values())

    @property
    def session(self) -> Session | None:
        """The latest session: its plan text is what a report without a plan file reads."""
        return self.sessions[self._session] if self._session else None

    def _attempt(self, key: str) -> Attempt:
        run_key, _, number = key.rpartition("#")
        for attempt in reversed(self.attempts.get(run_key, ())):
            if attempt.number == int(number):
                return attempt
        raise ValueError(f"event of attempt `{key}`, which was never started")

    def _all(self) -> Iterator[Attempt]:
        for attempts in self.attempts.values():
            yield from attempts


def fold(events: Iterable[Event]) -> Facts:
    """The facts that `events`, in ledger order, amount to."""
    facts = Facts()
    for event in events:
        facts.advance(event)
    return facts


def settled(keys: Iterable[str], done: Mapping[str, Run]) -> tuple[Run, ...]:
    """The results of `keys`, which stand in submission order, up to the first without one.

    What the judge may read: a later seed that happened to end sooner is news that depends on its
    outcome, and reading it breaks the declared error. It waits its turn.
    """
    return tuple(done[key] for key in takewhile(done.__contains__, keys))


def _spending(attempts: Iterable[Attempt]) -> Spending:
    total = Spending()
    for attempt in attempts:
        total += Spending(seconds=attempt.seconds, runs=int(attempt.open or attempt.done))
    return total
