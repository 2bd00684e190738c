"""The e-process against exact enumeration, direct integration and simulated coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import beta as beta_function

from bench import eprocess


def _closed_form(k: int, n: int, tau: float) -> float:
    return float(beta_function(k + 0.5, n - k + 0.5) / beta_function(0.5, 0.5) / (tau**k * (1 - tau) ** (n - k)))


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.6, 0.97])
def test_the_two_sides_sum_to_the_beta_mixture(tau: float) -> None:
    for n in (1, 2, 7, 40):
        for k in range(n + 1):
            stake = eprocess.bernoulli(k, n, tau)
            assert math.exp(stake.both) == pytest.approx(_closed_form(k, n, tau))


def test_each_side_is_the_mixture_over_its_part_of_the_bets() -> None:
    k, n, tau = 7, 9, 0.6
    won = lambda p: (p / tau) ** k * ((1 - p) / (1 - tau)) ** (n - k) * stats.beta.pdf(p, 0.5, 0.5)  # noqa: E731
    stake = eprocess.bernoulli(k, n, tau)
    assert math.exp(stake.above) == pytest.approx(integrate.quad(won, tau, 1)[0])
    assert math.exp(stake.below) == pytest.approx(integrate.quad(won, 0, tau)[0])


@pytest.mark.parametrize("tau", [0.3, 0.6])
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_over_all_paths_of_zeros_and_ones_a_false_verdict_stays_below_delta(tau: float, delta: float) -> None:
    """Ville's inequality by dynamic programming over every path of up to 200 trials, the first 16 by enumeration too."""

    def crossed(k: int, n: int) -> bool:
        return bool(max(eprocess.bernoulli(k, n, tau)[:2]) >= math.log(1 / delta))

    alive, false, at_16 = {0: 1.0}, 0.0, 0.0
    for n in range(1, 201):
        following: dict[int, float] = {}
        for k, mass in alive.items():
            for x, p in ((1, tau), (0, 1 - tau)):
                if crossed(k + x, n):
                    false += mass * p
                else:
                    following[k + x] = following.get(k + x, 0.0) + mass * p
        alive = following
        at_16 = false if n == 16 else at_16
    assert 0 < false <= delta
    n = 10
    by_path = sum(
        tau ** sum(path) * (1 - tau) ** (n - sum(path))
        for path in itertools.product((0, 1), repeat=n)
        if any(crossed(sum(path[:m]), m) for m in range(1, n + 1))
    )
    assert by_path <= at_16


@pytest.mark.parametrize(("rate", "tau"), [(0.5, 0.6), (0.2, 0.6), (0.6, 0.6)])
def test_a_mean_below_tau_is_called_above_no_more_often_than_delta(rate: float, tau: float) -> None:
    alive, false = {0: 1.0}, 0.0
    for n in range(1, 151):
        following: dict[int, float] = {}
        for k, mass in alive.items():
            for x, p in ((1, rate), (0, 1 - rate)):
                if eprocess.bernoulli(k + x, n, tau).above >= math.log(20):
                    false += mass * p
                else:
                    following[k + x] = following.get(k + x, 0.0) + mass * p
        alive = following
    assert false <= 0.05


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.05, 0.95))
def test_for_any_bounded_values_the_process_is_the_mixture_of_bets(values: list[float], tau: float) -> None:
    def won(angle: float) -> float:
        p = math.sin(angle) ** 2
        return 2 / math.pi * math.prod(x * p / tau + (1 - x) * (1 - p) / (1 - tau) for x in values)

    expected = integrate.quad(won, 0, math.pi / 2)[0]
    assert math.exp(eprocess.process(values, tau).both[-1]) == pytest.approx(expected, rel=1e-6)


def test_the_process_has_expectation_at_most_one_on_a_three_point_law() -> None:
    law = {0.0: 0.3, 0.5: 0.3, 0.9: 0.4}
    mean = sum(x * p for x, p in law.items())
    total_above = total = 0.0
    for path in itertools.product(law, repeat=6):
        mass = math.prod(law[x] for x in path)
        stake = eprocess.process([0.5, *path], mean)
        total += mass * math.exp(stake.both[-1])
        total_above += mass * math.exp(stake.above[-1])
    first = eprocess.process([0.5], mean)
    assert total == pytest.approx(math.exp(first.both[0]))
    assert total_above == pytest.approx(math.exp(first.above[0]))


def test_zeros_and_ones_take_the_same_path_in_closed_form_and_by_bets() -> None:
    x = (np.random.default_rng(0).random(300) < 0.7).astype(float)
    closed = eprocess.process(x, 0.5).both
    bets = eprocess.process(np.append(x, 0.5), 0.5).both[:-1]
    assert bets == pytest.approx(closed, abs=1e-9)


def test_a_million_trials_neither_overflow_nor_lose_the_verdict() -> None:
    n = 1_000_000
    assert eprocess.bernoulli(600_000, n, 0.6).both < 0
    assert eprocess.bernoulli(610_000, n, 0.6).above > math.log(20)
    assert eprocess.bernoulli(n, n, 0.6).above == pytest.approx(n * math.log(1 / 0.6), rel=1e-4)
    long = eprocess.process(np.full(20_000, 0.75), 0.5)
    assert np.isfinite(long.above).all()
    assert long.above[-1] > 1000


def test_the_displayed_interval_is_what_the_process_has_not_refuted() -> None:
    for x in ([1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0], [0.2, 0.4, 0.35, 0.9, 0.6], [1.0, 1.0], [0.0, 0.0, 0.0]):
        low, high = eprocess.confidence_bounds(x, error=0.05)
        grid = np.linspace(0.001, 0.999, 999)
        kept = [tau for tau in grid if eprocess.process(x, tau).both[-1] < math.log(20)]
        assert (low, high) == (pytest.approx(min(kept), abs=0.0021), pytest.approx(max(kept), abs=0.0021))


def test_the_interval_covers_at_every_look_together() -> None:
    rng = np.random.default_rng(1)
    x = rng.beta(2, 1, (400, 60))
    ever = (eprocess.process(x, 2 / 3).both >= math.log(20)).any(axis=1)
    assert stats.binomtest(int(ever.sum()), 400, 0.05, alternative="greater").pvalue > 1e-3


def test_results_are_used_up_to_the_first_that_is_still_running() -> None:
    assert eprocess.in_submission_order([1, 2, None, 4]) == [1, 2]
    assert eprocess.in_submission_order([None, 2]) == []
    assert eprocess.in_submission_order([1, 2]) == [1, 2]


def test_values_and_targets_outside_of_the_unit_interval_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        eprocess.process([0.5, 1.2], 0.5)
    with pytest.raises(ValueError, match="strictly between"):
        eprocess.process([0.5], 1.0)


def test_wald_bounds_are_the_published_figures() -> None:
    found = [eprocess.wald_bound(p, tau, error=0.05) for p, tau in ((0.9, 0.8), (0.8, 0.6), (0.65, 0.6), (0.5, 0.8))]
    assert [round(bound) for bound in found] == [72, 29, 501, 12]
