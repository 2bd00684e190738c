"""Scaling laws that bend: loss over scale as a power law with breaks, found with an interval for where each break lies.

    y(x) = e + a (x / r)^-c_0  prod_i (1 + (x / d_i)^(1 / f_i))^(-(c_i - c_{i-1}) f_i)

`e` is what no scale removes, `c_i` the exponent after the i-th break, `d_i` where it breaks and `f_i` over how many e-folds of x;
`f -> 0` is a sharp corner. This is the form of broken neural scaling laws (Caballero et al. 2023, arXiv:2210.14891, eq. 1) written
with the exponent of each segment, so that bounds mean something: no segment rises, no break lies outside the data.
Without breaks it is the power law with an offset.

Fitting: given e, d, f the logarithm of the reducible part is linear in log a and the exponents, so a small grid over the rest with that
linear problem solved exactly gives starts (variable projection, Golub and Pereyra 1973), and a few are refined together by
Levenberg-Marquardt on log y, in one batch of arrays. No step draws random numbers but the bootstrap, which has a seed.

Shapes: R starts or replicates, N points, P parameters, K breaks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

STEEPEST = 8.0
"""Largest exponent of a segment; x^-8 is a jump on any axis that people plot."""
WIDTHS = (0.01, 2.0)
"""Sharpest and smoothest break, in e-folds of x."""
MOST_BREAKS = 3
"""`breaks="auto"` looks no further."""


class FitError(ValueError):
    """Points that no scaling law can be fitted to; the message says which and what helps."""

    told = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakpointScalingLaw:
    """Loss as a function of scale with K >= 0 breaks; `predict` evaluates it anywhere."""

    irreducible: float
    """e, in the unit of y."""
    scale: float
    """a, in the unit of y: the first segment's value at `reference`."""
    reference: float
    """r, in the unit of x."""
    exponents: tuple[float, ...]
    """c_0 .. c_K, of x^-c; one more than there are breaks."""
    breaks: tuple[float, ...] = ()
    """d_1 < .. < d_K, in the unit of x."""
    widths: tuple[float, ...] = ()
    """f_1 .. f_K, in e-folds of x."""

    def __post_init__(self) -> None:
        if not len(self.exponents) - 1 == len(self.breaks) == len(self.widths):
            raise ValueError(
                f"a law with {len(self.breaks)} breaks has {len(self.breaks) + 1} `exponents` and {len(self.breaks)} `widths`; "
                f"got {len(self.exponents)} and {len(self.widths)}"
            )
        if self.scale <= 0 or self.reference <= 0 or min((*self.breaks, *self.widths, 1.0)) <= 0 or self.irreducible < 0:
            raise ValueError(
                "`scale`, `reference`, `breaks` and `widths` of a law are positive and `irreducible` is not negative"
            )

    def predict(self, x: ArrayLike) -> Array:
        """y at every x > 0, in the shape of `x`."""
        x = np.asarray(x, dtype=np.float64)
        if not (x > 0).all():
            raise FitError("`x` must be positive: a scaling law says nothing of scale 0 or less")
        log_y, _ = _log_law(self._vector(), np.log(x.ravel() / self.reference))
        y: Array = np.exp(log_y[0]).reshape(x.shape)
        return y

    def to_dict(self) -> dict[str, Any]:
        """The parameters as plain numbers and lists, for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BreakpointScalingLaw:
        """The law that `to_dict` wrote."""
        plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**plain)

    def _vector(self) -> Array:
        """Parameters as one row (1, P): e, log a, exponents, log break, log width."""
        logs = [*np.log(np.array(self.breaks) / self.reference), *np.log(self.widths)]
        return np.array([[self.irreducible, math.log(self.scale), *self.exponents, *logs]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A law, how well it fits, and how sure its breaks are."""

    law: BreakpointScalingLaw
    rmsle: float
    """Root of the mean squared log error on the points that were fitted."""
    intervals: tuple[tuple[float, float], ...]
    """Per break, the bootstrap interval of its place at `level`; empty without a bootstrap."""
    level: float
    scores: Mapping[int, float]
    """AICc by number of breaks, for every number that was tried; the law has the lowest."""


