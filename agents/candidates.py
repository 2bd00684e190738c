"""What could be tried on a task, in a fixed order: other configs, other implementations of the same function, other modules.

Read from the shelves without importing anything. Every candidate keeps the plan's terms: the same benchmark, data, steps, batch, width
and decoder, so that what it gains it does not buy.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plan import catalogue
from plan.catalogue import Entry
from plan.decision import Candidate, Situation, entries
from plan.fields import Field
from plan.nouns import State, Task, Verdict
from plan.overrides import fits

LADDER = (0.25, 4.0, 0.5, 2.0, 0.0625, 16.0)
"""Factors on the learning rate, the far ones of either side before the near ones: a wrong rate is mostly wrong by a lot."""
STEPS = (0.5, 2.0)
"""Factors on other numbers."""
TERMS = ("batch", "length", "accumulate")
"""Fields of the recipe that say how much is learnt from: what differs in them is not the same budget."""
WIDTH = "d_model"


def candidates(task: Task, kind: str, situation: Situation) -> tuple[Candidate, ...]:
    """What `kind` (`tune`, `refactor`, `replace`) could try on `task` against its champion of now, likeliest first, none of it twice."""
    champion = situation.champions.get(task.id) or Candidate(module=task.module, config=task.config)
    found = {"tune": _tuned, "refactor": _refactored, "replace": _replaced}[kind](task, champion)
    known = [champion]
    for candidate in found:
        if candidate not in known and not unfit(task, candidate):
            known.append(candidate)
    return tuple(known[1:])


def untried(task: Task, kind: str, situation: Situation) -> tuple[Candidate, ...]:
    """Those of `candidates` that were not tried yet against the champion of now, with the code and data of today."""
    champion = situation.champions.get(task.id)
    before = [one.candidate for one in situation.tried if one.task == task.id and one.stands and one.champion == champion]
    return tuple(candidate for candidate in candidates(task, kind, situation) if candidate not in before)


def fallen(task: Task, situation: Situation) -> str:
    """The decision that made a champion which meets fewer targets than the one before it; empty where that is not so, or not known yet."""
    now, before = ([one for one in verdicts if one.task == task.id] for verdicts in (situation.verdicts, situation.former))
    if any(one.state is State.WAITING for one in now) or _passing(now) >= _passing(before):
        return ""
    victories = [one for one in situation.tried if one.task == task.id and one.bout and one.bout.answer == "promote"]
    made = [one.decision for one in victories if one.stands and not one.rolled_back]
    return made[-1] if made else ""


def _passing(verdicts: Sequence[Verdict]) -> int:
    return sum(verdict.state is State.PASS for verdict in verdicts)


def unfit(task: Task, candidate: Candidate) -> str | None:
    """Why `candidate` cannot stand for `task`, as far as the shelves tell; None when it can."""
    shelf, benchmark = catalogue.shelf("module"), catalogue.shelf("benchmark").get(task.benchmark)
    entry = shelf.get(candidate.module)
    if entry is None:
        near = catalogue.suggest(candidate.module, shelf)
        return f"there is no module `{candidate.module}`" + (f"; did you mean `{near}`?" if near else "")
    if benchmark and benchmark.modules and candidate.module not in benchmark.modules:
        return f"`{task.benchmark}` says nothing of the module `{candidate.module}`"
    shelves, tables = catalogue.shelves(), ("decoder", "recipe")
    for key, value in candidate.config.items():
        fields = {"decoder": shelves.decoder, "recipe": shelves.recipe}.get(key, entry.fields)
        for name, item in value.items() if key in tables and isinstance(value, Mapping) else [(key, value)]:
            if name not in fields:
                return f"`{name}` is no field of `{key if key in tables else candidate.module}`"
            field = fields[name]
            if not fits(list(item) if isinstance(item, tuple) else item, field.annotation):
                return f"`{name}` = {item!r} is not `{field.annotation}`"
            if not field.admits(item):
                return f"`{name}` = {item!r} is out of range"
    if dict(candidate.config.get("decoder", {})) != dict(task.config.get("decoder", {})):
        return "the decoder is the plan's; a candidate keeps it"
    for name in TERMS:
        if candidate.config.get("recipe", {}).get(name) != task.config.get("recipe", {}).get(name):
            return f"`recipe.{name}` is the plan's; with another it would not learn from as much"
    if _width(entry, candidate.config) != _width(shelf[task.module], task.config):
        return f"`{WIDTH}` is the plan's; another width is not the same budget"
    return None


def _tuned(task: Task, champion: Candidate) -> Iterator[Candidate]:
    entry, shelves = catalogue.shelf("module")[champion.module], catalogue.shelves()
    set_by_hand = [path for path, _ in entries(champion.config) if _free(path, entry)]
    for path in sorted(set_by_hand, key=lambda path: path != "recipe.lr"):
        yield _changed(champion, path, None)
    rate = float(_recipe(entry, champion, "lr", shelves.recipe))
    for factor in LADDER:
        yield _changed(champion, "recipe.lr", float(f"{rate * factor:.6g}"))
    fields = {**entry.fields, **{f"recipe.{name}": field for name, field in shelves.recipe.items()}}
    for path, (kind, default, _) in fields.items():
        if _free(path, entry) and path != "recipe.lr":
            name = path.removeprefix("recipe.")
            now = _recipe(entry, champion, name, shelves.recipe) if path != name else champion.config.get(name, default)
            for value in _neighbours(kind, now):
                yield _changed(champion, path, value)


def _refactored(task: Task, champion: Candidate) -> Iterator[Candidate]:
    entry = catalogue.shelf("module")[champion.module]
    for name in entry.implementation:
        kind, default, _ = entry.fields[name]
        now = champion.config.get(name, default)
        if now != default:
            yield _changed(champion, name, None)
        for value in _neighbours(kind, now):
            if value != default:
                yield _changed(champion, name, value)


def _replaced(task: Task, champion: Candidate) -> Iterator[Candidate]:
    shelf = catalogue.shelf("module")
    width = _width(shelf[task.module], task.config)
    for name, entry in shelf.items():
        if name != champion.module and WIDTH in entry.fields:
            terms = {key: value for key, value in task.config.get("recipe", {}).items() if key in TERMS}
            tables = {"decoder": task.config.get("decoder"), "recipe": terms}
            kept = {WIDTH: width} if width != entry.fields[WIDTH].default else {}
            yield Candidate(module=name, config={**kept, **{key: table for key, table in tables.items() if table}})


def _free(path: str, entry: Entry) -> bool:
    """Whether a search may change the field: it chooses the function and is no term of the plan."""
    if path.startswith("decoder.") or path == WIDTH or path in entry.implementation:
        return False
    return path.removeprefix("recipe.") not in TERMS if path.startswith("recipe.") else True


def _neighbours(kind: str, now: Any) -> Iterator[Any]:
    """Values next to `now` of a field annotated `kind`; none where it has no order and no choices."""
    if isinstance(now, bool):
        yield not now
    elif kind == "int" and isinstance(now, int):
        yield from (value for value in (now // 2, now * 2) if value > 0 and value != now)
    elif kind == "float" and isinstance(now, (int, float)):
        yield from (float(f"{now * factor:.6g}") for factor in STEPS if now)
    elif kind.startswith("Literal["):
        choices = ast.literal_eval(kind.removeprefix("Literal"))
        yield from (choice for choice in choices if choice != now)


def _recipe(entry: Entry, candidate: Candidate, name: str, fields: Mapping[str, Field]) -> Any:
    """What the recipe says of `name`: the candidate's table, else the module's file, else the trainer."""
    return candidate.config.get("recipe", {}).get(name, entry.recipe.get(name, fields[name].default))


def _width(entry: Entry, config: Mapping[str, Any]) -> Any:
    return config.get(WIDTH, entry.fields.get(WIDTH, Field("")).default)


def _changed(champion: Candidate, path: str, value: Any) -> Candidate:
    """The champion with one field set, or with None left to its default."""
    table, _, name = path.rpartition(".")
    inner = {key: item for key, item in (champion.config.get(table, {}) if table else champion.config).items() if key != name}
    if value is not None:
        inner[name] = value
    rest = {key: item for key, item in champion.config.items() if key != table}
    config = inner if not table else {**rest, table: inner} if inner else rest
    return Candidate(module=champion.module, config=config, patch=champion.patch)
