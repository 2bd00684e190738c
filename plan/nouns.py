"""The nouns every floor shares: what is wished for, what was measured, and what follows from it.

All are frozen dataclasses that `plan.wire` writes to JSON and reads back. Numbers of a metric are
always in the metric's base unit (bytes, seconds, fractions of one); only displays scale them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Comparator(StrEnum):
    """How a measured value has to stand to its threshold."""

    LT = "<"
    LE = "<="
    EQ = "="
    GE = ">="
    GT = ">"

    @property
    def wants_more(self) -> bool:
        """True when larger values are better for the target (`>=`, `>`)."""
        return self in (Comparator.GE, Comparator.GT)

    def holds(self, value: float, threshold: float) -> bool:
        """Whether `value` stands to `threshold` as this comparator asks."""
        match self:
            case Comparator.LT:
                return value < threshold
            case Comparator.LE:
                return value <= threshold
            case Comparator.EQ:
                return value == threshold
            case Comparator.GE:
                return value >= threshold
            case Comparator.GT:
                return value > threshold


class RuleKind(StrEnum):
    """The pre-registered statistic by which seeds become one verdict."""

    EVERY_SEED = "every seed"
    MEAN = "mean"
    MEDIAN = "median"
    IQM = "iqm"
    LOWER = "lower"
    UPPER = "upper"
    ANYTIME = "anytime"
    P_VALUE = "p"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule cell of a target table, e.g. `lower 95%`, `anytime 95%` or `p<0.01 vs dense`."""

    kind: RuleKind
    level: float | None = None
    """Confidence (0.95) of `lower`, `upper` and `anytime`; significance (0.01) of `p`; else none."""
    versus: str | None = None
    """Task id that `p<... vs task` compares with, paired by seed."""

    @property
    def text(self) -> str:
        """The rule as the plan spells it."""
        if self.kind is RuleKind.P_VALUE:
            return f"p<{self.level:g} vs {self.versus}"
        return self.kind.value if self.level is None else f"{self.kind.value} {self.level * 100:g}%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A number, or a factor of what another task measured.

    `value` is in the metric's base unit when `task` is none; otherwise it is the factor of
    `task`'s `metric` (the target's own metric when `metric` is none), paired by seed.
    """

    value: float
    unit: str = ""
    """The unit as written (`MiB`, `ms`, `%`), kept for display; `value` is already scaled."""
    task: str | None = None
    metric: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One row of a task's table: metric, comparator, threshold, rule."""

    metric: str
    comparator: Comparator
    threshold: Threshold
    rule: Rule
    line: int = 0
    """1-based line of the row in the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """How many seeds are fixed before the run, and up to how many an `unsure` may buy."""

    first: int
    most: int

    @property
    def looks(self) -> tuple[int, ...]:
        """Sample sizes at which a verdict may be given, fixed before the run.

        Each look after the first buys half as many seeds again; the declared error of an interval
        rule is divided by the number of looks (Bonferroni), so buying is paid for beforehand.
        """
        sizes = [self.first]
        while sizes[-1] < self.most:
            sizes.append(min(self.most, sizes[-1] + max(1, -(-sizes[-1] // 2))))
        return tuple(sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a task may spend. None means no limit of that kind."""

    seconds: float | None = None
    """Wall-clock seconds of all the task's measurements together."""
    steps: int | None = None
    """Training steps of each single run; part of the run's identity."""
    runs: int | None = None
    """Number of measurements of the task, attempts that failed included."""


class PullsRule(StrEnum):
    """What an open pull request that changes a task's module and does not merge into its base means for the task."""

    NOTE = "note"
    """The scoreboard says so beside the verdict."""
    HOLD = "hold"
    """The task has no verdict until it merges or is closed."""


