"""What the ledger holds: the kinds of events, the noun each kind carries, and one event itself.

A kind's key says what may happen only once: a second append of the same (kind, key) is refused.

| kind | key | body |
|---|---|---|
| `session` | uuid | `Session` |
| `code` | code digest | `bench.fingerprint.Code`: hash per file and symbol, kept once for all runs of that code |
| `wanted` | session uuid / seq | `Wanted` |
| `started` | run key # attempt | `Started` |
| `run` | run key # attempt | `plan.nouns.Run` |
| `abandoned` | run key # attempt | `Abandoned` |
| `decision` | decision id | `plan.decision.Decision` |
| `opinion` | decision id / guard | `plan.decision.Opinion` |
| `applied`, `undone` | decision id | `Effect` |
| `duel` | decision id | `plan.decision.Bout`: how the candidate that was applied fared against its champion |
| `vote` | decision id / account / number | `plan.decision.Vote`: what a person says of it |
| `lesson` | origin / what is told apart by | `plan.precepts.Lesson`: precepts that were made, whole |
| `withdrawn` | precept id | `plan.precepts.Withdrawal` |
| `ranked` | digest of the contenders and of the outcomes known | `plan.ranking.Ranking`: the order in which one round's changes are tried |
| `stopped` | session uuid | `Stopped` |
| `pulls` | uuid | `bench.pulls.Pulls`: one look at the open pull requests that differs from the one before |
| `acknowledged` | old plan digest / new plan digest | `Acknowledged` |
| `calibration` | digest of what was asked and of its run keys | `Calibration` |
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar, cast

from bench.hold import LedgerFault
from bench.misfit import misfit
from plan.nouns import Limits, Request
from plan.wire import rebuild

KINDS = frozenset(
    {
        "session",
        "code",
        "wanted",
        "started",
        "run",
        "abandoned",
        "decision",
        "opinion",
        "applied",
        "undone",
        "duel",
        "vote",
        "lesson",
        "withdrawn",
        "ranked",
        "stopped",
        "pulls",
        "acknowledged",
        "calibration",
    }
)

T = TypeVar("T")


def attempt_key(key: str, attempt: int) -> str:
    """Key of the `started`, `run` and `abandoned` events of one attempt at a run."""
    return f"{key}#{attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the ledger."""

    seq: int
    """Position: grows strictly in the order the appends were acknowledged."""
    at: float
    """Seconds since 1970, UTC. For people only; nothing is decided by it."""
    kind: str
    key: str
    body: str
    """Canonical JSON of the noun."""

    def plain(self) -> Any:
        """The body as plain JSON values; ValueError when it is no JSON, or holds a number that is not finite, as `1e999`."""
        return _plain(self.body)

    def read(self, noun: type[T]) -> T:
        """The body as the noun it was appended as; LedgerFault when it is not one."""
        try:
            found: T = _read(cast(Any, noun), self.body)
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise self.fault(str(error)) from None
        return found

    def fault(self, why: str) -> LedgerFault:
        """What to tell when this event cannot be what its kind says."""
        return LedgerFault(
            f"an event cannot be read ({why})",
            where=f"event {self.seq}, kind `{self.kind}`, key `{self.key}`",
            mend=f"no version of this program wrote it; look at it with `sqlite3 LEDGER 'select * from events where seq = {self.seq}'`, "
            "then start anew with `orchestrate run --fresh`, which keeps the old ledger beside the new one",
            untouched="nothing was written; all other events are in the ledger as they were",
        )


def _plain(body: str) -> Any:
    return json.loads(body, parse_constant=_no_number, parse_float=_finite)


@lru_cache(maxsize=4096)
def _read(noun: Any, body: str) -> Any:
    """A noun never changes, so that who folds the ledger again need not read each text again."""
    value = _plain(body)
    if fault := misfit(noun, value):
        raise ValueError(fault)
    return rebuild(noun, value)


def _no_number(name: str) -> float:
    raise ValueError(f"`{name}` is no number")


def _finite(digits: str) -> float:
    return number if math.isfinite(number := float(digits)) else _no_number(digits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One process that held the ledger and worked through a plan."""

    path: str
    """Where the plan was read."""
    text: str
    """The plan, to the byte, so that a report needs no file but the ledger."""
    digest: str
    command: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs the session's plan rests on, so that a reader finds them without looking at any code."""

    tasks: Mapping[str, tuple[str, ...]]
    """Task id -> run keys in seed order."""
    gates: Mapping[str, str] = field(default_factory=dict)
    """Task id -> key of the contract run of its module at its config."""
    again: tuple[str, ...] = ()
    """Keys of runs that timed out and get more time when their turn comes: until then they have no result."""
    champions: Mapping[str, str] = field(default_factory=dict)
    """Task id -> the decision that made its champion; tasks that the plan's own module and config do for are not among them."""
    payers: Mapping[str, str] = field(default_factory=dict)
    """Run key -> the task whose budget pays for it, where several want it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """An attempt at a run was submitted; its `seq` is the run's place in submission order."""

    tasks: tuple[str, ...]
    """Ids of the plan's tasks it serves."""
    request: Request
    limits: Limits = field(default_factory=Limits)
    identity: Mapping[str, Any] = field(default_factory=dict)
    """`bench.identity.Identity.parts`: what the run key was made of, for `--explain`."""
    decision: str = ""
    """The decision whose candidate, or champion to compare it with, it measures; empty for what the plan itself asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """An attempt whose orchestrator died: it has no result, but its time was spent."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What applying or undoing a decision's action did."""

    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How a session ended."""

    reason: str
    seconds: float = 0.0
    """Wall-clock seconds from the session's start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A person has seen what a changed plan asks less of, and lets it stand."""

    old: str
    """Digest of the plan of the ledger's last session with it."""
    new: str
    shifts: tuple[str, ...]
    """Each weakening, as it was told."""
    by: str = ""
    """The account of who said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much one metric differs between measurements of the same thing with different seeds."""

    mean: float
    deviation: float
    """Standard deviation of the difference of a pair, in the metric's base unit."""
    low: float
    high: float
    """95 % interval of the deviation, for Gaussian noise."""
    pairs: int
    autocorrelation: float | None = None
    """Of each value with the one measured before it; none where all are the same."""
    detectable: tuple[tuple[int, float], ...] = ()
    """(pairs, difference in the metric's unit): what a run's first duel finds in nine of ten cases within so many pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a module was compared with itself for: the noise of a benchmark's metrics on this machine."""

    module: str
    benchmark: str
    config: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    alone: bool = False
    """Whether the benchmark times things, so that its noise is that of the machine's clock."""
    failed: int = 0
    """Measurements that ended without numbers."""
    noise: Mapping[str, Noise] = field(default_factory=dict)
    """By metric; `seconds` is how long a measurement took."""
    runs: tuple[str, ...] = ()
    """Run ids, in the order they were measured; each two make a pair."""
    machine: Mapping[str, Any] = field(default_factory=dict)
