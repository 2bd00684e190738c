"""What goes into a measurement's process and what comes back: Order, Progress, Outcome."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plan.nouns import Cost, Limits, Status

STOPPED = "stopped by the orchestrator"
LOG = "log.txt"
TAIL = 8 << 10
"""Bytes of the log that an outcome carries."""
REFUSED = "refused: "
"""How a line of the log begins that says what a process, which the measurement had forked, was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the guard is told to run: a function by name, its arguments, and the walls around it."""

    function: str
    """`package.module:name`; called as `name(tell, **arguments)` and returns plain JSON values."""
    arguments: Mapping[str, Any]
    limits: Limits
    folder: str
    """Absolute path; holds `log.txt` and whatever the function writes."""
    cwd: str
    marker: str
    """Identity of the measurement, to be found in the environment of every process of its tree."""
    threads: int = 1
    paths: tuple[str, ...] = ()
    """Put in front of `sys.path` of the worker."""
    sealed: bool = True
    """Whether it is kept from ending itself, its guard and those above by a signal, where the kernel can do that."""
    asker: int = 0
    """Process id of the orchestrator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One step told while the measurement runs."""

    step: int
    total: int
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a measurement ended. `metrics` is empty unless `status` is ok."""

    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    message: str = ""
    """For a status other than ok: one line that says what happened."""
    log_tail: str = ""
    value: Any = None
    """What a function run by `start_call` returned; none for benchmarks."""


def tail(folder: str) -> str:
    """The last lines of the log of a measurement in `folder`."""
    try:
        with open(os.path.join(folder, LOG), "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL))
            return log.read(TAIL).decode(errors="replace")
    except OSError:
        return ""


class Rejected(Exception):
    """What the function returned cannot count as a measurement; `status` says why."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type[Rejected], tuple[Status, str]]:
        return type(self), (self.status, str(self))  # so that a pool's worker can hand it on
