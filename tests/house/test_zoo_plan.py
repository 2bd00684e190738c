"""The plan of the full comparison: a fair table has a cell for every mixer, equal parameters, and the same overrides in every part."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.flops import training_flops
from bench.request import Bench
from bench.suites.equal_flops import own_steps
from modules.decoder import Decoder
from modules.trainer import next_token
from plan.grammar import parse
from plan.nouns import Request, Task
from tests.house.pages import page, rows_below

PLAN = parse(page("plan/Zoo.md"), path="plan/Zoo.md")
BYTES = {_task.id.removeprefix("bytes-"): _task for _task in PLAN.tasks if _task.benchmark == "bytes-stdlib-v1"}
SHORT = {_task.id: _task for _task in parse(page("plan/Bytes.md"), path="plan/Bytes.md").tasks}
EQUAL = {_task.id: _task for _task in parse(page("plan/Flops.md"), path="plan/Flops.md").tasks}
SECOND = ("window", "moe-16", "switch")
"""Second forms of a module that has a row of its own."""
COSTS = {"time-growth-32k-v1", "decode-throughput-8k-v1", "train-throughput-2k-v1"}
"""Asked of the mixers and of what else the bytes are asked of; puzzles of the mixers, of attention to few keys and of a hybrid."""
OTHERS = {"topk_attention", "hybrid", "megabyte", "moe", "token_shift"}
LARGE = {"moe-16", "switch"}
COLUMNS: dict[str, dict[str, list[Task]]] = defaultdict(lambda: defaultdict(list))
for _task in PLAN.tasks:
    if not _task.id.endswith(SECOND):
        COLUMNS[_task.benchmark][_task.module].append(_task)
MIXERS = set(COLUMNS["bytes-extrapolation-v1"])


def settings(task: Task) -> dict[str, Any]:
    """The module's own settings but the width."""
    return {
        key: value for key, value in task.config.items() if key not in ("d_model", "recipe", "decoder", "negative_eigenvalues")
    }


@pytest.mark.parametrize("tasks", [BYTES, SHORT, EQUAL], ids=["Zoo.md", "Bytes.md", "Flops.md"])
def test_the_models_on_bytes_have_equal_parameters_but_two_that_say_so(tasks: dict[str, Task]) -> None:
    counted = {}
    for name, task in tasks.items():
        own = {key: value for key, value in task.config.items() if key not in ("decoder", "recipe")}
        counted[name] = Decoder.build(task.module, config=own, decoder=task.config.get("decoder", {})).parameters_count
    bar = counted["transformer"]
    assert {name for name, count in counted.items() if not 0.95 * bar <= count <= 1.05 * bar} == LARGE
    assert all(10 * bar <= counted[name] <= 11 * bar for name in LARGE)


def test_bytes_are_asked_of_more_than_the_mixers_and_of_the_same_models_in_the_short_plan() -> None:
    assert {task.module for task in BYTES.values()} > MIXERS
    assert BYTES.keys() == SHORT.keys()
    for name, task in BYTES.items():
        short = SHORT[name]
        assert {**task.config, "d_model": 0} == {**short.config, "d_model": 0}, name
        claims = [
            [(row.metric, row.comparator, row.threshold.value) for row in one.targets if row.threshold.task]
            for one in (task, short)
        ]
        assert claims[0] == claims[1], name


def test_the_plan_of_equal_flops_asks_of_the_same_models_as_that_of_equal_parameters() -> None:
    assert [(task.id, task.module, task.config) for task in EQUAL.values()] == [
        (task.id, task.module, task.config) for task in SHORT.values()
    ]
    assert {(task.benchmark, task.budget.steps, task.seeds.first) for task in EQUAL.values()} == {
        ("bytes-stdlib-flops-v2", 120, 3)
    }


def spent(task: Task, folder: Path) -> tuple[int, float]:
    """Steps that the benchmark takes, and what they cost, counted on other documents than those it counts on itself."""
    own = {key: value for key, value in task.config.items() if key not in ("decoder", "recipe")}
    model = Decoder.build(task.module, config=own, decoder={"vocabulary": 256, **task.config.get("decoder", {})}, seed=1)
    tokens_BT = torch.randint(256, (8, 257), generator=torch.Generator().manual_seed(1))
    _, flops = training_flops(lambda: next_token(model, tokens_BT)[0] + model.auxiliary_loss())
    request = Request(module=task.module, benchmark=task.benchmark, seed=0, config=task.config, steps=task.budget.steps)
    steps, *_ = own_steps(Bench(request=request, folder=folder))
    return steps, steps * flops


@pytest.mark.parametrize("name", EQUAL)
def test_the_models_of_the_plan_of_equal_flops_are_trained_for_equal_flops(name: str, tmp_path: Path) -> None:
    steps, bar = spent(EQUAL["transformer"], tmp_path)
    assert steps == 120
    assert spent(EQUAL[name], tmp_path)[1] == pytest.approx(bar, rel=0.05)


@pytest.mark.parametrize("benchmark", sorted(COLUMNS.keys() - {"bytes-stdlib-v1"}))
def test_every_benchmark_has_a_cell_for_every_mixer(benchmark: str) -> None:
    """Recall is asked of attention alone, without a feed-forward, as its authors do."""
    expected = MIXERS - {"transformer"} | {"attention"} if benchmark.startswith("mqar") else MIXERS
    alone = benchmark == "bytes-extrapolation-v1"
    assert set(COLUMNS[benchmark]) == expected | (
        set() if alone else OTHERS if benchmark in COSTS else {"topk_attention", "hybrid"}
    )


def test_what_else_has_costs_has_them_for_the_model_that_the_bytes_are_asked_of() -> None:
    for name in ("window", "topk", "megabyte", "hybrid", "token-shift", "moe"):
        model = {key: value for key, value in BYTES[name].config.items() if key != "recipe"}
        for kind in ("growth", "decode", "speed"):
            task = PLAN.task(f"{kind}-{name}")
            assert (task.module, task.config) == (BYTES[name].module, model), task.id


def test_the_head_of_the_plan_tells_how_many_measurements_it_takes() -> None:
    """One for each seed of each task, and the contract once for each model."""
    (told,) = re.findall(r"\((\d+) measurements;", page("plan/Zoo.md"))
    models = {(task.module, str({key: value for key, value in task.config.items() if key != "recipe"})) for task in PLAN.tasks}
    assert int(told) == sum(task.seeds.first for task in PLAN.tasks) + len(models)


def test_a_mixer_has_the_same_settings_in_every_part_but_recall() -> None:
    for module in MIXERS:
        tasks = [task for name, column in COLUMNS.items() if not name.startswith("mqar") for task in column[module]]
        assert len(tasks) >= 11
        assert {str(settings(task)) for task in tasks} == {str(settings(COLUMNS["bytes-stdlib-v1"][module][0]))}


def test_every_puzzle_is_asked_of_a_window_too() -> None:
    windows = {task.benchmark for task in PLAN.tasks if task.id.endswith("-window")}
    assert windows == COLUMNS.keys() - {"bytes-extrapolation-v1"}


def test_every_task_has_a_time_budget_and_three_seeds() -> None:
    for task in PLAN.tasks:
        assert task.budget.seconds is not None, task.id
        assert task.seeds.first >= 3, task.id


def test_the_page_on_benchmarks_names_every_benchmark_of_the_plan() -> None:
    told = {
        name for row in rows_below(page("docs/benchmarks.md"), "| benchmark") for name in re.findall(r"`([\w-]+-v1)`", row[0])
    }
    assert set(COLUMNS) <= told