class Search(StrEnum):
    """What a search over configs of a task asks: every trial of one meets the target or does not."""

    ANY = "any"
    """Does any of them meet it reliably? Ends with the first that does."""
    BEST = "best"
    """Which one meets it most often? Costs many times more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One `## id: title` section of a plan."""

    id: str
    title: str
    module: str
    benchmark: str
    targets: tuple[Target, ...]
    needs: tuple[str, ...] = ()
    seeds: Seeds = field(default_factory=lambda: Seeds(first=3, most=3))
    budget: Budget = field(default_factory=Budget)
    device: str = "cpu"
    priority: int = 0
    """Higher runs first among tasks that are ready."""
    gate: bool = True
    """Whether the module's contract checks must be green before any number of this task counts."""
    pulls: PullsRule = PullsRule.NOTE
    config: Mapping[str, Any] = field(default_factory=dict)
    """Typed overrides: keys of the module's Config, and the tables `decoder` and `recipe`."""
    data: str | None = None
    """A text file or folder to measure on instead of the benchmark's own corpus; passed into `Request.data`."""
    data_line: int = 0
    """1-based line of the setting `data` in the plan, which may stand above the first task; 0 when there is none."""
    improve: tuple[str, ...] = ()
    """What may be tried when a target fails: kinds of actions (`tune`, `refactor`, `replace`), in the plan's order; empty: nothing."""
    trials: int | None = None
    """Measurements that trying may cost, gates and duels included; None: as many as the budget pays."""
    search: Search = Search.ANY
    tree: str = ""
    """Of a task as its champion does it: the commit whose `modules` and `kernels` are measured. No plan says this."""
    prose: str = ""
    line: int = 0

    @property
    def block(self) -> dict[str, Any]:
        """The overrides of the module's own Config: `config` without its tables."""
        return {key: value for key, value in self.config.items() if key not in ("decoder", "recipe")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A parsed plan. `source` is the exact text; `digest` its sha256."""

    title: str
    tasks: tuple[Task, ...]
    path: str
    source: str
    digest: str
    prose: str = ""

    def task(self, id: str) -> Task:
        """The task called `id`; KeyError when there is none."""
        for task in self.tasks:
            if task.id == id:
                return task
        raise KeyError(id)


class Status(StrEnum):
    """How a measurement ended. Only OK ever carries numbers."""

    OK = "ok"
    CRASHED = "crashed"
    """The child raised or died by a signal of its own making."""
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"
    NOT_FINITE = "not-finite"
    """A metric was NaN or infinite."""
    EMPTY = "empty"
    """The benchmark returned no numbers, or not those it declares."""
    EXITED_EARLY = "exited-early"
    """The child exited, with whatever code, before it delivered a result."""
    KILLED = "killed"
    """The orchestrator was told to stop; the measurement is started again on resume."""
    FORGED = "forged"
    """What arrived as its result cannot be what the benchmark returned: a second one, somebody else's, or not what it declares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that identifies what is to be measured, apart from the code and the machine."""

    module: str
    benchmark: str
    seed: int
    config: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    device: str = "cpu"
    threads: int = 1
    data: str | None = None
    """A text file or folder to use instead of the benchmark's own corpus."""
    tree: str = ""
    """Commit whose `modules` and `kernels` are measured; empty: the user's own. It counts by what it means, as `data` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one measurement may use before its whole process tree is killed."""

    seconds: float = 600.0
    memory_bytes: int = 8 << 30
    cpu_seconds: float | None = None
    log_bytes: int = 8 << 20
    """The log file's size beyond which the child's output is cut (rlimit on file size applies)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a measurement used."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished measurement: what was asked, by which code on which machine, and what came out."""

    key: str
    """sha256 of code fingerprint, request, data and the facts of the environment that matter."""
    request: Request
    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """Curves by name, (x, y) points, e.g. `train_bpb` over steps."""
    cost: Cost = field(default_factory=Cost)
    message: str = ""
    """For a status other than ok: one line that says what happened."""
    log_tail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Provenance: data digest and byte counts, code fingerprint, torch version, cpu, threads."""
    attempt: int = 1

    @property
    def id(self) -> str:
        """Short name used on screens and as evidence: `r` and the first 8 digits of the key."""
        return "r" + self.key[:8]


class State(StrEnum):
    """What is known about one target."""

    PASS = "pass"
    FAIL = "fail"
    UNSURE = "unsure"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judge's word on one target."""

    task: str
    target: Target
    state: State
    n: int = 0
    value: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    """What `low` to `high` really covers, which few seeds keep below 95 %; none where they are no interval, and in old records."""
    threshold: float | None = None
    """The threshold as a number; a relative one: factor x the statistic (mean, median, worst seed) that `value` is, of the other task."""
    margin: float | None = None
    """What was judged, value - threshold seed by seed, over |threshold|; signed so that positive is on the good side."""
    error: float | None = None
    """The declared probability that this pass or fail is wrong; none where no rate is claimed."""
    p_value: float | None = None
    e_value: float | None = None
    more_seeds: int | None = None
    """For unsure: about how many more seeds a decision would take at the variance seen so far."""
    reason: str = ""
    values: tuple[float, ...] = ()
    """The metric per seed, in seed order (relative targets: this task's own values)."""
    runs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`task::metric`, what a user pastes."""
        return f"{self.task}::{self.target.metric}"
