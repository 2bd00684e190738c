"""What may be tried: a finite list of configs, or ranges and conditions that Optuna walks through until a few finalists are left."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

Config = Mapping[str, Any]
Space = Mapping[str, Any] | Sequence[Config] | Callable[["optuna.Trial"], Config]
"""Value lists and ranges by name, or configs, or a function of an Optuna trial (for conditions: ask for a value only where it matters)."""


@dataclass(frozen=True, slots=True)
class Range:
    """Every number from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    """Spread evenly over the logarithm."""
    whole: bool = False
    """Whole numbers only."""

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """A value that the study's sampler proposes."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


def finite(space: Space) -> tuple[Config, ...] | None:
    """All configs of a finite space, in a fixed order; None where it has a range or conditions."""
    if callable(space):
        return None
    if not isinstance(space, Mapping):
        return tuple(space)
    if any(isinstance(values, Range) for values in space.values()):
        return None
    for name, values in space.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ValueError(f"`{name}` needs a list of values or a `Range`, not {values!r}; nothing was tried")
    return tuple(dict(zip(space, chosen, strict=True)) for chosen in itertools.product(*space.values()))


def suggest(space: Space, trial: optuna.Trial) -> Config:
    """One config of a space that is not finite."""
    if callable(space):
        return dict(space(trial))
    if not isinstance(space, Mapping):
        raise TypeError("a list of configs is a finite space")
    return {
        name: values.suggest(trial, name) if isinstance(values, Range) else trial.suggest_categorical(name, values)
        for name, values in space.items()
    }
