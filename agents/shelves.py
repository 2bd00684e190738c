"""The verb `modules`: what stands on a shelf, and of one thing all that a plan may say of it: metrics, settings, defaults, ranges.

Everything is read from the sources; nothing is imported for it.
"""

from __future__ import annotations

import ast
import json as jsonlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.table import Table

from agents.reading import console, say
from plan import catalogue
from plan.catalogue import HOUSE, Entry
from plan.exits import Exit
from plan.fields import Field
from plan.units import digits, writable
from plan.wire import SCHEMA, plain

TABLES = {"decoder": ("modules/decoder.py", "DecoderConfig"), "recipe": ("modules/trainer.py", "Recipe")}
"""Table of a config -> the file and the class whose fields it sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One key that a `toml config` may give for a module."""

    key: str
    """With its table: `heads`, `recipe.lr`."""
    type: str
    default: Any
    """None: it has none that can be read without running the file, or is None."""
    limits: tuple[float, float] | None
    """Least and greatest value; None where the file states no such limits as numbers."""
    about: str


def list_shelf(kind: str, *, json: bool) -> Exit:
    """Everything on one shelf, read from the sources."""
    if kind not in catalogue.SHELVES:
        near = catalogue.suggest(kind, catalogue.SHELVES)
        hint = f"did you mean `{near}`?" if near else f"there are {', '.join(catalogue.SHELVES)}"
        return say(Exit.USAGE, f"no shelf `{kind}`; {hint}")
    entries = catalogue.shelf(kind)
    broken = [f"the {kind} `{item.name}` cannot be read: {item.why}" for item in entries.broken]
    if json:
        listed = [_entry(entry) for entry in entries.values()]
        print(jsonlib.dumps({"v": SCHEMA, "shelf": kind, "entries": listed, "broken": broken}))
        return Exit.ENVIRONMENT if broken else Exit.HOLDS
    table = _table(kind, "about", "source")
    for entry in entries.values():
        table.add_row(entry.name, entry.summary, _source(entry))
    console().print(table)
    return say(Exit.ENVIRONMENT, "\n  ".join(broken)) if broken else Exit.HOLDS


def show_entry(name: str, *, json: bool) -> Exit:
    """One thing, on whichever shelf it stands: what it reports, and what can be set of it; NOTHING when there is none."""
    found = [entries[name] for kind in catalogue.SHELVES if name in (entries := catalogue.shelf(kind))]
    if not found:
        broken = [item for kind in catalogue.SHELVES for item in catalogue.shelf(kind).broken if item.name == name]
        if broken:
            return say(Exit.ENVIRONMENT, f"`{name}` cannot be read: {broken[0].why}")
        near = catalogue.suggest(name, [known for kind in catalogue.SHELVES for known in catalogue.shelf(kind)])
        hint = f"did you mean `{near}`?" if near else "`--shelf` lists one: " + ", ".join(catalogue.SHELVES)
        return say(Exit.NOTHING, f"nothing on the shelves is called `{name}`; {hint}")
    if json:
        print(jsonlib.dumps({"v": SCHEMA, "entries": [_whole(entry) for entry in found]}))
        return Exit.HOLDS
    for place, entry in enumerate(found):
        if place:
            console().print()
        _print_entry(entry)
    return Exit.HOLDS


def settings_of(entry: Entry) -> list[Setting]:
    """What a config may say for a module: its own fields, then the decoder's and the recipe's, with the module's own defaults."""
    if entry.shelf != "module":
        return []
    shelves = catalogue.shelves()
    found = list(_settings(entry.fields, entry.path, "Config"))
    for table, (file, name) in TABLES.items():
        fields: Mapping[str, Field] = getattr(shelves, table)
        own = entry.recipe if table == "recipe" else {}
        found += _settings(fields, HOUSE / file, name, table=table, own=own)
    return found


def _settings(
    fields: Mapping[str, Field], path: Path, name: str, *, table: str = "", own: Mapping[str, Any] | None = None
) -> Iterator[Setting]:
    about = _abouts(path, name)
    for key, field in fields.items():
        default = own[key] if own and key in own else field.default
        whole = f"{table}.{key}" if table else key
        yield Setting(key=whole, type=field.annotation, default=default, limits=field.limits, about=about.get(key, ""))


def _abouts(path: Path, name: str) -> dict[str, str]:
    """The first line below each field of a class."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    body = next((node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), [])
    found = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else None
            found[field.target.id] = text.strip().partition("\n")[0] if isinstance(text, str) else ""
    return found


def _print_entry(entry: Entry) -> None:
    out = console()
    out.print(f"{entry.name}: {entry.summary}")
    out.print(f"a {entry.shelf}, {_place(entry)}" + (f", {source}" if (source := _source(entry)) else ""))
    if entry.shelf == "benchmark":
        for line in _benchmark_lines(entry):
            out.print(line)
    if metrics := entry.arguments.get("metrics"):
        table = _table("metric", "better", "a threshold may be written in")
        for metric, unit in metrics.items():
            units = [one for one in writable(unit) if one]
            table.add_row(metric, _better(entry, metric), ", ".join(units) if unit else "a plain number, or %")
        out.print()
        out.print(table)
    if settings := settings_of(entry):
        table = _table("setting", "type", "default", "range", "about")
        for one in settings:
            limits = "" if one.limits is None else f"{digits(one.limits[0])} to {digits(one.limits[1])}"
            table.add_row(one.key, one.type, "" if one.default is None else _said(one.default), limits, one.about)
        out.print()
        out.print(table)
        out.print("a benchmark may have other defaults for the tables [decoder] and [recipe]; its own entry here tells them")


def _benchmark_lines(entry: Entry) -> Iterator[str]:
    arguments = entry.arguments
    steps = arguments.get("steps")
    yield f"steps: {steps}, or as many as a task's budget says" if steps is not None else "steps: nothing is trained"
    yield f"modules: {', '.join(entry.modules) or 'any'}"
    if entry.reads_data or arguments.get("data"):
        yield f"text: {arguments.get('data') or 'what the task names as its `data`'}"
    if arguments.get("alone"):
        yield "it times things, so nothing else is measured beside it"
    options = {name: value for name, value in (arguments.get("options") or {}).items() if value != ""}
    if options:
        yield "fixed by its name: " + ", ".join(f"{name} {_said(value)}" for name, value in options.items())


def _better(entry: Entry, metric: str) -> str:
    from bench.direction import better_when  # brings numpy, which no list needs

    module, benchmark = (entry.name, "") if entry.shelf == "module" else ("", entry.name)
    return better_when(module, benchmark, metric) or "as the plan says"


def _said(value: Any) -> str:
    return jsonlib.dumps(plain(value), ensure_ascii=False)


def _place(entry: Entry) -> str:
    path = entry.path.relative_to(HOUSE) if entry.path.is_relative_to(HOUSE) else entry.path
    return f"{path}:{entry.line}"


def _source(entry: Entry) -> str:
    return str(entry.arguments.get("paper") or entry.arguments.get("source") or entry.arguments.get("clause") or "")


def _entry(entry: Entry) -> dict[str, Any]:
    return {"name": entry.name, "summary": entry.summary, "file": entry.path.name, "line": entry.line, **plain(entry.arguments)}


def _whole(entry: Entry) -> dict[str, Any]:
    better = {metric: _better(entry, metric) for metric in entry.arguments.get("metrics") or {}}
    more = {"better": better, "settings": [plain(one) for one in settings_of(entry)]}
    return {"shelf": entry.shelf, **_entry(entry), **more}


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
