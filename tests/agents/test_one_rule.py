"""Searches and equal shares ended by one and the same rule of the field: what the comparison of both rests on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from agents.search.proof import FIVE
from agents.search.simulation import equal_shares, least_ratio, race_by_ratio, usual_threshold


def test_the_least_ratio_is_the_log_likelihood_lost_when_the_leader_and_its_nearest_rival_must_have_one_rate() -> None:
    rng = np.random.default_rng(3)
    trials = rng.integers(1, 30, size=(40, 4)).astype(float)
    successes = np.floor(trials * rng.random((40, 4)))

    def fitted(k: float, n: float) -> float:
        return float(stats.binom.logpmf(k, n, k / n) - stats.binom.logpmf(k, n, 0.5) - n * math.log(2))

    for k, n, found in zip(successes, trials, least_ratio(successes, trials), strict=True):
        best = int((k / n).argmax())
        lost = [
            fitted(k[best], n[best]) + fitted(k[arm], n[arm]) - fitted(k[best] + k[arm], n[best] + n[arm])
            for arm in range(4)
            if arm != best
        ]
        assert found == pytest.approx(min(lost), abs=1e-9)


def test_under_one_rule_for_both_top_two_beats_equal_shares_on_five_arms_and_neither_errs() -> None:
    ours = race_by_ratio(FIVE, runs=30, seed=1, threshold=usual_threshold)
    equal = equal_shares(FIVE, runs=30, seed=1, threshold=usual_threshold)
    assert ours.wrong([0]) == equal.wrong([0]) == 0
    assert equal.mean - equal.margin > 1.5 * (ours.mean + ours.margin)
