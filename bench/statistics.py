"""Bounds, intervals and paired tests for a handful of seeds: the arithmetic behind the judge.

Every function is pure; randomness (the bootstrap) is seeded by the data, so the same runs give the same bits.
Only `scipy.special` is imported: `scipy.stats` would cost every command most of a second.

Which bound, and why. Student's t is exact for Gaussian noise and holds its level for uniform and mildly skewed noise. Under strong skew no bound
holds its level at three seeds: the bound on the side of the long tail is too near, because few seeds contain the tail (step times are believed
faster than they are: say `median` there). Declared 5 % over looks at 3, 5, 8 seeds, 2,000 simulations of `python -m bench.false_verdicts`: Gaussian 2.9 % and
3.6 % on the two sides, lognormal with sigma 0.1: 3.5 % and 4.7 %, 0.25: 1.7 % and 7.5 %, 0.5: 0.8 % and 10.8 %, 1: 0.4 % and 22.7 %. From
BOOTSTRAP_FROM seeds on, the outer of t and percentile-t is used: at 8 to 23 seeds percentile-t halves the error under skew (sigma 0.5, declared 1.67 %, 10 seeds: 5.7 %
by t, 3.4 %) for intervals 2 to 12 % wider on Gaussian noise. A skewness-corrected t (Johnson 1978) changes next to nothing at these sizes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

BOOTSTRAP_FROM = 8
"""Seeds from which percentile-t is trusted to widen the t bound."""
RESAMPLES = 1999
ROUNDING = 4 * float(np.finfo(float).eps)
"""Numbers nearer than this, relative to the larger, are equal. The product of a decimal factor and a decimal value, each rounded to
binary, is off by at most half of it; noise of a measurement is a million times larger."""
SEARCH_LIMIT = 1000
"""Seeds beyond which a difference is called not decidable."""

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """Two ends and the confidence they really have, which small samples may keep below the one asked for."""

    low: float
    high: float
    confidence: float


class Compared(NamedTuple):
    """One-sided p-values of `mean > 0` and of `mean < 0`, and the test that gave them."""

    above: float
    below: float
    test: str


def differences(ours: ArrayLike, theirs: ArrayLike) -> Floats:
    """`ours - theirs`, element by element; exactly zero where rounding alone parts them, so that 0.3 is 3 x 0.1."""
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    return unrounded(a - b, np.maximum(np.abs(a), np.abs(b)))


def unrounded(gaps: ArrayLike, scale: ArrayLike) -> Floats:
    """`gaps`, exactly zero where they are no larger than the rounding of numbers of size `scale`."""
    return np.where(np.abs(gaps) <= ROUNDING * np.asarray(scale), 0.0, gaps)


def is_point(values: ArrayLike) -> bool:
    """Whether all values are the same up to rounding (1e-12 of the largest), so that no variance was seen."""
    x = np.asarray(values, dtype=float)
    return bool(np.ptp(x) <= 1e-12 * np.abs(x).max())


def mean(values: ArrayLike) -> float:
    """The mean, summed from the first value on, so that equal values have exactly themselves as their mean."""
    x = np.asarray(values, dtype=float)
    return float(x[0] + math.fsum(x - x[0]) / x.size)


def median(values: ArrayLike) -> float:
    """The median."""
    return float(np.median(np.asarray(values, dtype=float)))


def t_bounds(values: ArrayLike, *, error: float) -> tuple[Floats, Floats]:
    """Student's lower and upper bound on the mean along the last axis (n >= 2), each wrong with probability `error`."""
    x = np.asarray(values, dtype=float)
    n = x.shape[-1]
    reach = special.stdtrit(n - 1, 1 - error) * x.std(axis=-1, ddof=1) / math.sqrt(n)
    return x.mean(axis=-1) - reach, x.mean(axis=-1) + reach


