"""Is the challenger better than its champion? Pairs of numbers in, promote, reject or undecided out; look after every pair.

A pair is champion and challenger measured on the same seed; its gain is how much better the challenger did. The null is that each gain,
given those before it, is symmetric about a point at or below `margin`: exactly so in A/A, where the two are exchangeable, whatever the shape
of the noise. Then the sign of a gain is a fair coin even when its size is known, and a stake bet on it,

    E_n = mean over l of  prod_i 2 / (1 + exp(-2 l r_i)),    r_i = gain_i / sqrt(mean of gain_1^2 .. gain_i^2),

grows in expectation never (2 / (1 + exp(-2x)) = 1 + tanh x is one plus an odd function; it bets much on large gains, as the likelihood
ratio of shifted normal noise does). By Ville's inequality E_n reaches 1/a with probability at most a at any stopping time. `n` pairs cannot bring more than
2^n: no test that is safe against every symmetric noise can promote on fewer than log2(1/a). design/0002 has what was tried instead, and lost.

A side without a number (crashed, timed out, not finite) is worse than any number: where only the challenger has none, it is a loss of the
largest size, where only the champion has none, a win; where neither has, nothing is learned. Nothing is dropped. All this holds for pairs in
the order they were submitted; a pair that is still being measured (None) holds up those after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench import statistics
from bench.direction import Better
from bench.eprocess import in_submission_order

BETS = ((1.0, 0.2), (3.0, 0.4), (10.0, 0.4))
"""(l, share of the stake). l = 1 suits an improvement of 0.8 standard deviations of the gains, 3 of 1.6, 10 of 3 and more."""
FUTILE = 0.1
"""Probability, at most, that a challenger is rejected which is truly better by `worth`."""
GRID = 100
"""Points on which the ends of an interval are looked for, before they are refined."""

Floats = NDArray[np.float64]
Pair = tuple[float | None, float | None]
"""(champion's number, challenger's number) on one seed; None where there is none."""


class Answer(StrEnum):
    """What a duel says of the challenger."""

    PROMOTE = "promote"
    REJECT = "reject"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """The answer after some pairs, and what it rests on. Gains are in the metric's unit, positive where the challenger is better."""

    answer: Answer
    ended: bool
    """Whether the answer stands: another pair cannot change it, or none may be bought."""
    n: int
    """Pairs it rests on, in submission order; later ones were not read."""
    e_value: float
    """Evidence that the challenger is better by more than the margin; it promotes from 1 / error on."""
    low: float | None
    """Anytime-valid bounds of the mean gain (the point of symmetry), each end wrong with probability `error`; None: unbounded so far."""
    high: float | None
    mean: float | None
    """Mean gain; None where a side had no number on some pair."""
    error: float
    """Probability, at most, that a challenger no better than its champion is promoted: spent by this duel whatever it answers."""
    reason: str


def share(k: int, error: float) -> float:
    """What the k-th duel of a run (from 1) may spend of the run's `error`: all shares together are `error`."""
    if k < 1:
        raise ValueError(f"duels are counted from 1, not {k}")
    return error / (k * (k + 1))


def fewest(error: float) -> int:
    """Pairs that promote when the challenger wins all of them alike; no fewer can."""
    n = max(1, math.ceil(-math.log2(error)))
    while evidence(np.ones(n))[-1] < -math.log(error):
        n += 1
    return n


