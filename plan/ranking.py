"""In which order the changes that one round of deciders proposes are tried: what the ledger keeps of it, enough to find the same order again."""

from __future__ import annotations

from dataclasses import dataclass

from plan.decision import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A change that was proposed and that no guard forbids, and what the critic made of it."""

    decision: Decision
    champion: str
    """The decision that made the champion it would fight; empty: the plan's own."""
    objections: tuple[str, ...]
    """Guards that object to it."""
    value: float
    """The action's value, by which it is placed."""
    people: float
    """How likely it is better, by people."""
    critic: float
    """The same, by the critic."""
    weight: float
    """Of people; the rest is the critic's."""
    drawn: bool
    """Whether it was placed by chance, to learn what comes of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """One round's contenders in the order in which they are tried."""

    contenders: tuple[Contender, ...]
    asked: tuple[str, ...]
    """Their decisions in the order in which they were proposed."""
    outcomes: tuple[str, ...]
    """Decisions whose measured outcomes the critic had learnt from, in their order."""
    epsilon: float
    """How often a place goes by chance."""

    @property
    def order(self) -> tuple[str, ...]:
        """Their decisions in the order in which they are tried."""
        return tuple(one.decision.id for one in self.contenders)
