"""What amplified shots say of an angle: its likelihood on cells that grow finer where it matters, and never coarser than the data."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
_FORGET = 30.0
"""Cells whose likelihood is this many nats below the highest are dropped."""
_PER_PERIOD = 48.0
"""Cells per period of the success probability, at least, times sqrt(shots / 100)."""


class Posterior:
    """Uniform over the angle, 0 to pi/2, before any shot."""

    def __init__(self) -> None:
        self.cell = math.pi / 256
        self.angles: Floats = np.asarray((np.arange(128) + 0.5) * self.cell)
        self.log_likelihood: Floats = np.zeros(128)
        self._seen: dict[int, tuple[int, int]] = {}

    def update(self, k: int, shots: int, successes: int) -> None:
        """Take in shots behind k rounds of amplification."""
        tried, hits = self._seen.get(k, (0, 0))
        self._seen[k] = (tried + shots, hits + successes)
        self.log_likelihood = self.log_likelihood + _log_likelihood(self.angles, k, shots, successes)
        self._forget()
        needed = math.pi / (2 * k + 1) / _PER_PERIOD / math.sqrt(max(1.0, (tried + shots) / 25))
        if self.cell > needed:
            pieces = math.ceil(self.cell / needed)
            offsets = (np.arange(pieces) + 0.5) / pieces - 0.5
            self.angles = (self.angles[:, None] + self.cell * offsets).ravel()
            self.cell /= pieces
            self.log_likelihood = np.zeros(len(self.angles))
            for rounds, (n, good) in self._seen.items():
                self.log_likelihood = self.log_likelihood + _log_likelihood(self.angles, rounds, n, good)
            self._forget()

    def _forget(self) -> None:
        kept = self.log_likelihood >= self.log_likelihood.max() - _FORGET
        self.angles, self.log_likelihood = self.angles[kept], self.log_likelihood[kept]

    def weights(self) -> Floats:
        """Posterior probability of each cell."""
        weights = np.exp(self.log_likelihood - self.log_likelihood.max())
        return np.asarray(weights / weights.sum())

    def mean(self) -> float:
        """Posterior mean of the amplitude."""
        return float((self.weights() * np.sin(self.angles) ** 2).sum())

    def mode(self) -> float:
        """The amplitude of the highest likelihood."""
        best = self.angles[self.log_likelihood.argmax()]
        near = np.clip(best + self.cell * np.linspace(-1, 1, 201), 0, math.pi / 2)
        likelihood = sum(_log_likelihood(near, k, n, hits) for k, (n, hits) in self._seen.items())
        return math.sin(float(near[np.argmax(likelihood)])) ** 2

    def interval(self, error: float) -> tuple[float, float]:
        """Amplitudes whose angles have a posterior of at least `error` times the prior: covers at any stopping time and any choice of k.

        The ratio of prior to posterior at the true angle is a martingale of mean one (Waudby-Smith and Ramdas 2020).
        """
        low, high = self.angle_interval(error)
        return math.sin(low) ** 2, math.sin(high) ** 2

    def angle_interval(self, error: float) -> tuple[float, float]:
        """The same in angles."""
        average = special.logsumexp(self.log_likelihood) + math.log(self.cell / (math.pi / 2))
        kept = self.angles[self.log_likelihood >= average + math.log(error) - 1e-9]
        return max(0.0, float(kept[0]) - self.cell / 2), min(math.pi / 2, float(kept[-1]) + self.cell / 2)

    def expected_width(self, error: float) -> float:
        """Half the width in angle of an interval at the Fisher information of these shots."""
        information = sum(4 * n * (2 * k + 1) ** 2 for k, (n, _) in self._seen.items())
        return math.sqrt(2 * (math.log(1 / error) + 0.5 * math.log(max(information * math.pi / 8, 1))) / information)


def _log_likelihood(angles: Floats, k: int, shots: int, successes: int) -> Floats:
    rate = np.sin((2 * k + 1) * angles) ** 2
    return np.asarray(special.xlogy(successes, rate) + special.xlog1py(shots - successes, -rate))
