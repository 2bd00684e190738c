"""Does any candidate clear the target? One-sided anytime-valid tests, and trials where they may settle it soonest.

For each arm two e-processes are followed, one against "its rate is at most the target" and one against "at least": the Beta(1/2, 1/2)
mixture of `bench.eprocess`, restricted to its side of the target and scaled to start at one. In any world only one of the two can err
on an arm. With error/K for each: where no arm clears the target, K arms could be called clear; where one does, K - 1 others could, or
it could be missed. Either way the sum is at most `error` (1-identification: Degenne and Koolen 2019). For one arm this is a
sequential test with Wald's bound.

A trial goes half of the time to the arm with the most evidence of clearing, half of the time to the arm of the highest draw from the
posteriors (Thompson). The tests hold for any such choice, so no chances have to be kept. Arrays are (replicas R, arms K).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bench import eprocess

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Clears:
    """Counts per arm and what they show: cleared, missed, or neither yet."""

    def __init__(self, arms: int, *, target: float, error: float = 0.05, replicas: int = 1, uniform: bool = False) -> None:
        if arms < 1 or not 0 < target < 1 or not 0 < error < 1:
            raise ValueError(f"needs an arm, and target and error strictly between 0 and 1, not {arms}, {target} and {error}")
        self.target, self.error, self.uniform = target, error, uniform
        self.successes: Floats = np.zeros((replicas, arms))
        self.trials: Floats = np.zeros((replicas, arms))
        self.cleared: Bools = np.zeros((replicas, arms), dtype=bool)
        self.missed: Bools = np.zeros((replicas, arms), dtype=bool)
        self._start = eprocess.bernoulli(0, 0, target)

    def choose(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """(R,) the arms to try next, given what is folded by now."""
        if self.uniform:
            return rng.integers(self.trials.shape[1], size=len(self.trials))
        drawn = rng.beta(self.successes + 0.5, self.trials - self.successes + 0.5)
        towards = np.where(rng.random((len(drawn), 1)) < 0.5, self.log_evidence()[0], drawn)
        return np.asarray(np.where(self.missed, -np.inf, towards).argmax(axis=1))

    def fold(self, arm: NDArray[np.int64], success: Bools) -> None:
        """Take in one trial per replica, in the order in which they were submitted."""
        row = np.arange(len(arm))
        self.trials[row, arm] += 1
        self.successes[row, arm] += success
        above, below = self.log_evidence()
        limit = math.log(self.trials.shape[1] / self.error)
        self.cleared = self.cleared | (above >= limit)
        self.missed = self.missed | ((below >= limit) & ~self.cleared)

    def log_evidence(self) -> tuple[Floats, Floats]:
        """(R, K) twice: logs of the e-processes against "at most the target" and against "at least"."""
        stake = eprocess.bernoulli(self.successes, self.trials, self.target)
        return stake.above - self._start.above, stake.below - self._start.below

    def decided(self) -> Bools:
        """(R,) whether some arm is shown to clear the target or all are shown to miss it."""
        return np.asarray(self.cleared.any(axis=1) | self.missed.all(axis=1))

    def keep(self, replicas: Bools) -> None:
        """Go on with these replicas only."""
        self.successes, self.trials = self.successes[replicas], self.trials[replicas]
        self.cleared, self.missed = self.cleared[replicas], self.missed[replicas]
