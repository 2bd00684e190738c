"""What the orchestrator tells whoever watches: one stream of events, many faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from plan.decision import Decision, Opinion
from plan.nouns import Plan, Request, Run, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The plan was read and the ledger folded; work begins."""

    plan: Plan
    ledger: str
    jobs: int
    cached: int
    workers: int
    budget: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A measurement began."""

    run: str
    tasks: tuple[str, ...]
    request: Request
    attempt: int
    reason: str
    """Why it is not taken from the ledger: new, interrupted, or what changed since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """A running measurement told where it is."""

    run: str
    step: int
    total: int
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A measurement ended, well or not."""

    tasks: tuple[str, ...]
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdicts as they stand; `changed` are those of another state than the last time, or unsure at another n."""

    verdicts: tuple[Verdict, ...]
    changed: tuple[Verdict, ...]
    jobs: int
    """Measurements that the plan wants by now."""
    done: int
    seconds_left: float | None
    """Estimate for the measurements still to do, from those done so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decider proposed something, the guards said their word, and it was carried out or not."""

    decision: Decision
    opinions: tuple[Opinion, ...]
    applied: bool
    """Whether it was carried out; for what improves a task: its duel, or trial, was begun, and nothing is changed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A sentence worth telling that is none of the above."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The loop ended; `reason` says why."""

    reason: str
    seconds: float
    verdicts: tuple[Verdict, ...]


Event = Opened | Started | Progressed | Finished | Judged | Decided | Noted | Stopped
Watch = Callable[[Event], None]
