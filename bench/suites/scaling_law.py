"""Scaling laws with breaks: do they say what comes next on measured curves, how sure are they, and how long does a fit take?

Nothing is trained and no block is measured: the module of the request is the one whose curves are fitted, or any. The rivals, a single
power law and the published brute-force fit of a broken neural scaling law, stand in `bench/peers/scaling_law.py`.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data import DataError
from bench.pairs import speedup
from bench.peers.scaling_law import ADDITION, ADDITION_SIZES, fit_broken_neural_law, fit_power_law
from bench.request import Bench
from bench.subject import TermsError
from modules.scaling_law import BreakpointScalingLaw, fit_breakpoint
from plan.catalogue import benchmark

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One learning curve: scales, losses, and which points no fit may see."""

    name: str
    x: Array
    y: Array
    held: NDArray[np.bool_]


def read_curves(path: str | Path) -> list[Curve]:
    """Curves of a CSV file with the columns curve, scale, loss, heldout (0 or 1), sorted by scale; DataError names what is wrong."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            sheet = csv.reader(file)
            head = next(sheet, [])
            rows = [(row[0], float(row[1]), float(row[2]), row[3] == "1") for row in sheet if row]
    except OSError as error:
        raise DataError(f"`{path}` cannot be read ({error.strerror}); name a CSV file of learning curves") from None
    except (ValueError, IndexError) as error:
        raise DataError(f"`{path}`: {error}; every row wants a curve's name, a scale, a loss and 0 or 1 for held out") from None
    if len(head) != 4 or head[3] != "heldout":
        raise DataError(
            f"`{path}` has the columns {', '.join(head) or 'none'}; wanted are a curve's name, its scale, its loss, `heldout`"
        )
    curves = []
    for name in dict.fromkeys(row[0] for row in rows):
        x, y, held = (np.array(column) for column in list(zip(*(row for row in rows if row[0] == name), strict=True))[1:])
        held = held.astype(bool)
        if not held.any() or held.all() or x[held].min() <= x[~held].max():
            raise DataError(f"`{path}`: the curve `{name}` needs points to fit, and held-out points at larger scales than those")
        curves.append(Curve(name=name, x=x, y=y, held=held))
    return curves


@benchmark(
    "scaling-law-curves-v1",
    metrics={"rmsle": "", "single_ratio": "x", "broken_ratio": "x", "worst_error": "", "curves": ""},
    source="extrapolation of learning curves to held-out larger scales; rivals: one power law with an offset, arXiv:2210.14891",
    options={"corpus": "", "breaks": 1},
)
def measure(bench: Bench) -> dict[str, float]:
    """Log error of the broken law on held-out larger scales, over all curves of the task's data, and its ratio to the rivals'.

    Ratios are of root mean squares over all held-out points: below 1 the broken law is the better one. `worst_error` is the largest
    relative error of a held-out point; all lie past the break. A curve on which the brute force fails, which is a fact of the run,
    takes no part in the comparison with it.
    """
    if not bench.request.data:
        raise TermsError(
            f"`{bench.request.benchmark}` reads the CSV file of learning curves that the task names as its `data`; name one"
        )
    curves = read_curves(bench.request.data)
    errors: dict[str, list[float]] = {"own": [], "single": [], "own beside rival": [], "rival": []}
    for done, curve in enumerate(curves):
        x, y, beyond, truth = curve.x[~curve.held], curve.y[~curve.held], curve.x[curve.held], curve.y[curve.held]
        fit = fit_breakpoint(x, y, breaks=bench.options["breaks"], bootstrap=400, seed=bench.request.seed)
        own = np.log(fit.law.predict(beyond) / truth).tolist()
        errors["own"] += own
        errors["single"] += np.log(fit_power_law(x, y).predict(beyond) / truth).tolist()
        bench.facts[curve.name] = {"law": fit.law.to_dict(), "break_interval_95": [list(pair) for pair in fit.intervals]}
        try:
            rival = np.log(fit_broken_neural_law(x, y).predict(beyond) / truth)
        except (RuntimeError, ValueError) as error:
            bench.facts[curve.name]["brute_force_failed"] = str(error)
        else:
            errors["rival"] += rival.tolist()
            errors["own beside rival"] += own
        bench.progress(done + 1, len(curves), {})
    size = {name: float(np.sqrt(np.square(some).mean())) for name, some in errors.items()}
    bench.series["log_error"] = [(float(i), error) for i, error in enumerate(errors["own"], start=1)]
    return {
        "rmsle": size["own"],
        "single_ratio": size["own"] / size["single"],
        "broken_ratio": size["own beside rival"] / size["rival"],
        "worst_error": float(np.abs(np.expm1(errors["own"])).max()),
        "curves": float(len(curves)),
    }


@benchmark(
    "scaling-law-break-v1",
    metrics={"coverage": "", "interval_e_folds": ""},
    source="simulation: one planted break in 20 points over four decades, noise of 0.2, 1 and 3 % in turn",
    options={"points": 20, "noise": (0.002, 0.01, 0.03), "curves": 120, "bootstrap": 200},
)
def measure_break(bench: Bench) -> dict[str, float]:
    """How often the 95 % interval of a planted break contains it, and the median width of the interval in e-folds of scale."""
    options = bench.options
    law = BreakpointScalingLaw(irreducible=0.3, scale=2.0, reference=1e3, exponents=(0.1, 0.6), breaks=(1e5,), widths=(0.3,))
    x = np.geomspace(1e3, 1e7, options["points"])
    hits, widths = [], []
    for i in range(options["curves"]):
        rng = np.random.default_rng([bench.request.seed, i])
        noise = options["noise"][i % len(options["noise"])]
        y = law.predict(x) * np.exp(noise * rng.standard_normal(len(x)))
        ((low, high),) = fit_breakpoint(x, y, bootstrap=options["bootstrap"], seed=i).intervals
        hits.append(low <= law.breaks[0] <= high)
        widths.append(math.log(high / low))
        bench.progress(i + 1, options["curves"], {})
    return {"coverage": float(np.mean(hits)), "interval_e_folds": float(np.median(widths))}


@benchmark(
    "scaling-law-speed-v2",
    metrics={"fit_ratio": "x", "error_ratio": "x"},
    source="interleaved pairs with the algorithm of arXiv:2210.14891's script: 163,840 points of a grid, then curve_fit",
    options={"pairs": 5, "noise": 0.001},
    alone=True,
)
def measure_speed(bench: Bench) -> dict[str, float]:
    """How many times faster the fit is than the brute force on the curve of its own example, and the ratio of extrapolation errors.

    The curve is four-digit addition as its authors fitted it. Both fits of a pair see one draw of 0.1 % of noise, every pair another;
    errors are root mean squares over all draws, and below 1 they are smaller here.
    """
    rng = np.random.default_rng(bench.request.seed)
    x, beyond = ADDITION_SIZES[:14], ADDITION_SIZES[14:]
    draws = bench.options["pairs"] + 1  # the first is not timed
    curves = ADDITION.predict(x) * np.exp(bench.options["noise"] * rng.standard_normal((draws, len(x))))
    rivals, own = [], []
    found = speedup(
        lambda: rivals.append(fit_broken_neural_law(x, curves[len(rivals)], unit=1.0)),
        lambda: own.append(fit_breakpoint(x, curves[len(own)]).law),
        pairs=bench.options["pairs"],
        progress=lambda done, total: bench.progress(done, total, {}),
    )
    truth = np.log(ADDITION.predict(beyond))
    off, rival = (np.square([np.log(law.predict(beyond)) - truth for law in laws]).mean() for laws in (own, rivals))
    bench.facts.update(interval_95=[found.low, found.high], clock=found.clock)
    return {"fit_ratio": found.ratio, "error_ratio": math.sqrt(off / rival)}