def fit_breakpoint(
    x: ArrayLike, y: ArrayLike, *, breaks: int | Literal["auto"] = 1, bootstrap: int = 0, level: float = 0.95, seed: int = 0
) -> Fit:
    """Fit a broken power law to losses `y` (N,) at scales `x` (N,), least squares in log y.

    breaks: how many, or "auto": the number up to three with the lowest AICc (Hurvich and Tsai 1989), N log(RSS / N) + 2 k N / (N - k - 1)
        where k = 4 + 3 K counts the P = 3 + 3 K parameters and the noise. It asks for much evidence where points are few: with fewer
        than 9 it never finds a break, with 10 only where noise is far below 1 %.
    bootstrap: replicates for the interval of each break (0: no interval; 400 is plenty). Each is drawn from the fitted law with
        Gaussian noise in log y, whose size is drawn too (chi-squared with N - P degrees), so that few points widen the interval.
    Raises FitError for fewer than P + 1 points, numbers that are not finite and positive, x unsorted or repeated, or y all equal.
    The same arguments give the same bits.
    """
    x, y = _checked(x, y)
    if breaks != "auto" and (not isinstance(breaks, int) or isinstance(breaks, bool) or breaks < 0):
        raise FitError(f'`breaks` is a number from 0 up or "auto", got {breaks!r}')
    if not 0 < level < 1 or bootstrap < 0:
        raise FitError(f"`level` lies between 0 and 1 and `bootstrap` is not negative; got {level} and {bootstrap}")
    tried = range(MOST_BREAKS + 1) if breaks == "auto" else range(breaks, breaks + 1)
    least = 4 + 3 * tried[0]
    if len(x) < least:
        raise FitError(f"{len(x)} points are too few for {tried[0]} breaks: {least - 1} parameters want {least} points or more")
    reference = math.exp(np.log(x).mean())
    u, log_y = np.log(x / reference), np.log(y)
    best = {K: _fitted(u, log_y, K) for K in tried if len(x) > 3 + 3 * K}
    squares = {K: max(float(np.square(_log_law(theta, u)[0] - log_y).mean()), 1e-24) for K, theta in best.items()}
    scores = {K: _criterion(squares[K], len(x), 4 + 3 * K) for K in best}
    K = min(scores, key=lambda k: scores[k])
    theta = best[K]
    intervals = _intervals(theta, u, log_y, K, replicates=bootstrap, level=level, seed=seed) if bootstrap and K else ()
    return Fit(
        law=_law(theta[0], K, reference),
        rmsle=math.sqrt(squares[K]),
        intervals=tuple((reference * math.exp(low), reference * math.exp(high)) for low, high in intervals),
        level=level,
        scores=scores,
    )


def _criterion(mean_square: float, N: int, k: int) -> float:
    return N * math.log(mean_square) + 2 * k * N / (N - k - 1) if k + 1 < N else math.inf


def rmsle(law: BreakpointScalingLaw, x: ArrayLike, y: ArrayLike) -> float:
    """Root mean squared log error of the law's predictions."""
    return float(np.sqrt(np.square(np.log(law.predict(x)) - np.log(np.asarray(y))).mean()))


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise FitError(f"`x` and `y` are two rows of equal length, got shapes {x.shape} and {y.shape}")
    for name, values in (("x", x), ("y", y)):
        wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(wrong):
            raise FitError(
                f"`{name}[{wrong[0]}]` is {values[wrong[0]]:g}; every {name} must be finite and positive ({len(wrong)} are not)"
            )
    falls = np.flatnonzero(np.diff(x) <= 0)
    if len(falls):
        at = falls[0] + 1
        what = (
            "repeats the scale before it; average its points"
            if x[at] == x[at - 1]
            else "is less than the scale before it; sort by x"
        )
        raise FitError(f"`x[{at}]` = {x[at]:g} {what}")
    if len(y) and np.ptp(np.log(y)) < 1e-12:
        raise FitError(f"every y is {y[0]:g}: a curve that does not move has no exponent and no break")
    return x, y


