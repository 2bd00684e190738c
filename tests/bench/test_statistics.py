"""Bounds, intervals and tests against scipy.stats, exact enumeration and simulated coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench import statistics

SAMPLE = np.array([0.2, 1.4, 0.7, 0.9, 2.2, 1.1, 0.4])


@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("error", [0.05, 0.05 / 3])
def test_t_bounds_are_those_of_scipy(n: int, error: float) -> None:
    x = SAMPLE[:n]
    assert statistics.t_bounds(x, error=error) == pytest.approx(stats.t.interval(1 - 2 * error, n - 1, x.mean(), stats.sem(x)))


def test_t_bounds_miss_a_gaussian_mean_as_often_as_declared() -> None:
    low, high = statistics.t_bounds(np.random.default_rng(0).normal(size=(40_000, 3)), error=0.05)
    for missed in (int((low > 0).sum()), int((high < 0).sum())):
        assert stats.binomtest(missed, 40_000, 0.05).pvalue > 1e-3


def test_percentile_t_agrees_with_an_independent_bootstrap() -> None:
    x = np.random.default_rng(1).lognormal(size=12)
    rng = np.random.default_rng(2)
    t = []
    for _ in range(20_000):
        drawn = rng.choice(x, 12)
        t.append((drawn.mean() - x.mean()) / drawn.std(ddof=1))
    low, high = statistics.percentile_t_bounds(x, error=0.05, resamples=19_999)
    expected = x.mean() - np.quantile(t, [0.95, 0.05]) * x.std(ddof=1)
    assert (low, high) == pytest.approx(expected, rel=0.03)


def test_percentile_t_halves_the_error_of_t_under_skew() -> None:
    samples = np.random.default_rng(3).lognormal(size=(600, 10)) - np.exp(0.5)
    by_t = (statistics.t_bounds(samples, error=0.0167)[1] < 0).mean()
    outer = np.mean([statistics.mean_bounds(sample, error=0.0167)[1] < 0 for sample in samples])
    assert by_t > 0.09
    assert outer < 0.7 * by_t


def test_bounds_are_the_same_bits_for_the_same_seeds_in_any_order() -> None:
    x = np.random.default_rng(4).lognormal(size=10)
    assert statistics.percentile_t_bounds(x[::-1], error=0.05) == statistics.percentile_t_bounds(x, error=0.05)


def test_seeds_that_agree_make_a_point_and_ties_only_widen() -> None:
    assert statistics.mean_bounds([0.8] * 9, error=0.01) == (0.8, 0.8)
    tied = [1.0] * 8 + [0.0]
    by_t = stats.t.interval(1 - 0.1 / 3, 8, 8 / 9, stats.sem(tied))
    low, high = statistics.mean_bounds(tied, error=0.05 / 3)
    assert low == -np.inf
    assert high >= by_t[1] - 1e-9
    shown = statistics.mean_interval(tied)
    assert shown is not None
    assert np.isfinite(shown).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 13])
def test_the_interquartile_mean_is_the_trimmed_mean_of_scipy(n: int) -> None:
    x = np.random.default_rng(n).normal(size=n)
    assert statistics.iqm(x) == pytest.approx(stats.trim_mean(x, 0.25))


@pytest.mark.parametrize("n", [3, 5, 8, 12])
def test_the_interval_of_the_interquartile_mean_covers(n: int) -> None:
    samples = np.random.default_rng(5).standard_t(3, size=(3000, n))
    intervals = [statistics.iqm_interval(sample) for sample in samples]
    covered = np.mean([i is not None and i.low <= 0 <= i.high for i in intervals])
    assert covered >= 0.935


def test_the_interval_of_the_interquartile_mean_does_not_shrink_to_a_point_because_outliers_are_cut_off() -> None:
    assert (found := statistics.iqm_interval([1, 1, 1, 5]))
    assert found.low < 1 < found.high
    assert (same := statistics.iqm_interval([2, 2, 2, 2]))
    assert same.low == same.high == 2


def test_the_interval_of_the_median_is_exact_for_any_continuous_noise() -> None:
    for n in (2, 5, 6, 9, 20):
        samples = np.random.default_rng(n).exponential(size=(8000, n)) - np.log(2)
        found = [interval for sample in samples if (interval := statistics.median_interval(sample))]
        confidence = found[0].confidence
        assert confidence >= 0.95 or (n < 6 and confidence == pytest.approx(1 - 2 ** (1 - n)))
        covered = sum(i.low <= 0 <= i.high for i in found)
        assert stats.binomtest(covered, 8000, confidence).pvalue > 1e-3
    assert statistics.median_interval([1.0]) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_signed_rank_p_values_are_those_of_every_sign_pattern_ties_and_zeros_included(differences: list[int]) -> None:
    d = np.array(differences, dtype=float)
    nonzero = d[d != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    seen = ranks[nonzero > 0].sum()
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=len(nonzero))]
    above, below = statistics._signed_rank(d)
    assert above == pytest.approx(np.mean(np.array(sums) >= seen - 1e-9))
    assert below == pytest.approx(np.mean(np.array(sums) <= seen + 1e-9))


def test_the_paired_test_is_chosen_by_n_and_level_alone_and_agrees_with_scipy() -> None:
    rng = np.random.default_rng(6)
    for n in range(3, 16):
        d = rng.normal(0.5, 1, n)
        found = statistics.paired(d, level=0.01)
        assert found.test == ("Wilcoxon" if n >= 9 else "paired t")
        for alternative, p in (("greater", found.above), ("less", found.below)):
            reference = (
                stats.wilcoxon(d, alternative=alternative, method="exact")
                if n >= 9
                else stats.ttest_1samp(d, 0, alternative=alternative)
            )
            assert p == pytest.approx(reference.pvalue)


def test_where_wilcoxon_is_chosen_it_has_about_the_power_of_t() -> None:
    d = np.random.default_rng(7).normal(1.0, 1, (2000, 10))
    t = (stats.ttest_1samp(d, 0, axis=1, alternative="greater").pvalue < 0.01).mean()
    wilcoxon = np.mean([statistics.paired(row, level=0.01).above < 0.01 for row in d])
    assert 0.5 < 0.85 * t < wilcoxon


def test_paired_p_values_reject_equal_arms_no_more_often_than_declared() -> None:
    rng = np.random.default_rng(8)
    for n in (3, 5, 10):
        d = rng.lognormal(size=(2000, n)) - rng.lognormal(size=(2000, n))
        rejected = sum(statistics.paired(row, level=0.05).above < 0.05 for row in d)
        assert stats.binomtest(rejected, 2000, 0.05, alternative="greater").pvalue > 1e-3


def test_differences_without_variance_are_worth_their_coin_flips() -> None:
    assert statistics.paired([0.3] * 4, level=0.05) == (2.0**-4, 1.0, "sign test")
    assert statistics.paired([-0.3] * 4, level=0.05) == (1.0, 2.0**-4, "sign test")
    assert statistics.paired([0.0] * 4, level=0.05)[:2] == (1.0, 1.0)


def test_welch_is_that_of_scipy() -> None:
    ours, theirs = SAMPLE[:3], SAMPLE[2:] * 2
    found = statistics.welch(ours, theirs)
    for alternative, p in (("greater", found.above), ("less", found.below)):
        assert p == pytest.approx(stats.ttest_ind(ours, theirs, equal_var=False, alternative=alternative).pvalue)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_closed_bonferroni_test_rejects(p_values: list[float], level: float) -> None:
    adjusted = statistics.holm(p_values)
    for index, p in enumerate(adjusted):
        others = [i for i in range(len(p_values)) if i != index]
        families = [(index, *rest) for size in range(len(p_values)) for rest in itertools.combinations(others, size)]
        closed = max(min(1.0, len(family) * min(p_values[i] for i in family)) for family in families)
        assert p == pytest.approx(closed)


@pytest.mark.parametrize("effect", [0.5, 1.0, 2.5])
def test_the_seeds_needed_give_the_power_promised(effect: float) -> None:
    x = np.array([-1.0, 0.0, 1.0]) + effect
    n = statistics.seeds_needed(x, error=0.05)
    assert n is not None
    power = stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, effect * np.sqrt(n))
    fewer = stats.nct.sf(stats.t.ppf(0.95, n - 2), n - 2, effect * np.sqrt(n - 1))
    assert power >= 0.78
    assert fewer <= 0.82


def test_no_number_of_seeds_is_named_where_there_is_none() -> None:
    assert statistics.seeds_needed([0.5], error=0.05) is None
    assert statistics.seeds_needed([0.5, 0.5, 0.5], error=0.05) is None
    assert statistics.seeds_needed([-1.0, 1.001], error=0.05) is None
