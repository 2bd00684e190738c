"""What a plan's tasks mean together: do names, units, rules and needs fit? One cause is told as one fault."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plan.catalogue import SUBJECT, Entry, Shelves, suggest
from plan.decision import IMPROVING
from plan.layout import Block, Layout
from plan.limits import beyond
from plan.nouns import Comparator, Rule, RuleKind, Seeds, Target, Threshold
from plan.pieces import Piece
from plan.rows import Amount, Row
from plan.units import KNOWN, in_base, show, writable

FEWEST_SEEDS = {RuleKind.LOWER: 3, RuleKind.UPPER: 3, RuleKind.P_VALUE: 3}


@dataclass(slots=True, kw_only=True)
class Section:
    """One task as written, before it is known to make sense."""

    id: str
    title: str
    place: Piece
    """The id in the heading."""
    named: bool
    """False when the heading is at fault and `id` is a guess that keeps one fault from becoming many."""
    settings: dict[str, tuple[Piece, Any]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    configs: list[Block] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)
    bare: bool = False
    """Whether nothing but prose stands below the heading."""
    excused: set[str] = field(default_factory=set)
    """What may be absent because a fault is already told about it: setting names, and `target`."""

    def value(self, key: str) -> Any:
        """What the setting says; None when it is absent or at fault."""
        return self.settings[key][1] if key in self.settings else None

    def name(self, key: str) -> str | None:
        """The text of a setting that names something."""
        piece = self.value(key)
        return piece.text if piece else None

    @property
    def seeds(self) -> Seeds:
        """The task's seeds, or the default."""
        return self.value("seeds") or Seeds(first=3, most=3)


