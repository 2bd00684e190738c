"""Exceptions that misuse the attributes which the worker understands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Odd(ArithmeticError):
    status: str = ""
    told: Any = False


def claims_to_be_ok(tell: Any) -> Mapping[str, Any]:
    error = Odd("all is well")
    error.status = "ok"
    raise error


def claims_to_have_told(tell: Any) -> Mapping[str, Any]:
    error = Odd()
    error.told = True
    raise error
