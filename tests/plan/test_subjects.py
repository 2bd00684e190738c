"""What is measured and is no architecture: named by a file of the benchmark's own package, and asked for nothing that only an architecture has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from plan import catalogue
from plan.catalogue import SUBJECT
from plan.faults import PlanFaults
from plan.grammar import parse
from tests.plan.known import SHELVES, entry

WITH = replace(
    SHELVES,
    modules={**SHELVES.modules, "votes": entry(SUBJECT, "votes")},
    benchmarks={**SHELVES.benchmarks, "audit-v1": entry("benchmark", "audit-v1", metrics={"found": ""}, modules=("votes",))},
)
PLAN = """# P

## a: b

- **module**: `votes`
- **benchmark**: `audit-v1`
- **gate**: off

| metric  |    | threshold | rule       |
| ------- | -- | --------: | ---------- |
| `found` | =  |      100% | every seed |
"""


def told(text: str) -> list[tuple[str, str]]:
    with pytest.raises(PlanFaults) as caught:
        parse(text, shelves=WITH)
    return [(fault.message, fault.help) for fault in caught.value.faults]


def test_a_plan_may_ask_for_what_is_no_architecture() -> None:
    (task,) = parse(PLAN, shelves=WITH).tasks
    assert (task.module, task.gate) == ("votes", False)


def test_a_gate_that_nothing_could_pass_is_told_before_the_run() -> None:
    assert told(PLAN.replace("- **gate**: off\n", "")) == [
        ("`votes` is no architecture and has no contract that could be a gate", "add `- **gate**: off`")
    ]


def test_a_benchmark_of_any_module_means_any_architecture() -> None:
    text = PLAN.replace("audit-v1", "count-v1").replace("`found`", "`parameters`").replace("100%", "1")
    assert told(text) == [("`count-v1` measures architectures, and `votes` is none", "`votes` is measured by `audit-v1`")]


def test_there_is_nothing_to_improve_on_it() -> None:
    assert told(PLAN.replace("off\n", "off\n- **improve**: tune\n"))[0][0] == "`votes` is no architecture"


def test_an_architecture_is_not_measured_by_what_names_another_subject() -> None:
    assert told(PLAN.replace("`votes`", "`retnet`"))[0][0] == "`audit-v1` says nothing of the module `retnet`"


def test_the_annex_is_read_like_the_shelf_and_its_subjects_are_the_packages_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "HOUSE", tmp_path)
    catalogue.forget()
    try:
        (tmp_path / "alignment" / "measured").mkdir(parents=True)
        (tmp_path / "alignment" / "votes.py").write_text("raise ImportError")
        (tmp_path / "alignment" / "measured" / "any.py").write_text(
            "@benchmark('audit-v1', metrics={'found': ''}, source='', modules=('votes', 'gone'))\ndef measure(bench): ..."
        )
        assert list(catalogue.shelf("benchmark")) == ["audit-v1"]
        found = catalogue.measurable()
        assert {name: (one.shelf, one.path) for name, one in found.items()} == {
            "votes": (SUBJECT, tmp_path / "alignment" / "votes.py")
        }
        assert catalogue.shelves().modules == found
    finally:
        catalogue.forget()


def test_whatever_a_benchmark_of_this_house_names_can_be_measured() -> None:
    known = catalogue.measurable()
    assert {name for one in catalogue.shelf("benchmark").values() for name in one.modules} <= known.keys()
    assert {name for name, one in known.items() if one.shelf == SUBJECT} == {"collective", "deliberative", "iterative", "critic"}
