"""The noise profile against what it was drawn from, and the detectable differences against fresh simulations."""

from __future__ import annotations

import numpy as np
import pytest

from bench.calibration import PAIRS, calibration, detectable, latest, noise, told_apart
from bench.events import Calibration
from bench.promotion import Answer, duel, share
from bench.statistics import t_bounds
from plan.nouns import Cost, Request, Run, Status
from plan.wire import decode, encode


def run(seed: int, value: float | None) -> Run:
    metrics = {} if value is None else {"accuracy": value}
    status = Status.CRASHED if value is None else Status.OK
    request = Request(module="attention", benchmark="mqar-64x4-v64-v1", seed=seed)
    return Run(key=f"{seed:064x}", request=request, status=status, metrics=metrics, cost=Cost(seconds=2.0 + seed % 2))


def profile(values: list[float | None]) -> Calibration:
    runs = [run(seed, value) for seed, value in enumerate(values)]
    return calibration(runs, module="attention", benchmark="mqar-64x4-v64-v1", config={}, steps=4, machine={})


def test_the_deviation_is_that_of_the_differences_of_neighbours() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        found = noise((5 + rng.normal(0, 0.3, 20)).tolist())
        assert found is not None
        covered += found.low <= 0.3 * 2**0.5 <= found.high
    assert 0.9 <= covered / 300 <= 0.985
    exact = noise([1.0, 4.0, 2.0, 2.0])
    assert exact is not None
    assert exact.deviation == pytest.approx((9 / 2) ** 0.5)
    assert (exact.mean, exact.pairs) == (2.25, 2)


def test_what_drifts_shows_as_autocorrelation_and_what_alternates_as_its_opposite() -> None:
    drifting, turning = noise([float(i) for i in range(20)]), noise([float(i % 2) for i in range(20)])
    assert drifting is not None
    assert turning is not None
    assert drifting.autocorrelation is not None
    assert drifting.autocorrelation > 0.7
    assert turning.autocorrelation == pytest.approx(-1)
    same = noise([2.0] * 6)
    assert same is not None
    assert (same.deviation, same.autocorrelation) == (0, None)


def test_a_failure_takes_its_pair_out_of_the_profile_and_is_counted() -> None:
    found = profile([0.1, 0.2, None, 0.9, 0.3, 0.5, 0.4])
    assert (found.failed, found.noise["accuracy"].pairs) == (1, 2)
    assert found.noise["accuracy"].deviation == pytest.approx(((0.1**2 + 0.2**2) / 2) ** 0.5)
    assert found.noise["seconds"].deviation == 1.0
    assert profile([0.1, None, 0.2, None]).noise == {}
    assert decode(Calibration, encode(found)) == found


@pytest.mark.parametrize("pairs", [8, 16])
def test_a_duel_finds_the_detectable_difference_in_nine_of_ten_cases(pairs: int) -> None:
    effect = detectable(pairs, error=share(1, 0.05))
    assert effect is not None
    drawn = np.random.default_rng(7).normal(effect, 1, (400, pairs)).tolist()
    found = [duel([(gain, 0.0) for gain in row], better="less", error=share(1, 0.05), most=pairs) for row in drawn]
    assert 0.85 <= np.mean([one.answer is Answer.PROMOTE for one in found]) <= 0.95


def test_more_pairs_find_less_and_too_few_find_nothing() -> None:
    effects = [detectable(n, error=share(1, 0.05)) for n in PAIRS]
    assert effects == sorted((e for e in effects if e is not None), reverse=True)
    assert detectable(5, error=share(1, 0.05)) is None


def test_a_comparison_tells_its_difference_in_nine_of_ten_cases() -> None:
    effect = told_apart(2.0, n=5, error=0.025)
    assert effect is not None
    low, _ = t_bounds(np.random.default_rng(2).normal(effect, 2.0, (20_000, 5)), error=0.025)
    assert (low > 0).mean() == pytest.approx(0.9, abs=0.01)
    assert told_apart(2.0, n=1, error=0.025) is None


def test_the_latest_of_the_benchmark_and_either_module_counts() -> None:
    first, other, last = (Calibration(module=m, benchmark=b) for m, b in (("a", "x"), ("b", "y"), ("a", "x")))
    assert latest([first, other, last], "x", modules=("a", "b")) is last
    assert latest([first, other], "y", modules=("a",)) is None
