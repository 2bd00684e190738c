"""Faults of a plan: what is wrong, where, and the mend, told all at once as a compiler tells them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plan.explain import EXPLAIN

__all__ = ["EXPLAIN", "Fault", "PlanFaults", "columns", "render"]

TAB = 4
"""A tab is shown as this many spaces, so that carets stand where every terminal puts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a plan. `line` and `column` are 1-based and count characters, as editors do."""

    code: str
    message: str
    line: int
    column: int = 1
    width: int = 1
    label: str = ""
    """A few words that stand beside the carets."""
    help: str = ""
    """The mend; empty when the label says it all."""


class PlanFaults(Exception):
    """Raised by `plan.grammar.parse` with every fault of a plan; nothing of the plan was run."""

    def __init__(self, faults: Iterable[Fault], *, source: str, path: str) -> None:
        self.faults: tuple[Fault, ...] = tuple(sorted(faults, key=lambda fault: (fault.line, fault.column, fault.code)))
        self.source = source
        self.path = path
        super().__init__(f"{path} has {_count(self.faults)}")

    def __str__(self) -> str:
        return render(self.faults, self.source, self.path)


def render(faults: Sequence[Fault], source: str, path: str) -> str:
    """Every fault with its place, source line and mend, and a last line that counts them."""
    lines = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    told = [_one(fault, lines, path) for fault in faults]
    return "\n\n".join([*told, f"error: {path} has {_count(faults)}; nothing was run"]) + "\n"


def columns(text: str) -> int:
    """How many terminal columns `text` takes: 2 for a wide character, 0 for a combining one."""
    return sum(_columns(character) for character in text)


def _one(fault: Fault, lines: Sequence[str], path: str) -> str:
    text = lines[fault.line - 1] if fault.line <= len(lines) else ""
    before, marked = text[: fault.column - 1], text[fault.column - 1 : fault.column - 1 + fault.width]
    number = str(fault.line)
    gutter = " " * len(number)
    carets = "^" * max(1, columns(_shown(marked)))
    told = [
        f"error[{fault.code}]: {_shown(fault.message)}",
        f"{gutter}--> {path}:{fault.line}:{fault.column}",
        f"{gutter} |",
        f"{number} | {_shown(text)}".rstrip(),
        f"{gutter} | {' ' * columns(_shown(before))}{carets} {_shown(fault.label)}".rstrip(),
    ]
    if fault.help:
        told.append(f"{gutter} = help: {_shown(fault.help)}")
    return "\n".join(told)


def _shown(text: str) -> str:
    """`text` with tabs spread out and characters that would act on a terminal made visible."""
    return "".join(" " * TAB if c == "\t" else "\ufffd" if _acts(c) else c for c in text)


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(character) in (
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
    )  # fmt: skip


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _count(faults: Sequence[Fault]) -> str:
    return f"{len(faults)} fault" + ("" if len(faults) == 1 else "s")
