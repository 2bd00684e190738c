"""What comparing a module with itself tells: how noisy a benchmark is on this machine, and which differences a duel can find there.

Each two measurements with neighbouring seeds are a pair of equals. The deviation of their differences is that of a duel between two
modules of this noise that share nothing; a duel's two sides share the seed and the batches, so theirs is no larger in general.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy import special

from bench.events import Calibration, Noise
from bench.promotion import Floats, follow, share
from bench.statistics import is_point
from plan import catalogue
from plan.nouns import Run, Status

ERROR = 0.05
"""Of a run's promotions; the first duel has the first share of it."""
POWER = 0.9
PAIRS = (6, 8, 12, 16, 24)
"""Numbers of pairs for which the detectable difference is told."""
SECONDS = "seconds"
"""Beside the metrics: how long a measurement took."""
DRAWS = 2000


def calibration(
    runs: Sequence[Run], *, module: str, benchmark: str, config: Mapping[str, Any], steps: int | None, machine: Mapping[str, Any]
) -> Calibration:
    """The noise of `runs`, in the order they were measured, each two a pair. A pair with a failure on either side has no difference."""
    numbers = [{**run.metrics, SECONDS: run.cost.seconds} if run.status is Status.OK else {} for run in runs]
    names = sorted({name for found in numbers for name in found})
    return Calibration(
        module=module,
        benchmark=benchmark,
        config=config,
        steps=steps,
        alone=bool(catalogue.shelf("benchmark")[benchmark].arguments.get("alone")),
        failed=sum(run.status is not Status.OK for run in runs),
        noise={name: found for name in names if (found := noise([found.get(name, math.nan) for found in numbers])) is not None},
        runs=tuple(run.id for run in runs),
        machine=machine,
    )


def noise(values: Sequence[float]) -> Noise | None:
    """The noise of one metric; NaN stands for a measurement without it. None below two whole pairs."""
    x = np.asarray(values, dtype=float)
    gaps = x[1::2] - x[: 2 * (x.size // 2) : 2]
    gaps, there = gaps[np.isfinite(gaps)], x[np.isfinite(x)]
    if gaps.size < 2:
        return None
    deviation = float(np.sqrt((gaps**2).mean()))  # equals differ by nothing on average: no mean is estimated
    low, high = (deviation * math.sqrt(gaps.size / special.chdtri(gaps.size, tail)) for tail in (0.025, 0.975))
    return Noise(
        mean=float(there.mean()),
        deviation=deviation,
        low=low,
        high=high,
        pairs=gaps.size,
        autocorrelation=_autocorrelation(x),
        detectable=tuple((n, deviation * effect) for n in PAIRS if (effect := detectable(n, error=share(1, ERROR))) is not None),
    )


def _autocorrelation(x: Floats) -> float | None:
    """Of neighbours, where both are there."""
    whole = x[np.isfinite(x)]
    if whole.size < 3 or is_point(whole):
        return None
    away = x - whole.mean()
    products = away[1:] * away[:-1]
    return float(np.nanmean(products) / np.nanmean(away**2))


@cache
def detectable(pairs: int, *, error: float, power: float = POWER) -> float | None:
    """The improvement, in standard deviations of a pair's difference, that a duel of at most `pairs` promotes with probability `power`.

    By simulation with fixed random numbers and Gaussian noise; None when so few pairs cannot promote at all.
    """
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((DRAWS, pairs))

    def found(effect: float) -> bool:
        promotes = follow(drawn + effect, error=error, most=pairs)
        first = promotes.ended.argmax(axis=1)[:, None]
        return float(np.take_along_axis(promotes.promotes, first, axis=1).mean()) >= power

    low, high = 0.0, 16.0
    if not found(high):
        return None
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def told_apart(deviation: float, *, n: int, error: float, power: float = POWER) -> float | None:
    """The difference that Student's bound of `error` on the mean of `n` differences clears with probability `power`; None below two."""
    if n < 2:
        return None
    shift = special.nctdtrinc(n - 1, 1 - power, special.stdtrit(n - 1, 1 - error))
    return float(deviation * shift / math.sqrt(n))


def latest(found: Sequence[Calibration], benchmark: str, *, modules: Collection[str]) -> Calibration | None:
    """The latest calibration of `benchmark` with one of `modules`."""
    return next((one for one in reversed(found) if one.benchmark == benchmark and one.module in modules), None)