def _log_law(theta_RP: Array, u_N: Array) -> tuple[Array, Array]:
    """log y (R, N) and its derivative by every parameter (R, N, P)."""
    K = (theta_RP.shape[1] - 3) // 3
    e, log_a, c, t, w = np.split(theta_RP[:, None, :], [1, 2, 3 + K, 3 + 2 * K], axis=2)
    f, steps = np.exp(w), np.diff(c, axis=2)
    z = (u_N[None, :, None] - t) / f
    soft = np.logaddexp(0.0, z)
    rising = np.exp(z - soft)
    bend = f * soft
    u = np.broadcast_to(u_N[None, :, None], (len(theta_RP), len(u_N), 1))
    basis = np.concatenate([u, bend, np.zeros_like(u)], axis=2)
    log_part = log_a[:, :, 0] - c[:, :, 0] * u_N - (steps * bend).sum(axis=2)
    log_y = np.logaddexp(np.log(np.maximum(e[:, :, 0], 1e-300)), log_part)
    share = np.exp(log_part - log_y)[:, :, None]
    parts = [np.ones_like(u), np.diff(basis, axis=2), steps * rising, -steps * f * (soft - z * rising)]
    return log_y, np.concatenate([np.exp(-log_y)[:, :, None], share * np.concatenate(parts, axis=2)], axis=2)


def _law(theta: Array, K: int, reference: float) -> BreakpointScalingLaw:
    e, log_a, *rest = theta.tolist()
    return BreakpointScalingLaw(
        irreducible=e,
        scale=math.exp(log_a),
        reference=reference,
        exponents=tuple(rest[: K + 1]),
        breaks=tuple(reference * math.exp(t) for t in rest[K + 1 : 2 * K + 1]),
        widths=tuple(math.exp(w) for w in rest[2 * K + 1 :]),
    )


def _fitted(u_N: Array, log_y_N: Array, K: int) -> Array:
    """The best parameters (1, P) found from the best starts."""
    starts = _starts(u_N, log_y_N, K)
    found, cost = _refined(starts, u_N, np.broadcast_to(log_y_N, (len(starts), len(u_N))), K)
    best = int(np.argmin(cost))
    return found[best : best + 1]


def _starts(u_N: Array, log_y_N: Array, K: int, *, keep: int = 24) -> Array:
    """The `keep` best of a grid over e, breaks and widths (keep, P), log a and exponents solved exactly at each."""
    y = np.exp(log_y_N)
    places = np.quantile(u_N, np.linspace(0, 1, 14 if K == 1 else 9)[1:-1])
    widths = np.log([0.05, 0.3, 1.0]) if K == 1 else np.log([0.2])
    grid = np.array(
        [
            [share * y.min(), *t, *[w] * K]
            for share in (0.0, 0.5, 0.8, 0.95, 0.995)
            for t in combinations(places, K)
            for w in (widths if K else [0.0])
        ]
    )
    e, t, w = np.split(grid[:, None, :], [1, 1 + K], axis=2)
    u = np.broadcast_to(u_N[None, :, None], (len(grid), len(u_N), 1))
    bend = np.exp(w) * np.logaddexp(0.0, (u - t) / np.exp(w))
    columns = np.concatenate([np.ones_like(u), np.diff(np.concatenate([u, bend, np.zeros_like(u)], axis=2), axis=2)], axis=2)
    weight = 1 - e / y[None, :, None]
    design, wanted = weight * columns, (weight[:, :, 0] * np.log(y - e[:, :, 0]))[:, :, None]
    turned = design.swapaxes(1, 2)
    linear = np.linalg.solve(turned @ design + 1e-9 * np.eye(K + 2), turned @ wanted)[:, :, 0]
    linear[:, 1:] = linear[:, 1:].clip(0.0, STEEPEST)
    theta = np.concatenate([grid[:, :1], linear, grid[:, 1:]], axis=1)
    cost = np.square(_log_law(theta, u_N)[0] - log_y_N).sum(axis=1)
    return theta[np.argsort(cost, kind="stable")[:keep]]


