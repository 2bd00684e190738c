"""Changing one task until it meets its targets, as a decision process: what a policy sees, what it may do, and what that is worth.

A policy sees little: how far the task is from its targets, what it asks for, whether the last try brought it nearer, how much may still be
tried, and for each kind of change whether it has been tried, in vain or at all. So what is learnt on one task says something of another.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

from plan.nouns import Comparator, Run, Status

KINDS = ("tune", "refactor", "replace")
"""Moves that try the next candidate of a kind."""
MOVES = (*KINDS, "rollback", "stop")
"""`rollback` returns to the champion before; `stop` settles for the nearest candidate so far and ends."""
COST = 0.01
"""What a measurement costs: as much as a shortfall of one hundredth is worth."""
FEW = 8
"""Measurements left from which on they are few."""
MISSED = 0.2
"""What a target that is missed falls short by at least: passing at all is worth trying for, however near it is."""
NEAR, MIDDLE = MISSED + 0.05, MISSED + 0.2
"""Shortfalls up to which a task is near its targets, or in the middle."""

DISTANCE = ("met", "near", "middle", "far")
ASKS = ("quality", "speed")
TREND = ("untried", "nearer", "no-nearer")
LEFT = ("plenty", "few")
STOCK = ("fresh", "tried", "none")


@dataclass(frozen=True, slots=True)
class State:
    """What a policy sees."""

    distance: str
    """Of the champion from all targets."""
    asks: str
    """Whether the target in question is about what is learnt (`quality`), or about time and memory (`speed`)."""
    trend: str
    """What the last try of this task did to the shortest distance seen."""
    left: str
    """Measurements that may still be tried."""
    tune: str
    refactor: str
    replace: str
    """Of each kind: `fresh` when none of its candidates was tried, `tried` when some were, `none` when there is none to try."""
    fell: str = "no"
    """`yes`: the champion falls shorter of its targets than the one before it."""

    @property
    def text(self) -> str:
        """In a word per field, for people and for the ledger."""
        return " ".join(getattr(self, field.name) for field in fields(self))

    @classmethod
    def of(cls, text: str) -> State:
        """What `text` says; ValueError when it is no state."""
        words = text.split()
        if len(words) != len(FIELDS) or any(word not in choices for word, choices in zip(words, FIELDS.values(), strict=True)):
            raise ValueError(f"`{text}` is no state; a state is one word each of {', '.join(FIELDS)}")
        return cls(*words)

    @property
    def moves(self) -> tuple[str, ...]:
        """What can be done here, in the order of `MOVES`; nothing once all is met."""
        if self.distance == "met":
            return ()
        open_kinds = tuple(kind for kind in KINDS if getattr(self, kind) != "none")
        return (*open_kinds, *(("rollback",) if self.fell == "yes" else ()), "stop")

    @property
    def index(self) -> tuple[int, ...]:
        """Place of each word among its choices."""
        return tuple(FIELDS[field.name].index(getattr(self, field.name)) for field in fields(self))


FIELDS: Mapping[str, tuple[str, ...]] = {
    "distance": DISTANCE, "asks": ASKS, "trend": TREND, "left": LEFT, "tune": STOCK, "refactor": STOCK, "replace": STOCK,
    "fell": ("no", "yes"),
}  # fmt: skip
"""Fields of a state and the words of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """One target as a number: what has to hold of a metric in a single run."""

    metric: str
    comparator: Comparator
    threshold: float
    asks: str = "quality"
    """Whether it is about what is learnt, or about time and memory (`speed`)."""

    def met(self, run: Run) -> bool:
        """Whether a run meets it; one without the number does not."""
        value = run.metrics.get(self.metric) if run.status is Status.OK else None
        return value is not None and self.comparator.holds(value, self.threshold)

    def shortfall(self, run: Run) -> float:
        """How far a run is on the wrong side: 0 where it is met, else MISSED and the distance over the threshold's size, at most 1."""
        value = run.metrics.get(self.metric) if run.status is Status.OK else None
        if value is None or not math.isfinite(value):
            return 1.0
        return 0.0 if self.met(run) else missed(abs(value - self.threshold) / (abs(self.threshold) or 1.0))


def missed(by: float) -> float:
    """The shortfall of a target that is missed by that share of its threshold."""
    return min(1.0, MISSED + by)


def shortfall(aims: Iterable[Aim], run: Run) -> float:
    """Of all targets together, each at most 1."""
    return sum(aim.shortfall(run) for aim in aims)


def distance(gap: float) -> str:
    """The word for a shortfall."""
    return "met" if gap <= 0 else "near" if gap <= NEAR else "middle" if gap <= MIDDLE else "far"


def asks(unit: str, metric: str) -> str:
    """Whether a metric in `unit` is about what a model learns or about what it takes."""
    return "speed" if unit in ("x", "s", "B", "FLOP") or metric in ("parameters", "active_parameters") else "quality"


def reward(before: float, after: float, *, measurements: int) -> float:
    """What a move brought: by how much the champion's shortfall shrank, net of cost."""
    return before - after - COST * measurements


def states() -> Iterator[State]:
    """Every state there is."""
    return (State(*words) for words in itertools.product(*FIELDS.values()))
