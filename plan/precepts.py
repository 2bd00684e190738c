"""Precepts: rules that decisions are held against beside the constitution, each with where it came from.

They are facts of the ledger: made in a lesson, which is on record whole or not at all, and withdrawn by a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Origin(StrEnum):
    """Where a precept came from."""

    VOTES = "votes"
    """What every opinion group of a conversation supports."""
    FAILURES = "failures"
    """Decisions that slipped through and turned out badly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precept:
    """A rule that decisions are held against while nobody has withdrawn it."""

    id: str
    """Of its origin and its words, so that the same rule found twice is one."""
    origin: Origin
    text: str
    rests_on: str
    """The numbers behind it, in words."""
    causes: tuple[str, ...] = ()
    """Of one from failures: the decisions that slipped through and made it."""
    marks: tuple[str, ...] = ()
    """Of one from failures: it forbids what shows all of them."""
    usual: tuple[str, ...] = ()
    """Marks that honest decisions had shown when it was made, of the kinds of which it forbids strange ones."""
    confidence: float | None = None
    """Of one from failures: of what it forbids, the share that was a violation, on decisions it was not drafted from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A decision that a lesson was learnt from, and whether it had turned out to be a violation by then."""

    decision: str
    bad: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One time that precepts were made."""

    origin: Origin
    kept: tuple[Precept, ...] = ()
    source: str = ""
    """Of votes: the folder of the export, and what it was read with."""
    batch: tuple[Shown, ...] = ()
    """Of failures: the decisions that were new to this lesson."""
    tested: int = 0
    """Of failures: rules that this lesson put to the test; all lessons of a ledger share one error."""
    dropped: tuple[str, ...] = ()
    """What was not kept, and why."""
    noticed: tuple[str, ...] = ()
    """Of votes: what is odd about them, alarms that were accepted first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """A person takes a precept back, for good."""

    precept: str
    by: str
    comment: str = ""
