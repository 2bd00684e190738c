"""The table `python -m bench.eval_harness` prints: interval, n and margin beside every number, then what to do next."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Collection
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.report import wording
from bench.report.pulls import summary
from bench.scoreboard import Scoreboard
from plan.nouns import State

COLOUR = {State.PASS: "green", State.FAIL: "bold red", State.UNSURE: "yellow", State.WAITING: "dim"}
SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
PLAIN_HEAD = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
UNBOUNDED = 10_000
"""Columns of a stream that is not a terminal: nothing is folded or cut."""


class Face:
    """Writes one scoreboard to one stream in the characters and colours that the stream can show."""

    def __init__(self, stream: TextIO) -> None:
        self.unicode = _speaks_unicode(stream)
        self.console = Console(file=stream, highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal:
            self.console = Console(file=stream, highlight=False, markup=False, emoji=False, width=UNBOUNDED, no_color=True)

    def text(self, words: str, style: str = "") -> Text:
        """`words` without control characters, in ASCII where the stream knows nothing else."""
        words = wording.clean(words)
        if not self.unicode:
            words = words.translate(wording.ASCII).encode("ascii", "backslashreplace").decode()
        return Text(words, style=style)

    def line(self, *parts: Text) -> None:
        """One line; a terminal folds it at words, a file keeps it whole."""
        self.console.print(Text("  ").join(part for part in parts if part))


def print_table(
    board: Scoreboard, *, only: Collection[str] | None = None, ledger: str = "", report: str = "", stream: TextIO | None = None
) -> None:
    """Print the table, its footnotes, a line for each target that fails, is unsure or is blocked, and the tally.

    `only` these tasks, with a line on how the others stand; `ledger` and `report` are the paths named in the last line; `stream` is
    stdout by default.
    """
    face = Face(stream or sys.stdout)
    others = [task.id for task in board.plan.tasks if only is not None and task.id not in only]
    rest, board = board.of(others), board if only is None else board.of(only)
    rows = wording.rows(board)
    if rows:
        face.console.print(_table(face, rows))
    _footnotes(face, board)
    face.console.print()
    for words in (*wording.champions(board), *summary(board)):
        face.line(face.text(words))
    for row in rows:
        if wording.to_explain(row.verdict):
            _next_step(face, board, row, ledger)
    if others:
        face.line(face.text(f"{wording.many(len(others), 'other task')} of the plan, untouched: {wording.tally(rest)}"))
    _last_line(face, board, ledger=ledger, report=report)


def _table(face: Face, rows: tuple[wording.Row, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD if face.unicode else PLAIN_HEAD, header_style="", border_style="dim", pad_edge=False)
    for heading in ("task", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in ("target", "measured", "95% interval", "n", "margin"):
        table.add_column(heading, justify="right", overflow="fold", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    before = None
    for row in rows:
        verdict = row.verdict
        target = row.target + (f" {str(row.note).translate(SUPERSCRIPT)}" if row.note else "")
        cells = [verdict.task if verdict.task != before else "", verdict.target.metric, target]
        cells += [row.measured, row.interval, row.n, row.margin]
        table.add_row(*map(face.text, cells), face.text(row.word, COLOUR[verdict.state]))
        before = verdict.task
    return table


def _footnotes(face: Face, board: Scoreboard) -> None:
    for number, note in enumerate(wording.relative(board), 1):
        face.line(face.text(f" {str(number).translate(SUPERSCRIPT)} {note}", "dim"))
    parts = [
        wording.spread(board),
        wording.short(board),
        wording.rules(board),
        wording.declared(board.verdicts),
        wording.moved(board),
        wording.machine(board),
    ]
    for part in filter(None, parts):
        face.line(face.text(f" {part}", "dim"))


def _next_step(face: Face, board: Scoreboard, row: wording.Row, ledger: str) -> None:
    verdict = row.verdict
    face.line(
        face.text(verdict.state.value.upper(), COLOUR[verdict.state]),
        face.text(verdict.id, "bold"),
        face.text(wording.place(board, verdict)),
        face.text(wording.reason(row) + (f"; runs {wording.some(verdict.runs)}" if verdict.runs else "")),
        face.text(f"→  {wording.command(verdict, ledger)}"),
    )


def _last_line(face: Face, board: Scoreboard, *, ledger: str, report: str) -> None:
    face.line(
        face.text(wording.tally(board), "bold"),
        face.text(f"measured for {wording.duration(board.spent)}" if board.spent else ""),
        face.text(f"ledger: {ledger}" if ledger else ""),
        face.text(f"report: {report}" if report else ""),
    )


def _speaks_unicode(stream: TextIO) -> bool:
    try:
        return codecs.lookup(stream.encoding or "utf-8").name.startswith("utf")
    except (LookupError, AttributeError, TypeError):
        return False
