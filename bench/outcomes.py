"""What a decision turned out to be, and how often each guard was right about it. Pure: a function of the ledger's facts.

Two questions, since guards claim different things. *Sound*: did it break anything? It did where people vote against it, where its promotion was
rolled back, where a run of its candidate was forged, or where the candidate failed its gate or was not the same function; it did not where what it
asked for was measured and nothing of this came up, or where people approve of it. *Better*: was its candidate promoted, for good? What none of
this has decided is pending, and never counts as right. Votes that a guard knew of say nothing of how well it foresees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from scipy import special

from bench.fold import MEASURE_AGAIN, Case, Facts
from plan import catalogue
from plan.decision import Opinion, Stance, tally
from plan.nouns import Run, Status

LEVEL = 0.95
TRIAL = "trial"


class Question(StrEnum):
    """What a guard's opinion is an answer to; its decorator says `foresees=`."""

    SOUND = "sound"
    BETTER = "better"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is known by now of a decision; None where nothing has decided it."""

    sound: bool | None
    better: bool | None
    why: str
    """What decided whether it was sound; empty while it is open."""

    def of(self, question: Question) -> bool | None:
        """The answer to one question."""
        return self.sound if question is Question.SOUND else self.better


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How often opinions of one guard and one stance were right."""

    guard: str
    stance: Stance
    question: Question
    right: int
    wrong: int
    pending: int

    @property
    def decided(self) -> int:
        """Opinions of which it is known."""
        return self.right + self.wrong

    @property
    def share(self) -> float | None:
        """Of the decided ones, those that were right."""
        return self.right / self.decided if self.decided else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of Clopper and Pearson for `share`; all of [0, 1] where nothing is decided."""
        error = (1 - LEVEL) / 2
        low = float(special.betaincinv(self.right, self.wrong + 1, error)) if self.right else 0.0
        high = float(special.betaincinv(self.right + 1, self.wrong, 1 - error)) if self.wrong else 1.0
        return low, high


class Outcomes:
    """What became of the decisions of a ledger."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._runs: dict[str, list[Run]] = {}
        for attempts in facts.attempts.values():
            if attempts[-1].done and attempts[-1].decision:
                self._runs.setdefault(attempts[-1].decision, []).append(attempts[-1].run)

    def of(self, case: Case, *, but: int = 0) -> Outcome:
        """What is known of one decision, `but` for its first votes."""
        said, bout = tally(case.votes[but:]), case.bout
        better: bool | None = None
        if bout is not None and bout.answer in ("promote", "reject"):
            better = bout.answer == "promote" and not case.rolled_back
        elif said:
            better = said > 0
        if why := self._unsound(case, said):
            return Outcome(sound=False, better=better, why=why)
        why = "people approve of it" if said > 0 else self._measured(case)
        return Outcome(sound=True if why else None, better=better, why=why)

    def _unsound(self, case: Case, said: int) -> str:
        if case.rolled_back:
            return f"promoted, then rolled back by {case.rolled_back}"
        forged = next((run for run in self._own(case) if run.status is Status.FORGED), None)
        if forged is not None:
            return f"its run {forged.id} was forged: {forged.message}"
        if case.bout is not None and case.bout.answer == "reject" and not case.bout.runs:
            return case.bout.why
        return "people reject it" if said < 0 else ""

    def _measured(self, case: Case) -> str:
        """What was measured of what it asked for; empty while something is missing, or nothing was to be measured."""
        details, kind = case.decision.action.details, case.decision.action.kind
        if case.bout is not None and case.bout.runs:
            return f"its duel is over: {case.bout.answer}"
        if not case.stands:
            return ""
        if kind == TRIAL:
            asked = len(details.get("candidates", ())) * len(details.get("seeds", ()))
            return "its trials are measured" if 0 < asked <= len(self._own(case)) else ""
        if kind == MEASURE_AGAIN:
            keys = self.facts.wanted.tasks.get(case.decision.action.task, ())
            return "its seeds are measured" if 0 < case.seeds <= sum(map(self.facts.done, keys)) else ""
        return ""

    def _own(self, case: Case) -> list[Run]:
        """Results of its own candidates: those of its champion in the same duel are left out."""
        tree = str(case.applied.details.get("tree", "")) if case.applied else ""
        details = case.decision.action.details
        wanted = [
            (one.get("module"), one.get("config", {}), tree)
            for one in details.get("candidates", (details,))
            if isinstance(one, Mapping)
        ]
        found = self._runs.get(case.decision.id, ())
        return [run for run in found if (run.request.module, run.request.config, run.request.tree) in wanted]


def records(cases: Iterable[Case], facts: Facts) -> tuple[Record, ...]:
    """For each guard and stance, how often it was right, in the order of names and of stances; what abstains counts for nothing."""
    counts: dict[tuple[str, Stance], list[int]] = {}
    asked = {name: Question(entry.arguments.get("foresees", "sound")) for name, entry in catalogue.shelf("guard").items()}
    outcomes = Outcomes(facts)
    for case in cases:
        for opinion in case.opinions:
            if opinion.abstains:
                continue
            known = outcomes.of(case, but=case.heard[opinion.guard])
            count = counts.setdefault((opinion.guard, opinion.stance), [0, 0, 0])
            count[_mark(opinion, known.of(asked.get(opinion.guard, Question.SOUND)))] += 1
    order = list(Stance)
    return tuple(
        Record(guard=guard, stance=stance, question=asked.get(guard, Question.SOUND), right=right, wrong=wrong, pending=pending)
        for (guard, stance), (right, wrong, pending) in sorted(
            counts.items(), key=lambda item: (item[0][0], order.index(item[0][1]))
        )
    )


def _mark(opinion: Opinion, good: bool | None) -> int:
    """0 right, 1 wrong, 2 pending: to allow is right of what was good, to object and to block of what was not."""
    if good is None:
        return 2
    return int((opinion.stance is Stance.ALLOW) != good)
