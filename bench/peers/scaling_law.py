"""What a user would otherwise fit to a learning curve: a single power law, and a broken neural scaling law by brute force.

Both have the interface of `modules.scaling_law`: `predict`, `breaks`, `to_dict`, `from_dict`. They share no code with it, so they are
independent references as well. The brute force is the algorithm of the script published with Caballero et al. 2023
(arXiv:2210.14891, Appendix A.6) in our own words: squared error of log(y + 1) at each of 163,840 points of a grid, evaluated one
after another, then an unbounded `curve_fit` with 1e8 evaluations from the best of them. Its grid is made for x of about 1 to 4000;
other scales have to be divided to fit, as its authors advise.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brute, curve_fit, least_squares

if TYPE_CHECKING:
    from bench.peer_speed import Contest

Array = NDArray[np.float64]

GRID = (
    slice(0.0, 1.0, 0.1),
    slice(0.0, 40.0, 2.5),
    slice(0.0, 1.0, 0.25),
    slice(0.0, 1.0, 0.25),
    slice(0.0, 40.0, 2.5),
    slice(0.0, 1.0, 0.25),
)
"""a, log_1.25 b, c0, c1, log_1.25 d1, f1: 10 x 16 x 4 x 4 x 16 x 4 points."""
SPAN = 1000.0
"""What the largest fitted x is scaled to when it lies beyond the grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """y = irreducible + scale x^-exponent."""

    irreducible: float
    scale: float
    exponent: float
    breaks: tuple[float, ...] = ()

    def predict(self, x: ArrayLike) -> Array:
        """y at every x > 0."""
        return self.irreducible + self.scale * np.asarray(x, dtype=np.float64) ** -self.exponent

    def to_dict(self) -> dict[str, Any]:
        """The parameters as plain numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PowerLaw:
        """The law that `to_dict` wrote."""
        return cls(**{**values, "breaks": tuple(values["breaks"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenNeuralLaw:
    """y = a + b x^-c0 (1 + (x / d1)^(1 / f1))^(-c1 f1), with x in units of `unit` (arXiv:2210.14891, eq. 1, one break)."""

    a: float
    b: float
    c0: float
    c1: float
    d1: float
    f1: float
    unit: float = 1.0

    @property
    def breaks(self) -> tuple[float, ...]:
        """The one break, in the unit of x."""
        return (self.d1 * self.unit,)

    def predict(self, x: ArrayLike) -> Array:
        """y at every x > 0."""
        values = asdict(self)
        return _broken(np.asarray(x, dtype=np.float64) / values.pop("unit"), *values.values())

    def to_dict(self) -> dict[str, Any]:
        """The parameters as plain numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BrokenNeuralLaw:
        """The law that `to_dict` wrote."""
        return cls(**values)


def fit_power_law(x: ArrayLike, y: ArrayLike) -> PowerLaw:
    """Least squares in log y from a handful of starts, by scipy."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    u, middle = np.log(x), float(np.log(x).mean())

    def residual(p: Array) -> Array:
        return np.logaddexp(p[0], p[1] - p[2] * (u - middle)) - np.log(y)

    fits = []
    for share in (0.01, 0.3, 0.6, 0.9, 0.99):
        slope, level = np.polyfit(u - middle, np.log(y - share * y.min()), 1)
        fits.append(least_squares(residual, [np.log(share * y.min()), level, -slope], x_scale="jac", max_nfev=2000))
    e, level, exponent = min(fits, key=lambda fit: float(fit.cost)).x
    return PowerLaw(irreducible=float(np.exp(e)), scale=float(np.exp(level + exponent * middle)), exponent=float(exponent))


def fit_broken_neural_law(x: ArrayLike, y: ArrayLike, *, unit: float | None = None) -> BrokenNeuralLaw:
    """Grid, then `curve_fit`; x is divided by `unit` (by default so that it fits the grid). RuntimeError or ValueError as scipy raises."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    unit = unit or max(1.0, float(x.max()) / SPAN)
    x = x / unit

    def loss(p: Array) -> float:
        a, b, c0, c1, d1, f1 = p
        return float(np.mean((np.log(_broken(x, a, 1.25**b - 0.9, c0, c1, 1.25**d1 - 0.9, f1) + 1) - np.log(y + 1)) ** 2))

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        a, b, c0, c1, d1, f1 = brute(loss, GRID, finish=None)
        start = [a, 1.25**b - 0.9, c0, c1, 1.25**d1 - 0.9, f1]
        found, _ = curve_fit(lambda x, *p: np.log(_broken(x, *p) + 1), x, np.log(y + 1), p0=start, maxfev=100_000_000)
    return BrokenNeuralLaw(**dict(zip(("a", "b", "c0", "c1", "d1", "f1"), map(float, found), strict=True)), unit=unit)


def _broken(x: Array, a: float, b: float, c0: float, c1: float, d1: float, f1: float) -> Array:
    return a + b * x**-c0 * (1 + (x / d1) ** (1 / np.float64(f1))) ** (-c1 * f1)
