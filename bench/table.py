"""The table module x benchmark: what comparable measurements say of each, and nothing that mixes two questions.

One **column** is one question: benchmark (a version is part of its name), its first metric, steps, text, device, threads; the best learning
rate and the window around it, where a benchmark looks for them, stand in columns beside it. One **row** is one model: a module and its overrides, those of the recipe left out, since they are how it was trained and not what it is. A **cell** holds
the seeds of one row in one column under one recipe, code, data and machine: what differs in any of these is another cell.
A run that ended without numbers is never dropped silently: its cell says so, and has no place on a Pareto front.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import statistics
from bench.direction import Better, better_when
from bench.report.wording import metric_unit
from plan import catalogue
from plan.nouns import Request, Run, Status
from plan.wire import encode

GATE = "contract-v1"
CLOSE = 0.05
"""Largest relative difference in parameters or FLOPs that still counts as equal."""
BESIDE = ("best_lr", "lr_window")
"""Metrics that have a column of their own beside their benchmark's first: what a quality rests on, not a quality."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One question that was put to modules, the same to all."""

    benchmark: str
    metric: str
    steps: int | None = None
    """Training steps of each run; None where nothing is trained."""
    data: str = ""
    """The text, where the task names it: its path and the head of its digest."""
    device: str = "cpu"
    threads: int = 1

    @property
    def budget(self) -> str:
        """What all rows had the same of, beside the benchmark's own terms."""
        parts = [
            f"{self.steps} steps" if self.steps else "",
            f"on {self.data}" if self.data else "",
            self.device if self.device != "cpu" else "",
            f"{self.threads} threads" if self.threads != 1 else "",
        ]
        return ", ".join(filter(None, parts))

    @property
    def name(self) -> str:
        """`bytes-stdlib-v1 val_bpb, 300 steps`."""
        return ", ".join(filter(None, [f"{self.benchmark} {self.metric}", self.budget]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean of seeds with its 95 % interval; no interval for a single seed."""

    values: tuple[float, ...]
    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate | None:
        """Of at least one value."""
        if not values:
            return None
        interval = statistics.mean_interval(values)
        low, high = (interval.low, interval.high) if interval else (None, None)
        return cls(values=tuple(values), value=statistics.mean(values), low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What the seeds of one model said to one question."""

    module: str
    config: str
    """The row's overrides in words; empty for the module's defaults."""
    recipe: str
    """The recipe's overrides in words."""
    column: Column
    unit: str
    better: Better | None
    estimate: Estimate | None
    """None when no seed has a number."""
    seeds: tuple[int, ...] = ()
    """The seeds that have numbers, in the order of `estimate.values`."""
    lost: tuple[tuple[int, Status], ...] = ()
    """Seeds whose runs ended without numbers, and how."""
    parameters: float | None = None
    state_bytes: float | None = None
    """State carried on after as many tokens as the benchmark says."""
    train_flops: float | None = None
    """FLOPs of training on one token, where the benchmark counts them; the mean of the seeds, since experts may drop tokens."""
    step_seconds: Estimate | None = None
    """Training time per step, with whatever else the machine was doing; None where it was not timed in one piece."""
    earlier: bool = False
    """Measured under code, data or a machine that has since changed."""
    runs: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()

    @property
    def row(self) -> tuple[str, str]:
        """The row it stands in."""
        return self.module, self.config

    @property
    def n(self) -> int:
        """Seeds with numbers."""
        return len(self.seeds)

    @property
    def name(self) -> str:
        """The module, with what sets it apart from its defaults."""
        return " ".join(filter(None, [self.module, self.config, self.recipe and f"({self.recipe})"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The table: cells by row and column. Rows and columns are sorted by name, so that equal facts give equal tables."""

    rows: tuple[tuple[str, str], ...] = ()
    columns: tuple[Column, ...] = ()
    cells: tuple[Cell, ...] = ()
    left_out: int = 0
    """Measurements of code, data or a machine that has since changed."""

    def at(self, row: tuple[str, str], column: Column) -> tuple[Cell, ...]:
        """The cells of `row` in `column`: one for each recipe."""
        return tuple(cell for cell in self.cells if cell.row == row and cell.column == column)

    def of_row(self, row: tuple[str, str]) -> tuple[Cell, ...]:
        """All cells of a row."""
        return tuple(cell for cell in self.cells if cell.row == row)


def matrix(
    runs: Iterable[Run],
    *,
    current: Callable[[Run], bool] = lambda run: True,
    earlier: bool = False,
    wanted: Sequence[Request] = (),
) -> Matrix:
    """The table of `runs`, which come in submission order.

    Where seeds of one row, column and recipe were measured under several codes, texts or machines, the cell is of those
    that are `current`, else of the latest, marked `earlier`; with `earlier` false those are left out and
    counted. `wanted`: requests whose rows stand in the table even while nothing of them is measured.
    """
    counted = [run for run in runs if run.request.benchmark != GATE and run.status is not Status.KILLED]
    metrics = {name: (primary(name, counted), *_beside(name)) for name in {run.request.benchmark for run in counted}}
    groups: dict[tuple[Any, ...], dict[str, list[Run]]] = {}
    left_out = 0
    for run in counted:
        if not current(run) and not earlier:
            left_out += 1
            continue
        for metric in metrics[run.request.benchmark]:
            place = run.request.module, words(_model(run.request)), words(_recipe(run.request)), _column(run, metric)
            groups.setdefault(place, {}).setdefault(_cohort(run), []).append(run)
    cells = []
    for (*_, column), cohorts in groups.items():
        *rest, latest = sorted(cohorts.values(), key=lambda cohort: current(cohort[0]))
        left_out += 0 if column.metric in BESIDE else sum(map(len, rest))
        cells.append(_cell(latest, column, earlier=not current(latest[0])))
    rows = {cell.row for cell in cells} | {(request.module, words(_model(request))) for request in wanted}
    return Matrix(
        rows=tuple(sorted(rows)),
        columns=tuple(sorted({cell.column for cell in cells}, key=_order)),
        cells=tuple(sorted(cells, key=lambda cell: (cell.row, _order(cell.column), cell.recipe))),
        left_out=left_out,
    )


def words(config: Mapping[str, Any]) -> str:
    """Overrides in words: `d_model=64 decoder.layers=2`."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, Mapping) else {key: value}
    return " ".join(f"{key}={value if isinstance(value, str) else encode(value)}" for key, value in sorted(flat.items()))


def primary(benchmark: str, runs: Iterable[Run] = ()) -> str:
    """The metric a benchmark stands for: the first it declares; of one that is on no shelf any more, the first by name in `runs`."""
    entry = catalogue.shelf("benchmark").get(benchmark)
    if entry:
        return str(next(iter(entry.arguments.get("metrics") or {}), ""))
    return min((name for run in runs if run.request.benchmark == benchmark for name in run.metrics), default="")


def _beside(benchmark: str) -> list[str]:
    entry = catalogue.shelf("benchmark").get(benchmark)
    return [name for name in BESIDE if entry and name in (entry.arguments.get("metrics") or {})]


def _cohort(run: Run) -> str:
    """What seeds must share beside the request to be of one cell."""
    parts = run.facts.get("identity")
    parts = parts if isinstance(parts, Mapping) else {}
    return encode({name: parts.get(name) for name in ("code", "data", "environment")})


def _model(request: Request) -> dict[str, Any]:
    return {key: value for key, value in request.config.items() if key != "recipe"}


def _recipe(request: Request) -> dict[str, Any]:
    recipe = request.config.get("recipe")
    return dict(recipe) if isinstance(recipe, Mapping) else {}


def _column(run: Run, metric: str) -> Column:
    request = run.request
    entry = catalogue.shelf("benchmark").get(request.benchmark)
    trains = entry is None or entry.trains
    digest = str(run.facts.get("data_digest", ""))[:8]
    return Column(
        benchmark=request.benchmark,
        metric=metric,
        steps=(request.steps or (entry.arguments.get("steps") if entry else None)) if trains else None,
        data=" ".join(filter(None, [request.data, digest])) if request.data else "",
        device=request.device,
        threads=request.threads,
    )


def _order(column: Column) -> tuple[Any, ...]:
    return column.benchmark, column.steps or 0, column.data, column.device, column.threads, column.metric


def _cell(runs: Sequence[Run], column: Column, *, earlier: bool) -> Cell:
    by_seed = {run.request.seed: run for run in runs}
    request = runs[-1].request
    metric = column.metric
    good = [run for _, run in sorted(by_seed.items()) if run.status is Status.OK and metric in run.metrics]
    lost = [(seed, run.status) for seed, run in sorted(by_seed.items()) if run not in good]
    return Cell(
        module=request.module,
        config=words(_model(request)),
        recipe=words(_recipe(request)),
        column=column,
        unit=metric_unit(request.module, request.benchmark, metric),
        better=better_when(request.module, request.benchmark, metric),
        estimate=Estimate.of([run.metrics[metric] for run in good]),
        seeds=tuple(run.request.seed for run in good),
        lost=tuple(lost),
        parameters=same_number(good, "parameters"),
        state_bytes=same_number(good, "state_bytes"),
        train_flops=mean_number(good, "train_flops"),
        step_seconds=Estimate.of([pace for run in good if (pace := _pace(run)) is not None]),
        earlier=earlier,
        runs=tuple(run.id for run in good),
        keys=frozenset(run.key for run in by_seed.values()),
    )


def mean_number(runs: Sequence[Run], name: str) -> float | None:
    """The mean of a number that seeds may change, from a metric or a fact; None where some run does not tell it."""
    found = [run.metrics.get(name, run.facts.get(name)) for run in runs]
    known = [float(number) for number in found if isinstance(number, (int, float))]
    return statistics.mean(known) if known and len(known) == len(found) else None


def same_number(runs: Sequence[Run], name: str) -> float | None:
    """A number that no seed should change, from a metric or a fact; None where it is not told, or not the same."""
    found = {run.metrics.get(name, run.facts.get(name)) for run in runs}
    number = found.pop() if len(found) == 1 else None
    return float(number) if isinstance(number, (int, float)) else None


def _pace(run: Run) -> float | None:
    seconds, steps = run.facts.get("train_seconds"), run.facts.get("steps")
    if not (isinstance(seconds, float) and isinstance(steps, int) and steps) or run.facts.get("resumed_at") is not None:
        return None
    return seconds / steps
