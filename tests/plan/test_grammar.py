"""What a plan says becomes the nouns of the loop, and nothing that it says is lost."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from plan.faults import PlanFaults
from plan.grammar import parse, read
from plan.nouns import Budget, Comparator, Plan, Rule, RuleKind, Search, Seeds, Task, Threshold
from plan.wire import decode, encode
from tests.plan.known import GOOD, SHELVES


def with_row(row: str, *, seeds: str = "5", module: str = "attention", benchmark: str = "copy-64-v1") -> Task:
    return parse(
        f"# P\n\n## a: b\n\n- **module**: {module}\n- **benchmark**: {benchmark}\n- **seeds**: {seeds}\n\n"
        f"| metric | | threshold | rule |\n|-|-|-|-|\n{row}\n",
        shelves=SHELVES,
    ).tasks[0]  # fmt: skip


def codes(source: str) -> list[str]:
    with pytest.raises(PlanFaults) as caught:
        parse(source, shelves=SHELVES)
    return [fault.code for fault in caught.value.faults]


def test_a_plan_is_read_as_it_is_written() -> None:
    plan = parse(GOOD, path="plan/Small.md", shelves=SHELVES)
    dense, retnet = plan.tasks
    assert (plan.title, plan.path, plan.source) == ("Plan: a small one", "plan/Small.md", GOOD)
    assert plan.prose == "Why it matters."
    assert plan.digest == hashlib.sha256(GOOD.encode()).hexdigest()
    assert (dense.id, dense.title, dense.module, dense.benchmark, dense.line) == (
        "dense-copy", "attention sets the bar", "attention", "copy-64-v1", 7,
    )  # fmt: skip
    assert dense.budget == Budget(seconds=600.0, steps=400)
    assert [(t.metric, t.comparator, t.threshold.value, t.line) for t in dense.targets] == [
        ("accuracy", Comparator.GE, 0.99, 15), ("peak_bytes", Comparator.LE, 512.0 * 2**20, 16),
    ]  # fmt: skip
    assert retnet.needs == ("dense-copy",)
    assert retnet.targets[0].threshold == Threshold(value=0.98, task="dense-copy")
    assert retnet.targets[0].rule == Rule(kind=RuleKind.LOWER, level=0.95)
    assert retnet.targets[1].threshold == Threshold(value=0.018, unit="ms")
    assert retnet.config == {"heads": 4, "decoder": {"layers": 3}}
    assert decode(Plan, encode(plan)) == plan


def test_settings_above_the_first_task_are_everyones_and_a_tasks_own_wins() -> None:
    source = GOOD.replace(
        "- **seeds**: 5",
        "- **seeds**: 3, up to 8\n- **device**: `cuda:1`\n- **gate**: off\n- **search**: best\n- **improve**: tune",
    )
    dense, retnet = parse(
        source.replace("- **module**: `retnet`", "- **module**: retnet\n- **device**: cpu\n- **seeds**: 4"), shelves=SHELVES
    ).tasks
    assert (dense.search, retnet.search, parse(GOOD, shelves=SHELVES).tasks[0].search) == (Search.BEST, Search.BEST, Search.ANY)
    assert (dense.seeds, dense.device, dense.gate) == (Seeds(first=3, most=8), "cuda:1", False)
    assert (retnet.seeds, retnet.device, retnet.gate) == (Seeds(first=4, most=4), "cpu", False)


@pytest.mark.parametrize(
    ("written", "budget"),
    [
        ("90 s", Budget(seconds=90)), ("1.5 h", Budget(seconds=5400)), ("20min,400 steps", Budget(seconds=1200, steps=400)),
        ("30 runs", Budget(runs=30)), ("1_000 steps, 2 h, 9 runs", Budget(seconds=7200, steps=1000, runs=9)), ("`10 min`", Budget(seconds=600)),
    ],
)  # fmt: skip
def test_a_budget_says_time_steps_and_runs(written: str, budget: Budget) -> None:
    assert parse(GOOD.replace("10 min, 400 steps", written), shelves=SHELVES).tasks[0].budget == budget


@pytest.mark.parametrize(
    "written",
    [
        "",
        "ten min",
        "0 min",
        "-5 min",
        "5",
        "1.5 steps",
        "5 min 3 s",
        "1..2 s",
        "5 min,",
        "1e3 steps",
        "5 mi\u0301n",
        "1_0 steps",
    ],
)
def test_a_budget_that_is_not_understood_is_a_fault(written: str) -> None:
    assert codes(GOOD.replace("10 min, 400 steps", written)) == ["P014"]


@pytest.mark.parametrize("written", ["0", "-1", "3.5", "8, up to 3", "up to 8", "five", "3 up", "99999999", "٣"])
def test_seeds_that_are_not_understood_are_a_fault(written: str) -> None:
    assert codes(GOOD.replace("**seeds**: 5", f"**seeds**: {written}")) == ["P014"]


@pytest.mark.parametrize(
    ("cell", "metric", "value"),
    [
        ("0.99", "accuracy", 0.99), ("99%", "accuracy", 0.99), ("99.5 %", "accuracy", 0.995), ("2 KiB", "peak_bytes", 2048), ("1.5 GiB", "peak_bytes", 1.5 * 2**30),
        ("1_000 B", "peak_bytes", 1000), ("2e6", "peak_bytes", 2e6), ("18 ms", "step_seconds", 0.018), ("18us", "step_seconds", 18e-6), ("1.8 x", "train_ratio", 1.8),
        ("1.8x", "train_ratio", 1.8), ("110%", "train_ratio", 1.1), ("3 GFLOP", "cost", 3e9), ("-0.5", "accuracy", -0.5), (".5", "accuracy", 0.5), ("`0.5`", "accuracy", 0.5),
    ],
)  # fmt: skip
def test_a_threshold_is_scaled_to_the_base_unit_of_its_metric(cell: str, metric: str, value: float) -> None:
    (target,) = with_row(f"| {metric} | > | {cell} | mean |").targets
    assert target.threshold.value == value


@pytest.mark.parametrize(
    ("rule", "read"),
    [
        ("every seed", Rule(kind=RuleKind.EVERY_SEED)), ("Median", Rule(kind=RuleKind.MEDIAN)), ("mean", Rule(kind=RuleKind.MEAN)), ("iqm", Rule(kind=RuleKind.IQM)),
        ("lower 95%", Rule(kind=RuleKind.LOWER, level=0.95)), ("lower  99.9 %", Rule(kind=RuleKind.LOWER, level=0.999)),
        ("anytime 90%", Rule(kind=RuleKind.ANYTIME, level=0.9)),
    ],
)  # fmt: skip
def test_a_rule_is_read_with_its_level(rule: str, read: Rule) -> None:
    (target,) = with_row(f"| accuracy | ≥ | 0.9 | {rule} |").targets
    assert target.rule == read


def test_a_paired_rule_names_the_task_it_compares_with() -> None:
    plan = parse(GOOD.replace("lower 95%", "p < 0.01 vs [`dense-copy`](#x)"), shelves=SHELVES)
    assert plan.tasks[1].targets[0].rule == Rule(kind=RuleKind.P_VALUE, level=0.01, versus="dense-copy")


@pytest.mark.parametrize("sign", ["<", "<=", "≤", "=", ">=", "≥", ">"])
def test_every_comparator_is_read_with_its_sign(sign: str) -> None:
    (target,) = with_row(f"| accuracy | {sign} | 0.9 | mean |").targets
    assert target.comparator.value == {"≤": "<=", "≥": ">="}.get(sign, sign)


def test_a_metric_that_only_the_module_reports_can_be_a_target() -> None:
    (target,) = with_row("| load_balance_std | <= | 3% | mean |", module="moe").targets
    assert target.threshold.value == 0.03


def test_a_unit_of_the_benchmarks_own_is_taken_as_it_is() -> None:
    assert with_row("| tokens_rate | > | 1_500 tokens/s | mean |", benchmark="bytes-v1").targets[0].threshold.value == 1500
    source = GOOD.replace("copy-64-v1", "bytes-v1", 1).replace("`accuracy`   | ≥  |      0.99", "`val_bpb` | ≤ | 1 tokens/s")
    assert "P009" in codes(source.replace("`peak_bytes`", "`tokens_rate`").replace("512 MiB", "5"))


def test_a_task_in_a_comment_is_not_there() -> None:
    start = GOOD.index("## retnet-copy")
    plan = parse(f"{GOOD[:start]}<!--\n{GOOD[start:]}-->\n", shelves=SHELVES)
    assert [task.id for task in plan.tasks] == ["dense-copy"]


def test_prose_of_every_shape_is_kept_and_is_not_read() -> None:
    prose = (
        "It is `accuracy` | that counts.\n\n> - **seeds**: 9 is what others take\n\n- a list\n- **Note** without a colon\n\n"
        "| size | time |\n| ---- | ---- |\n| 1 | 2 |\n\n```text\n## not-a-task: an example\n```\n\n### A heading inside prose"
    )  # fmt: skip
    plan = parse(GOOD.replace("Why it matters.", prose), shelves=SHELVES)
    assert plan.prose == prose
    assert len(plan.tasks) == 2


def test_needs_may_go_through_another_task() -> None:
    third = "\n## third: follows\n\n- **module**: moe\n- **benchmark**: copy-64-v1\n- **needs**: retnet-copy\n\n" \
            "| metric | | threshold | rule |\n|-|-|-|-|\n| accuracy | > | 1.01 x dense-copy.train_ratio | mean |\n"  # fmt: skip
    assert codes(GOOD + third) == ["P009"]
    assert (
        parse(GOOD + third.replace(".train_ratio", ".accuracy"), shelves=SHELVES).tasks[2].targets[0].threshold.metric
        == "accuracy"
    )


def test_a_misspelt_need_is_not_told_again_where_the_task_is_compared() -> None:
    assert codes(GOOD.replace("[`dense-copy`](#dense-copy-attention-sets-the-bar)", "dense-cpy")) == ["P012"]


def test_too_few_seeds_are_one_fault_however_many_targets_need_more() -> None:
    source = GOOD.replace("**seeds**: 5", "**seeds**: 2").replace("median", "upper 95%")
    assert codes(source.replace("0.99 | every seed", "0.99 | lower 95%")) == ["P026"]


def test_a_default_at_fault_is_one_fault_however_many_tasks_inherit_it() -> None:
    source = GOOD.replace("- **seeds**: 5", "- **seeds**: 5\n- **module**: retnot\n- **benchmark**: copy-46")
    for own in ("- **module**: `attention`\n", "- **module**: `retnet`\n", "- **benchmark**: `copy-64-v1`\n"):
        source = source.replace(own, "")
    assert codes(source) == ["P010", "P011"]


def test_two_circles_are_two_faults() -> None:
    def task(id: str, needs: str) -> str:
        return f"## {id}: t\n\n- **module**: moe\n- **benchmark**: copy-64-v1\n- **needs**: {needs}\n\n" \
               "| metric | | threshold | rule |\n|-|-|-|-|\n| accuracy | > | 0.5 | mean |\n\n"  # fmt: skip

    assert codes("# P\n\n" + task("a", "b, c") + task("b", "a") + task("c", "a") + task("d", "a")) == ["P013", "P013"]


def test_a_plan_file_is_read_with_its_path_and_a_missing_one_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "P.md").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert read(tmp_path / "P.md", shelves=SHELVES).path == str(tmp_path / "P.md")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "Q.md", shelves=SHELVES)


def test_a_fixed_threshold_and_one_of_another_task_are_two_questions() -> None:
    row = "| `accuracy`     | ≥  | 0.98 x dense-copy | lower 95% |\n"
    assert row in GOOD
    (_, retnet) = parse(GOOD.replace(row, row + "| `accuracy` | ≥ | 0.5 | lower 95% |\n"), shelves=SHELVES).tasks
    assert [target.threshold.task for target in retnet.targets if target.metric == "accuracy"] == ["dense-copy", None]
