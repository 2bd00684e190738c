"""Reads the constitution: each clause is a heading `## id: sentence` and the named checks that it is bound to.

Told as strictly as the plan: every fault at once, with line, column and the mend. A clause without a check, a check that does not
exist and a check that no clause is bound to are faults, so that nothing is promised that is not kept, or kept that is not promised.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache

from alignment.checks import known
from plan.catalogue import HOUSE, suggest
from plan.decision import Stance
from plan.faults import Fault, PlanFaults

WHERE = HOUSE / "plan" / "Constitution.md"
KEYS = ("check", "stance")
_HEADING = re.compile(r"##\s+(?P<id>[a-z0-9][a-z0-9-]*):\s+(?P<title>\S.*)")
_SETTING = re.compile(r"- \*\*(?P<key>[^*]+)\*\*:(?P<value>.*)")
_ALMOST = re.compile(r"\s*(?:[-*+]|\d+[.)])?\s*[*_`]*(?P<key>check|stance)[*_`]*\s*:[*_`]*", re.IGNORECASE)
_NAME = re.compile(r"`(?P<name>[^`]+)`")
_FENCE = re.compile(r" {0,3}(?P<mark>`{3,}|~{3,})(?P<info>[^`]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One sentence that every decision is held to."""

    id: str
    title: str
    checks: tuple[str, ...]
    stance: Stance = Stance.BLOCK
    """What a decision that breaks it meets."""
    prose: str = ""
    line: int = 0

    @property
    def text(self) -> str:
        """As opinions cite it."""
        return f"{self.id}: {self.title}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constitution:
    """The clauses, in the order in which they are looked at."""

    clauses: tuple[Clause, ...]
    path: str
    source: str


class ConstitutionFaults(PlanFaults):
    """Raised with every fault of a constitution; nothing was decided by it."""


@cache
def constitution() -> Constitution:
    """The house's own, read once."""
    return parse(WHERE.read_text(encoding="utf-8"), path=str(WHERE.relative_to(HOUSE)))


def parse(source: str, *, path: str = "<constitution>", checks: Collection[str] | None = None) -> Constitution:
    """The constitution that `source` writes down; ConstitutionFaults with every fault when it has any. `checks`: those there are."""
    reader = _Reader(source, known() if checks is None else checks)
    clauses = reader.clauses()
    if reader.faults:
        raise ConstitutionFaults(reader.faults, source=source, path=path)
    return Constitution(clauses=clauses, path=path, source=source)


