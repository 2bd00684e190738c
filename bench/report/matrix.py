"""The table module x benchmark on a terminal, its Pareto fronts in words, and the words that the page shares with it."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO, TypeVar

from rich import box
from rich.table import Table

from bench.pareto import Axis, Front, Point, Standing
from bench.report import wording
from bench.report.terminal import PLAIN_HEAD, UNBOUNDED, Face
from bench.table import BESIDE, Cell, Column, Matrix
from plan.nouns import Status
from plan.wire import SCHEMA, plain

Key = TypeVar("Key", bound=Hashable)
SIGN = {Standing.FRONT: "◆", Standing.UNSURE: "◇", Standing.DOMINATED: "○", Standing.UNPLACED: " "}
EARLIER = "‡"
SIZES = ("parameters", "state", "train FLOPs")
"""What stands beside a row: of the model, after as long a document as the benchmark's, and of training on one token."""
CELL, NAME = 28, 26
"""Characters after which a cell, or the overrides below a name, go on in another line where the whole table is too wide for one."""


def print_matrix(matrix: Matrix, fronts: Sequence[Front], *, ledger: str, stream: TextIO | None = None) -> None:
    """Print the table, then each front in words, then what was left out.

    A cell is one line where everything fits beside each other, as it does in a file; else cells and names go on below, broken between
    figures and never inside, and what a terminal is still too narrow for follows in further pieces.
    """
    face = Face(stream or sys.stdout)
    for table in _pieces(face, matrix, fronts):
        face.console.print(table)
    for front in fronts:
        for line in told(front):
            face.line(face.text(line))
        face.console.print()
    for note in notes(matrix):
        face.line(face.text(note, "dim"))
    face.line(face.text(f"ledger: {ledger}"))


def _pieces(face: Face, matrix: Matrix, fronts: Sequence[Front]) -> Iterator[Table]:
    """The table as it fits the width: whole, or folded, with as many benchmarks to a piece as there is room for."""
    whole, rest = _table(face, matrix, fronts, matrix.columns, folded=False), matrix.columns
    if not rest or _fits(face, whole):
        yield whole
        return
    while rest:
        count, piece = 1, _table(face, matrix, fronts, rest[:1], folded=True)
        while count < len(rest) and _fits(face, wider := _table(face, matrix, fronts, rest[: count + 1], folded=True)):
            count, piece = count + 1, wider
        yield piece
        rest = rest[count:]


def _fits(face: Face, table: Table) -> bool:
    room = face.console.width
    return face.console.measure(table, options=face.console.options.update(max_width=UNBOUNDED)).maximum <= room


def _table(face: Face, matrix: Matrix, fronts: Sequence[Front], columns: Sequence[Column], *, folded: bool) -> Table:
    """One piece of the table. `folded`: overrides below the module, sizes below each other, cells in lines."""
    table = Table(box=box.SIMPLE_HEAD if face.unicode else PLAIN_HEAD, header_style="", border_style="dim", pad_edge=False)
    for heading in ("module",) if folded else ("module", "overrides"):
        table.add_column(heading, overflow="fold")
    for heading in ("\n".join(SIZES),) if folded else SIZES:
        table.add_column(heading, justify="right")
    for column in columns:
        table.add_column("\n".join(face.text(part).plain for part in heading_of(column)), overflow="fold")
    for row in matrix.rows:
        inside = [matrix.at(row, column) for column in columns]
        if any(inside) or len(columns) == len(matrix.columns):
            texts = ["\n".join(_lines(cell, fronts, folded=folded) for cell in cells) or "  –" for cells in inside]
            own = ["\n".join(sizes(matrix, row))] if folded else [*sizes(matrix, row)]
            names = ["\n  ".join([row[0], *_broken(row[1], NAME)])] if folded else [row[0], row[1] or "none"]
            table.add_row(*map(face.text, (*names, *own, *texts)))
    return table


def heading_of(column: Column) -> tuple[str, ...]:
    """The lines above a column: benchmark, metric, budget."""
    return tuple(filter(None, (column.benchmark, column.metric, column.budget)))


def said(cell: Cell) -> str:
    """A cell in words: mean, interval, number of seeds, what was lost, and what it was trained with."""
    return "  ".join(_phrases(cell))


def _phrases(cell: Cell) -> Iterator[str]:
    estimate, unit = cell.estimate, cell.unit
    if estimate is not None and cell.column.metric in BESIDE:
        least, most = min(estimate.values), max(estimate.values)
        yield wording.figure(least, unit) if least == most else wording.interval(least, most, unit)
        yield f"n {cell.n}"
    elif estimate is not None:
        yield wording.figure(estimate.value, unit)
        if cell.n == 1:
            yield "n 1, no interval"
        else:
            yield f"({wording.interval(*wording.possible(cell.column.metric, estimate.low, estimate.high), unit)})"
            yield f"n {cell.n}"
    if cell.lost:
        counted = Counter("without the metric" if status is Status.OK else status.value for _, status in cell.lost)
        yield "✗ " + ", ".join(f"{many} {status}" for status, many in sorted(counted.items()))
    if cell.recipe:
        yield f"[{cell.recipe}]"
    if cell.earlier:
        yield EARLIER


def _lines(cell: Cell, fronts: Sequence[Front], *, folded: bool) -> str:
    return f"{sign(cell, fronts)} " + ("\n  ".join(_filled(_phrases(cell))) if folded else said(cell))


def _filled(phrases: Iterable[str]) -> list[str]:
    """Lines of as many phrases as have room, whole but for a long recipe."""
    lines: list[str] = []
    for phrase in phrases:
        if lines and len(lines[-1]) + 2 + len(phrase) <= CELL:
            lines[-1] += f"  {phrase}"
        else:
            lines += _broken(phrase, CELL) if phrase[0] == "[" else [phrase]
    return lines


