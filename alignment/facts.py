"""What a check may look at: the decision, the ledger's fold, the patch as it would be applied, and digests before and after."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from alignment.patch import Change, Misapplied, PatchFault, parse
from alignment.straight import straight
from plan import catalogue
from plan.decision import Decision, Situation

CANDIDATE_KINDS = ("tune", "refactor", "replace")
"""Kinds of action whose details hold a candidate: `module`, `config`, `patch`."""
JUDGING = ("agents", "alignment", "bench", "plan")
"""Packages whose files decide what is measured, how, and what follows."""

Read = Callable[[str], str | None]
"""A file of the house by its path below it; none when there is no such file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One Python file that the patch changes or adds: both texts, and the syntax trees of both."""

    change: Change
    before: ast.Module
    after: ast.Module


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One decision and what is known around it."""

    decision: Decision
    situation: Situation
    read: Read
    baseline: Mapping[str, str] = field(default_factory=dict)
    """Digests of the judge's files and the plan's when the guard was made."""
    now: Callable[[], Mapping[str, str]] = dict
    """The same digests at this moment."""

    @property
    def why(self) -> str:
        """The decision's reason with straight quotes: what was typeset is read as what was typed."""
        return straight(self.decision.why)

    @property
    def details(self) -> Mapping[str, Any]:
        """What the action says of itself."""
        return self.decision.action.details

    @property
    def patch_text(self) -> str:
        """The patch of a candidate; empty when it has none."""
        patch = self.details.get("patch", "")
        return patch if isinstance(patch, str) else ""

    @cached_property
    def patch(self) -> tuple[Change, ...] | PatchFault:
        """What the patch does, or why it cannot be read."""
        if not self.patch_text:
            return ()
        try:
            return parse(self.patch_text)
        except PatchFault as fault:
            return fault

    @property
    def changes(self) -> tuple[Change, ...]:
        """What the patch does to each file; nothing when it cannot be read."""
        return () if isinstance(self.patch, PatchFault) else self.patch

    @cached_property
    def applied(self) -> Mapping[str, tuple[str, str]] | Misapplied:
        """Text of each file before and after (empty for one that is not there), or why the patch does not fit this house."""
        found: dict[str, tuple[str, str]] = {}
        try:
            for change in self.changes:
                before = self.read(change.path)
                found[change.path] = before or "", change.applied(before) or ""
        except Misapplied as fault:
            return fault
        return found

    @cached_property
    def sources(self) -> tuple[Source, ...] | SyntaxError:
        """The Python files of the patch as syntax trees, or the first that is no Python."""
        if isinstance(self.applied, Misapplied):
            return ()
        found = []
        for change in self.changes:
            before, after = self.applied[change.path]
            if change.path.endswith(".py"):
                try:
                    # as bytes, which is what runs: a coding cookie makes another text of them
                    trees = (ast.parse(text.encode("utf-8")) for text in (before, after))
                    found.append(Source(change=change, before=next(trees), after=next(trees)))
                except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                    line = getattr(error, "lineno", None)
                    return SyntaxError(f"`{change.path}`{f' line {line}' if line else ''}: {getattr(error, 'msg', error)}")
        return tuple(found)


def house_file(path: str, *, house: Path = catalogue.HOUSE) -> str | None:
    """The text of a file of this house; none when there is no such file, or it is no text."""
    try:
        return (house / path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def digests(paths: Sequence[Path] = (), *, house: Path = catalogue.HOUSE) -> dict[str, str]:
    """sha256 of every file that judges, and of `paths`, by name; a file that is gone is not among them."""
    judging = [path for package in JUDGING for path in sorted((house / package).rglob("*")) if path.suffix in (".py", ".md")]
    found: dict[str, str] = {}
    for path in (*judging, *paths):
        try:
            name = path.relative_to(house).as_posix() if path.is_relative_to(house) else str(path)
            found[name] = sha256(path.read_bytes()).hexdigest()
        except OSError:
            continue
    return found
