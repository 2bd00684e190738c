"""The HTML report's middle: modules down, benchmarks across, the Pareto fronts of quality against cost, and curves side by side."""

from __future__ import annotations

from collections.abc import Sequence

from bench.pareto import Front, Standing, fronts
from bench.report import matrix as words
from bench.report import sidebyside, wording
from bench.report.markup import Child, Markup, join, tag
from bench.report.scatter import crowded, scatter
from bench.report.story import Section, table
from bench.scoreboard import Scoreboard
from bench.table import Cell, matrix
from plan.nouns import Request, Run

KEY = (
    "A cell is the mean of its seeds with its 95 % interval; its runs share config, steps, code, data and machine. "
    "◆ on the Pareto front of its column, ◇ beaten by the means while intervals overlap, ○ dominated."
)


def zoo(board: Scoreboard) -> Section:
    """The table of the runs that the plan rests on, a chart for each front and cost, and one for what was recorded over length and rates."""
    runs: dict[str, Run] = {run.key: run for task in board.plan.tasks for run in board.runs.get(task.id, ())}
    wanted = [Request(module=task.module, benchmark=task.benchmark, seed=0, config=task.config) for task in board.plan.tasks]
    made = matrix(runs.values(), wanted=wanted)
    found = fronts(made)
    body = [
        tag(
            "tr",
            tag("th", module, config and tag("span", config, class_="overrides"), scope="row", class_="id"),
            [tag("td", size, class_="num") for size in words.sizes(made, (module, config))],
            [tag("td", _cells(board, made.at((module, config), column), found)) for column in made.columns],
        )
        for module, config in made.rows
    ]
    headings = ["module", *words.SIZES, *(_lines(words.heading_of(column)) for column in made.columns)]
    return Section(
        "Modules and benchmarks",
        (
            tag("p", KEY, class_="soft"),
            table("Modules and benchmarks", headings, body, class_="zoo", numeric=(1, 2, 3)),
            [tag("p", f"{note}.", class_="meta") for note in words.notes(made)[1:]],
            [_front(front) for front in found],
            tag("div", beside, class_="figures side") if (beside := sidebyside.figures(runs.values())) else None,
        ),
    )


def _lines(parts: Sequence[str]) -> Markup:
    return join([part if not i else (tag("br"), part) for i, part in enumerate(parts)])


def _cells(board: Scoreboard, cells: Sequence[Cell], found: Sequence[Front]) -> Child:
    return [_cell(board, cell, found) for cell in cells] or tag("span", "–", class_="faint")


def _cell(board: Scoreboard, cell: Cell, found: Sequence[Front]) -> Markup:
    point = next((point for front in found if (point := front.of(cell))), None)
    standing = point.standing if point and point.standing is not Standing.UNPLACED else None
    mark = (
        tag("span", f"{words.SIGN[standing]} ", role="img", aria_label=standing.value, title=standing.value) if standing else ""
    )
    links = [
        (
            " ",
            tag(
                "a",
                wording.GLYPH[verdict.state],
                href=f"#{verdict.id}",
                class_=verdict.state,
                title=f"{verdict.id}: {verdict.state.value}",
                aria_label=f"{verdict.id}: {verdict.state.value}",
            ),
        )
        for verdict in board.verdicts
        if any(run.key in cell.keys for run in board.runs.get(verdict.task, ()))
    ]
    return tag("div", mark, words.said(cell), links)


def _front(front: Front) -> Markup:
    title, *lines = words.told(front)
    return tag(
        "figure",
        tag("h4", title, class_="said"),
        tag("div", [scatter(front, cost) for cost in front.axes[1:]], class_="figures wide" if crowded(front) else "figures"),
        tag("ul", [tag("li", line.strip()) for line in lines], class_="standings"),
        tag("figcaption", "Bars are 95% intervals of the mean; the stepped line joins what nothing beats on the two axes drawn."),
        class_="front",
    )
