"""What keeps a JSON value from being a noun: the check before `plan.wire.rebuild` where somebody else may have written the value."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any

WORDS: Mapping[type, tuple[str, tuple[type, ...]]] = {
    str: ("a text", (str,)),
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
}
"""Type of a field -> how people call it, and the JSON values that will do."""


def misfit(kind: Any, value: Any, place: str = "its body") -> str | None:
    """The first thing that keeps `value` (plain JSON) from being the annotated type `kind`; None when nothing does.

    Fields that have a default may be missing, and unknown ones are left to newer versions, as `rebuild` has it.
    """
    if kind is Any:
        return None
    if kind in WORDS:
        word, fitting = WORDS[kind]
        fits = isinstance(value, fitting) and (kind is bool or not isinstance(value, bool))
        return None if fits else f"{place} is {_named(value)}, not {word}"
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        optional = value is None and type(None) in inner
        return None if optional else misfit(next(a for a in inner if a is not type(None)), value, place)
    if origin is tuple:
        if not isinstance(value, list):
            return f"{place} is {_named(value)}, not a list"
        wanted = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(wanted) != len(value):
            return f"{place} has {len(value)} items, not {len(wanted)}"
        return _first(misfit(one, item, f"{place}[{index}]") for index, (one, item) in enumerate(zip(wanted, value, strict=True)))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            return f"{place} is {_named(value)}, not an object"
        return _first(misfit(inner[1], item, f"`{key}` of {place}") for key, item in value.items())
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(value, dict):
            return f"{place} is {_named(value)}, not an object"
        return _first(_field(name, hint, value, needed=needed, place=place) for name, hint, needed in _fields(kind))
    known = [member.value for member in kind]
    return None if value in known else f"{place} is {_named(value)}, not one of {', '.join(map(str, known))}"


def _field(name: str, hint: Any, value: Mapping[str, Any], *, needed: bool, place: str) -> str | None:
    if name in value:
        return misfit(hint, value[name], f"`{name}` of {place}")
    return f"{place} lacks `{name}`" if needed else None


def _first(faults: typing.Iterable[str | None]) -> str | None:
    return next((fault for fault in faults if fault), None)


def _named(value: Any) -> str:
    return repr(value)[:40]


@cache
def _fields(kind: Any) -> tuple[tuple[str, Any, bool], ...]:
    hints = typing.get_type_hints(kind)
    return tuple((f.name, hints[f.name], f.default is MISSING and f.default_factory is MISSING) for f in fields(kind))
