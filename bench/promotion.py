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
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench import statistics
from bench.direction import Better
from bench.eprocess import in_submission_order

BETS = ((1.0, 0.2), (3.0, 0.4), (10.0, 0.4))
"""(l, share of the stake). l = 1 suits an improvement of 0.8 standard deviations of the gains, 3 of 1.6, 10 of 3 and more."""
FUTILE = 0.1
"""Probability, at most, that a challenger is rejected which is truly better by `worth`."""
ROOM = 14
"""Pairs that any duel may read. With twice the fewest, 12, the first of a ledger would find an improvement of 1.6 standard deviations in 88 %."""
GRID = 100
"""Points on which the ends of an interval are looked for, before they are refined."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
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
    """Pairs that promote when the challenger wins all of them by the same."""
    n = max(1, math.ceil(-math.log2(error)))
    while evidence(np.ones(n))[-1] < -math.log(error):
        n += 1
    return n


def limit(error: float) -> int:
    """Pairs to buy at most where nobody says how many: twice the fewest, and ROOM."""
    return max(ROOM, 2 * fewest(error))


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
    `limit(error)`. A duel that not even wins on all pairs to come could decide is ended.
    """
    most = limit(error) if most is None else most
    worth = margin if worth is None else worth
    won = gains(in_submission_order(pairs)[:most], better=better)
    vain = most * math.log(2) < -math.log(error)
    if vain or not won.size:
        why = f"no more than {most} pairs may be bought, and they could not promote" if vain else "no pair is measured yet"
        return Duel(
            answer=Answer.UNDECIDED, ended=vain, n=0, e_value=1.0, low=None, high=None, mean=None, error=error, reason=why
        )
    course = follow(won, error=error, most=most, margin=margin, worth=worth)
    last = int(course.ended.argmax()) if course.ended.any() else won.size - 1
    won, n, e, ended = won[: last + 1], last + 1, math.exp(course.for_it[last]), bool(course.ended[last])
    finite = bool(np.isfinite(won).all())
    low, high = bounds(won, error=error) if finite else (None, None)
    wins = f"better on {int((won > margin).sum())} of {n} pairs"
    answer, reason = Answer.UNDECIDED, f"{wins}: e-value {e:.3g} of the {1 / error:.4g} that promote"
    if course.promotes[last]:
        answer = Answer.PROMOTE
    elif course.rejects[last]:
        answer, shown = Answer.REJECT, math.exp(course.against[last])
        wish = "better" if worth == margin else f"better by {worth:g}"
        reason = f"{wins}: it is not {wish} (e-value {shown:.3g} of the {1 / FUTILE:g} that reject)"
    elif not won.any():
        reason = f"both sides gave the same on all {n} pairs"
    elif ended and n < most:
        reason += f"; the {most - n} pairs left could not bring them"
    return Duel(
        answer=answer, ended=ended, n=n, e_value=e, low=low, high=high, mean=statistics.mean(won) if finite else None, error=error, reason=reason,
    )  # fmt: skip


class Course(NamedTuple):
    """How a duel went, after each pair (last axis)."""

    for_it: Floats
    """log E that the challenger is better by more than the margin."""
    against: Floats
    """log E that it is not better by `worth`."""
    promotes: Flags
    rejects: Flags
    ended: Flags
    """It promotes, rejects, or wins on all pairs that may still be bought would not promote."""


def follow(won: Floats, *, error: float, most: int, margin: float = 0.0, worth: float = 0.0) -> Course:
    """The course of gains (last axis: pairs, at most `most`); what comes after the first that is `ended` counts for nothing."""
    if not 0 < error < 1:
        raise ValueError(f"error must lie strictly between 0 and 1, not {error}")
    for_it, against = evidence(won - margin), evidence(worth - won)
    left = most - np.arange(1, won.shape[-1] + 1)
    promotes, rejects = for_it >= -math.log(error), against >= -math.log(FUTILE)
    hopeless = for_it + math.log(2) * left < -math.log(error)
    return Course(for_it, against, promotes, rejects & ~promotes, promotes | rejects | hopeless)


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

    def refuted(centres: Floats) -> Flags:
        against: Flags = evidence(d - centres[:, None])[:, -1] >= bar
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
