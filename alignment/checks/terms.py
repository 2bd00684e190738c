"""The terms of a decision: what an action may ask for, so that no machine touches what the plan has fixed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from alignment.checks import check
from alignment.facts import CANDIDATE_KINDS, Facts
from plan import catalogue
from plan.nouns import State, Task

TERMS: Mapping[str, frozenset[str]] = {
    "measure-again": frozenset({"seeds"}),
    **dict.fromkeys(CANDIDATE_KINDS, frozenset({"module", "config", "patch"})),
    "rollback": frozenset({"to"}),
    "stop": frozenset(),
}
"""What each kind of action may say; notes for people may be added under `note`."""
NOTE = "note"
FIXED = {"decoder": {"vocabulary"}, "recipe": set[str]()}
"""Keys of the config's tables that are the benchmark's."""
WORK = ("batch", "length", "accumulate")
"""Keys of the recipe whose product is what one step is trained on."""


@check("asks-only-its-terms")
def asks_only_its_terms(facts: Facts) -> str:
    """The action says nothing but what its kind may say: no seeds, steps, data, thresholds, rules, budgets or gates of its own."""
    kind = facts.decision.action.kind
    strangers = set(facts.details) - TERMS.get(kind, frozenset(facts.details)) - {NOTE}
    if strangers:
        return f"`{sorted(strangers)[0]}` is not for a `{kind}` to say; it may say {', '.join(sorted(TERMS[kind])) or 'nothing'}"
    if kind in CANDIDATE_KINDS:
        return _faulty_config(facts)
    return ""


def _faulty_config(facts: Facts) -> str:
    module, config = facts.details.get("module"), facts.details.get("config", {})
    if not isinstance(module, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", module):
        return f"`module` is {module!r}, not the name of a module"
    if not isinstance(config, Mapping):
        return f"`config` is a {type(config).__name__}, not a table"
    entry = catalogue.shelf("module").get(module)
    own = set(entry.fields) if entry else set()
    shelves = catalogue.shelves()
    tables = {"decoder": set(shelves.decoder), "recipe": set(shelves.recipe)}
    for key, value in config.items():
        if key in tables:
            if not isinstance(value, Mapping):
                return f"`[{key}]` is a {type(value).__name__}, not a table"
            if wrong := sorted(set(value) - tables[key] | set(value) & FIXED[key]):
                return f"`[{key}]` {wrong[0]} is not for a candidate to set"
        elif own and key not in own:
            return f"`{key}` is no field of `{module}`"
    return _odd_value(config)


def _odd_value(value: Any, where: str = "config") -> str:
    """The first value that is not a finite number, a text, a truth value or a list of these, by exact type."""
    if isinstance(value, Mapping):
        return next(filter(None, (_odd_value(part, f"{where}.{name}") for name, part in value.items())), "")
    if type(value) in (list, tuple):
        return next(filter(None, (_odd_value(part, where) for part in value)), "")
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return _a_path(value, where)
    return f"`{where}` is {value!r} of type `{type(value).__name__}`, not a plain value"


def _a_path(value: Any, where: str) -> str:
    if isinstance(value, str) and re.search(r"[/\\\0]|\.\.|^~", value):
        return f"`{where}` is `{value[:60]}`, which may name a file"
    return ""


@check("seeds-are-registered")
def seeds_are_registered(facts: Facts) -> str:
    """The number of seeds is the task's next registered look, a whole number; nobody chooses which seeds."""
    if facts.decision.action.kind != "measure-again" or (task := _task(facts)) is None:
        return ""
    wanted, looks = facts.details.get("seeds"), task.seeds.looks
    if type(wanted) is not int or wanted not in looks:
        return f"{wanted!r} seeds is not among the registered looks {list(looks)} of `{task.id}`"
    granted = facts.situation.seeds.get(task.id, task.seeds.first)
    skipped = [look for look in looks if granted < look < wanted]
    return f"`{task.id}` has {granted} seeds; {wanted} would skip the look at {skipped[0]}" if skipped else ""


@check("work-is-the-plan's")
def work_is_the_plans(facts: Facts) -> str:
    """A candidate trains on no more tokens a step than the plan's own config does: better because of more is no better."""
    task = _task(facts)
    if facts.decision.action.kind not in CANDIDATE_KINDS or task is None:
        return ""
    recipe = facts.details.get("config", {}).get("recipe", {}) if isinstance(facts.details.get("config"), Mapping) else {}
    given = task.config.get("recipe", {})
    for key in WORK:
        ours, theirs = recipe.get(key), given.get(key)
        if type(ours) is int and type(theirs) is int and ours > theirs:
            return f"`[recipe]` {key} = {ours} is more than the plan's {theirs} at the same number of steps"
    return ""


@check("gate-comes-first")
def gate_comes_first(facts: Facts) -> str:
    """No seeds are bought for a task whose gate is red or has not run: there is no number yet."""
    task = _task(facts)
    if task is None or facts.decision.action.kind != "measure-again" or not task.gate:
        return ""
    red = [
        v
        for v in facts.situation.verdicts
        if v.task == task.id and v.state is not State.PASS and v.reason.startswith("the gate of")
    ]
    return f"`{red[0].id}`: {red[0].reason}" if red else ""


def _task(facts: Facts) -> Task | None:
    return next((task for task in facts.situation.plan.tasks if task.id == facts.decision.action.task), None)
