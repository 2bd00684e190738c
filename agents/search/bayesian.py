"""Bayesian amplitude estimation: before every few shots, the rounds of amplification that teach most per query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from agents.search.amplitude import Estimate, Oracle, check
from agents.search.posterior import Posterior

Floats = NDArray[np.float64]


def amplitude_estimate_bayesian(
    amplitude: float, *, epsilon: float = 0.01, error: float = 0.05, seed: int = 0, shots: int = 2
) -> Estimate:
    """Simulate the estimation of `amplitude` to +- `epsilon`, the interval missing it with probability at most `error`.

    The next number of rounds is the one whose outcome has the most mutual information with the angle per query. The value is the
    posterior mean. The interval is not a credible one, which covers on average over the prior only, but the prior-posterior ratio
    interval, which covers for every amplitude, however the rounds were chosen and whenever one stops.
    """
    check(epsilon, error)
    oracle, posterior = Oracle(amplitude, seed=seed), Posterior()
    low, high = 0.0, 1.0
    while (high - low) / 2 > epsilon:
        k = most_telling(posterior, error)
        posterior.update(k, shots, oracle.successes(k, shots))
        low, high = posterior.interval(error)
    value = min(max(posterior.mean(), low), high)
    return Estimate(method="bayesian", value=value, low=low, high=high, confidence=1 - error, queries=oracle.queries)


def most_telling(posterior: Posterior, error: float) -> int:
    """The rounds of amplification with the most expected information per query, among those that leave few angles to tell apart.

    Without that limit a far angle of small probability is kept for long: most of the information is about the likely ones.
    """
    low, high = posterior.angle_interval(error)
    reach = max(1.0, np.pi / (high - low))
    rounds = np.unique(((np.geomspace(1, reach, 16) - 1) / 2).astype(int))
    weights = posterior.weights()
    rates = np.sin((2 * rounds[:, None] + 1) * posterior.angles) ** 2
    information = _entropy(rates @ weights) - _entropy(rates) @ weights
    return int(rounds[(information / (2 * rounds + 1)).argmax()])


def _entropy(rates: Floats) -> Floats:
    return np.asarray(special.entr(rates) + special.entr(1 - rates))
