"""Amplitude estimation from its closed-form outcome laws: what a quantum computer would pay to learn a success rate.

A benchmark's success rate a = sin^2(theta) is the amplitude of "success" in the state that a circuit A prepares. All that any of the
estimators ever sees follows one of two laws, so no state vector is needed:

    k rounds of amplification, one shot:  P(success) = sin^2((2k + 1) theta)                      (Brassard et al. 2000)
    phase estimation on m qubits, M = 2^m:  P(y) = (F(M w - y) + F(M (1 - w) - y)) / 2,  w = theta / pi,
                                            F(d) = (sin(pi d) / (M sin(pi d / M)))^2

One unit of cost for all: an application of A or of its inverse, 2k + 1 for a shot behind k rounds, 2M - 1 for a phase.

**These are simulators.** They take the amplitude, that is the answer, as their input. On a classical machine they save not a single
evaluation of a benchmark; they say what a machine that runs the benchmark as a coherent circuit would pay.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from agents.search.certificate import HONEST
from agents.search.iterative import clopper_pearson, iterative
from agents.search.posterior import Posterior

Floats = NDArray[np.float64]

PHASE_HOLDS = 8 / math.pi**2
"""Least probability that one phase lies within pi / M of the angle (Brassard et al. 2000, theorem 12)."""


def amplified(amplitude: float, k: int) -> float:
    """Probability that a shot behind k rounds of amplification succeeds."""
    return math.sin((2 * k + 1) * math.asin(math.sqrt(amplitude))) ** 2


def phase_law(amplitude: float, qubits: int) -> Floats:
    """(2^qubits,) the probability of each outcome of phase estimation."""
    size = 1 << qubits
    turn = math.asin(math.sqrt(amplitude)) / math.pi
    distance = size * np.array([[turn], [1 - turn]]) - np.arange(size)
    angle = np.pi * distance / size
    kernel = special.diric(2 * angle, size) ** 2
    return np.asarray(kernel.sum(axis=0) / 2)


class Oracle:
    """Answers an estimator as the circuit would, and counts what that costs."""

    def __init__(self, amplitude: float, *, seed: int) -> None:
        if not 0 <= amplitude <= 1:
            raise ValueError(f"an amplitude is a probability between 0 and 1, not {amplitude}")
        self.amplitude, self.queries = amplitude, 0
        self._rng = np.random.default_rng(seed)

    def successes(self, k: int, shots: int) -> int:
        """How many of `shots` behind k rounds of amplification succeed; costs 2k + 1 each."""
        self.queries += shots * (2 * k + 1)
        return int(self._rng.binomial(shots, amplified(self.amplitude, k)))

    def phases(self, qubits: int, runs: int) -> NDArray[np.int64]:
        """(runs,) outcomes of phase estimation; each costs one application and two for every one of 2^qubits - 1 rounds."""
        self.queries += runs * (2 * (1 << qubits) - 1)
        law = phase_law(self.amplitude, qubits)
        return self._rng.choice(len(law), size=runs, p=law / law.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An estimated amplitude with an interval that covers it with at least `confidence`."""

    method: str
    value: float
    low: float
    high: float
    confidence: float
    queries: int
    """Applications of the circuit or its inverse that a quantum computer would have made."""

    @property
    def text(self) -> str:
        """One line for people, and what it is not."""
        return (
            f"{self.value:.6g} within {self.low:.6g} .. {self.high:.6g} at {self.confidence:.0%}, "
            f"{self.queries} projected queries ({self.method})\n{HONEST}"
        )


def amplitude_estimate(
    amplitude: float, *, method: str = "iterative", epsilon: float = 0.01, error: float = 0.05, seed: int = 0
) -> Estimate:
    """Simulate the estimation of `amplitude` to about +- `epsilon`, the interval missing it with probability at most `error`.

    `method`: `iterative` (Grinko et al. 2021, Clopper-Pearson), `maximum-likelihood` (Suzuki et al. 2020, exponential schedule),
    `canonical` (Brassard et al. 2000, median of several phases), or `sampling`, which needs no quantum computer.
    """
    if method not in METHODS:
        raise ValueError(f"there is no method `{method}`; there are {', '.join(METHODS)}")
    check(epsilon, error)
    oracle = Oracle(amplitude, seed=seed)
    value, low, high = METHODS[method](oracle, epsilon, error)
    return Estimate(method=method, value=value, low=low, high=high, confidence=1 - error, queries=oracle.queries)


def check(epsilon: float, error: float) -> None:
    """ValueError unless both lie in their range."""
    if not 0 < epsilon < 0.5 or not 0 < error < 1:
        raise ValueError(f"`epsilon` lies between 0 and 0.5 and `error` between 0 and 1, not {epsilon} and {error}")


def _sampling(oracle: Oracle, epsilon: float, error: float) -> tuple[float, float, float]:
    """As many plain shots as Hoeffding's inequality asks for; Clopper and Pearson's exact interval."""
    shots = math.ceil(math.log(2 / error) / (2 * epsilon**2))
    hits = oracle.successes(0, shots)
    return hits / shots, *clopper_pearson(hits, shots, error)


def _canonical(oracle: Oracle, epsilon: float, error: float) -> tuple[float, float, float]:
    """The median of as many phases as make its error at most `error`, each within pi / M of the angle with 8 / pi^2."""
    qubits = math.ceil(math.log2(math.pi / epsilon))
    runs = 1
    while special.bdtrc(runs // 2, runs, 1 - PHASE_HOLDS) > error:
        runs += 2
    size = 1 << qubits
    angles = np.pi * oracle.phases(qubits, runs) / size
    angle = float(np.median(np.minimum(angles, np.pi - angles)))
    low, high = max(0.0, angle - math.pi / size), min(math.pi / 2, angle + math.pi / size)
    return math.sin(angle) ** 2, math.sin(low) ** 2, math.sin(high) ** 2


def _maximum_likelihood(oracle: Oracle, epsilon: float, error: float, *, shots: int = 100) -> tuple[float, float, float]:
    """`shots` behind 0, 1, 2, 4, ... rounds, up to where the interval is expected to be narrow enough.

    The interval holds every angle whose likelihood is at least `error` times the average over all angles: for the true angle the
    inverse of that ratio has expectation one, so by Markov's inequality it covers at any sample size, without asymptotics.
    """
    posterior, k = Posterior(), 0
    while True:
        posterior.update(k, shots, oracle.successes(k, shots))
        if posterior.expected_width(error) <= epsilon:
            break
        k = max(1, 2 * k)
    low, high = posterior.interval(error)
    return posterior.mode(), low, high


METHODS: dict[str, Callable[[Oracle, float, float], tuple[float, float, float]]] = {
    "iterative": lambda oracle, epsilon, error: iterative(oracle.successes, epsilon=epsilon, error=error),
    "maximum-likelihood": _maximum_likelihood,
    "canonical": _canonical,
    "sampling": _sampling,
}
"""Each takes an oracle, an epsilon and an error and gives value, low and high."""
