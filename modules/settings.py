"""Typed construction of Config dataclasses from the tables a plan gives, with every fault named at once."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, TypeVar

from plan.catalogue import suggest

T = TypeVar("T")


class ConfigError(ValueError):
    """A table from the plan that does not fit the Config it is meant for."""

    told = True


def build_config(kind: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """An instance of dataclass `kind` from plain `values`; `where` names it in messages.

    Raises ConfigError naming every unknown key, missing key and value of a wrong type. Whole numbers
    stand for floats, lists for tuples; a truth value never stands for a number.
    """
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in fields(kind) if field.init}  # type: ignore[arg-type]
    faults = []
    ready: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            near = suggest(key, known)
            faults.append(f"no key `{key}`" + (f"; did you mean `{near}`?" if near else f"; keys are {_listed(known)}"))
            continue
        fits, ready[key] = _fit(hints[key], value)
        if not fits:
            faults.append(f"`{key}` wants {_told(hints[key])}, got {value!r}")
    for key, field in known.items():
        if key not in values and field.default is MISSING and field.default_factory is MISSING:
            faults.append(f"key `{key}` is missing")
    if faults:
        raise ConfigError(f"config of {where}: " + "; ".join(faults))
    try:
        return kind(**ready)
    except ValueError as error:
        raise ConfigError(f"config of {where}: {error}") from error


def check_ranges(config: object, **ranges: tuple[float, float]) -> None:
    """Raise ConfigError naming every field of `config` outside its (lowest, highest) value, both allowed; NaN never fits.

    Each number of a tuple must fit. The limits are far from anything useful: they keep nonsense from becoming a number.
    """
    faults = []
    for key, (low, high) in ranges.items():
        value = getattr(config, key)
        if not all(low <= number <= high for number in (value if isinstance(value, tuple) else (value,))):
            faults.append(f"`{key}` = {value} must lie between {low} and {high}")
    if faults:
        raise ConfigError("; ".join(faults))


def _fit(hint: Any, value: Any) -> tuple[bool, Any]:
    """Whether plain `value` fits type `hint`, and the value as that type."""
    origin = typing.get_origin(hint)
    if hint is Any:
        return True, value
    if origin in (typing.Union, types.UnionType):
        attempts = [_fit(inner, value) for inner in typing.get_args(hint)]
        return next((attempt for attempt in attempts if attempt[0]), (False, value))
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in typing.get_args(hint)), value
    if origin is tuple:
        inner = typing.get_args(hint)
        if not isinstance(value, (list, tuple)):
            return False, value
        if len(inner) == 2 and inner[1] is Ellipsis:
            inner = (inner[0],) * len(value)
        if len(inner) != len(value):
            return False, value
        parts = [_fit(kind, part) for kind, part in zip(inner, value, strict=True)]
        return all(ok for ok, _ in parts), tuple(part for _, part in parts)
    if origin is Mapping:
        return isinstance(value, Mapping), value
    if hint is float and type(value) is int:
        return True, float(value)
    if hint is type(None):
        return value is None, value
    return type(value) is hint, value


def _told(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + _listed(typing.get_args(hint))
    return f"`{hint.__name__}`" if isinstance(hint, type) and not typing.get_args(hint) else f"`{hint}`"


def _listed(names: typing.Iterable[Any]) -> str:
    return ", ".join(f"`{name}`" for name in names)
