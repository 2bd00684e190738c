"""The ledger read as facts: which runs are done, what was spent, granted and decided.

Nothing here does I/O and nothing is stored: `fold(events)` is the state, and a live reader goes on
with `Facts.advance(event)`. Bodies are turned into nouns only when they are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from bench.attempts import Attempt, Spending, named, spending
from bench.events import Abandoned, Acknowledged, Calibration, Effect, Event, Session, Stopped, Wanted
from bench.fingerprint import Code
from bench.pulls import Pulls
from plan.decision import IMPROVING, Bout, Decision, Opinion, Stance, Vote
from plan.nouns import Run, Status
from plan.precepts import Lesson, Precept, Withdrawal
from plan.ranking import Ranking

MEASURE_AGAIN = "measure-again"
"""Kind of the action that grants a task more seeds: its details are `{"seeds": total}`."""
ROLLBACK = "rollback"
"""Kind of the action that takes a promotion back: its details are `{"decision": id}`."""


@dataclass(slots=True, kw_only=True)
class Case:
    """A decision and what became of it."""

    decision: Decision
    seq: int
    session: str = ""
    """Uuid of the session that took it."""
    opinions: list[Opinion] = field(default_factory=list)
    """The last word of each guard."""
    applied: Effect | None = None
    undone: Effect | None = None
    bout: Bout | None = None
    """How its candidate fared, once that is known."""
    rolled_back: str = ""
    """The decision that took it back, and stands."""
    votes: list[Vote] = field(default_factory=list)
    """What people said of it, oldest first."""
    blind: int = 0
    """How many of the votes came before it was known how the candidate fared: only those say how well people foresee."""
    heard: dict[str, int] = field(default_factory=dict)
    """By guard: how many of the votes came before it had its say; only later ones say how well it foresees."""
    rewarded: tuple[float, int] | None = None
    """The first reward that the critic gave it, and how many of the votes came before: what it says later may rest on the others."""

    @property
    def stands(self) -> bool:
        """Applied and neither undone nor rolled back."""
        return self.applied is not None and self.undone is None and not self.rolled_back

    @property
    def duel(self) -> bool:
        """Whether it asks for a candidate to be tried, and nobody has forbidden it."""
        blocked = any(opinion.stance is Stance.BLOCK for opinion in self.opinions)
        return self.decision.action.kind in IMPROVING and not blocked

    @property
    def promoted(self) -> bool:
        """Whether its candidate became champion, be it for a while."""
        return self.bout is not None and self.bout.answer == "promote"

    @property
    def seeds(self) -> int:
        """Seeds in all that it asks for; 0 when it says no number."""
        seeds = self.decision.action.details.get("seeds")
        return seeds if isinstance(seeds, int) else 0


class Facts:
    """What the events so far amount to. Only `advance` changes it."""

    def __init__(self) -> None:
        self.seq = 0
        """The last event taken in: go on with `ledger.events(after=facts.seq)`."""
        self.attempts: dict[str, list[Attempt]] = {}
        """By run key, oldest first; the keys stand in submission order."""
        self.cases: dict[str, Case] = {}
        """By decision id, in the order they were made."""
        self.promotions: list[str] = []
        """Decisions whose candidate won its duel, in the order of their victories."""
        self.sessions: dict[str, Session] = {}
        self.stops: dict[str, Stopped] = {}
        """By session uuid, as `sessions`; a session without one was killed, or is running."""
        self.code: dict[str, Code] = {}
        """By its digest."""
        self.wanted = Wanted(tasks={})
        """What each task rests on, as the latest session that worked on it told."""
        self.last_applied = 0
        """Place of the latest `applied` event."""
        self.acknowledged: dict[tuple[str, str], Acknowledged] = {}
        """By the digests of the old plan and the new."""
        """(digest of the old, of the new plan) where a person lets the new one ask for less."""
        self.lessons: list[Lesson] = []
        """Oldest first."""
        self.rankings: dict[str, tuple[int, Ranking]] = {}
        """By what they rest on: place in the ledger, and the order in which a round's changes were tried."""
        self.withdrawn: dict[str, Withdrawal] = {}
        """By precept id."""
        self.calibrations: list[Calibration] = []
        """A/A comparisons, oldest first."""
        self.pulls: Pulls | None = None
        """The latest look at the open pull requests."""
        self._session: str | None = None

    def advance(self, event: Event) -> None:
        """Take in the next event; ValueError when it is not newer than the last, LedgerFault when it is none of ours.

        Bodies of attempts are read when they are asked for, with the same fault.
        """
        if event.seq <= self.seq:
            raise ValueError(f"event {event.seq} comes after event {self.seq}: events are folded in order, once")
        self.seq = event.seq
        match event.kind:
            case "started":
                attempt = Attempt(event, self._session)
                self.attempts.setdefault(attempt.key, []).append(attempt)
            case "run":
                self._attempt(event).end(event)
            case "abandoned":
                self._attempt(event).charged = event.read(Abandoned).seconds
            case "decision":
                self.cases[event.key] = Case(decision=event.read(Decision), seq=event.seq, session=self._session or "")
            case "opinion":
                opinion = event.read(Opinion)
                case = self._case(event, opinion.decision)
                case.opinions = [*(one for one in case.opinions if one.guard != opinion.guard), opinion]
                case.heard[opinion.guard] = len(case.votes)
                if case.rewarded is None and opinion.reward is not None:
                    case.rewarded = opinion.reward, len(case.votes)
            case "applied":
                case = self._case(event, event.key)
                case.applied = event.read(Effect)
                self.last_applied = event.seq
                if case.decision.action.kind == ROLLBACK:
                    self._case(event, str(case.decision.action.details.get("decision"))).rolled_back = event.key
            case "undone":
                case = self._case(event, event.key)
                case.undone = event.read(Effect)
                if case.decision.action.kind == ROLLBACK:
                    self._case(event, str(case.decision.action.details.get("decision"))).rolled_back = ""
            case "duel":
                case = self._case(event, event.key)
                case.bout = event.read(Bout)
                if case.promoted:
                    self.promotions.append(event.key)
            case "vote":
                vote = event.read(Vote)
                case = self._case(event, vote.decision)
                case.votes.append(vote)
                case.blind += case.bout is None
            case "lesson":
                self.lessons.append(event.read(Lesson))
            case "ranked":
                self.rankings[event.key] = event.seq, event.read(Ranking)
            case "withdrawn":
                self.withdrawn[event.key] = event.read(Withdrawal)
            case "session":
                self.sessions[event.key] = event.read(Session)
                self._session = event.key
            case "wanted":
                latest = event.read(Wanted)
                untouched = {task: id for task, id in self.wanted.champions.items() if task not in latest.tasks}
                self.wanted = Wanted(
                    tasks={**self.wanted.tasks, **latest.tasks},
                    gates={**self.wanted.gates, **latest.gates},
                    again=latest.again,
                    payers={**self.wanted.payers, **latest.payers},
                    champions={**untouched, **latest.champions},
                )
            case "stopped":
                self.stops[event.key] = event.read(Stopped)
            case "pulls":
                self.pulls = event.read(Pulls)
            case "code":
                self.code[event.key] = event.read(Code)
            case "acknowledged":
                word = event.read(Acknowledged)
                self.acknowledged[word.old, word.new] = word
            case "calibration":
                self.calibrations.append(event.read(Calibration))

    def done(self, key: str) -> bool:
        """Whether the latest attempt at `key` has a result that stands: not killed, nor timed out with more time to come."""
        run = self.latest(key)
        return run is not None and not (run.status is Status.TIMED_OUT and key in self.wanted.again)

    def run(self, key: str) -> Run | None:
        """The result of the latest attempt at `key`; none unless it is done."""
        return self.latest(key) if self.done(key) else None

    def latest(self, key: str) -> Run | None:
        """The result of the latest attempt at `key`, also one that will not stand; none when it has none, or was killed."""
        attempts = self.attempts.get(key)
        return attempts[-1].run if attempts and attempts[-1].done else None

    @property
    def runs(self) -> dict[str, Run]:
        """The latest results of all runs, by run key, in submission order."""
        return {key: run for key in self.attempts if (run := self.latest(key)) is not None}

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
        return spending(a for key in set(keys) for a in self.attempts.get(key, ()))

    @property
    def spent(self) -> Spending:
        """What everything in the ledger has cost."""
        return spending(self._all())

    def granted(self, task: str, *, among: Collection[str] | None = None) -> int | None:
        """Seeds in all that decisions have granted `task`; none when no grant stands.

        With `among` (run keys), only decisions whose evidence is among them count: a grant earned
        by the code of last week says nothing of the code of today.
        """
        known = None if among is None else {"r" + key[:8] for key in among}
        grants = [
            case.seeds
            for case in self.cases.values()
            if case.stands
            and case.decision.action.kind == MEASURE_AGAIN
            and case.decision.action.task == task
            and (known is None or known.issuperset(case.decision.evidence))
        ]
        return max(grants, default=None)

    @property
    def duels(self) -> tuple[str, ...]:
        """Decisions on candidates that nobody has forbidden, in the order they were made."""
        return tuple(id for id, case in self.cases.items() if case.duel)

    @property
    def next_duel(self) -> int:
        """The place, from 1, of the next duel of the ledger: it may spend that share of the error of promotions, and no other ever will.

        Counted by what was begun, and not by what was decided: a decision may still be refused when its turn comes.
        """
        duels = (case for case in self.cases.values() if case.applied and case.decision.action.kind in IMPROVING)
        places = [case.applied.details.get("k") for case in duels if case.applied]
        return 1 + max((k for k in places if isinstance(k, int)), default=0)

    def verdict_share(self, task: str, champion: str) -> float:
        """What a verdict on the champion that the decision `champion` made may spend of the error its rule declares.

        The plan's own (empty) has all of it. The k-th champion that `task` ever had after it has 1 / (k (k + 1)), which is 1 over all k.
        """
        if not champion:
            return 1.0
        order = [id for id in self.promotions if self.cases[id].decision.action.task == task]
        k = order.index(champion) + 1
        return 1 / (k * (k + 1))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in the order they were made."""
        return tuple(case.decision for case in self.cases.values())

    @property
    def made(self) -> dict[str, Precept]:
        """Every precept by its id, oldest first; one that was made twice is as it was made first."""
        found: dict[str, Precept] = {}
        for one in (precept for lesson in self.lessons for precept in lesson.kept):
            found.setdefault(one.id, one)
        return found

    @property
    def precepts(self) -> tuple[Precept, ...]:
        """Those that nobody has withdrawn, oldest first."""
        return tuple(one for one in self.made.values() if one.id not in self.withdrawn)

    @property
    def first_session(self) -> str:
        """The uuid of the oldest session, which no other ledger has but a copy; empty before it."""
        return next(iter(self.sessions), "")

    @property
    def session(self) -> Session | None:
        """The latest session: its plan text is what a report without a plan file reads."""
        return self.sessions[self._session] if self._session else None

    def _attempt(self, event: Event) -> Attempt:
        key, number = named(event)
        for attempt in reversed(self.attempts.get(key, ())):
            if attempt.number == number:
                return attempt
        raise event.fault("its attempt was never started")

    def _case(self, event: Event, decision: str) -> Case:
        if decision not in self.cases:
            raise event.fault(f"there is no decision `{decision}` before it")
        return self.cases[decision]

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
