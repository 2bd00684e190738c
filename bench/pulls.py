"""Open pull requests as last looked at: which of them merge, which stand in each other's way, and which tasks they touch.

The nouns of the ledger's event `pulls`, written by `orchestrate pulls` and read by every face of the scoreboard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import PurePosixPath

from plan.nouns import Plan, PullsRule, State, Verdict


class Mergeable(StrEnum):
    """Whether two commits merge. Not to know is an answer of its own, never a no."""

    YES = "mergeable"
    NO = "conflicting"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A place in a file: the path as git spells it, and the 1-based line."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One path that git cannot merge, and how git calls it: `contents`, `modify/delete`, `rename/rename` ..."""

    path: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """Both sides merge as text, and the result names something that is no longer there."""

    name: str
    """Dotted name, for example `modules.retnet.decay`."""
    what: str
    """`function`, `class`, `method`, `attribute`, `name`, `module`, or what is wrong with a call's arguments."""
    gone_by: str
    """The side that took it away or renamed it."""
    gone: Spot
    """Where it stood before that side's changes."""
    used_by: str
    """The side that newly uses it."""
    used: Spot


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """One open pull request, or a local branch that is looked at as one."""

    name: str
    """`#12`, or the branch."""
    head: str
    """Object id of its last commit; empty when it is not known."""
    base: str
    """The branch it asks to be merged into."""
    base_head: str
    """Object id of that branch's tip."""
    title: str = ""
    number: int | None = None
    files: tuple[str, ...] = ()
    """Paths it changes since it left its base."""
    said: Mergeable = Mergeable.UNKNOWN
    """What the server says of it; unknown when no server was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What merging `theirs` into `ours` comes to."""

    ours: str
    theirs: str
    mergeable: Mergeable
    conflicts: tuple[Conflict, ...] = ()
    clashes: tuple[Clash, ...] = ()
    why: str = ""
    """For unknown: what is missing. For conflicting without paths: what git said."""

    @property
    def clean(self) -> bool:
        """It merges, and no name goes missing."""
        return self.mergeable is Mergeable.YES and not self.clashes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulls:
    """One look at all open pull requests."""

    repository: str
    """Where they come from: `owner/name`, or the name of the clone's folder."""
    pulls: tuple[Pull, ...]
    against_base: tuple[Pair, ...]
    """One per pull request, in their order."""
    between: tuple[Pair, ...] = ()
    """Pairs of pull requests that are not clean."""
    pairs: int = 0
    """How many pairs of pull requests were looked at."""
    notes: tuple[str, ...] = ()
    """Where the server and the merge disagree, and what could not be looked at."""

    @property
    def troubled(self) -> bool:
        """Some pull request conflicts, as text or in meaning, with its base or with another."""
        pairs = (*self.against_base, *self.between)
        return any(pair.mergeable is Mergeable.NO or pair.clashes for pair in pairs)

    @property
    def unknown(self) -> bool:
        """Of some pair it is not known."""
        return any(pair.mergeable is Mergeable.UNKNOWN for pair in (*self.against_base, *self.between))


def in_the_way(seen: Pulls | None, plan: Plan) -> Mapping[str, str]:
    """By task id, in words: the pull requests that touch the file of the task's module and do not merge into their base."""
    if seen is None:
        return {}
    found: dict[str, str] = {}
    for task in plan.tasks:
        told = [
            f"{pull.name} touches `{path}` and {_fault(pair)} `{pull.base}`"
            for pull, pair in zip(seen.pulls, seen.against_base, strict=False)
            if pair.mergeable is Mergeable.NO or pair.clashes
            for path in pull.files
            if _is_module(path, task.module)
        ]
        if told:
            found[task.id] = "; ".join(told)
    return found


def hold(verdicts: Iterable[Verdict], seen: Pulls | None, plan: Plan) -> tuple[Verdict, ...]:
    """The verdicts, those of a task waiting where the plan says `pulls: hold` and a pull request on its module does not merge."""
    holding = {task.id for task in plan.tasks if task.pulls is PullsRule.HOLD}
    why = {task: words for task, words in in_the_way(seen, plan).items() if task in holding}
    return tuple(
        replace(one, state=State.WAITING, reason=f"held: {why[one.task]}") if one.task in why else one for one in verdicts
    )


def _fault(pair: Pair) -> str:
    return "conflicts with" if pair.mergeable is Mergeable.NO else "breaks a name of"


def _is_module(path: str, module: str) -> bool:
    """A shelf's file is called as what it registers, on the shelf itself or on one of its sub-shelves."""
    file = PurePosixPath(path)
    return file.suffix == ".py" and file.stem == module and "modules" in file.parts[:-1]