def _broken(overrides: str, width: int) -> list[str]:
    """Overrides in lines that end between two of them, or at a comma or a brace of a long one."""
    lines = [""]
    for part in re.findall(r"[^ ,{]*(?:[ ,{]+|$)", overrides):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines if line]


def sizes(matrix: Matrix, row: tuple[str, str]) -> tuple[str, str, str]:
    """Parameters, bytes of state and FLOPs of training on a token; from smallest to largest where benchmarks differ in vocabulary or length."""
    cells = matrix.of_row(row)
    return (
        _range((cell.parameters for cell in cells), ""),
        _range((cell.state_bytes for cell in cells), "B"),
        _range((cell.train_flops for cell in cells), "FLOP"),
    )


def _range(values: Iterable[float | None], unit: str) -> str:
    known = sorted({value for value in values if value is not None})
    if len(known) < 2:
        return wording.figure(known[0] if known else None, unit)
    return wording.interval(known[0], known[-1], unit)


def sign(cell: Cell, fronts: Sequence[Front]) -> str:
    """The sign of a cell on the front of its column; blank where there is none."""
    point = next((point for front in fronts if (point := front.of(cell))), None)
    return SIGN[point.standing] if point else " "


def labels(front: Front) -> dict[str, str]:
    """A short name for each model on a front, by its cell's name."""
    return short_names({point.cell.name: (point.cell.module, _overrides(point.cell)) for point in front.points})


def short_names(models: Mapping[Key, tuple[str, set[str]]]) -> dict[Key, str]:
    """Of modules with overrides: the module, with one override that no other of its like has, `…` where it has more, or with all of them."""
    made = {}
    for key, (module, overrides) in models.items():
        like = {other: theirs for other, (name, theirs) in models.items() if name == module}
        own = sorted(overrides - set[str].intersection(*like.values()))
        others = set[str]().union(*(theirs for other, theirs in like.items() if other != key))
        alone = sorted((override for override in own if override not in others), key=len)[:1]
        alone += ["…"] if alone and len(own) > 1 else []
        made[key] = " ".join([module, *(alone or own or ["defaults"] if len(like) > 1 else [])])
    return made


def _overrides(cell: Cell) -> set[str]:
    return {*cell.config.split(), *cell.recipe.split()}


def axis_in_words(axis: Axis) -> str:
    """`state_bytes of memory-growth-v1`."""
    return f"{axis.name} of {axis.source}"


def told(front: Front) -> Iterator[str]:
    """A front in words, a line for each standing that occurs."""
    quality, *costs = front.axes
    yield (
        f"Pareto front of {front.column.name} ({quality.better} is better) against "
        + " and ".join(f"{axis_in_words(axis)} ({axis.better} is better)" for axis in costs)
    )
    names = labels(front)
    for standing in Standing:
        if points := front.named(standing):
            yield f"  {SIGN[standing]} {standing.value}: " + "; ".join(_who(point, names) for point in points)


def _who(point: Point, names: dict[str, str]) -> str:
    name = names[point.cell.name]
    match point.standing:
        case Standing.DOMINATED:
            return f"{name} by {names[point.by]}"
        case Standing.UNSURE:
            return f"{name}, which {names[point.by]} beats by the means, while intervals overlap"
        case Standing.UNPLACED:
            return f"{name} ({point.why})"
    return name


def notes(matrix: Matrix) -> tuple[str, ...]:
    """What a reader has to know of the table."""
    found = ["mean of the seeds and its 95% interval; the runs of a cell share config, steps, code, data and machine"]
    if any(column.metric in BESIDE for column in matrix.columns):
        found.append(
            f"{' and '.join(BESIDE)} are the smallest to the largest of the seeds; which rate is best is seen on validation puzzles"
        )
    if matrix.left_out:
        measured = wording.many(matrix.left_out, "measurement")
        found.append(f"{measured} left out: of code, data or a machine that has since changed")
    if any(cell.earlier for cell in matrix.cells):
        found.append(f"{EARLIER} measured under code, data or a machine that has since changed")
    return tuple(found)


def document(matrix: Matrix, fronts: Sequence[Front]) -> dict[str, Any]:
    """The table as plain JSON values, numbers in base units; runs by id."""
    rows = []
    for module, config in matrix.rows:
        cells = [_cell(cell, fronts) for cell in matrix.of_row((module, config))]
        rows.append({"module": module, "overrides": config, "cells": cells})
    made = []
    for front in fronts:
        points = [{"module": p.cell.name, "standing": p.standing.value, "by": p.by, "why": p.why} for p in front.points]
        made.append({"column": plain(front.column), "axes": plain(front.axes), "points": points})
    return {"v": SCHEMA, "columns": plain(matrix.columns), "rows": rows, "fronts": made, "left_out": matrix.left_out}


def _cell(cell: Cell, fronts: Sequence[Front]) -> dict[str, Any]:
    point = next((point for front in fronts if (point := front.of(cell))), None)
    return {
        "column": plain(cell.column),
        "recipe": cell.recipe,
        "unit": cell.unit,
        "better": cell.better,
        "n": cell.n,
        "seeds": list(cell.seeds),
        **({} if cell.estimate is None else plain(cell.estimate)),
        "lost": [{"seed": seed, "status": status.value} for seed, status in cell.lost],
        "parameters": cell.parameters,
        "state_bytes": cell.state_bytes,
        "train_flops": cell.train_flops,
        "step_seconds": plain(cell.step_seconds),
        "standing": point.standing.value if point else None,
        "earlier": cell.earlier,
        "runs": list(cell.runs),
    }
