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
        y: Array = self.irreducible + self.scale * np.asarray(x, dtype=np.float64) ** -self.exponent
        return y

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
        unit = values.pop("unit")
        with np.errstate(over="ignore"):
            return _broken(np.asarray(x, dtype=np.float64) / unit, **values)

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
        off: Array = np.logaddexp(p[0], p[1] - p[2] * (u - middle)) - np.log(y)
        return off

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
    y: Array = a + b * x**-c0 * (1 + (x / d1) ** (1 / np.float64(f1))) ** (-c1 * f1)
    return y


ADDITION = BrokenNeuralLaw(
    a=0.41388453071629455, b=2.2772722897737556, c0=0.055077348404973955, c1=5.662903816010331, d1=612.5836172918001, f1=0.059193036393742314
)  # fmt: skip
"""Test loss of four-digit addition over the size of the training set, as fitted in arXiv:2210.14891, Figure 4."""
ADDITION_SIZES = np.array([160, 192, 256, 320, 384, 448, 480, 512, 544, 576, 608, 640, 672, 736, 800, 864, 928], dtype=np.float64)
"""The sizes measured there; the last three are what the fit has to predict."""


def contests() -> Iterator[Contest]:
    """One: the curve that the published script is run on, from the parameters its authors give, fitted up to 736 and predicted beyond.

    A fit has no gradient in the losses; adding nothing of them lets the race treat it like any other operation.
    """
    import torch
    from torch import Tensor

    from bench.peer_speed import Contest, Peer
    from modules.scaling_law import fit_breakpoint

    x, beyond = ADDITION_SIZES[:14], ADDITION_SIZES[14:]

    def house(losses_N: Tensor) -> Tensor:
        return torch.from_numpy(fit_breakpoint(x, losses_N.detach().numpy()).law.predict(beyond)) + 0 * losses_N.sum()

    def brute_force() -> Any:
        def form(losses_N: Tensor) -> Tensor:
            law = fit_broken_neural_law(x, losses_N.detach().numpy(), unit=1.0)
            return torch.from_numpy(law.predict(beyond)) + 0 * losses_N.sum()

        return form

    yield Contest(
        name="scaling-law-fit",
        ours=house,
        peers={"broken neural scaling law script": Peer(form=brute_force, at_least=50.0, within=1e-3)},
        inputs=lambda: {"losses_N": torch.from_numpy(ADDITION.predict(x))},
        directions=("training",),
    )
