"""The one function that writes nouns to JSON, and the one that reads them back.

JSON is canonical: sorted keys, no white space, no NaN. Every noun round-trips to an equal value.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

SCHEMA = 1

T = TypeVar("T")


def plain(noun: Any) -> Any:
    """`noun` as JSON-ready dicts, lists, strings and numbers; fields at their default are kept."""
    if is_dataclass(noun) and not isinstance(noun, type):
        return {f.name: plain(getattr(noun, f.name)) for f in fields(noun)}
    if isinstance(noun, Enum):
        return noun.value
    if isinstance(noun, Mapping):
        return {str(key): plain(value) for key, value in noun.items()}
    if isinstance(noun, (list, tuple)):
        return [plain(value) for value in noun]
    if noun is None or isinstance(noun, (str, int, float, bool)):
        return noun
    raise TypeError(f"`{type(noun).__name__}` has no stable form to write; use plain values in nouns")


def encode(noun: Any) -> str:
    """`noun` as one line of canonical JSON; ValueError on NaN or infinity. Half a character (a lone surrogate) is written as `?`."""
    text = json.dumps(plain(noun), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.encode(errors="replace").decode()


def decode(kind: type[T], text: str) -> T:
    """The noun of type `kind` that `encode` wrote as `text`."""
    return typing.cast(T, rebuild(kind, json.loads(text)))


def rebuild(kind: Any, value: Any) -> Any:
    """`value` (plain JSON) as the annotated type `kind`; unknown fields of newer writers are dropped."""
    if kind in (str, int, bool, float):
        return float(value) if kind is float and isinstance(value, int) else value
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return rebuild(next(a for a in typing.get_args(kind) if a is not type(None)), value)
    if origin is tuple:
        inner = typing.get_args(kind)
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(rebuild(inner[0], item) for item in value)
        return tuple(rebuild(a, item) for a, item in zip(inner, value, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {key: rebuild(typing.get_args(kind)[1], item) for key, item in value.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{f.name: rebuild(hints[f.name], value[f.name]) for f in fields(kind) if f.name in value})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
