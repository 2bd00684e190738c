"""The plan's grammar: Markdown with three shapes (settings, target tables, configs); everything else is prose.

`parse` tells every fault at once and never edits the plan; `spans` accounts for every character of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from plan import catalogue
from plan.catalogue import Shelves
from plan.faults import Fault, PlanFaults
from plan.layout import CONFIG, CONFIG_MARKS, MEANT, SETTINGS, Block, Layout, Span, print_plan, setting, spans
from plan.meaning import Meaning, Section, guess_id
from plan.nouns import Budget, Plan, Task
from plan.overrides import read_config
from plan.pieces import Piece
from plan.rows import is_target_table, read_table
from plan.settings import read_value

__all__ = ["Shelves", "Span", "parse", "print_plan", "read", "spans"]

_TASK = re.compile(r"`?(?P<id>[a-z0-9][a-z0-9-]*)`?\s*:\s*(?P<title>\S.*)", re.DOTALL)
_LOST = {"P002", "P012", "P017", "P020", "P028"}
"""Faults above a fence or comment nobody closed that may follow from what it swallows."""


def read(path: str | Path, *, shelves: Shelves | None = None) -> Plan:
    """The plan in the file at `path`; PlanFaults when it has any, OSError when there is no such file."""
    raw = Path(path).read_bytes()
    try:
        source = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        source = raw.decode("utf-8", errors="replace")
        before = raw[: error.start].decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        fault = Fault(
            code="P001", message="the plan is not UTF-8 text", line=before.count("\n") + 1,
            column=len(before) - before.rfind("\n"), label=f"byte 0x{raw[error.start]:02x} is not UTF-8",
            help="save the file as UTF-8",
        )  # fmt: skip
        raise PlanFaults([fault], source=source, path=str(path)) from None
    return parse(source, path=str(path), shelves=shelves)


def parse(source: str, *, path: str = "<plan>", shelves: Shelves | None = None) -> Plan:
    """The plan that `source` writes down; PlanFaults with every fault when it has any.

    `shelves` says which modules, benchmarks and config keys exist; by default, those of this house.
    """
    page = Layout(source)
    if unclean := re.search(r"[\ud800-\udfff]", source):
        page.report(
            "P001",
            "the plan is not UTF-8 text",
            Piece(unclean.group(), unclean.start()),
            label="half a character",
            help="write the whole one",
        )
    plan = _Reader(page, shelves or catalogue.shelves()).plan(path)
    if page.faults:
        raise PlanFaults(_causes(page.faults), source=source, path=path)
    return plan


def _causes(faults: Sequence[Fault]) -> list[Fault]:
    """The faults without those that another one explains."""
    swallows = min((fault.line for fault in faults if fault.code == "P022"), default=None)
    if swallows is not None:
        return [f for f in faults if f.code == "P022" or (f.line < swallows and f.code not in _LOST)]
    told: list[Fault] = []
    for fault in sorted(faults, key=lambda fault: fault.line):
        if fault.code == "P021" and told and told[-1].code == "P020" and fault.line <= told[-1].line + 4:
            told.pop()
        if fault.code != "P021" or not any(f.code == "P021" and f.line + 4 >= fault.line for f in told):
            told.append(fault)
    return told


class _Reader:
    """Walks the blocks of one page and gathers its sections."""

    def __init__(self, page: Layout, shelves: Shelves) -> None:
        self.page, self.shelves = page, shelves
        self.common = Section(id="", title="", place=Piece("", 0), named=False)
        self.sections: list[Section] = []
        self.title: str | None = None

    def plan(self, path: str) -> Plan:
        for number, block in enumerate(self.page.blocks):
            self._read(self._meant(number, block))
        self._opening()
        for section in self.sections:
            section.bare = not (section.settings or section.rows or section.configs)
            section.settings = {**self.common.settings, **section.settings}
            section.excused |= self.common.excused
        self._excuse()
        meaning = Meaning(self.page, self.sections, self.shelves)
        meaning.check()
        tasks = tuple(self._task(section, meaning) for section in self.sections)
        return Plan(
            title=self.title or "", tasks=tasks, path=path, source=self.page.source, prose=_joined(self.common.prose),
            digest=hashlib.sha256(self.page.source.encode("utf-8", "surrogatepass")).hexdigest(),
        )  # fmt: skip

    @property
    def section(self) -> Section:
        """The task being read, or what stands above the first one."""
        return self.sections[-1] if self.sections else self.common

    def _meant(self, number: int, block: Block) -> Block:
        """A heading of prose that reads as a task's and has a task's parts below it is a fault, and is then read as one."""
        below = takewhile(lambda other: other.kind != "heading", self.page.blocks[number + 1 :])
        if block.kind != "heading" or block.level < 3 or not _TASK.fullmatch(block.content):
            return block
        if not any(
            one.kind in ("setting", "config") or (one.kind == "table" and is_target_table(self.page, one)) for one in below
        ):
            return block
        self.page.report("P015", "this line looks like a task heading but is prose", self.page.lines[block.first].strip(),
                         label="what stands below would belong to the task above", help=f"write `## {block.content}`, or leave the colon out")  # fmt: skip
        return replace(block, level=2)

    def _read(self, block: Block) -> None:
        if block.kind == "heading" and block.level == 1:
            self._title(block)
        elif block.kind == "heading" and block.level == 2:
            self._heading(block)
        elif block.kind == "setting":
            self._setting(block)
        elif block.kind == "table":
            self._table(block)
        elif block.kind == "config":
            self._config(block)
        elif block.kind in ("prose", "blank", "heading"):
            self._fence(block)
            self.section.prose.append(self.page.text(block).text if block.kind != "blank" else "")

    def _title(self, block: Block) -> None:
        line = self.page.text(block).strip()
        if self.title is not None:
            self.page.report("P018", "a plan has one title; this is a second one", line, label="a second title",
                             help="start a task with `## id: title`, or prose with `###`")  # fmt: skip
        elif self.sections:
            self.page.report("P002", "the plan's title comes after its first task", line, label="too late",
                             help="a plan begins with `# ` and its title")  # fmt: skip
        self.title = self.title or block.content or "untitled"

    def _heading(self, block: Block) -> None:
        text = " ".join(block.content.split())
        line = self.page.lines[block.first]
        at = line.text.find(block.content.split("\n")[0])
        place = line.cut(at, at + len(block.content.split("\n")[0])) if at >= 0 else line.strip()
        match = _TASK.fullmatch(block.content)
        if match:
            section = Section(id=match["id"], title=" ".join(match["title"].split()), named=True,
                              place=place.cut(match.start("id"), match.end("id")))  # fmt: skip
        else:
            id, colon, title = text.partition(":")
            guess = guess_id(id) or "task"
            section = Section(id=guess, title=title.strip(), place=place, named=False)
            if self.page.is_underlined(block):
                self._underlined(block, place)
                return
            if not colon:
                why, help = "no colon", f"a task is `## {guess[:30]}: title`; for a heading inside prose use `###`"
            elif not title.strip():
                why, help = "no title", f"say in a few words what the task is: `## {guess}: ...`"
            else:
                why, help = "not an id", f"an id is lower-case letters, digits and `-`: `## {guess}: {title.strip()}`"
            self.page.report("P015", f"the heading `{text}` does not name a task", place, label=why, help=help)
        self.sections.append(section)

    def _underlined(self, block: Block, place: Piece) -> None:
        """Prose or a table that a line of dashes right below it has made a heading."""
        if "|" in place.text:
            self.page.report("P021", "these lines look like a table but Markdown reads them as a heading", place, label="not a table",
                             help="a table needs the row `| --- | --- | --- | --- |` right below its header")  # fmt: skip
        else:
            self.page.report("P015", f"the line of dashes makes `{place.text}` a heading", place, label="not a task",
                             help="leave an empty line above the dashes, or write a task as `## id: title`")  # fmt: skip

    def _setting(self, block: Block) -> None:
        key, value = setting(self.page.lines[block.first])
        section = self.section
        if key.text not in SETTINGS:
            near = MEANT.get(key.text.lower()) or catalogue.suggest(key.text, SETTINGS)
            if near:
                section.excused.add(near)
            self.page.report("P003", f"unknown setting `{key.text}`", key, label="no such setting",
                             help=f"did you mean `{near}`?" if near else "the settings are " + ", ".join(f"`{name}`" for name in SETTINGS))  # fmt: skip
            return
        if key.text in section.settings:
            first = self.page.line_of(section.settings[key.text][0])
            self.page.report("P023", f"the setting `{key.text}` is given twice", key, label="already given",
                             help=f"the first one is in line {first}; keep one of them")  # fmt: skip
            return
        if key.text == "needs" and section is self.common:
            self.page.report("P032", "`needs` above the first task would make every task need itself", key, label="belongs to a task",
                             help="move it below the heading of the task that needs something")  # fmt: skip
            return
        if block.last > block.first + 1 and not self.page.faulty(block, "P021"):
            self.page.report(
                "P004", f"the setting `{key.text}` runs on into the next line", self.page.lines[block.first + 1].strip(),
                label="Markdown makes this a part of the setting", help="a setting is one line; leave an empty line before prose",
            )  # fmt: skip
        section.excused |= {name for name in SETTINGS if f"**{name}**" in value.text}
        section.settings[key.text] = (value, read_value(self.page, key.text, value))

    def _table(self, block: Block) -> None:
        rows = read_table(self.page, block)
        if rows is None:
            self.section.prose.append(self.page.text(block).text)
        elif self.section is self.common:
            self.page.report("P032", "a target table above the first task belongs to no task", self.page.lines[block.first].strip(),
                             label="whose targets?", help="move it below a heading `## id: title`")  # fmt: skip
        else:
            self.section.rows += rows

    def _config(self, block: Block) -> None:
        place = self.page.lines[block.first].strip()
        if self.section is self.common:
            self.page.report("P032", "a config above the first task belongs to no task", place, label="whose config?",
                             help="move it below a heading `## id: title`")  # fmt: skip
        elif self.section.configs:
            first = self.section.configs[0].first + 1
            self.page.report("P023", "the task has two configs", place, label="already given",
                             help=f"the first one is in line {first}; write both in one")  # fmt: skip
        else:
            self.section.configs.append(block)

    def _fence(self, block: Block) -> None:
        marks = set(block.content.lower().split())
        if marks & CONFIG_MARKS or (block.content and catalogue.suggest(block.content, [CONFIG])):
            self.page.report("P032", f"a fence marked `{block.content}` is not read as a config", self.page.lines[block.first].strip(),
                             label="prose, as it stands", help="mark it `toml config`, or `text` if it is only an example")  # fmt: skip

    def _opening(self) -> None:
        top = self.page.lines[0]
        if not self.page.source.strip("\ufeff \t\r\n"):
            self.page.report(
                "P002", "the plan is empty", top, label="nothing here", help="`orchestrate explain P002` shows a first plan"
            )
        elif self.title is None:
            self.page.report(
                "P002", "the plan has no title", top, label="no `# ` above the first task", help="begin it with `# ` and a title"
            )
        elif not self.sections:
            self.page.report("P002", "the plan has no task", top, label="nothing to do", help="a task begins with `## id: title`")

    def _excuse(self) -> None:
        """Note what the faults told so far explain, so that nobody is told of it twice."""
        edges = [self.page.line_of(section.place) for section in self.sections] + [len(self.page.lines) + 1]
        for section, first, last in zip(self.sections, edges, edges[1:], strict=False):
            for fault in self.page.faults:
                if first <= fault.line < last:
                    section.excused |= {"P004": set(SETTINGS), "P019": {"target"}, "P020": {"target"}, "P021": {"target"},
                                        "P032": {"target"}}.get(fault.code, set())  # fmt: skip
                elif fault.line < edges[0] and fault.code == "P004":
                    section.excused |= set(SETTINGS)

    def _task(self, section: Section, meaning: Meaning) -> Task:
        config: dict[str, Any] = {}
        for block in section.configs:
            if not self.page.faulty(block, "P022"):
                config.update(read_config(self.page, block, self.shelves, section.name("module")))
        given = {
            key: value
            for key in ("device", "priority", "gate", "data", "pulls", "improve", "trials", "search")
            if (value := section.value(key)) is not None
        }
        return Task(
            id=section.id, title=section.title, module=section.name("module") or "", benchmark=section.name("benchmark") or "",
            targets=meaning.targets(section), needs=_unique(need.text for need in section.value("needs") or ()),
            seeds=section.seeds, budget=section.value("budget") or Budget(), config=config, prose=_joined(section.prose),
            line=self.page.line_of(section.place), **given,
            data_line=self.page.line_of(section.settings["data"][0]) if "data" in section.settings else 0,
        )  # fmt: skip


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _joined(prose: Sequence[str]) -> str:
    """Blocks of prose as they stand in the plan, without the gaps that settings and tables leave."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(prose)).strip("\n")
