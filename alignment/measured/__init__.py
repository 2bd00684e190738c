"""What the aligners can do, as benchmarks: a plan names them like those of `bench/suites`, and the loop measures them like any other.

They stand here since `bench` does not import `alignment`. A task's module is the file that is measured: `collective` is `alignment/collective.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from plan.nouns import Request

T = TypeVar("T")


class Bench(Protocol):
    """What a benchmark here uses of the `bench.request.Bench` that it is handed."""

    request: Request
    folder: Path
    facts: dict[str, Any]
    series: dict[str, list[tuple[float, float]]]

    @property
    def options(self) -> Mapping[str, Any]:
        """The numbers that the benchmark's versioned name stands for."""
        ...

    def progress(self, step: int, total: int, numbers: Mapping[str, float], /) -> None:
        """Tell how far it is."""
        ...


class Unmeasurable(Exception):
    """The data or an extra that is needed is missing; the message says which and the mend. Nothing was measured."""

    told = True


def data_of(bench: Bench) -> Path:
    """The file or folder that the task names as its `data`."""
    if not bench.request.data:
        raise Unmeasurable(
            f"`{bench.request.benchmark}` measures on what the task names as its `data`; name one. nothing was measured"
        )
    return Path(bench.request.data).expanduser()


def dealt(things: Sequence[T], *, seed: int, folds: int) -> list[T]:
    """Those of `things` that `seed` judges: seeds 0 to `folds` - 1 share nothing and judge everything, then the things are dealt anew."""
    deal, fold = divmod(seed, folds)
    order = np.random.default_rng([deal, 5]).permutation(len(things))
    return [things[int(place)] for place in order[fold::folds]]
