"""What a measurement would only have found out after it was paid for is told before."""

from __future__ import annotations

import re

import pytest

from plan.catalogue import shelf, shelves
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


def test_a_task_knows_the_line_that_names_its_text() -> None:
    text = source("data: books/", benchmark="text-v1", row=TEXT)
    assert task(text).data_line == 7
    above = text.replace("- **data**: books/\n", "").replace("# P\n", "# P\n\n- **data**: books/\n")
    assert (task(above).data, task(above).data_line) == ("books/", 3)
    assert task(source()).data_line == 0


def test_of_this_house_the_benchmarks_that_read_a_tasks_text_are_those_that_declare_it() -> None:
    """A suite file whose code mentions `request.data`, or `data_of`, declares `"corpus": ""` for a benchmark of its own, and no other file does."""
    here = shelves().benchmarks.values()
    assert shelves().benchmarks["bytes-path-v1"].reads_data
    assert not shelves().benchmarks["bytes-stdlib-v1"].reads_data
    asks = re.compile(r"request\.data|\bdata_of\(")
    assert {one.path for one in here if asks.search(one.path.read_text())} == {one.path for one in here if one.reads_data}


@pytest.mark.parametrize("benchmark", ["copy-64-v1", "count-v1"])
def test_a_text_that_the_benchmark_would_not_read_is_told_with_one_that_would(benchmark: str) -> None:
    wrong = fault(source("data: books/", benchmark=benchmark))
    assert (wrong.code, wrong.line) == ("P014", 7)
    assert "`text-v1`" in wrong.help


def test_a_module_that_the_benchmark_says_nothing_of_is_told_with_those_it_measures() -> None:
    wrong = fault(source(benchmark="kernel-v1"))
    assert (wrong.code, wrong.line) == ("P014", 6)
    assert wrong.message == "`kernel-v1` says nothing of the module `retnet`"
    assert "make `attention` or `moe` the module of task `a`" in wrong.help
    assert task(source(benchmark="kernel-v1").replace("retnet", "moe")).module == "moe"


def test_a_module_above_all_tasks_is_told_where_a_task_chose_the_benchmark() -> None:
    whole = source(benchmark="kernel-v1").replace("- **module**: retnet\n", "").replace("# P\n", "# P\n\n- **module**: retnet\n")
    assert (fault(whole).line, fault(whole).column) == (7, 18)


def test_the_speed_of_a_kernel_is_told_of_the_module_that_runs_on_it_and_of_no_other() -> None:
    here = shelves()
    spoken = {name: one.modules for name, one in here.benchmarks.items() if set(one.modules) & set(shelf("module"))}
    kernels = {name.split("-")[1]: modules for name, modules in spoken.items() if name.startswith("kernel-")}
    assert kernels == {"attention": ("attention",), "retention": ("retnet",), "scan": ("mamba",)}
    assert {name for name in spoken if not name.startswith("kernel-")} == {
        "topk-decode-32k-v1", "topk-accuracy-32k-v1", "topk-recall-32k-v1", "quant-lora-v3", "router-cost-v1",
    }  # fmt: skip
    assert {module for modules in spoken.values() for module in modules} <= set(here.modules)


def test_steps_cannot_be_limited_where_nothing_is_trained() -> None:
    wrong = fault(source("budget: 5 min, 20 steps", benchmark="count-v1"))
    assert (wrong.code, wrong.line) == ("P014", 7)
    assert task(source("budget: 5 min, 20 steps")).budget.steps == 20
    assert task(source("budget: 5 min, 6 runs", benchmark="count-v1")).budget.runs == 6


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


@pytest.mark.parametrize(
    ("device", "help"), [("gpu", "did you mean `cuda`?"), ("mps", "64-bit floats"), ("cud", "did you mean `cuda`?")]
)
def test_a_device_that_cannot_work_is_refused_with_one_that_does(device: str, help: str) -> None:
    wrong = fault(source(f"device: {device}"))
    assert wrong.code == "P014"
    assert help in wrong.help


def test_what_a_task_lacks_is_shown_with_names_that_exist() -> None:
    whole = "# P\n\n## a: b\n\n| metric | | threshold | rule |\n|-|-|-|-|\n| `accuracy` | >= | 0.9 | mean |\n"
    assert fault(whole).help == "add `- **module**: attention` and `- **benchmark**: copy-64-v1`"


@pytest.mark.parametrize(
    ("line", "help"),
    [
        ("heads = 2.5", "a whole number without a point (`4`)"),
        ("gated = 1", "`true` or `false`"),
        ("gamma = inf", "a finite number (`0.5`)"),
        ("spread = [0.9]", "a list of 2 values, each a finite number (`0.5`)"),
        ("window = 0.5", "a whole number without a point (`4`), or leave the key out"),
        ('router = "zzz"', '`"hash"`, `"switch"`'),
    ],
)
def test_a_config_value_of_another_type_is_told_what_is_expected_in_words(line: str, help: str) -> None:
    wrong = fault(source() + f"\n```toml config\n{line}\n```\n")
    assert wrong.code == "P031"
    assert wrong.help == f"write {'one of ' if 'router' in line else ''}{help}"


@pytest.mark.parametrize(
    ("written", "meant"), [("0.98 a", "0.98 x a"), ("1.01xa", "1.01 x a"), ("1.5 a.accuracy", "1.5 x a.accuracy")]
)
def test_a_factor_of_another_task_without_its_sign_is_recognised(written: str, meant: str) -> None:
    second = source("needs: a", row=f"`accuracy` | >= | {written} | mean").partition("\n\n")[2].replace("## a:", "## c:")
    wrong = fault(source() + "\n" + second)
    assert f"`{meant}`" in wrong.help