def percentile_t_bounds(values: ArrayLike, *, error: float, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Bootstrap-t lower and upper bound on the mean of n >= 2 values, each wrong with probability `error`.

    Efron and Tibshirani, An Introduction to the Bootstrap, section 12.5. Resamples without any spread count
    as infinitely far out, so that ties widen the bounds.
    """
    x = np.sort(np.asarray(values, dtype=float))
    drawn = x[_generator(x).integers(0, x.size, (resamples, x.size))]
    away = drawn.mean(axis=1) - x.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = np.sort(np.nan_to_num(away / drawn.std(axis=1, ddof=1), nan=0.0, posinf=np.inf, neginf=-np.inf))
    rank = max(1, math.floor(error * (resamples + 1)))
    spread = x.std(ddof=1)
    return float(x.mean() - studentised[-rank] * spread), float(x.mean() - studentised[rank - 1] * spread)


def mean_bounds(values: ArrayLike, *, error: float) -> tuple[float, float]:
    """The bounds the rules `lower` and `upper` use: t, and from BOOTSTRAP_FROM values on the outer of t and percentile-t."""
    x = np.asarray(values, dtype=float)
    if is_point(x):
        return mean(x), mean(x)
    low, high = (float(end) for end in t_bounds(x, error=error))
    if x.size < BOOTSTRAP_FROM:
        return low, high
    bootstrap_low, bootstrap_high = percentile_t_bounds(x, error=error)
    return min(low, bootstrap_low), max(high, bootstrap_high)


def mean_interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval | None:
    """Two-sided interval of the mean, to look at; none for a single value. Always finite: t where ties leave percentile-t open."""
    x = np.asarray(values, dtype=float)
    if x.size < 2:
        return None
    error = (1 - confidence) / 2
    low, high = (
        outer if math.isfinite(outer) else float(t)
        for outer, t in zip(mean_bounds(x, error=error), t_bounds(x, error=error), strict=True)
    )
    return Interval(low, high, confidence)


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: the mean of what is left when a quarter (rounded down) is cut off either end."""
    x = np.sort(np.asarray(values, dtype=float))
    cut = x.size // 4
    return float(x[cut : x.size - cut].mean())


def iqm_interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval | None:
    """Tukey and McLaughlin's t interval of the trimmed mean from the winsorised variance; none for one value.

    Unlike the percentile bootstrap usual for the interquartile mean it does not shrink to nothing at three seeds.
    """
    x = np.sort(np.asarray(values, dtype=float))
    if x.size < 2:
        return None
    cut = x.size // 4
    kept = x.size - 2 * cut
    # Values cut off that differ from others all the same: the winsorised variance would claim certainty, the plain one does not.
    deviation = np.clip(x, x[cut], x[-1 - cut]).std(ddof=1) or x.std(ddof=1)
    error = deviation * math.sqrt((x.size - 1) / (kept * (kept - 1)))
    reach = float(special.stdtrit(kept - 1, (1 + confidence) / 2) * error)
    return Interval(iqm(x) - reach, iqm(x) + reach, confidence)


def median_interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval | None:
    """Exact order-statistic interval of the median, without any assumption on the noise; none for one value.

    Below six values even smallest to largest covers less than 95 %; the confidence returned says how much it does.
    """
    x = np.sort(np.asarray(values, dtype=float))
    n = x.size
    if n < 2:
        return None
    covers = [float(1 - 2 * special.bdtr(cut, n, 0.5)) for cut in range((n - 1) // 2 + 1)]
    cut = max((c for c, covered in enumerate(covers) if covered >= confidence), default=0)
    return Interval(float(x[cut]), float(x[n - 1 - cut]), covers[cut])


def paired(differences: ArrayLike, *, level: float) -> Compared:
    """One-sided tests of paired differences (n >= 2) at a `level` fixed beforehand.

    Wilcoxon's exact signed-rank test where it can do the job, else the paired t test. The choice looks at n and level only,
    never at the data. A rank test cannot go below 2^-n (n = 3: 0.125), so below 0.01 it is
    mute up to six seeds; it is used once four of its most extreme outcomes fit under the level, where its power
    has caught up with t. Differences that are all the same give no variance: then the sign test's 2^-n, the
    most that n coin flips can show.
    """
    d = np.asarray(differences, dtype=float)
    if is_point(d):
        sure = 2.0**-d.size
        return Compared(sure if d[0] > 0 else 1.0, sure if d[0] < 0 else 1.0, "sign test")
    if 2.0 ** (2 - d.size) <= level:
        return Compared(*_signed_rank(d), "Wilcoxon")
    t = d.mean() * math.sqrt(d.size) / d.std(ddof=1)
    return Compared(float(special.stdtr(d.size - 1, -t)), float(special.stdtr(d.size - 1, t)), "paired t")


def welch(ours: ArrayLike, theirs: ArrayLike) -> Compared:
    """Welch's one-sided tests of `mean(ours) - mean(theirs)`, at least two values each, not all of them the same."""
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    shares = a.var(ddof=1) / a.size, b.var(ddof=1) / b.size
    total = shares[0] + shares[1]
    freedom = total**2 / (shares[0] ** 2 / (a.size - 1) + shares[1] ** 2 / (b.size - 1))
    t = (a.mean() - b.mean()) / math.sqrt(total)
    return Compared(float(special.stdtr(freedom, -t)), float(special.stdtr(freedom, t)), "Welch")


def _signed_rank(d: Floats) -> tuple[float, float]:
    """Exact one-sided p-values by counting sign patterns; ties share their mid-rank, zeros are dropped."""
    d = d[d != 0]
    order = np.abs(d)
    doubled = [int(2 * (order < size).sum() + (order == size).sum() + 1) for size in order]
    patterns = np.zeros(sum(doubled) + 1)
    patterns[0] = 1.0
    for rank in doubled:
        patterns[rank:] = (patterns[rank:] + patterns[:-rank]) / 2
        patterns[:rank] /= 2
    positive = sum(rank for rank, value in zip(doubled, d, strict=True) if value > 0)
    return float(min(1.0, patterns[positive:].sum())), float(min(1.0, patterns[: positive + 1].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (step-down), in the order given."""
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def seeds_needed(values: ArrayLike, *, error: float, power: float = 0.8) -> int | None:
    """Total seeds at which a one-sided t bound at `error` would clear zero with probability `power`.

    `values` are differences from the threshold; their mean and deviation are taken at face value. None where there is no variance
    estimate, or where it would take more than SEARCH_LIMIT seeds.
    """
    x = np.asarray(values, dtype=float)
    if x.size < 2 or is_point(x):
        return None
    effect = abs(float(x.mean())) / float(x.std(ddof=1))
    n = np.arange(2, SEARCH_LIMIT + 1)
    enough = effect * np.sqrt(n) >= special.stdtrit(n - 1, 1 - error) + special.stdtrit(n - 1, power)
    return int(n[np.argmax(enough)]) if enough.any() else None


def _generator(x: Floats) -> np.random.Generator:
    digest = hashlib.sha256(x.tobytes()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
