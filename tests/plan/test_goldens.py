"""Broken plans and what a user is told of each: one cause, one fault, with its place and its mend.

A golden is a pair `NAME.md`, `NAME.txt` under tests/golden/plans. To see what one says now:
`python -c "from plan.grammar import read; from tests.plan.known import SHELVES; read('NAME.md', shelves=SHELVES)"`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plan.faults import EXPLAIN, Fault, PlanFaults, render
from plan.grammar import parse, read
from tests.plan.known import SHELVES

HOUSE = Path(__file__).resolve().parents[2]
GOLDENS = sorted((HOUSE / "tests" / "golden" / "plans").glob("*.md"))


def faults_of(path: Path) -> PlanFaults:
    with pytest.raises(PlanFaults) as caught:
        read(path, shelves=SHELVES)
    return caught.value


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_a_broken_plan_is_told_exactly_as_written_down(path: Path) -> None:
    wrong = faults_of(path)
    assert render(wrong.faults, wrong.source, path.name) == path.with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [path for path in GOLDENS if path.stem != "many-at-once"], ids=lambda path: path.stem)
def test_one_cause_is_one_fault_with_a_mend(path: Path) -> None:
    (fault,) = faults_of(path).faults
    assert fault.label
    assert fault.help


def test_all_faults_are_told_at_once_in_the_order_of_the_plan() -> None:
    faults = faults_of(HOUSE / "tests" / "golden" / "plans" / "many-at-once.md").faults
    assert [fault.code for fault in faults] == ["P003", "P006", "P012", "P009", "P030"]
    assert [fault.line for fault in faults] == sorted(fault.line for fault in faults)


def test_every_code_is_explained_and_occurs_in_a_golden() -> None:
    raised = {
        code
        for path in (HOUSE / "plan").glob("*.py")
        if path.name != "explain.py"
        for code in re.findall(r'"(P\d{3})"', path.read_text())
    }
    shown = {code for path in GOLDENS for code in re.findall(r"error\[(P\d{3})\]", path.with_suffix(".txt").read_text())}
    assert raised == shown == set(EXPLAIN)
    assert len(GOLDENS) >= 30


@pytest.mark.parametrize("code", EXPLAIN)
def test_an_explanation_has_a_wrong_and_a_right_example(code: str) -> None:
    meaning, wrong, right = re.split(r"\n\n(?:wrong|right):\n\n", EXPLAIN[code])
    assert len(meaning) > 60
    assert wrong.strip() != right.strip()
    assert max(len(line) for line in EXPLAIN[code].split("\n")) <= 130


def test_the_first_plan_of_the_explanations_is_a_plan() -> None:
    text = EXPLAIN["P002"].partition("right:\n\n")[2]
    plan = parse("\n".join(line.removeprefix("    ") for line in text.split("\n")).replace("mqar-64x4-v1", "copy-64-v1")
                 .replace("transformer", "attention"), shelves=SHELVES)  # fmt: skip
    assert plan.tasks[0].targets[0].metric == "accuracy"


def test_a_wide_character_takes_two_carets_and_a_tab_four_columns() -> None:
    fault = Fault(code="P006", message="m", line=1, column=3, width=2, label="here")
    shown = render([fault], "速\tあb", "p").split("\n")
    assert shown[3] == "1 | 速    あb"
    assert shown[4] == "  |       ^^^ here"


def test_characters_that_would_act_on_a_terminal_are_shown_not_sent() -> None:
    fault = Fault(code="P006", message="unknown rule `\x1b[31m`", line=1, column=1, width=9)
    shown = render([fault], "\x1b[31mred\u202e", "p")
    assert "\x1b" not in shown
    assert "\u202e" not in shown
