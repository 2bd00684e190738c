"""Decisions, the actions they ask for, and the opinions guards hold of them.

They live below both `agents` (which decides and acts) and `alignment` (which judges), so that
neither has to import the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from plan.nouns import Plan, Run, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A change asked for: its kind names the class that applies and undoes it."""

    kind: str
    task: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who proposes which action, on which evidence, expecting what."""

    id: str
    """Deterministic in what was known when it was made, so that a replay makes the same id."""
    decider: str
    action: Action
    evidence: tuple[str, ...]
    """Run ids the decision rests on."""
    expected: float
    """What the decider expects of the action, in the unit `expects` names."""
    expects: str
    why: str


class Stance(StrEnum):
    """A guard's word: go on, go on but note this, or do not."""

    ALLOW = "allow"
    OBJECT = "object"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one guard says of one decision, and the clause it rests on."""

    guard: str
    decision: str
    stance: Stance
    clause: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known at one moment: the fold of the ledger that deciders and guards may read."""

    plan: Plan
    verdicts: tuple[Verdict, ...]
    runs: Mapping[str, tuple[Run, ...]]
    """Finished runs by task id, in submission order."""
    seeds: Mapping[str, int]
    """Seeds granted to each task so far."""
    decisions: tuple[Decision, ...] = ()


class Decider(Protocol):
    """Proposes decisions and is told how they turned out."""

    def ask(self, situation: Situation) -> Sequence[Decision]:
        """Decisions to make now; empty when there is nothing worth doing."""
        ...

    def tell(self, decision: Decision, before: Verdict, after: Verdict) -> None:
        """The verdict of the decision's target before and after its action ran."""
        ...


class Guard(Protocol):
    """Vets one decision against facts."""

    def review(self, decision: Decision, situation: Situation) -> Opinion:
        """An opinion, with the clause it rests on."""
        ...