def _refined(theta_RP: Array, u_N: Array, log_y_RN: Array, K: int, *, rounds: int = 100) -> tuple[Array, Array]:
    """Levenberg-Marquardt within bounds on every row at once: parameters (R, P) and sums of squares (R,)."""
    inner = np.sort(u_N)[[1, -2]] if len(u_N) > 3 else u_N[[0, -1]]
    low = np.array([0.0, -300.0, *[0.0] * (K + 1), *[inner[0]] * K, *[math.log(WIDTHS[0])] * K])
    high = np.array([math.exp(log_y_RN.max()), 300.0, *[STEEPEST] * (K + 1), *[inner[1]] * K, *[math.log(WIDTHS[1])] * K])

    def evaluated(theta: Array) -> tuple[Array, Array, Array]:
        log_y, slopes = _log_law(theta, u_N)
        residual = log_y - log_y_RN
        cost = np.square(residual).sum(axis=1)
        ordered = (np.diff(theta[:, 3 + K : 3 + 2 * K], axis=1) > 0).all(axis=1)
        return residual, slopes, np.where(ordered & np.isfinite(cost), cost, np.inf)

    theta = theta_RP.clip(low, high)
    residual, slopes, cost = evaluated(theta)
    damping = np.full(len(theta), 1e-2)
    for _ in range(rounds):
        turned = slopes.swapaxes(1, 2)
        gradient = (turned @ residual[:, :, None])[:, :, 0]
        free = ~(((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0)))
        curvature = turned @ slopes * (free[:, :, None] & free[:, None, :])
        diagonal = np.einsum("rpp->rp", curvature)
        diagonal += damping[:, None] * diagonal + 1e-12 + ~free
        step = np.linalg.solve(curvature, (gradient * free)[:, :, None])[:, :, 0]
        proposed = (theta - step).clip(low, high)
        residual_, slopes_, cost_ = evaluated(proposed)
        better = cost_ < cost
        settled = np.where(better, cost - cost_ <= 1e-9 * cost, damping > 1e6).all()
        theta = np.where(better[:, None], proposed, theta)
        residual = np.where(better[:, None], residual_, residual)
        slopes = np.where(better[:, None, None], slopes_, slopes)
        cost = np.where(better, cost_, cost)
        damping = np.where(better, damping / 5, damping * 4).clip(1e-9, 1e9)
        if settled:
            break
    return theta, cost


def _intervals(
    theta: Array, u_N: Array, log_y_N: Array, K: int, *, replicates: int, level: float, seed: int
) -> tuple[tuple[float, float], ...]:
    """Percentile interval of every log break over refits to draws from the fitted law."""
    rng = np.random.default_rng(seed)
    fitted, _ = _log_law(theta, u_N)
    spare = len(u_N) - theta.shape[1]
    squares = float(np.square(fitted - log_y_N).sum())
    size = np.sqrt(squares / rng.chisquare(spare, size=(replicates, 1)))
    drawn = fitted + size * rng.standard_normal((replicates, len(u_N)))
    found, _ = _refined(np.repeat(theta, replicates, axis=0), u_N, drawn, K)
    low, high = np.quantile(found[:, 3 + K : 3 + 2 * K], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return tuple(zip(low.tolist(), high.tolist(), strict=True))
