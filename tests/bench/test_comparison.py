"""The three answers of a comparison, on runs made up for each, judged by the real judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pytest
from scipy import stats

from agents.compare import EXITS, Wish, document, plan_for, sentence
from bench.comparison import Answer, Comparison, compared
from bench.judge import judge
from plan import catalogue
from plan.exits import Exit
from plan.faults import PlanFaults
from plan.grammar import parse
from plan.nouns import Run, Status
from tests.bench.zoo_runs import run

A, B = "retnet", "transformer"
planned = cache(plan_for)
BAR = (3.0, 3.4, 2.6, 3.1, 2.9)


def answer(
    ours: Sequence[float],
    theirs: Sequence[float] = BAR,
    *,
    wish: Wish | None = None,
    facts: tuple[Mapping[str, object], Mapping[str, object]] = ({}, {}),
    lost: Sequence[int] = (),
) -> Comparison:
    wish = wish or Wish(a=A, b=B, seeds=len(ours))
    plan, better = planned(wish)
    assert better is not None
    metric = plan.tasks[-1].targets[0].metric

    def measured(module: str, values: Sequence[float], told: Mapping[str, object], lost: Sequence[int] = ()) -> list[Run]:
        return [
            run(module, wish.benchmark, seed, status=Status.CRASHED)
            if seed in lost
            else run(module, wish.benchmark, seed, {metric: value}, facts=told)
            for seed, value in enumerate(values)
        ]

    runs = {plan.tasks[0].id: measured(B, theirs, facts[1]), plan.tasks[-1].id: measured(A, ours, facts[0], lost)}
    return compared(plan, judge(plan, runs), runs, better=better)


def test_a_difference_that_every_seed_shares_is_found_through_noise_that_both_sides_share() -> None:
    ours = [value - 0.1 + noise for value, noise in zip(BAR, (0.01, -0.01, 0.0, 0.02, -0.02), strict=True)]
    found = answer(ours)
    low, high = stats.ttest_rel(ours, BAR).confidence_interval(0.95)
    assert (found.answer, found.n, found.error, EXITS[found.answer]) == (Answer.BETTER, 5, 0.05, Exit.HOLDS)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.difference == pytest.approx(np.mean(ours) - np.mean(BAR))


def test_the_same_difference_the_other_way_is_worse() -> None:
    found = answer([value + 0.1 + noise for value, noise in zip(BAR, (0.01, -0.01, 0.0, 0.02, -0.02), strict=True)])
    assert (found.answer, EXITS[found.answer]) == (Answer.WORSE, Exit.MISSED)


def test_where_more_is_better_the_larger_one_is_better() -> None:
    wish = Wish(a=A, b=B, benchmark="mqar-64x4-v64-v1", seeds=3)
    assert answer((0.9, 0.91, 0.92), (0.5, 0.52, 0.51), wish=wish).answer is Answer.BETTER
    assert answer((0.5, 0.52, 0.51), (0.9, 0.91, 0.92), wish=wish).answer is Answer.WORSE


def test_an_interval_that_holds_zero_is_undecided_and_says_how_many_seeds_would_do() -> None:
    found = answer([value + gap for value, gap in zip(BAR, (0.3, -0.2, 0.2, 0.1, -0.1), strict=True)])
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high
    assert (found.answer, found.error, EXITS[found.answer]) == (Answer.UNDECIDED, None, Exit.UNDECIDED)
    assert found.more_seeds is not None
    assert found.more_seeds > 5


def test_a_module_against_itself_is_undecided_and_never_better() -> None:
    found = answer(BAR)
    assert (found.answer, found.difference) == (Answer.UNDECIDED, 0.0)
    assert found.reason == "both sides gave the same numbers on 5 seeds"


def test_a_crash_is_no_answer_and_no_pass() -> None:
    found = answer(BAR, lost=(2,))
    assert (found.answer, EXITS[found.answer]) == (Answer.NONE, Exit.MISSED)
    assert "seed 2: crashed" in found.reason


def test_seeds_that_may_be_bought_widen_the_interval_by_the_looks_they_take() -> None:
    ours = [value - gap for value, gap in zip(BAR, (0.10, 0.11, 0.12, 0.09, 0.13), strict=True)]
    fixed, open_ended = (answer(ours, wish=Wish(a=A, b=B, seeds=5, up_to=most)) for most in (5, 8))
    assert (fixed.confidence, open_ended.confidence) == (pytest.approx(0.95), pytest.approx(0.975))
    assert open_ended.low is not None
    assert fixed.low is not None
    assert open_ended.low < fixed.low


@pytest.mark.parametrize(
    ("sizes", "warned"), [((100_000, 104_900), False), ((100_000, 105_100), True), ((105_100, 100_000), True)]
)
def test_parameters_that_differ_by_more_than_a_twentieth_are_warned_of(sizes: tuple[int, int], warned: bool) -> None:
    found = answer(BAR, facts=({"parameters": sizes[0]}, {"parameters": sizes[1]}))
    assert (found.a.parameters, found.b.parameters) == sizes
    assert bool(found.warnings) is warned
    assert all("not of equal size" in warning for warning in found.warnings)


def trained(flops: float, *, steps: int = 10) -> Mapping[str, object]:
    return {"train_flops": flops, "recipe": {"batch": 8, "length": 64, "accumulate": 2}, "steps": steps}


@pytest.mark.parametrize(("flops", "warned"), [((1e6, 1.049e6), False), ((1e6, 1.06e6), True), ((3e6, 1e6), True)])
def test_arithmetic_that_differs_by_more_than_a_twentieth_is_warned_of_with_the_mend(
    flops: tuple[float, float], warned: bool
) -> None:
    found = answer(BAR, facts=(trained(flops[0]), trained(flops[1])))
    assert found.a.training_flops == 10 * 2 * 8 * 64 * flops[0]
    assert bool(found.warnings) is warned
    assert all("not of equal arithmetic" in told and "`--benchmark bytes-stdlib-flops-v2`" in told for told in found.warnings)
    assert "bytes-stdlib-flops-v2" in catalogue.shelf("benchmark"), "the mend has to exist"
    assert document(found, plan_for(Wish(a=A, b=B))[0], ledger="here")["warnings"] == list(found.warnings)


def test_a_dear_module_that_takes_fewer_steps_is_of_equal_arithmetic() -> None:
    wish = Wish(a=A, b=B, benchmark="bytes-stdlib-flops-v2")
    found = answer(BAR, wish=wish, facts=(trained(3e6, steps=100), trained(1e6, steps=300)))
    assert found.warnings == ()


def test_where_no_benchmark_of_equal_arithmetic_is_the_mend_is_the_config() -> None:
    wish = Wish(a=A, b=B, benchmark="mqar-64x4-v64-v1")
    (warning,) = answer((0.5, 0.6, 0.7), (0.5, 0.6, 0.7), wish=wish, facts=(trained(2e6), trained(1e6))).warnings
    assert warning.endswith("compare at equal FLOPs by `--config-a` and `--config-b`")


def test_batches_that_differ_are_warned_of() -> None:
    recipes = [{"recipe": {"batch": batch, "length": 64}, "steps": 10} for batch in (8, 16)]
    found = answer(BAR, facts=(recipes[0], recipes[1]))
    assert (found.a.tokens, found.b.tokens) == (5120, 10240)
    assert found.warnings == (
        "not on the same data: batches of 8 x 64 against 16 x 64 tokens; set `recipe.batch` and `recipe.length` alike for both",
    )


def test_sides_that_are_the_same_are_called_better_or_worse_in_at_most_the_declared_share_of_comparisons() -> None:
    rng, told, many = np.random.default_rng(0), 0, 400
    for _ in range(many):
        seeds = rng.normal(3, 0.3, 5)
        ours, theirs = (seeds + rng.normal(0, 0.05, 5) for _ in range(2))
        told += answer(ours.tolist(), theirs.tolist()).answer is not Answer.UNDECIDED
    assert stats.binomtest(told, many, 0.05, alternative="greater").pvalue > 0.001
    assert told > 0


def test_the_text_of_the_plan_is_a_plan_and_says_the_same() -> None:
    wish = Wish(a="linear_attention", b=B, steps=40, seeds=3, up_to=5, config_a=("d_model=64", "recipe.lr=1e-2"))
    plan, _ = plan_for(wish)
    read = parse(plan.source)
    assert [task.id for task in read.tasks] == ["b-transformer-vs-linear-attention", "a-linear-attention-vs-transformer"]
    assert read.tasks[1].needs == (read.tasks[0].id,)
    assert plan.tasks[1].needs == ()
    assert [(task.config, task.budget.steps, task.seeds.looks) for task in plan.tasks] == [
        ({}, 40, (3, 5)),
        ({"d_model": 64, "recipe": {"lr": 0.01}}, 40, (3, 5)),
    ]


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (Wish(a="retnett", b=B), "error[P010]: unknown module `retnett`"),
        (Wish(a=A, b="transfomer"), "help: did you mean `transformer`?"),
        (Wish(a=A, b=B, benchmark="bytes-stdlib-v2"), "help: did you mean `bytes-stdlib-v1`?"),
        (Wish(a=A, b=B, metric="val_bp"), "help: did you mean `val_bpb`?"),
        (Wish(a=A, b=B, config_a=("d_mode=64",)), "help: did you mean `d_model`?"),
        (Wish(a=A, b=B, config_b=("heads=",)), "the config is not TOML"),
        (Wish(a=A, b=B, seeds=2), "needs at least 3 seeds"),
    ],
)
def test_what_is_not_there_is_told_as_in_a_plan(wish: Wish, told: str) -> None:
    with pytest.raises(PlanFaults) as caught:
        plan_for(wish)
    assert told in str(caught.value)


def test_the_answer_in_words_and_as_a_record() -> None:
    found = answer([value - 0.1 for value in BAR])
    assert sentence(found) == "✓ better: retnet than transformer in `val_bpb` on `bytes-stdlib-v1`"
    record = document(found, plan_for(Wish(a=A, b=B))[0], ledger="here")
    assert (record["v"], record["answer"], record["n"], record["a"]["module"]) == (1, "better", 5, "retnet")
