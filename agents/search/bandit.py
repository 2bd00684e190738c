"""Which of several candidates succeeds most often, with as few trials as a proven error allows.

*Allocation* is top-two (Russo 2020): a leader drawn by its posterior probability of being best, and half of the time a
challenger drawn in the same way among the others. The chance of every draw is known and kept with it, because

*stopping* rests on it. For each arm j a bet is run against "j is best", which is what an error would have to overturn, so no
union over the arms is paid. A trial draws arm A with chance w_A and sees Y. Of a pair (a, j) and assumed rates t_a > t_j it wins

    p(Y; t_A) / p(Y; t_0),   t_0 = (w_a t_a + w_j t_j) / (w_a + w_j),

whose expectation over A and Y is 1 where both arms have the same rate, whatever that is, and at most 1 where j's is the higher
(a reverse information projection, Gruenwald, de Heide and Koolen, JRSS-B 2024; Turner, Ly and Gruenwald 2024 for blocks in place of
chances). Its growth is the generalised likelihood ratio's, so no unknown common rate is paid for. The stake is split over
log-odds ratios between t_a and t_j and, anew before each trial, over the a that may be better than j. Ville's inequality: the best
arm's stake reaches 1/error with probability at most `error`, whatever the delays and whenever one stops.

Arrays are (replicas R, arms K[, assumed log-odds ratios G]); a search has one replica, a simulation many.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Arms = NDArray[np.int64]
Allocation = Literal["top-two", "uniform"]

LOG_ODDS = np.geomspace(0.1, 4.0, 12)
"""Assumed log-odds ratios of better to worse: from 0.525 against 0.5 to 0.98 against 0.5."""
_STAKES = 1 / (1 + (np.log(LOG_ODDS) - math.log(0.8)) ** 2)
_LADDER = np.linspace(0, 1, 49) ** 2
"""Where the posteriors are compared, from the least that the best arm may have: dense there, where the leaders are."""


class BestArm:
    """The race: counts, the bets against every arm, and who is still in it."""

    def __init__(self, arms: int, *, error: float = 0.05, allocation: Allocation = "top-two", replicas: int = 1) -> None:
        if arms < 2 or not 0 < error < 1:
            raise ValueError(f"a race needs at least 2 arms and an error between 0 and 1, not {arms} and {error}")
        self.error, self.allocation = error, allocation
        self.successes: Floats = np.zeros((replicas, arms))
        self.trials: Floats = np.zeros((replicas, arms))
        self.alive: Bools = np.ones((replicas, arms), dtype=bool)
        """Arms not yet shown to be worse than the best; what is shown stays shown."""
        self._best: Floats | None = None
        self._log_stake: Floats = np.zeros((replicas, arms, 1)) + np.log(_STAKES / _STAKES.sum())

    def chances(self) -> Floats:
        """(R, K) the chance with which the next trial goes to each arm, given what is folded by now."""
        if self.allocation == "uniform":
            return np.full(self.trials.shape, 1 / self.trials.shape[1])
        best = self.chances_best()
        others = 1 - np.eye(best.shape[1])
        rest = best @ others  # not 1 - best: what is left beside a sure leader must not be lost to rounding
        challenge = np.divide(best, rest, out=np.zeros_like(best), where=rest > 0)
        drawn = best * (1 + challenge @ others)
        chances: Floats = drawn / drawn.sum(axis=1, keepdims=True)
        return chances

    def draw(self, uniform: Floats, chances: Floats) -> Arms:
        """(R,) the arms that uniform numbers (R,) between 0 and 1 select."""
        arms: Arms = np.minimum((uniform[:, None] > chances.cumsum(axis=1)).sum(axis=1), chances.shape[1] - 1)
        return arms

    def fold(self, arm: Arms, success: Bools, chances: Floats) -> None:
        """Take in one trial per replica, in the order in which they were submitted, with the chances it was drawn by."""
        row = np.arange(len(arm))
        best, n, logit = self.chances_best(), self.trials + 1, _logit(self.successes, self.trials)
        n_drawn = n[row, arm][:, None]
        centre = (n_drawn * logit[row, arm][:, None] + n * logit) / (n_drawn + n)
        share = n / (n_drawn + n)

        def won(sign: int) -> Floats:
            """(R, K, G) what a bet wins on (drawn arm, other arm) if the drawn arm is the better (+1) or the worse (-1) one."""
            ours = special.expit(centre[..., None] + sign * LOG_ODDS * share[..., None])
            theirs = special.expit(centre[..., None] - sign * LOG_ODDS * (1 - share[..., None]))
            w_ours, w_theirs = chances[row, arm][:, None, None], chances[..., None]
            null = (w_ours * ours + w_theirs * theirs) / (w_ours + w_theirs)
            return np.asarray(np.where(success[:, None, None], ours / null, (1 - ours) / (1 - null)))

        others = best.copy()
        others[row, arm] = 0
        others /= np.maximum(others.sum(axis=1, keepdims=True), 1e-300)
        unbet = 1 - others.sum(axis=1)[:, None]
        against_drawn = self._log_stake[row, arm] + np.log(unbet + (others[..., None] * won(-1)).sum(axis=1))
        by_drawn = np.minimum(best[row, arm][:, None] / np.maximum(1 - best, 1e-9), 1)
        self._log_stake += np.log1p(by_drawn[..., None] * (won(1) - 1))
        self._log_stake[row, arm] = against_drawn
        self.trials[row, arm] += 1
        self.successes[row, arm] += success
        self._best = None
        self.alive = self.alive & (self.log_evidence() < -math.log(self.error))

    def log_evidence(self) -> Floats:
        """(R, K) log of the stake against "this arm is best"."""
        return np.asarray(special.logsumexp(self._log_stake, axis=2))

    def chances_best(self) -> Floats:
        """(R, K) posterior probability that each arm is the best of those in the race (normal on the log-odds scale)."""
        if self._best is None:
            self._best = _chances_best(self.successes, self.trials, self.alive)
        return self._best

    def decided(self) -> Bools:
        """(R,) whether at most one arm is left in the race."""
        over: Bools = self.alive.sum(axis=1) <= 1
        return over

    def leader(self) -> Arms:
        """(R,) the arm most likely to be best."""
        return np.asarray(self.chances_best().argmax(axis=1))

    def keep(self, replicas: Bools) -> None:
        """Go on with these replicas only."""
        self.successes, self.trials = self.successes[replicas], self.trials[replicas]
        self.alive, self._log_stake = self.alive[replicas], self._log_stake[replicas]
        self._best = None


def _logit(successes: Floats, trials: Floats) -> Floats:
    return np.asarray(np.log((successes + 0.5) / (trials - successes + 0.5)))


def _chances_best(successes: Floats, trials: Floats, alive: Bools) -> Floats:
    logit, spread = _logit(successes, trials), np.sqrt(1 / (successes + 0.5) + 1 / (trials - successes + 0.5))
    low = np.where(alive, logit - 5 * spread, -np.inf).max(axis=1, keepdims=True)
    high = np.where(alive, logit + 6 * spread, -np.inf).max(axis=1, keepdims=True)
    ladder = low + (high - low) * _LADDER
    below = np.where(alive[..., None], special.log_ndtr((ladder[:, None, :] - logit[..., None]) / spread[..., None]), 0)
    itself = np.exp(below)
    all_below = below.sum(axis=1, keepdims=True)
    others = np.exp(all_below - below)
    best = (np.diff(itself, axis=2) * (others[..., 1:] + others[..., :-1]) / 2).sum(axis=2) + 1e-12
    best = np.where(alive, best, 0)
    return np.asarray(best / np.maximum(best.sum(axis=1, keepdims=True), 1e-300))
