"""Scaling laws with breaks: planted laws are found, intervals cover, rubbish is refused; against the paper's formula and scipy's fits."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.optimize import least_squares

from bench.peers.scaling_law import ADDITION, ADDITION_SIZES, PowerLaw, fit_power_law
from modules.scaling_law import BreakpointScalingLaw, FitError, fit_breakpoint, rmsle

ONE = BreakpointScalingLaw(irreducible=0.3, scale=2.0, reference=1e3, exponents=(0.1, 0.6), breaks=(1e5,), widths=(0.3,))
TWO = BreakpointScalingLaw(
    irreducible=0.1, scale=2.0, reference=1e3, exponents=(0.6, 0.05, 0.8), breaks=(1e4, 3e5), widths=(0.2, 0.2)
)
NONE = BreakpointScalingLaw(irreducible=0.3, scale=1.0, reference=1e3, exponents=(0.4,))


def noisy(law: BreakpointScalingLaw, points: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.geomspace(1e3, 1e7, points)
    return x, law.predict(x) * np.exp(noise * np.random.default_rng(seed).standard_normal(points))


def test_predictions_are_the_papers_formula() -> None:
    x = np.geomspace(10, 1e8, 50)
    paper = TWO.irreducible + TWO.scale * (x / 1e3) ** -0.6 * (1 + (x / 1e4) ** 5.0) ** (-(0.05 - 0.6) * 0.2) * (
        1 + (x / 3e5) ** 5.0
    ) ** (-(0.8 - 0.05) * 0.2)
    np.testing.assert_allclose(TWO.predict(x), paper, rtol=1e-12)


@pytest.mark.parametrize("law", [NONE, ONE, TWO], ids=["no break", "one break", "two breaks"])
def test_a_planted_law_is_found_from_exact_points(law: BreakpointScalingLaw) -> None:
    x, y = noisy(law, 30, 0.0)
    fit = fit_breakpoint(x, y, breaks=len(law.breaks))
    assert fit.rmsle < 1e-6
    np.testing.assert_allclose(fit.law.breaks, law.breaks, rtol=1e-3)
    np.testing.assert_allclose(fit.law.exponents, law.exponents, atol=1e-3)
    np.testing.assert_allclose(fit.law.predict(1e9), law.predict(1e9), rtol=1e-3)


def test_a_sharp_corner_is_found() -> None:
    x = np.geomspace(1.0, 1e4, 41)
    y = np.where(x < 100, x**-0.1, 100**-0.1 * (x / 100) ** -0.7)
    (place,) = fit_breakpoint(x, y).law.breaks
    assert place == pytest.approx(100, rel=0.02)


def test_the_published_example_is_extrapolated_as_its_authors_parameters_do() -> None:
    fit = fit_breakpoint(ADDITION_SIZES[:14], ADDITION.predict(ADDITION_SIZES[:14]))
    np.testing.assert_allclose(fit.law.predict(ADDITION_SIZES[14:]), ADDITION.predict(ADDITION_SIZES[14:]), rtol=1e-4)
    assert fit.law.breaks == pytest.approx(ADDITION.breaks, rel=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_optimiser_finds_smaller_squares_within_the_same_bounds(seed: int) -> None:
    x, y = noisy(ONE, 16, 0.01, seed)
    u = np.log(x)

    def residual(p: np.ndarray) -> np.ndarray:
        log_g = p[1] - p[2] * (u - u[0]) - (p[3] - p[2]) * p[5] * np.logaddexp(0, (u - p[4]) / p[5])
        return np.log(p[0] + np.exp(log_g)) - np.log(y)

    rng, costs = np.random.default_rng(seed), []
    low, high = [0, -9, 0, 0, u[1], 0.01], [y.max(), 9, 8, 8, u[-2], 2]
    for _ in range(8):
        start = [0.2, 0.7, *rng.uniform(0, 1, 2), rng.uniform(u[2], u[-3]), 0.3]
        costs.append(2 * least_squares(residual, start, bounds=(low, high), x_scale="jac").cost)
    assert len(x) * fit_breakpoint(x, y).rmsle ** 2 <= min(costs) * (1 + 1e-4)


def test_without_breaks_it_is_the_single_power_law_of_scipy() -> None:
    x, y = noisy(NONE, 12, 0.01)
    np.testing.assert_allclose(fit_breakpoint(x, y, breaks=0).law.predict(x), fit_power_law(x, y).predict(x), rtol=1e-5)


@pytest.mark.parametrize(("law", "points"), [(NONE, 16), (ONE, 16), (TWO, 24)], ids=["none", "one", "two"])
def test_the_number_of_breaks_is_chosen_right_nearly_always(law: BreakpointScalingLaw, points: int) -> None:
    right = [
        len(fit_breakpoint(*noisy(law, points, 0.005, seed), breaks="auto").law.breaks) == len(law.breaks) for seed in range(8)
    ]
    assert sum(right) >= 7


def test_past_the_knee_a_broken_law_extrapolates_where_one_power_law_does_not() -> None:
    x, y = noisy(ONE, 20, 0.003)
    kept = x < 1e6
    single = fit_power_law(x[kept], y[kept])
    broken = fit_breakpoint(x[kept], y[kept]).law
    assert np.abs(broken.predict(x[~kept]) / ONE.predict(x[~kept]) - 1).max() < 0.1
    assert rmsle(broken, x[~kept], y[~kept]) < 0.5 * float(np.sqrt(np.mean(np.log(single.predict(x[~kept]) / y[~kept]) ** 2)))


def test_the_interval_of_a_break_covers_it_about_as_often_as_it_says() -> None:
    """60 curves at 1 % noise: 51 hits or fewer would happen to an honest 95 % interval once in 500 times."""
    hits = 0
    for seed in range(60):
        ((low, high),) = fit_breakpoint(*noisy(ONE, 16, 0.01, seed), bootstrap=100, seed=seed).intervals
        hits += low <= 1e5 <= high
    assert hits > 51


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.002, 0.01, 0.03])
@pytest.mark.parametrize("points", [12, 20, 40])
def test_coverage_at_many_noises_and_sizes(points: int, noise: float) -> None:
    """`python -m pytest -m slow tests/modules/test_scaling_law.py -s`; within three standard errors of 95 % over 300 curves."""
    hits = []
    for seed in range(300):
        ((low, high),) = fit_breakpoint(*noisy(ONE, points, noise, seed), bootstrap=200, seed=seed).intervals
        hits.append(low <= 1e5 <= high)
    print(f"{points} points, noise {noise:g}: coverage {np.mean(hits):.3f}")
    assert abs(np.mean(hits) - 0.95) <= 3 * math.sqrt(0.95 * 0.05 / 300)


def test_more_noise_widens_the_interval_and_a_lower_level_narrows_it() -> None:
    def width(noise: float, level: float = 0.95) -> float:
        ((low, high),) = fit_breakpoint(*noisy(ONE, 20, noise), bootstrap=200, level=level).intervals
        return math.log(high / low)

    assert width(0.001) < width(0.01) < width(0.05)
    assert width(0.01, 0.5) < 0.6 * width(0.01)


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_interval() -> None:
    x, y = noisy(ONE, 16, 0.01)
    once, again, other = (fit_breakpoint(x, y, bootstrap=50, seed=seed) for seed in (3, 3, 4))
    assert once == again
    assert once.law == other.law
    assert once.intervals != other.intervals


def test_units_of_scale_and_loss_change_nothing_but_the_units() -> None:
    x, y = noisy(ONE, 16, 0.01)
    here, there = fit_breakpoint(x, y).law, fit_breakpoint(1e6 * x, 50 * y).law
    np.testing.assert_allclose(there.breaks, 1e6 * np.array(here.breaks), rtol=1e-3)
    np.testing.assert_allclose(there.predict(1e6 * x), 50 * here.predict(x), rtol=1e-5)


def test_a_law_survives_json() -> None:
    for law in (NONE, ONE, TWO):
        assert BreakpointScalingLaw.from_dict(json.loads(json.dumps(law.to_dict()))) == law
    single = fit_power_law(*noisy(NONE, 9, 0.01))
    assert PowerLaw.from_dict(json.loads(json.dumps(single.to_dict()))) == single
    assert type(ADDITION).from_dict(json.loads(json.dumps(ADDITION.to_dict()))) == ADDITION


X, Y = noisy(ONE, 12, 0.01)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (X[:6], Y[:6], "6 points are too few for 1 breaks: 6 parameters want 7 points or more"),
        ([], [], "0 points are too few"),
        (X, np.where(X[3] == X, 0.0, Y), r"`y\[3\]` is 0; every y must be finite and positive"),
        (X, np.where(X[3] == X, np.nan, Y), r"`y\[3\]` is nan"),
        (X, np.where(X[9] < X, np.inf, Y), r"`y\[10\]` is inf.* \(2 are not\)"),
        (np.where(X[0] == X, -1.0, X), Y, r"`x\[0\]` is -1; every x must be finite and positive"),
        (X[::-1], Y, "less than the scale before it; sort by x"),
        (np.where(X[5] == X, X[4], X), Y, r"`x\[5\]` = .* repeats the scale before it; average its points"),
        (X, np.full(12, 2.5), "every y is 2.5: a curve that does not move"),
        (X, Y[:-1], r"two rows of equal length, got shapes \(12,\) and \(11,\)"),
    ],
)
def test_rubbish_is_refused_with_what_is_wrong(x: np.ndarray, y: np.ndarray, said: str) -> None:
    with pytest.raises(FitError, match=said):
        fit_breakpoint(x, y)


def test_arguments_and_laws_that_make_no_sense_are_refused() -> None:
    with pytest.raises(FitError, match="`breaks` is a number from 0 up"):
        fit_breakpoint(X, Y, breaks=-1)
    with pytest.raises(FitError, match="`level` lies between 0 and 1"):
        fit_breakpoint(X, Y, level=95)
    with pytest.raises(FitError, match="says nothing of scale 0"):
        ONE.predict([1.0, 0.0])
    with pytest.raises(ValueError, match="1 breaks has 2 `exponents`"):
        BreakpointScalingLaw(irreducible=0, scale=1, reference=1, exponents=(1.0,), breaks=(2.0,), widths=(0.1,))
