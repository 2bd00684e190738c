"""What a benchmark function is handed: the request, a place to work, and a way to tell its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plan import catalogue
from plan.nouns import Request

CHECKPOINT = "training.pt"
"""Name, in a measurement's folder or below, of what its training goes on from."""
Progress = Callable[[int, int, Mapping[str, float]], None]


def _silent(step: int, total: int, numbers: Mapping[str, float]) -> None:
    pass


@dataclass(slots=True, kw_only=True)
class Bench:
    """One measurement in the making. A benchmark reads it and returns `{metric: number}`."""

    request: Request
    folder: Path
    """Scratch and checkpoint folder of this measurement; survives a kill, so a resumed run may reuse it."""
    progress: Progress = _silent
    """Call with (step, total, {"train_bpb": ...}) at most a few times a second."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Provenance the benchmark adds: data digest, byte counts, parameters, which kernel path ran."""
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Curves the benchmark records."""
    began: float = field(default_factory=time.monotonic)

    @property
    def options(self) -> Mapping[str, Any]:
        """The numbers that the benchmark's versioned name stands for."""
        return catalogue.shelf("benchmark")[self.request.benchmark].arguments.get("options") or {}

    @property
    def steps(self) -> int:
        """Training steps: the task's budget, else the benchmark's default."""
        default = catalogue.shelf("benchmark")[self.request.benchmark].arguments.get("steps")
        return self.request.steps or default or 0
