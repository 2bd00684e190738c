"""Pareto fronts of the table: which models nothing beats in quality, size of state, speed and arithmetic together.

One front for each column that trains: its quality against bytes of state, against speed and against FLOPs of training on a token. The bytes are those of
the same runs, else of a benchmark that measures memory; speed is a training-throughput ratio where two or more models have one, else the time per step of
the trainings themselves; FLOPs are those that the same runs counted, and no axis where all models have the same within 5 %.
A model is **dominated** when another is no worse on every axis and better on one, and on each axis the 95 % intervals lie apart, or
the number is a size that has no noise. Where means say so and intervals do not, it is **unsure**, and its place may be on the front.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.direction import Better
from bench.table import BESIDE, CLOSE, Cell, Column, Estimate, Matrix

MEMORY, SPEED, FLOPS = "state_bytes", "train_ratio", "train_flops"


class Standing(StrEnum):
    """Where a model stands to a front."""

    FRONT = "front"
    UNSURE = "unsure"
    DOMINATED = "dominated"
    UNPLACED = "unplaced"
    """It lacks a number on some axis, or a run of it was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One direction of a front."""

    name: str
    unit: str
    better: Better
    source: str
    """Where the numbers come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One model on a front."""

    cell: Cell
    """Of its quality."""
    places: Mapping[str, Estimate]
    """By the name of an axis."""
    standing: Standing = Standing.UNPLACED
    by: str = ""
    """The model that dominates it, or may."""
    why: str = ""
    """Of an unplaced one: what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The standing of every model in one column."""

    column: Column
    axes: tuple[Axis, ...]
    """Quality first."""
    points: tuple[Point, ...]

    def of(self, cell: Cell) -> Point | None:
        """The point whose quality is `cell`."""
        return next((point for point in self.points if point.cell is cell), None)

    def named(self, standing: Standing) -> tuple[Point, ...]:
        """The points that stand so."""
        return tuple(point for point in self.points if point.standing is standing)


def fronts(matrix: Matrix) -> tuple[Front, ...]:
    """A front for each column that trains and has two models or more with a quality and a cost."""
    made = (_front(matrix, column) for column in matrix.columns if column.steps is not None and column.metric not in BESIDE)
    return tuple(front for front in made if front is not None)


def _front(matrix: Matrix, column: Column) -> Front | None:
    cells = [cell for cell in matrix.cells if cell.column == column]
    better = next((cell.better for cell in cells if cell.better), None)
    if better is None:
        return None
    quality = Axis(name=column.metric, unit=cells[0].unit, better=better, source=column.benchmark)
    found = [(quality, lambda cell: cell.estimate)]
    for costs in (_memory(matrix, column), _speed(matrix, cells), _arithmetic(cells)):
        found += [(axis, of) for axis, of in costs if sum(of(cell) is not None for cell in cells) > 1][:1]
    if len(found) < 2:
        return None
    points = [_point(cell, found) for cell in cells]
    placed = [point for point in points if len(point.places) == len(found) and not point.cell.lost]
    if len(placed) < 2:
        return None
    axes = tuple(axis for axis, _ in found)
    return Front(column=column, axes=axes, points=tuple(_stand(point, placed, axes) for point in points))


Of = Callable[[Cell], Estimate | None]


def _memory(matrix: Matrix, column: Column) -> list[tuple[Axis, Of]]:
    """Bytes of state, of the quality's own runs or of one benchmark for all models."""

    def axis(source: str) -> Axis:
        return Axis(name=MEMORY, unit="B", better="less", source=source)

    def elsewhere(other: Column) -> Of:
        return lambda cell: _exact(next((one.state_bytes for one in matrix.at(cell.row, other)), None))

    others = [other for other in matrix.columns if other.steps is None and other != column]
    own: tuple[Axis, Of] = (axis(column.benchmark), lambda cell: _exact(cell.state_bytes))
    return [own, *((axis(other.benchmark), elsewhere(other)) for other in others)]


def _speed(matrix: Matrix, cells: Sequence[Cell]) -> list[tuple[Axis, Of]]:
    """Throughput ratios by benchmark, those that most models have first, then the time per step."""

    def ratio(other: Column) -> Of:
        return lambda cell: next((one.estimate for one in matrix.at(cell.row, other) if not one.lost), None)

    timed = [other for other in matrix.columns if other.metric == SPEED]
    timed.sort(key=lambda other: -sum(ratio(other)(cell) is not None for cell in cells))
    ratios = [(Axis(name=SPEED, unit="x", better="more", source=other.benchmark), ratio(other)) for other in timed]
    pace = Axis(name="step_seconds", unit="s", better="less", source="the trainings, beside whatever else ran")
    return [*ratios, (pace, lambda cell: cell.step_seconds)]


def _arithmetic(cells: Sequence[Cell]) -> list[tuple[Axis, Of]]:
    """FLOPs of training on a token, unless all models have about the same: a few too many are no reason to be dominated."""
    known = [cell.train_flops for cell in cells if cell.train_flops is not None]
    if not known or (1 - CLOSE) * max(known) <= (1 + CLOSE) * min(known):
        return []
    axis = Axis(name=FLOPS, unit="FLOP", better="less", source=cells[0].column.benchmark)
    return [(axis, lambda cell: _exact(cell.train_flops))]


def _exact(number: float | None) -> Estimate | None:
    return None if number is None else Estimate(values=(number,), value=number, low=number, high=number)


def _point(cell: Cell, found: Sequence[tuple[Axis, Of]]) -> Point:
    places = {axis.name: estimate for axis, of in found if (estimate := of(cell)) is not None}
    missing = [axis.name for axis, _ in found if axis.name not in places]
    lost = f"{len(cell.lost)} of {len(cell.lost) + cell.n} runs ended without a number" if cell.lost else ""
    return Point(cell=cell, places=places, why=lost or (f"no {' and no '.join(missing)} measured" if missing else ""))


def _stand(point: Point, placed: Sequence[Point], axes: Sequence[Axis]) -> Point:
    if point not in placed:
        return point
    rivals = [rival for rival in placed if rival is not point and _ahead(rival, point, axes, _not_worse)]
    sure = [rival for rival in rivals if _ahead(rival, point, axes, _surely_not_worse)]
    standing = Standing.DOMINATED if sure else Standing.UNSURE if rivals else Standing.FRONT
    by = (sure or rivals)[0].cell.name if rivals else ""
    return Point(cell=point.cell, places=point.places, standing=standing, by=by)


def _ahead(one: Point, two: Point, axes: Sequence[Axis], holds: Callable[[Estimate, Estimate, int], bool]) -> bool:
    signs = [(one.places[axis.name], two.places[axis.name], -1 if axis.better == "less" else 1) for axis in axes]
    return all(holds(*sides) for sides in signs) and any(mine.value != theirs.value for mine, theirs, _ in signs)


def _not_worse(mine: Estimate, theirs: Estimate, sign: int) -> bool:
    return sign * (mine.value - theirs.value) >= 0


def _surely_not_worse(mine: Estimate, theirs: Estimate, sign: int) -> bool:
    if mine.low is None or mine.high is None or theirs.low is None or theirs.high is None:
        return False
    exact = mine.low == mine.high and theirs.low == theirs.high
    apart = mine.low > theirs.high if sign > 0 else mine.high < theirs.low
    return apart or (exact and mine.value == theirs.value)
