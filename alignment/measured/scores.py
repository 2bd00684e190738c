"""How well probabilities part true from false, and how true they are themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Numbers = NDArray[np.float64]
DRAWS = 500


def share(found: Iterable[bool]) -> float:
    """The share of those that are true; 0 of none."""
    values = list(found)
    return float(np.mean(values)) if values else 0.0


def auroc(scores: Numbers, truth: NDArray[np.bool_]) -> float:
    """Probability that a true one scores above a false one, ties counted half."""
    ranks, n = rankdata(scores), int(truth.sum())
    return float((ranks[truth].sum() - n * (n + 1) / 2) / (n * (len(truth) - n)))


def calibration_error(given: Numbers, truth: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error in bins of equal width (Guo et al. 2017)."""
    where = np.minimum((given * bins).astype(int), bins - 1)
    return float(sum(abs(given[where == b].sum() - truth[where == b].sum()) for b in range(bins)) / len(given))


def interval(measure: Callable[[Numbers, NDArray[np.bool_]], float], scores: Numbers, truth: NDArray[np.bool_]) -> list[float]:
    """The ends of the bootstrap's 95 % interval over the cases."""
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, len(truth), len(truth)) for _ in range(DRAWS)]
    return [float(end) for end in np.quantile([measure(scores[each], truth[each]) for each in drawn], [0.025, 0.975])]
