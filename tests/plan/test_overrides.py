"""A task's `toml config` is checked against the fields it overrides, at the line it is written in."""

from __future__ import annotations

from typing import Any

import pytest

from plan.faults import Fault, PlanFaults
from plan.grammar import parse
from plan.overrides import fits
from tests.plan.known import GOOD, SHELVES


def config(text: str) -> dict[str, Any]:
    return dict(parse(GOOD.replace("heads = 4\n\n[decoder]\nlayers = 3", text), shelves=SHELVES).tasks[1].config)


def faults(text: str) -> tuple[Fault, ...]:
    with pytest.raises(PlanFaults) as caught:
        config(text)
    return caught.value.faults


def test_overrides_of_every_type_are_taken() -> None:
    text = 'heads = 8\ngamma = 1\nrouter = "hash"\ngated = false\nwindow = 16\nspread = [0.1, 1]\n[recipe]\nlr = 3e-4\nbetas = [0.9, 0.99]'
    read = config(text)
    assert read == {
        "heads": 8, "gamma": 1.0, "router": "hash", "gated": False, "window": 16, "spread": [0.1, 1],
        "recipe": {"lr": 3e-4, "betas": [0.9, 0.99]},
    }  # fmt: skip
    assert isinstance(read["gamma"], float)


def test_dotted_and_inline_tables_are_the_same_as_bracketed_ones() -> None:
    assert (
        config("decoder.layers = 3")
        == config("decoder = {layers = 3}")
        == config("[decoder]\nlayers = 3")
        == {"decoder": {"layers": 3}}
    )


@pytest.mark.parametrize(
    ("text", "line", "column", "code"),
    [
        ("heads = 4\nhaeds = 4", 31, 1, "P030"),
        ("heads = 4\n\n  [recipe]\n  lrr = 1", 33, 3, "P030"),
        ("decoder.layrs = 3", 30, 1, "P030"),
        ("heads = 4\n[recipe]\nlr = 1\n\n[decodr]\nlayers = 1", 34, 2, "P030"),
        ("heads = 4.5", 30, 1, "P031"),
        ("heads = true", 30, 1, "P031"),
        ("gated = 1", 30, 1, "P031"),
        ("gamma = nan", 30, 1, "P031"),
        ("name = 1979-05-27", 30, 1, "P031"),
        ("spread = [1]", 30, 1, "P031"),
        ('[recipe]\nlr = "1e-3"', 31, 1, "P031"),
        ("heads = 4\nheads = 5", 31, 1, "P029"),
        ("heads = 4\ngamma =", 31, 8, "P029"),
    ],
)
def test_a_faulty_override_is_told_where_it_stands(text: str, line: int, column: int, code: str) -> None:
    (fault,) = faults(text)
    assert (fault.code, fault.line, fault.column) == (code, line, column)


@pytest.mark.parametrize(
    "text", ["heads = " + "[" * 5000, "heads = " + "9" * 5000, "a.b.c.d.e = 1", "= 1", "\x00", "[[decoder]]"]
)
def test_a_strange_config_is_a_fault_and_never_a_crash(text: str) -> None:
    assert {fault.code for fault in faults(text)} <= {"P029", "P030", "P031"}


def test_keys_of_an_unknown_module_are_not_told_as_faults_of_their_own() -> None:
    with pytest.raises(PlanFaults) as caught:
        parse(GOOD.replace("`retnet`", "`retnot`"), shelves=SHELVES)
    assert [fault.code for fault in caught.value.faults] == ["P010"]


@pytest.mark.parametrize(
    ("value", "annotation", "admitted"),
    [
        (3, "int", True), (3, "float", True), (True, "float", False), (3, "int | None", True), ("a", "Literal['a', 'b']", True), ("c", "Literal['a', 'b']", False),
        ([1, 2], "tuple[int, ...]", True), ([1, "a"], "tuple[int, ...]", False), ([1, 2], "tuple[int, str]", False), ([1.5], "list[float]", True),
        ({"a": 1}, "Mapping[str, Any]", True), (3, "'int'", True), ("x", "Callable[[int], int]", True), (1, "Literal[True]", False),
    ],
)  # fmt: skip
def test_a_value_fits_an_annotation_as_python_would_say(value: Any, annotation: str, admitted: bool) -> None:
    assert fits(value, annotation) is admitted