class _Reader:
    def __init__(self, source: str, checks: Collection[str]) -> None:
        self.lines, self.known = source.split("\n"), checks
        self.faults: list[Fault] = []

    def clauses(self) -> tuple[Clause, ...]:
        found: list[Clause] = []
        bound: dict[str, str] = {}
        heads = [(number, line) for number, line in self._prose() if line.startswith("## ") or line.rstrip() == "##"]
        if not heads:
            self._tell("C001", "a constitution without a clause", 1, help="a clause is `## id: sentence` and a check")
        ends = [number for number, _ in heads[1:]] + [len(self.lines) + 1]
        for (number, line), end in zip(heads, ends, strict=False):
            match = _HEADING.fullmatch(line.rstrip())
            if not match:
                self._tell("C001", f"`{line.strip()}` is no clause", number, width=len(line), label="not `## id: sentence`",
                           help="an id is lower-case letters, digits and `-`, then a colon and a sentence")  # fmt: skip
            elif match["id"] in {clause.id for clause in found}:
                self._tell("C002", f"two clauses are called `{match['id']}`", number, 4, len(match["id"]), label="already given")
            else:
                clause = self._clause(match["id"], match["title"], number, end)
                for name in clause.checks:
                    if name in bound:
                        self._tell("C005", f"`{name}` is bound to `{bound[name]}` already", number, 4, len(clause.id),
                                   help="a check stands behind one clause, so that an opinion names one")  # fmt: skip
                    bound[name] = clause.id
                found.append(clause)
        if not self.faults:
            for name in sorted(set(self.known) - set(bound)):
                self._tell("C006", f"no clause is bound to the check `{name}`", len(self.lines),
                           help=f"write the clause it keeps, with `- **check**: `{name}``, or take the check away")  # fmt: skip
        return tuple(found)

    def _prose(self) -> Iterator[tuple[int, str]]:
        """(1-based number, line) of every line outside fences."""
        mark, opened = "", 0
        for number, line in enumerate(self.lines, start=1):
            fence = _FENCE.fullmatch(line.rstrip())
            if mark:
                if fence and fence["mark"].startswith(mark) and not fence["info"].strip():
                    mark = ""
            elif fence:
                mark, opened = fence["mark"], number
            else:
                yield number, line
        if mark:
            self._tell(
                "C007",
                "a fence that nobody closes swallows every clause below it",
                opened,
                width=len(mark),
                help=f"close it with `{mark}`",
            )

    def _clause(self, id: str, title: str, first: int, end: int) -> Clause:
        given: dict[str, tuple[int, int, str]] = {}
        prose: list[str] = []
        for number, line in enumerate(self.lines[first : end - 1], start=first + 1):
            if match := _SETTING.fullmatch(line.rstrip()):
                key = match["key"]
                if key not in KEYS:
                    near = suggest(key, KEYS)
                    self._tell("C003", f"unknown setting `{key}`", number, 5, len(key), label="no such setting",
                               help=f"did you mean `{near}`?" if near else "a clause has `check` and `stance`")  # fmt: skip
                elif key in given:
                    self._tell("C003", f"`{key}` is given twice", number, 5, len(key), label="already given")
                else:
                    given[key] = (number, match.start("value") + 1, match["value"])
            elif almost := _ALMOST.match(line):
                self._tell("C003", f"`{line.strip()[:40]}` is not read as a setting", number, almost.start("key") + 1, len(almost["key"]),
                           help=f"write `- **{almost['key'].lower()}**: ...` at the left margin")  # fmt: skip
            else:
                prose.append(line)
        return Clause(id=id, title=title, line=first, checks=self._checks(id, first, given.get("check")),
                      stance=self._stance(given.get("stance")), prose="\n".join(prose).strip())  # fmt: skip

    def _checks(self, id: str, first: int, given: tuple[int, int, str] | None) -> tuple[str, ...]:
        if given is None:
            self._tell("C004", f"the clause `{id}` is bound to no check", first, 4, len(id), label="who keeps it?",
                       help="add `- **check**: `name`` below it; a clause that nobody checks is a wish")  # fmt: skip
            return ()
        number, at, value = given
        names = list(_NAME.finditer(value))
        if not names or _NAME.sub("", value).replace(",", "").strip():
            self._tell("C004", "checks are names in backticks, with commas between them", number, at, max(1, len(value)))
        for match in names:
            if match["name"] not in self.known:
                near = suggest(match["name"], self.known)
                self._tell("C004", f"no check `{match['name']}`", number, at + match.start("name"), len(match["name"]), label="no such check",
                           help=f"did you mean `{near}`?" if near else "checks stand in alignment/checks/")  # fmt: skip
        return tuple(dict.fromkeys(match["name"] for match in names))

    def _stance(self, given: tuple[int, int, str] | None) -> Stance:
        word = "block" if given is None else given[2].strip()
        if word not in ("block", "object") and given is not None:
            self._tell(
                "C003",
                f"`{word}` is no stance of a clause",
                given[0],
                given[1] + 1,
                max(1, len(word)),
                help="`block` or `object`",
            )
            return Stance.BLOCK
        return Stance(word)

    def _tell(
        self, code: str, message: str, line: int, column: int = 1, width: int = 1, *, label: str = "", help: str = ""
    ) -> None:
        self.faults.append(Fault(code=code, message=message, line=line, column=column, width=width, label=label, help=help))
