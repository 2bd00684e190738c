"""The values of a task's settings: budgets, seeds, devices, names. A value not understood is a fault, never a default."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from plan.catalogue import suggest
from plan.decision import IMPROVING
from plan.layout import SETTINGS, Layout
from plan.nouns import Budget, PullsRule, Search, Seeds
from plan.pieces import Piece

BUDGET_UNITS = {
    "s": ("seconds", 1.0), "min": ("seconds", 60.0), "h": ("seconds", 3600.0), "steps": ("steps", 1), "runs": ("runs", 1),
}  # fmt: skip
MOST_SEEDS = 10_000
_ALSO = {"step": "steps", "run": "runs", "sec": "s", "seconds": "s", "m": "min", "mins": "min", "minutes": "min", "hours": "h"}
_AMOUNT = re.compile(r"(?P<amount>[0-9._]+)\s*(?P<unit>[A-Za-z]+)")
_WHOLE = re.compile(r"(?:[0-9]{1,3}(?:_[0-9]{3}){1,4}|[0-9]{1,15})")
_NUMBER = re.compile(rf"{_WHOLE.pattern}(?:\.[0-9]{{1,15}})?")
_DEVICE = re.compile(r"cpu|cuda(?::[0-9]{1,3})?")
_SEEDS = re.compile(rf"(?P<first>{_WHOLE.pattern})(?:\s*,?\s*up to\s+(?P<most>{_WHOLE.pattern}))?")


class Misread(Exception):
    """A value that is not understood: message, place, label and help of its fault."""


def read_value(page: Layout, key: str, value: Piece) -> Any:
    """What `value` says for the setting `key`; None, and a fault on the page, when it is not understood."""
    try:
        if not value.text:
            raise Misread(f"the setting `{key}` has no value", value, "nothing here", f"for example {EXAMPLES[key]}")
        return READERS[key](value)
    except Misread as wrong:
        message, place, label, help = wrong.args
        page.report("P014", message, place, label=label, help=help)
        return None


def _names(value: Piece) -> tuple[Piece, ...]:
    return tuple(name.bare() for name in value.split(",") if name.text)


def _budget(value: Piece) -> Budget:
    spent: dict[str, float] = {}
    for part in value.split(","):
        match = _AMOUNT.fullmatch(part.bare().text)
        number = match["amount"] if match else ""
        unit = match["unit"] if match else ""
        if not _NUMBER.fullmatch(number) or not float(number):
            raise _misread("budget", part, "not an amount")
        if unit not in BUDGET_UNITS:
            near = _ALSO.get(unit.lower()) or suggest(unit, BUDGET_UNITS)
            mend = f"did you mean `{number} {near}`?" if near else "a budget is counted in s, min, h, steps or runs"
            raise Misread(f"unknown unit of budget `{unit}`", part, "not a unit of budget", mend)
        kind, scale = BUDGET_UNITS[unit]
        if kind in spent:
            raise Misread(f"the budget names its {kind} twice", part, "already given", f"keep one limit of {kind}")
        if kind != "seconds" and not _WHOLE.fullmatch(number):
            raise _misread("budget", part, f"not a whole number of {kind}")
        spent[kind] = float(number) * scale
    return Budget(
        seconds=spent.get("seconds"),
        steps=int(spent["steps"]) if "steps" in spent else None,
        runs=int(spent["runs"]) if "runs" in spent else None,
    )


def _seeds(value: Piece) -> Seeds:
    match = _SEEDS.fullmatch(value.bare().text)
    if not match:
        raise _misread("seeds", value, "not a number of seeds")
    first = int(match["first"])
    most = int(match["most"] or first)
    if first < 1 or most < first:
        why = "a task needs at least 1 seed" if first < 1 else f"{most} is fewer than the first {first}"
        raise Misread(f"seeds `{value.text}` cannot be met", value, why, f"for example {EXAMPLES['seeds']}")
    if most > MOST_SEEDS:
        raise Misread(
            f"seeds `{value.text}` are too many", value, f"more than {MOST_SEEDS}", "a task has at most that many seeds"
        )
    return Seeds(first=first, most=most)


def _device(value: Piece) -> str:
    name = value.bare()
    if _DEVICE.fullmatch(name.text):
        return name.text
    near = "cuda" if name.text.lower() == "gpu" else suggest(name.text, ("cpu", "cuda"))
    mend = f"did you mean `{near}`?" if near else "a device is `cpu`, `cuda` or `cuda:1`"
    if name.text.lower() == "mps":
        mend = "`mps` has no 64-bit floats, which the measurements need; a device is `cpu`, `cuda` or `cuda:1`"
    raise Misread(f"unknown device `{name.text}`", name, "not a device", mend)


def _priority(value: Piece) -> int:
    if re.fullmatch(r"[+-]?[0-9]{1,9}", value.bare().text):
        return int(value.bare().text)
    raise _misread("priority", value, "not a whole number")


def _gate(value: Piece) -> bool:
    word = value.bare().text.lower()
    if word not in ("on", "off"):
        raise _misread("gate", value, "neither `on` nor `off`")
    return word == "on"


def _pulls(value: Piece) -> PullsRule:
    word = value.bare().text.lower()
    if word not in set(PullsRule):
        raise _misread("pulls", value, "neither `note` nor `hold`")
    return PullsRule(word)


def _improve(value: Piece) -> tuple[str, ...]:
    kinds = [part.bare() for part in value.split(",")]
    for kind in kinds:
        if kind.text not in IMPROVING:
            words = kind.text.replace(";", " ").split()
            near = ", ".join(words) if set(words) <= set(IMPROVING) else suggest(kind.text, IMPROVING)
            known = ", ".join(f"`{name}`" for name in IMPROVING)
            mend = f"did you mean `{near}`?" if near else f"what can be tried is {known}, with commas between"
            raise Misread(f"`{kind.text}` is no way to improve a task", kind, "not a way to improve", mend)
    return tuple(dict.fromkeys(kind.text for kind in kinds))


def _trials(value: Piece) -> int:
    if _WHOLE.fullmatch(value.bare().text) and int(value.bare().text):
        return int(value.bare().text)
    raise _misread("trials", value, "not a number of measurements")


def _search(value: Piece) -> Search:
    word = value.bare().text.lower()
    if word not in set(Search):
        raise _misread("search", value, "neither `any` nor `best`")
    return Search(word)


def _data(value: Piece) -> str:
    return value.bare().text


def _misread(key: str, value: Piece, label: str) -> Misread:
    return Misread(f"the {key} `{value.text}` is not understood", value, label, f"for example {EXAMPLES[key]}")


READERS: dict[str, Callable[[Piece], Any]] = {
    "module": Piece.bare, "benchmark": Piece.bare, "needs": _names, "budget": _budget, "seeds": _seeds,
    "device": _device, "priority": _priority, "gate": _gate, "data": _data,
    "pulls": _pulls, "improve": _improve, "trials": _trials, "search": _search,
}  # fmt: skip
EXAMPLES = {
    "module": "`retnet`", "benchmark": "`mqar-64x4-v1`", "needs": "`attention-copy`", "budget": "`20 min, 400 steps` or `30 runs`",
    "seeds": "`5` or `3, up to 8`", "device": "`cpu`", "priority": "`2`", "gate": "`off`", "data": "`corpus/books`", "pulls": "`hold`",
    "improve": "`tune, refactor, replace`", "trials": "`60`", "search": "`best`",
}  # fmt: skip
assert set(READERS) == set(EXAMPLES) == set(SETTINGS)
