"""What a measurement would only have found out after it was paid for is told before."""

from __future__ import annotations

import pytest

from plan.catalogue import shelves
from plan.faults import Fault, PlanFaults
from plan.grammar import parse
from plan.nouns import Task
from tests.plan.known import SHELVES


def source(*settings: str, benchmark: str = "copy-64-v1", row: str = "`accuracy` | >= | 0.9 | mean") -> str:
    lines = "\n".join(f"- **{one.partition(':')[0]}**:{one.partition(':')[2]}" for one in settings)
    return (
        f"# P\n\n## a: b\n\n- **module**: retnet\n- **benchmark**: {benchmark}\n{lines}\n\n"
        f"| metric | | threshold | rule |\n|-|-|-|-|\n| {row} |\n"
    )


def task(text: str) -> Task:
    return parse(text, shelves=SHELVES).tasks[0]


def fault(text: str) -> Fault:
    with pytest.raises(PlanFaults) as caught:
        parse(text, shelves=SHELVES)
    (only,) = caught.value.faults
    return only


TEXT = "`val_bpb` | <= | 3 | mean"


def test_a_benchmark_that_measures_on_the_tasks_text_wants_one() -> None:
    wrong = fault(source(benchmark="text-v1", row=TEXT))
    assert (wrong.code, wrong.message) == ("P017", "task `a` has no data")
    assert "- **data**" in wrong.help
    assert task(source("data: books/", benchmark="text-v1", row=TEXT)).data == "books/"


@pytest.mark.parametrize("benchmark", ["copy-64-v1", "count-v1"])
def test_a_text_that_the_benchmark_would_not_read_is_told_with_one_that_would(benchmark: str) -> None:
    wrong = fault(source("data: books/", benchmark=benchmark))
    assert (wrong.code, wrong.line) == ("P014", 7)
    assert "`text-v1`" in wrong.help


def test_of_this_house_only_the_benchmark_on_a_path_reads_data() -> None:
    assert [name for name, one in shelves().benchmarks.items() if one.reads_data] == ["bytes-path-v1"]


def test_steps_cannot_be_limited_where_nothing_is_trained() -> None:
    wrong = fault(source("budget: 5 min, 20 steps", benchmark="count-v1"))
    assert (wrong.code, wrong.line) == ("P014", 7)
    assert task(source("budget: 5 min, 20 steps")).budget.steps == 20
    assert task(source("budget: 5 min, 2 runs", benchmark="count-v1")).budget.runs == 2


def test_a_limit_of_steps_for_all_tasks_is_told_once() -> None:
    whole = source(benchmark="count-v1")
    assert (
        fault(whole.replace("# P\n", "# P\n\n- **budget**: 9 steps\n") + whole.replace("# P\n", "").replace("a: b", "c: d")).line
        == 3
    )


@pytest.mark.parametrize(
    "row", ["`parameters` | <= | 1_000 | anytime 95%", "`accuracy` | >= | 1 | anytime 95%", "`accuracy` | <= | 0 | anytime 95%"]
)
def test_anytime_bets_on_no_threshold_outside_of_nought_to_one(row: str) -> None:
    assert fault(source(benchmark="count-v1", row=row)).code == "P027"


def test_an_accuracy_of_ninety_nine_was_meant_in_percent() -> None:
    assert fault(source(row="`accuracy` | >= | 99 | mean")).help == "did you mean `99%`?"
    assert "between 0 and 1" in fault(source(row="`accuracy` | >= | 120% | mean")).help
    assert task(source(row="`accuracy` | >= | 99% | mean")).targets[0].threshold.value == 0.99
    assert task(source(benchmark="count-v1", row="`parameters` | <= | 99 | mean")).targets[0].threshold.value == 99
