"""The values of a task's settings: budgets, seeds, devices, names. A value not understood is a fault, never a default."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from plan.catalogue import suggest
from plan.layout import SETTINGS, Layout, Piece
from plan.nouns import Budget, Seeds

BUDGET_UNITS = {
    "s": ("seconds", 1.0), "min": ("seconds", 60.0), "h": ("seconds", 3600.0), "steps": ("steps", 1), "runs": ("runs", 1),
}  # fmt: skip
_ALSO = {"step": "steps", "run": "runs", "sec": "s", "seconds": "s", "m": "min", "mins": "min", "minutes": "min", "hours": "h"}
_AMOUNT = re.compile(r"(?P<amount>[^A-Za-z]*?)\s*(?P<unit>[A-Za-z]+)")
_WHOLE = re.compile(r"\d(?:_?\d)*")
_NUMBER = re.compile(r"\d(?:_?\d)*(?:\.\d+)?")
_DEVICE = re.compile(r"cpu|mps|cuda(?::\d+)?")
_SEEDS = re.compile(rf"(?P<first>{_WHOLE.pattern})(?:\s*,?\s*up to\s+(?P<most>{_WHOLE.pattern}))?")


def read_value(page: Layout, key: str, value: Piece) -> Any:
    """What `value` says for the setting `key`; None, and a fault on the page, when it is not understood."""
    if not value.text:
        return page.report("P014", f"the setting `{key}` has no value", value, label="nothing here", help=f"for example {EXAMPLES[key]}")
    return READERS[key](page, value)


def _name(page: Layout, value: Piece) -> Piece:
    return value.bare()


def _names(page: Layout, value: Piece) -> tuple[Piece, ...]:
    return tuple(name.bare() for name in value.split(",") if name.text)


def _budget(page: Layout, value: Piece) -> Budget | None:
    spent: dict[str, float] = {}
    for part in value.split(","):
        match = _AMOUNT.fullmatch(part.text)
        number = match["amount"].strip() if match else ""
        unit = match["unit"] if match else ""
        if not match or not _NUMBER.fullmatch(number) or not float(number):
            return _misread(page, "budget", part, "not an amount")
        if unit not in BUDGET_UNITS:
            near = _ALSO.get(unit.lower()) or suggest(unit, BUDGET_UNITS)
            return page.report(
                "P014", f"unknown unit of budget `{unit}`", part.cut(match.start("unit")), label="not a unit of budget",
                help=f"did you mean `{number} {near}`?" if near else "a budget is counted in s, min, h, steps or runs",
            )  # fmt: skip
        kind, scale = BUDGET_UNITS[unit]
        if kind in spent:
            return page.report(
                "P014", f"the budget names its {kind} twice", part, label="already given", help=f"keep one limit of {kind}"
            )
        if kind != "seconds" and not _WHOLE.fullmatch(number):
            return _misread(page, "budget", part, f"not a whole number of {kind}")
        spent[kind] = float(number) * scale
    return Budget(
        seconds=spent.get("seconds"),
        steps=int(spent["steps"]) if "steps" in spent else None,
        runs=int(spent["runs"]) if "runs" in spent else None,
    )


def _seeds(page: Layout, value: Piece) -> Seeds | None:
    match = _SEEDS.fullmatch(value.bare().text)
    if not match:
        return _misread(page, "seeds", value, "not a number of seeds")
    first = int(match["first"])
    most = int(match["most"] or first)
    if first < 1 or most < first:
        why = "a task needs at least 1 seed" if first < 1 else f"{most} is fewer than the first {first}"
        return page.report("P014", f"seeds `{value.text}` cannot be met", value, label=why, help=f"for example {EXAMPLES['seeds']}")
    return Seeds(first=first, most=most)


def _device(page: Layout, value: Piece) -> str | None:
    name = value.bare()
    if _DEVICE.fullmatch(name.text):
        return name.text
    near = suggest(name.text, ("cpu", "cuda", "mps"))
    return page.report("P014", f"unknown device `{name.text}`", name, label="not a device",
                       help=f"did you mean `{near}`?" if near else "a device is `cpu`, `cuda`, `cuda:1` or `mps`")  # fmt: skip


def _priority(page: Layout, value: Piece) -> int | None:
    if re.fullmatch(r"[+-]?\d+", value.bare().text):
        return int(value.bare().text)
    return _misread(page, "priority", value, "not a whole number")


def _gate(page: Layout, value: Piece) -> bool | None:
    word = value.bare().text.lower()
    return {"on": True, "off": False}[word] if word in ("on", "off") else _misread(page, "gate", value, "neither `on` nor `off`")


def _data(page: Layout, value: Piece) -> str:
    return value.bare().text


def _misread(page: Layout, key: str, value: Piece, label: str) -> None:
    page.report("P014", f"the {key} `{value.text}` is not understood", value, label=label, help=f"for example {EXAMPLES[key]}")


READERS: dict[str, Callable[[Layout, Piece], Any]] = {
    "module": _name, "benchmark": _name, "needs": _names, "budget": _budget, "seeds": _seeds,
    "device": _device, "priority": _priority, "gate": _gate, "data": _data,
}  # fmt: skip
EXAMPLES = {
    "module": "`retnet`", "benchmark": "`mqar-64-v1`", "needs": "`attention-copy`", "budget": "`20 min, 400 steps` or `30 runs`",
    "seeds": "`5` or `3, up to 8`", "device": "`cpu`", "priority": "`2`", "gate": "`off`", "data": "`corpus/books`",
}  # fmt: skip
assert set(READERS) == set(EXAMPLES) == set(SETTINGS)
