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
    "trial": frozenset({"candidates", "seeds"}),
    "rollback": frozenset({"decision"}),
    "stop": frozenset(),
}
"""What each kind of action may say; notes for people may be added under `note`."""
TRIALS = range(1000, 2000)
"""Seeds that a search may see; those of verdicts lie below, those of duels above."""
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
    task = _task(facts)
    own = task.config if task else {}
    return next(filter(None, (_faulty(candidate, own) for candidate in _candidates(facts))), "")


def _candidates(facts: Facts) -> list[Any]:
    """What the action wants measured: its candidate, or those of a trial."""
    if facts.decision.action.kind in CANDIDATE_KINDS:
        return [facts.details]
    tried = facts.details.get("candidates", ()) if facts.decision.action.kind == "trial" else ()
    return list(tried) if isinstance(tried, (list, tuple)) else [tried]


def _faulty(candidate: Any, plans: Mapping[str, Any]) -> str:
    """What is wrong with the module or config of a candidate; entries that stand so in the plan's own config are not looked at."""
    if not isinstance(candidate, Mapping) or set(candidate) - TERMS["tune"] - {NOTE}:
        return "a candidate is a `module`, a `config` and a `patch`"
    module, config = candidate.get("module"), candidate.get("config", {})
    if not isinstance(module, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", module):
        return f"`module` is {module!r}, not the name of a module"
    if not isinstance(config, Mapping):
        return f"`config` is a {type(config).__name__}, not a table"
    entry, shelves = catalogue.shelf("module").get(module), catalogue.shelves()
    own = set(entry.fields) if entry else set()
    tables = {"decoder": set(shelves.decoder), "recipe": set(shelves.recipe)}
    for key, value in config.items():
        if key not in tables:
            if own and key not in own:
                return f"`{key}` is no field of `{module}`"
        elif not isinstance(value, Mapping):
            return f"`[{key}]` is a {type(value).__name__}, not a table"
        else:
            theirs = plans.get(key, {})
            moved = {name for name, item in value.items() if theirs.get(name) != item}
            if wrong := sorted(set(value) - tables[key] | moved & FIXED[key]):
                return f"`[{key}]` {wrong[0]} is not for a candidate to set"
    return _odd_value(config, plans)


def _odd_value(value: Any, plans: Any = None, where: str = "config") -> str:
    """The first value that is not a finite number, a text, a truth value or a list of these, by exact type."""
    if isinstance(value, Mapping):
        theirs = plans if isinstance(plans, Mapping) else {}
        return next(filter(None, (_odd_value(part, theirs.get(name), f"{where}.{name}") for name, part in value.items())), "")
    if type(value) in (list, tuple):
        return next(filter(None, (_odd_value(part, None, where) for part in value)), "")
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return "" if type(value) is type(plans) and value == plans else _a_path(value, where)
    return f"`{where}` is {value!r} of type `{type(value).__name__}`, not a plain value"


def _a_path(value: Any, where: str) -> str:
    if isinstance(value, str) and re.search(r"[/\\\0]|\.\.|^~", value):
        return f"`{where}` is `{value[:60]}`, which may name a file"
    return ""


@check("seeds-are-registered")
def seeds_are_registered(facts: Facts) -> str:
    """The number of seeds is the task's next registered look, a whole number; nobody chooses which seeds."""
    task = _task(facts)
    if facts.decision.action.kind == "trial":
        seeds = facts.details.get("seeds")
        plain = isinstance(seeds, (list, tuple)) and all(type(seed) is int and seed in TRIALS for seed in seeds)
        return "" if plain else f"{seeds!r} are not the seeds of trials, {TRIALS.start} to {TRIALS.stop - 1}"
    if facts.decision.action.kind != "measure-again" or task is None:
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
    given = task.config.get("recipe", {}) if task else {}
    for candidate in _candidates(facts):
        config = candidate.get("config") if isinstance(candidate, Mapping) else None
        recipe = config.get("recipe", {}) if isinstance(config, Mapping) else {}
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
