"""Anytime-valid evidence on a mean between 0 and 1: look after every run, stop whenever you like, keep the error.

The e-process bets on every value against the hypothesis "the mean is tau". A bet on p multiplies the stake by
`x p / tau + (1 - x) (1 - p) / (1 - tau)`, whose expectation is one when the hypothesis is true. The stake is spread over all p
with Jeffreys' Beta(1/2, 1/2). For zeros and ones that is the beta mixture in closed form (Robbins 1970),

    E_n = B(k + 1/2, n - k + 1/2) / B(1/2, 1/2) / (tau^k (1 - tau)^(n - k)),

and for anything between 0 and 1 a mixture of betting martingales (Waudby-Smith and Ramdas, JRSS-B 2024). The part of
the stake on p > tau gains only if the mean lies above tau, so it alone testifies against "mean <= tau", and the other part
against "mean >= tau". By Ville's inequality either reaches 1/a with probability at most its share of a, at any stopping
time; together at most a. All this holds for values in the order fixed beforehand, never in the order of completion:
see `in_submission_order`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

NODES = 256
"""Bets of the mixture. Gauss-Chebyshev nodes make it equal to the Beta(1/2, 1/2) mixture for n < 2 NODES; it is valid for any n."""
_CHUNK = 1 << 22

Floats = NDArray[np.float64]
T = TypeVar("T")


class Stake(NamedTuple):
    """Logs of the two parts of the e-process: what was won by betting on a mean above, and below, tau."""

    above: Floats
    below: Floats

    @property
    def both(self) -> Floats:
        """log E_n of the two-sided e-process."""
        return np.logaddexp(self.above, self.below)


def in_submission_order(results: Sequence[T | None]) -> Sequence[T]:
    """The results that may be used now: all up to the first that is still running (None), in the order they were submitted.

    If failures finish sooner than successes, a test that takes results as they complete sees too many failures first.
    """
    try:
        return results[: results.index(None)]  # type: ignore[return-value]
    except ValueError:
        return results  # type: ignore[return-value]


def bernoulli(successes: ArrayLike, trials: ArrayLike, tau: ArrayLike) -> Stake:
    """The e-process of `successes` in `trials` against a success probability of `tau`, element by element, in logs."""
    k, n, p = (np.asarray(part, dtype=float) for part in (successes, trials, tau))
    a, b = k + 0.5, n - k + 0.5
    log_e = special.betaln(a, b) - math.log(math.pi) - special.xlogy(k, p) - special.xlog1py(n - k, -p)
    with np.errstate(divide="ignore"):
        return Stake(log_e + np.log(special.betainc(b, a, 1 - p)), log_e + np.log(special.betainc(a, b, p)))


def process(values: ArrayLike, tau: float) -> Stake:
    """The e-process after each of `values` (last axis, all within 0 and 1), against a mean of `tau` (strictly between)."""
    x = np.asarray(values, dtype=float)
    if not 0 < tau < 1:
        raise ValueError(f"tau must lie strictly between 0 and 1, not {tau}")
    if x.size and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError("an e-process for a bounded mean needs values between 0 and 1")
    n = x.shape[-1]
    if ((x == 0) | (x == 1)).all():
        return bernoulli(x.cumsum(axis=-1), np.arange(1, n + 1), tau)
    bets = np.sin(np.pi * (2 * np.arange(1, NODES + 1) - 1) / (4 * NODES)) ** 2
    rows = x.reshape(-1, n)
    above, below = np.empty(rows.shape), np.empty(rows.shape)
    step = max(1, _CHUNK // (NODES * max(1, len(rows))))
    won = np.zeros((len(rows), 1, NODES))
    for start in range(0, n, step):
        part = rows[:, start : start + step, None]
        won = won[:, -1:] + np.log(part * (bets / tau) + (1 - part) * ((1 - bets) / (1 - tau))).cumsum(axis=1)
        for side, into in ((bets > tau, above), (bets <= tau, below)):
            into[:, start : start + step] = _log_sum(won[..., side]) - math.log(NODES)
    return Stake(above.reshape(x.shape), below.reshape(x.shape))


def confidence_bounds(values: ArrayLike, *, error: float) -> tuple[float, float]:
    """The anytime-valid interval of the mean after all of `values`: every tau that the e-process has not refuted.

    log E_n is convex in tau and at most zero at the sample mean, so each end is found by bisection.
    """
    x = np.asarray(values, dtype=float)
    middle, limit = float(x.mean()), math.log(1 / error)
    binary = bool(((x == 0) | (x == 1)).all())

    def refuted(tau: float) -> bool:
        if not 0 < tau < 1:
            return True
        stake = bernoulli(x.sum(), x.size, tau) if binary else process(x, tau)
        return float(np.ravel(stake.both)[-1]) >= limit

    ends = []
    for outer in (0.0, 1.0):
        inner = middle
        while abs(outer - inner) > 1e-6:
            half = (outer + inner) / 2
            inner, outer = (inner, half) if refuted(half) else (half, outer)
        ends.append(outer)
    return ends[0], ends[1]


def trials_needed(mean: float, tau: float, *, error: float, limit: int = 1_000_000) -> int | None:
    """Trials after which zeros and ones of this mean would refute `tau`; None when that takes more than `limit`."""
    n = np.unique(np.geomspace(1, limit, 2000).astype(int))
    reached = bernoulli(n * mean, n, tau).both >= math.log(1 / error)
    return int(n[np.argmax(reached)]) if reached.any() else None


def wald_bound(mean: float, tau: float, *, error: float) -> float:
    """The fewest expected trials any test of error `error` can take: kl(error, 1 - error) / kl(mean, tau)."""
    return _kl(error, 1 - error) / _kl(mean, tau)


def _kl(p: float, q: float) -> float:
    return float(special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q))


def _log_sum(logs: Floats) -> Floats:
    if logs.shape[-1] == 0:
        return np.full(logs.shape[:-1], -np.inf)
    peak: Floats = logs.max(axis=-1)
    summed: Floats = np.exp(logs - peak[..., None]).sum(axis=-1)
    return peak + np.log(summed)
