"""A cell of the table never mixes two questions, and a front marks exactly what nothing beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from bench.pareto import Front, Standing, fronts
from bench.table import Cell, Estimate, matrix
from plan.nouns import Request, Run, Status
from tests.bench.zoo_runs import run, seeds, zoo


def cells(runs: Sequence[Run]) -> list[Cell]:
    return list(matrix(runs).cells)


def test_a_cell_is_the_mean_of_its_seeds_with_students_interval() -> None:
    values = (2.51, 2.44, 2.58, 2.49)
    (cell,) = cells(seeds("retnet", "bytes-stdlib-v1", "val_bpb", values))
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert cell.estimate is not None
    assert (cell.estimate.value, cell.n, cell.column.steps) == (pytest.approx(np.mean(values)), 4, 300)
    assert (cell.estimate.low, cell.estimate.high) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_has_no_interval() -> None:
    (cell,) = cells(seeds("retnet", "bytes-stdlib-v1", "val_bpb", [2.5]))
    assert cell.estimate == Estimate(values=(2.5,), value=2.5, low=None, high=None)


@pytest.mark.parametrize(
    ("change", "rows", "columns"),
    [
        ({"steps": 600}, 1, 2),
        ({"device": "cuda"}, 1, 2),
        ({"threads": 2}, 1, 2),
        ({"benchmark": "bytes-extrapolation-v1"}, 1, 2),
        ({"data": "mine.txt", "benchmark": "bytes-path-v1"}, 1, 2),
        ({"config": {"d_model": 64}}, 2, 1),
        ({"config": {"decoder": {"layers": 3}}}, 2, 1),
        ({"config": {"recipe": {"lr": 1e-2}}}, 1, 1),
    ],
)
def test_what_differs_in_the_question_or_the_model_is_another_cell(change: dict[str, object], rows: int, columns: int) -> None:
    one = run("retnet", "bytes-stdlib-v1", 0, {"val_bpb": 2.5})
    two = replace(one, key="other", request=replace(one.request, **change))  # type: ignore[arg-type]
    found = matrix([one, two])
    assert [cell.n for cell in found.cells] == [1, 1]
    assert (len(found.rows), len(found.columns)) == (rows, columns)


def test_the_default_number_of_steps_is_the_same_question_when_it_is_written_out() -> None:
    runs = [
        run("retnet", "bytes-stdlib-v1", 0, {"val_bpb": 2.5}),
        run("retnet", "bytes-stdlib-v1", 1, {"val_bpb": 2.6}, steps=300),
    ]
    assert [cell.seeds for cell in cells(runs)] == [(0, 1)]


def test_runs_of_code_that_has_changed_are_left_out_and_counted_or_shown_marked() -> None:
    old = seeds("retnet", "bytes-stdlib-v1", "val_bpb", (9.0, 9.1), code="old")
    only_old = seeds("mamba", "bytes-stdlib-v1", "val_bpb", (8.0,), code="old")
    new = seeds("retnet", "bytes-stdlib-v1", "val_bpb", (2.5, 2.6, 2.7))
    keys = {one.key for one in new}
    made = matrix([*new, *old, *only_old], current=lambda one: one.key in keys)
    assert [(cell.module, cell.estimate and cell.estimate.values, cell.earlier) for cell in made.cells] == [
        ("retnet", (2.5, 2.6, 2.7), False)
    ]
    assert made.left_out == 3
    shown = matrix([*new, *old, *only_old], current=lambda one: one.key in keys, earlier=True)
    assert [(cell.module, cell.estimate and cell.estimate.values, cell.earlier) for cell in shown.cells] == [
        ("mamba", (8.0,), True),
        ("retnet", (2.5, 2.6, 2.7), False),
    ]
    assert shown.left_out == 2


def test_of_several_codes_in_a_record_the_latest_counts_and_the_rest_is_counted() -> None:
    old, new = (
        seeds("retnet", "bytes-stdlib-v1", "val_bpb", values, code=code) for code, values in (("1", (9.0,)), ("2", (2.5,)))
    )
    made = matrix([*old, *new])
    assert ([cell.estimate and cell.estimate.values for cell in made.cells], made.left_out) == ([(2.5,)], 1)


def test_a_run_without_a_number_is_told_and_a_killed_one_is_no_result() -> None:
    runs = [
        *seeds("retnet", "bytes-stdlib-v1", "val_bpb", (2.5, 2.6)),
        run("retnet", "bytes-stdlib-v1", 2, status=Status.CRASHED),
        run("retnet", "bytes-stdlib-v1", 3, {"train_bpb": 2.0}),
        run("retnet", "bytes-stdlib-v1", 4, status=Status.KILLED),
    ]
    (cell,) = cells(runs)
    assert (cell.seeds, cell.lost) == ((0, 1), ((2, Status.CRASHED), (3, Status.OK)))


def test_a_module_that_is_not_measured_yet_has_an_empty_row() -> None:
    made = matrix([], wanted=[Request(module="hyena", benchmark="bytes-stdlib-v1", seed=0, config={"recipe": {"lr": 1.0}})])
    assert (made.rows, made.columns, made.cells) == ((("hyena", ""),), (), ())


def test_the_order_of_the_runs_does_not_change_the_table() -> None:
    assert matrix(reversed(zoo())) == matrix(zoo())


def standings(front: Front) -> dict[str, tuple[Standing, str]]:
    return {point.cell.module: (point.standing, point.by) for point in front.points}


def test_a_front_has_quality_memory_and_speed_and_names_who_dominates() -> None:
    (front,) = fronts(matrix(zoo()))
    assert [(axis.name, axis.source, axis.better) for axis in front.axes] == [
        ("val_bpb", "bytes-stdlib-v1", "less"),
        ("state_bytes", "memory-growth-v1", "less"),
        ("train_ratio", "train-throughput-512-v1", "more"),
    ]
    assert standings(front) == {
        "mamba": (Standing.FRONT, ""),
        "retnet": (Standing.FRONT, ""),
        "transformer": (Standing.UNSURE, "retnet"),
    }


def test_dominated_is_said_only_where_the_intervals_lie_apart() -> None:
    runs = [one for one in zoo() if (one.request.module, one.request.benchmark) != ("transformer", "bytes-stdlib-v1")]
    runs += seeds("transformer", "bytes-stdlib-v1", "val_bpb", (3.50, 3.51, 3.49))
    (front,) = fronts(matrix(runs))
    assert standings(front)["transformer"] == (Standing.DOMINATED, "retnet")


def test_a_lost_run_or_a_missing_cost_keeps_a_model_off_the_front() -> None:
    runs = [
        *zoo(),
        run("mamba", "bytes-stdlib-v1", 7, status=Status.CRASHED),
        *seeds("moe", "bytes-stdlib-v1", "val_bpb", (2.0, 2.1)),
    ]
    (front,) = fronts(matrix(runs))
    why = {point.cell.module: point.why for point in front.named(Standing.UNPLACED)}
    assert why == {
        "mamba": "1 of 4 runs ended without a number",
        "moe": "no state_bytes and no train_ratio measured",
    }


def test_bytes_of_state_of_the_same_runs_come_before_those_of_a_memory_benchmark() -> None:
    def probe(module: str, value: float, state: float) -> list[Run]:
        return seeds(module, "mqar-64x4-v64-v1", "accuracy", (value, value + 0.01), {"state_bytes": state})

    runs = [*probe("retnet", 0.5, 100.0), *probe("mamba", 0.8, 200.0), *probe("attention", 0.79, 900.0)]
    runs += [run(name, "memory-growth-v1", 0, {"state_exponent": 0.0, "state_bytes": 1.0}) for name in ("retnet", "mamba")]
    (front,) = fronts(matrix(runs))
    assert [axis.source for axis in front.axes] == ["mqar-64x4-v64-v1", "mqar-64x4-v64-v1"]
    assert [point.places["state_bytes"].value for point in front.points] == [900.0, 200.0, 100.0]
    assert {name: standing for name, (standing, _) in standings(front).items()} == {
        "retnet": Standing.FRONT, "mamba": Standing.FRONT, "attention": Standing.UNSURE,
    }  # fmt: skip


def test_without_throughput_runs_speed_is_the_time_per_step_unless_a_training_was_resumed() -> None:
    def trained(module: str, value: float, seconds: float, resumed: int | None = None) -> list[Run]:
        facts = {"train_seconds": seconds, "steps": 10, "resumed_at": resumed}
        return seeds(module, "bytes-stdlib-v1", "val_bpb", (value, value), facts=facts)

    (front,) = fronts(matrix([*trained("retnet", 2.0, 5.0), *trained("mamba", 1.0, 9.0), *trained("moe", 3.0, 1.0, 4)]))
    assert [axis.name for axis in front.axes] == ["val_bpb", "step_seconds"]
    assert {p.cell.module: p.places["step_seconds"].value for p in front.points if "step_seconds" in p.places} == {
        "retnet": 0.5, "mamba": 0.9,
    }  # fmt: skip


def counted(module: str, bpb: Sequence[float], flops: float) -> list[Run]:
    return seeds(module, "bytes-stdlib-v1", "val_bpb", bpb, {"train_flops": flops, "state_bytes": 1.0})


def test_arithmetic_is_a_cost_by_which_a_model_stands_on_the_front() -> None:
    dear, cheap = counted("moe", (2.0, 2.01), 4e6), counted("retnet", (3.0, 3.01), 2e6)
    (front,) = fronts(matrix([*dear, *cheap, *counted("hyena", (3.5, 3.51), 2e6)]))
    assert [(axis.name, axis.better, axis.unit) for axis in front.axes][-1] == ("train_flops", "less", "FLOP")
    assert standings(front) == {
        "moe": (Standing.FRONT, ""), "retnet": (Standing.FRONT, ""), "hyena": (Standing.DOMINATED, "retnet"),
    }  # fmt: skip


def test_models_of_equal_arithmetic_are_not_told_apart_by_a_few_operations() -> None:
    (front,) = fronts(matrix([*counted("moe", (2.0, 2.01), 1.04e6), *counted("retnet", (3.0, 3.01), 1e6)]))
    assert "train_flops" not in [axis.name for axis in front.axes]
    assert standings(front)["retnet"] == (Standing.DOMINATED, "moe")


def test_experts_that_drop_tokens_cost_what_their_seeds_cost_on_average() -> None:
    runs = [run("moe", "bytes-stdlib-v1", seed, {"val_bpb": 3.0, "train_flops": 1e6 + seed}) for seed in range(3)]
    (cell,) = cells(runs)
    assert cell.train_flops == pytest.approx(1e6 + 1)
    (cell,) = cells([*runs, run("moe", "bytes-stdlib-v1", 3, {"val_bpb": 3.0})])
    assert cell.train_flops is None, "a mean over some seeds would be of other tokens"


def test_the_marks_agree_with_the_definition_on_every_small_table() -> None:
    """All tables of three models with exact numbers from a few: dominated is exactly what brute force over the definition says."""
    names = ("attention", "mamba", "retnet")
    for places in product(product((1.0, 2.0), (1.0, 2.0, 3.0)), repeat=3):
        runs: list[Run] = []
        for name, (bpb, state) in zip(names, places, strict=True):
            runs += seeds(name, "bytes-stdlib-v1", "val_bpb", (bpb, bpb))
            runs += [run(name, "memory-growth-v1", 0, {"state_exponent": 0.0, "state_bytes": state})]
        (front,) = fronts(matrix(runs))
        for name, mine in zip(names, places, strict=True):
            beaten = any(all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine for other in places)
            assert standings(front)[name][0] is (Standing.DOMINATED if beaten else Standing.FRONT)