class Meaning:
    """Checks the sections of one plan against each other and against the shelves."""

    def __init__(self, page: Layout, sections: Sequence[Section], shelves: Shelves) -> None:
        self.page, self.sections, self.shelves = page, sections, shelves
        self.by_id: dict[str, Section] = {}
        for section in sections:
            self.by_id.setdefault(section.id, section)
        self._missing: set[tuple[str, str]] = set()
        self._few: set[int] = set()
        """Where seeds are given that are too few for some rule; told once, not for every target."""

    def check(self) -> None:
        """Report what is wrong with ids, names, needs and completeness."""
        for section in self.sections:
            first = self.by_id[section.id]
            if first is not section and section.named:
                line = self.page.line_of(first.place)
                self.page.report("P016", f"two tasks are called `{section.id}`", section.place, label="already taken",
                                 help=f"the first one is in line {line}; give this one another id")  # fmt: skip
            self._complete(section)
            self._known("P010", "module", section)
            self._known("P011", "benchmark", section)
            self._usable(section)
            self._idle(section)
            self._affordable(section)
            for need in section.value("needs") or ():
                self._task(section, need, "needs")
        self._circles()

    def targets(self, section: Section) -> tuple[Target, ...]:
        """The section's rows that make sense; the others have their fault."""
        read = [(row, self._target(section, row)) for row in section.rows]
        kept: list[Target] = []
        for row, target in read:
            if target is None:
                continue
            self._agrees(row, target, kept)
            kept.append(target)
        return tuple(kept)

    def _complete(self, section: Section) -> None:
        lacking = [key for key in ("module", "benchmark") if key not in section.settings and key not in section.excused]
        benchmark = self.shelves.benchmarks.get(section.name("benchmark") or "")
        if benchmark and benchmark.reads_data and not {"data"} & (section.settings.keys() | section.excused):
            lacking.append("data")
        if not section.rows and "target" not in section.excused:
            lacking.append("target")
        taken = section.bare and sum(other.id == section.id for other in self.sections) > 1
        if not lacking or taken or not section.named:
            return
        said = " and ".join(filter(None, [", ".join(f"no {name}" for name in lacking[:-1]), f"no {lacking[-1]}"]))
        mends = {"module": f"`- **module**: {next(iter(self.shelves.modules), 'name')}`",
                 "benchmark": f"`- **benchmark**: {next((n for n, one in self.shelves.benchmarks.items() if one.trains), 'name-v1')}`",
                 "data": "`- **data**: path`, a text file or folder", "target": "a table with the header `| metric |    | threshold | rule |`"}  # fmt: skip
        self.page.report("P017", f"task `{section.id}` has {said}", section.place, label=said,
                         help="add " + " and ".join(mends[name] for name in lacking))  # fmt: skip

    def _usable(self, section: Section) -> None:
        """Report a module, a `data` and a limit of steps that the benchmark has no use for, and what only an architecture has."""
        benchmark = self.shelves.benchmarks.get(section.name("benchmark") or "")
        module = section.name("module")
        entry = self.shelves.modules.get(module or "")
        if entry and entry.shelf == SUBJECT:
            self._no_architecture(section, entry, benchmark)
        if benchmark is None:
            return
        if benchmark.modules and module in self.shelves.modules and module not in benchmark.modules:
            written = max(("module", "benchmark"), key=lambda key: section.settings[key][0].at)
            spoken = " or ".join(f"`{name}`" for name in benchmark.modules)
            self._once(section, written, f"`{benchmark.name}` says nothing of the module `{module}`", f"it measures what {spoken} runs on",
                       f"make {spoken} the module of task `{section.id}`, or choose a benchmark that measures any module")  # fmt: skip
        if section.value("data") is not None and not benchmark.reads_data:
            fit = [n for n, one in self.shelves.benchmarks.items() if one.reads_data and module in (one.modules or (module,))]
            others = ", ".join(f"`{name}`" for name in fit)
            self._once(section, "data", f"`{benchmark.name}` does not read a text that a task names", "would not be read",
                       "take the setting away" + (f", or choose {others}" if others else ""))  # fmt: skip
        budget = section.value("budget")
        if budget and budget.steps is not None and not benchmark.trains:
            self._once(section, "budget", f"`{benchmark.name}` has no training steps to limit", "nothing is trained",
                       "limit its time (`5 min`) or its `runs`")  # fmt: skip

    def _affordable(self, section: Section) -> None:
        """Report a number of runs that cannot pay for the seeds every target of the task begins with."""
        budget, seeds = section.value("budget"), section.seeds.first
        if budget and budget.runs is not None and budget.runs < seeds and "seeds" not in section.excused:
            self._once(section, "budget", f"{budget.runs} runs cannot pay for the {seeds} seeds of task `{section.id}`", "no verdict is possible",
                       f"allow `{seeds} runs` or more, or start with fewer seeds: `- **seeds**: {budget.runs}`")  # fmt: skip

    def _no_architecture(self, section: Section, entry: Entry, benchmark: Entry | None) -> None:
        """Report a gate, ways to improve and a benchmark of architectures for what is none."""
        known = [name for name, one in self.shelves.benchmarks.items() if entry.name in one.modules]
        if benchmark and not benchmark.modules:
            self._once(section, "benchmark", f"`{benchmark.name}` measures architectures, and `{entry.name}` is none", "says nothing of it",
                       f"`{entry.name}` is measured by " + ", ".join(f"`{name}`" for name in known))  # fmt: skip
        if section.value("gate") is not False and "gate" not in section.excused:
            self.page.report("P014", f"`{entry.name}` is no architecture and has no contract that could be a gate", section.place,
                             label="no gate to pass", help="add `- **gate**: off`")  # fmt: skip
        if section.value("improve"):
            self._once(section, "improve", f"`{entry.name}` is no architecture", "nothing to try", "take the setting away")

    def _idle(self, section: Section) -> None:
        """Report a setting that says how to try what no task that has it may try."""
        for key, users in (("trials", set(IMPROVING)), ("search", {"tune"})):
            if section.value(key) is None or "improve" in section.excused:
                continue
            sharing = [other for other in self.sections if other.settings.get(key, (None,))[0] is section.settings[key][0]]
            improve = [other.value("improve") if "improve" in other.settings else () for other in sharing]
            if not any(kinds is None or users & set(kinds) for kinds in improve):
                known = " or ".join(f"`{kind}`" for kind in IMPROVING if kind in users)
                self._once(section, key, f"`{key}` is of use only to a task that may {known}", "has no effect",
                           f"write `- **improve**: {', '.join(kind for kind in IMPROVING if kind in users)}` too, or take the setting away")  # fmt: skip

    def _once(self, section: Section, key: str, message: str, label: str, help: str) -> None:
        """Report the value of a setting, once also where it is the setting of many tasks."""
        place = section.settings[key][0]
        if (key, str(place.at)) not in self._missing:
            self._missing.add((key, str(place.at)))
            self.page.report("P014", message, place, label=label, help=help)

    def _known(self, code: str, kind: str, section: Section) -> None:
        name: Piece | None = section.value(kind)
        shelf = self.shelves.modules if kind == "module" else self.shelves.benchmarks
        if not name or name.text in shelf:
            return
        broken = next((why for stem, why in self.shelves.broken.items() if stem == name.text), None)
        near = suggest(name.text, shelf)
        if broken:
            self.page.report(code, f"the {kind} `{name.text}` cannot be read from its shelf", name, label="at fault", help=broken)
            return
        known = ", ".join(f"`{other}`" for other in list(shelf)[:8]) + (", ..." if len(shelf) > 8 else "")
        self.page.report(code, f"unknown {kind} `{name.text}`", name, label=f"no such {kind}",
                         help=f"did you mean `{near}`?" if near else f"the {kind}s are {known or 'none yet'}")  # fmt: skip

    def _task(self, section: Section, name: Piece, verb: str) -> Section | None:
        if name.text in self.by_id:
            return self.by_id[name.text]
        if (section.id, name.text) not in self._missing:
            self._missing.add((section.id, name.text))
            near = suggest(name.text, [id for id in self.by_id if id != section.id])
            if near and not self.by_id[near].named:
                return None
            self.page.report(
                "P012", f"task `{section.id}` {verb} `{name.text}`, which the plan does not have", name, label="no such task",
                help=f"did you mean `{near}`?" if near else "the tasks are " + ", ".join(f"`{id}`" for id in self.by_id),
            )  # fmt: skip
        return None

    def _needed(self, section: Section) -> Iterator[str]:
        """Ids needed by the section, directly or through others; ids the plan does not have included."""
        seen: set[str] = set()
        waiting = [section]
        while waiting:
            for need in waiting.pop().value("needs") or ():
                if need.text not in seen:
                    seen.add(need.text)
                    yield need.text
                    if need.text in self.by_id:
                        waiting.append(self.by_id[need.text])

    def _circles(self) -> None:
        told: set[frozenset[str]] = set()
        for section in self.by_id.values():
            for need in section.value("needs") or ():
                way = self._way(need.text, section.id)
                if way and frozenset(way) not in told:
                    told.add(frozenset(way))
                    self.page.report(
                        "P013", "tasks need each other in a circle: " + " → ".join(f"`{id}`" for id in [section.id, *way]),
                        need, label="closes the circle", help="take one of these needs away; no task of a circle could ever start",
                    )  # fmt: skip

    def _way(self, start: str, goal: str) -> list[str]:
        """The shortest way of needs from `start` to `goal`, both included; empty when there is none."""
        came: dict[str, str | None] = {start: None}
        for id in (queue := [start]):
            if id == goal:
                way = [id]
                while (before := came[way[-1]]) is not None:
                    way.append(before)
                return way[::-1]
            for need in (self.by_id[id].value("needs") or ()) if id in self.by_id else ():
                if need.text not in came:
                    came[need.text] = id
                    queue.append(need.text)
        return []

    def _metrics(self, section: Section) -> tuple[Mapping[str, str], bool]:
        """Units of the metrics the section reports, and whether these are all there are."""
        module = self.shelves.modules.get(section.name("module") or "")
        benchmark = self.shelves.benchmarks.get(section.name("benchmark") or "")
        own = module.arguments.get("metrics") or {} if module else {}
        measured = benchmark.arguments.get("metrics") or {} if benchmark else {}
        return {**own, **measured}, module is not None and benchmark is not None

    def _unit(self, section: Section, metric: Piece) -> str | None:
        """The metric's base unit; None, and a fault where the section is understood, when it does not report it."""
        metrics, complete = self._metrics(section)
        if metric.text in metrics or not complete:
            return metrics.get(metric.text)
        near = suggest(metric.text, metrics)
        self.page.report(
            "P007", f"`{section.id}` does not report `{metric.text}`", metric,
            label=f"not a metric of `{section.name('benchmark')}` or `{section.name('module')}`",
            help=f"did you mean `{near}`?" if near else "it reports " + ", ".join(f"`{name}`" for name in sorted(metrics)),
        )  # fmt: skip
        return None

    def _target(self, section: Section, row: Row) -> Target | None:
        unit = self._unit(section, row.metric)
        threshold = self._threshold(section, row.metric, row.threshold, unit) if row.threshold else None
        if row.versus:
            self._reference(section, row.versus, row.metric, unit, "compares with")
        if row.rule and row.comparator:
            self._rule(section, row, row.rule, row.comparator, unit)
        if threshold is None or row.rule is None or row.comparator is None:
            return None
        if row.rule.kind is RuleKind.ANYTIME and unit == "" and threshold.task is None and not 0 < threshold.value < 1:
            bound = "lower" if row.comparator.wants_more else "upper"
            self.page.report("P027", f"`{row.rule.text}` needs a threshold between 0 and 1, not {show(threshold.value)}", row.rule_place,
                             label="nothing to bet on", help=f"for a count write `{row.rule.text.replace('anytime', bound)}`, for an exact value `every seed`")  # fmt: skip
            return None
        line = self.page.line_of(row.line)
        return Target(metric=row.metric.text, comparator=row.comparator, threshold=threshold, rule=row.rule, line=line)

    def _threshold(self, section: Section, metric: Piece, amount: Amount, unit: str | None) -> Threshold | None:
        if amount.task:
            self._reference(section, amount.task, amount.metric or metric, unit, "is compared with")
            return Threshold(value=amount.number, task=amount.task.text, metric=amount.metric.text if amount.metric else None)
        if unit is None:
            return None
        value = in_base(amount.number, amount.unit.text, unit)
        if value is not None:
            written = self.page.source[amount.place.at : amount.place.at + len(amount.place.text)]
            if told := beyond(metric.text, unit, value, written=written, unit=amount.unit.text, steps=self._steps(section)):
                message, label, help = told
                self.page.report("P009", message, amount.place, label=label, help=help)
                return None
            return Threshold(value=value, unit=amount.unit.text)
        written = amount.unit.text
        near = None if written in KNOWN else suggest(written, writable(unit))
        factor = next((rest for rest in (written, written.lstrip("x×")) if rest.partition(".")[0] in self.by_id), None)
        if factor and written not in KNOWN:
            near = f"{amount.number:g} x {factor}"
        fits = ", ".join(f"`{name}`" for name in writable(unit))
        self.page.report(
            "P009", f"`{metric.text}` is not measured in `{written}`" if written in KNOWN else f"unknown unit `{written}`", amount.unit,
            label=f"`{metric.text}` is {_called(unit)}", help=f"did you mean `{near}`?" if near else f"write it in {fits}, or without a unit",
        )  # fmt: skip
        return None

    def _steps(self, section: Section) -> int | None:
        """Training steps of each run; None where nothing is trained or it is not known what is."""
        benchmark, budget = self.shelves.benchmarks.get(section.name("benchmark") or ""), section.value("budget")
        if benchmark is None or not benchmark.trains or "budget" in section.excused:
            return None
        return budget.steps if budget and budget.steps is not None else int(benchmark.arguments["steps"])

    def _reference(self, section: Section, task: Piece, metric: Piece, unit: str | None, verb: str) -> None:
        other = self._task(section, task, verb)
        if not other:
            return
        if other is section:
            self.page.report("P028", f"task `{section.id}` is compared with itself", task, label="the task itself",
                             help="name another task, and add it to `needs`")  # fmt: skip
            return
        needed = set(self._needed(section))
        if other.id not in needed and needed <= set(self.by_id) and "needs" not in section.excused:
            self.page.report(
                "P028", f"task `{section.id}` is compared with `{other.id}` but does not need it", task, label="may not be measured yet",
                help=f"add it to the task's settings: `- **needs**: {', '.join([*self._own_needs(section), other.id])}`",
            )  # fmt: skip
        if unit is None:
            return
        theirs = self._unit(other, metric)
        if theirs is not None and theirs != unit:
            self.page.report("P009", f"`{metric.text}` of `{other.id}` is {_called(theirs)}, this metric is {_called(unit)}", metric,
                             label="another unit", help="compare metrics of the same unit")  # fmt: skip

    def _own_needs(self, section: Section) -> list[str]:
        return [need.text for need in section.value("needs") or ()]

    def _rule(self, section: Section, row: Row, rule: Rule, comparator: Comparator, unit: str | None) -> None:
        kind = rule.kind
        sided = kind in (RuleKind.LOWER, RuleKind.UPPER, RuleKind.ANYTIME, RuleKind.P_VALUE)
        if comparator is Comparator.EQ and sided:
            self.page.report("P025", f"`{rule.text}` has no side to be on with `=`", row.rule_place, label="wants `>=` or `<=`",
                             help="use `every seed` for an exact value, or a one-sided comparator")  # fmt: skip
        elif (kind is RuleKind.LOWER and not comparator.wants_more) or (kind is RuleKind.UPPER and comparator.wants_more):
            other = "upper" if kind is RuleKind.LOWER else "lower"
            self.page.report(
                "P025", f"`{rule.text}` cannot show that the metric is `{comparator}` its threshold", row.rule_place,
                label="the wrong side", help=f"did you mean `{rule.text.replace(kind.value, other)}`?",
            )  # fmt: skip
        fewest = FEWEST_SEEDS.get(kind, 1)
        given = section.settings["seeds"][0].at if "seeds" in section.settings else -1
        if section.seeds.first < fewest and given not in self._few:
            self._few.add(given)
            have = f"{section.seeds.first} seed" + ("" if section.seeds.first == 1 else "s")
            self.page.report("P026", f"`{rule.text}` needs at least {fewest} seeds, task `{section.id}` starts with {have}", row.rule_place,
                             label="too few seeds", help=f"write `- **seeds**: {fewest}` or more; `{fewest}, up to 8` lets an unsure target buy some")  # fmt: skip
        if kind is RuleKind.ANYTIME and unit:
            bound = "lower" if comparator.wants_more else "upper"
            self.page.report("P027", f"`{rule.text}` needs a metric between 0 and 1; `{row.metric.text}` is in `{unit}`", row.rule_place,
                             label="not a bounded metric", help=f"did you mean `{rule.text.replace('anytime', bound)}`?")  # fmt: skip

    def _agrees(self, row: Row, target: Target, before: Sequence[Target]) -> None:
        for other in before:
            if other.metric != target.metric:
                continue
            if other.comparator is target.comparator and other.threshold.task == target.threshold.task:
                self.page.report("P024", f"a second target `{target.metric} {target.comparator}` in one task", row.metric,
                                 label="already a target", help=f"the first one is in line {other.line}; keep one of them")  # fmt: skip
                return
            if target.threshold.task is None and other.threshold.task is None and not _together(target, other):
                unit = self._base(row)
                self.page.report(
                    "P024", f"no `{target.metric}` can be both `{other.comparator} {show(other.threshold.value, unit)}` and "
                    f"`{target.comparator} {show(target.threshold.value, unit)}`", row.metric,
                    label="contradicts another target", help=f"the other one is in line {other.line}",
                )  # fmt: skip
                return

    def _base(self, row: Row) -> str:
        section = next(section for section in self.sections if row in section.rows)
        return self._metrics(section)[0].get(row.metric.text, "")


def _together(one: Target, two: Target) -> bool:
    """Whether some number meets both targets."""
    low, high = one.threshold.value, two.threshold.value
    middle = (low + high) / 2
    return any(
        one.comparator.holds(number, low) and two.comparator.holds(number, high)
        for number in (low, high, middle, min(low, high) - 1, max(low, high) + 1)
    )


def _called(unit: str) -> str:
    return f"in `{unit}`" if unit else "a plain number"


def guess_id(text: str) -> str:
    """The id a faulty heading probably meant: lower case, words joined by `-`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