def duel(
    pairs: Sequence[Pair | None],
    *,
    better: Better,
    error: float,
    most: int | None = None,
    margin: float = 0.0,
    worth: float | None = None,
) -> Duel:
    """The answer on `pairs`, of which the first that decides is the last one read.

    `error`: of promoting a challenger that is better by no more than `margin`. `worth` (default: `margin`): the improvement one would not
    like to miss; a challenger that clearly has less is rejected, wrongly with probability at most FUTILE. `most`: pairs to buy at most, default
    twice the fewest. A duel that not even wins on all pairs to come could decide is ended.
    """
    if not 0 < error < 1:
        raise ValueError(f"error must lie strictly between 0 and 1, not {error}")
    most = 2 * fewest(error) if most is None else most
    won = gains(in_submission_order(pairs)[:most], better=better)
    bar, given_up = -math.log(error), -math.log(FUTILE)
    for_it = evidence(won - margin)
    against = evidence((margin if worth is None else worth) - won)
    hopeless = for_it + math.log(2) * (most - np.arange(1, won.size + 1)) < bar
    decided = (for_it >= bar) | (against >= given_up) | hopeless
    n = int(decided.argmax()) + 1 if decided.any() else won.size
    won, e = won[:n], float(np.exp(for_it[n - 1])) if n else 1.0
    finite = bool(np.isfinite(won).all())
    low, high = bounds(won, error=error) if n and finite else (None, None)
    answer, ended, reason = Answer.UNDECIDED, n >= most, f"e-value {e:.3g} of the {1 / error:.4g} that promote"
    if n and for_it[n - 1] >= bar:
        answer, ended, reason = Answer.PROMOTE, True, f"better on {_wins(won, margin)}: {reason}"
    elif n and against[n - 1] >= given_up:
        wish = "better" if not worth or worth == margin else f"better by {worth:g}"
        answer, ended = Answer.REJECT, True
        reason = f"better on {_wins(won, margin)}: it is not {wish} (e-value {math.exp(against[n - 1]):.3g} of the {1 / FUTILE:g} that reject)"
    elif n and not won.any():
        ended, reason = bool(hopeless[n - 1]) or ended, f"both sides gave the same on all {n} pairs"
    elif n and hopeless[n - 1] and n < most:
        ended, reason = True, f"{reason}; the {most - n} pairs left could not bring them"
    return Duel(
        answer=answer, ended=ended, n=n, e_value=e, low=low, high=high,
        mean=statistics.mean(won) if n and finite else None, error=error, reason=reason,
    )  # fmt: skip


def gains(pairs: Sequence[Pair], *, better: Better) -> Floats:
    """How much better the challenger did, pair by pair; +inf or -inf where only one side has a number, 0 where neither has."""
    found = np.zeros(len(pairs))
    for place, (champion, challenger) in enumerate(pairs):
        theirs, ours = _number(champion), _number(challenger)
        if theirs is None or ours is None:
            found[place] = math.inf if ours is not None else -math.inf if theirs is not None else 0.0
        else:
            found[place] = statistics.differences([theirs], [ours])[0] * (1 if better == "less" else -1)
    return found


def evidence(won: ArrayLike) -> Floats:
    """log E after each gain (last axis), against gains that are symmetric about a point at or below zero.

    An infinite gain counts as the limit of a growing one, and leaves the scale of the others alone.
    """
    d = np.asarray(won, dtype=float)
    finite = np.isfinite(d)
    size = np.where(finite, d, 0.0)
    seen = finite.cumsum(axis=-1)
    scale = np.hypot.accumulate(np.abs(size), axis=-1)
    r = np.where(finite, size / np.where(scale > 0, scale, 1.0) * np.sqrt(seen), np.sign(d) * np.sqrt(seen + 1.0))
    stakes = [math.log(part) + (math.log(2) - np.logaddexp(0.0, -2 * bet * r)).cumsum(axis=-1) for bet, part in BETS]
    total: Floats = np.logaddexp.reduce(stakes, axis=0)
    return total


def bounds(won: ArrayLike, *, error: float) -> tuple[float | None, float | None]:
    """Lower and upper bound of the point of symmetry of finite gains, valid at any stopping time, each wrong with probability `error`."""
    d = np.asarray(won, dtype=float)
    upper = _lower(-d, error)
    return _lower(d, error), None if upper is None else -upper


def _lower(d: Floats, error: float) -> float | None:
    """The smallest centre that the evidence against it and all smaller ones leaves standing."""
    bar = -math.log(error)

    def refuted(centres: Floats) -> NDArray[np.bool_]:
        against: NDArray[np.bool_] = evidence(d - centres[:, None])[:, -1] >= bar
        return against

    if evidence(np.ones(d.size))[-1] < bar:
        return None
    least, spread = float(d.min()), float(np.ptp(d))
    if spread == 0:
        return least
    far = least - spread * np.geomspace(1e6, 1e-6, GRID // 2)
    centres = np.concatenate([far, np.linspace(least, float(d.max()), GRID)])
    for _ in range(3):
        standing = int(np.argmin(refuted(centres)))
        if standing == 0:
            return None
        centres = np.linspace(centres[standing - 1], centres[standing], GRID)
    return float(centres[0])


def _number(value: float | None) -> float | None:
    """The value, unless it is none: booleans are answers, not measurements."""
    return None if value is None or isinstance(value, bool) or not math.isfinite(value) else value


def _wins(won: Floats, margin: float) -> str:
    return f"{int((won > margin).sum())} of {won.size} pairs"
