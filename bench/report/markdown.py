"""The scoreboard as Markdown, for comments on pull requests and for files in a repository."""

from __future__ import annotations

import re

from bench.report import records, wording
from bench.report.pulls import summary
from bench.scoreboard import Scoreboard

SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+!|~&@-])")
HEADINGS = ("task", "metric", "target", "measured", "95% interval", "n", "margin", "verdict")


def render(board: Scoreboard) -> str:
    """The table, a line for each target that fails, is unsure or is blocked, and the decisions in a fold."""
    lines = [
        f"### {escaped(board.plan.title or board.plan.path)}",
        "",
        f"**{wording.held(board)}** · {escaped(wording.tally(board))}",
        "",
    ]
    rows = wording.rows(board)
    if rows:
        lines += [_row(HEADINGS), "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"]
    before = None
    for row in rows:
        verdict = row.verdict
        target = row.target + (f" ({row.note})" if row.note else "")
        cells = (code(verdict.task) if verdict.task != before else "", code(verdict.target.metric))
        lines.append(_row((*cells, *map(escaped, (target, row.measured, row.interval, row.n, row.margin, row.word)))))
        before = verdict.task
    notes = [f"({number}) {note}" for number, note in enumerate(wording.relative(board), 1)]
    notes += [
        note
        for note in (
            wording.spread(board),
            wording.short(board),
            wording.rules(board),
            wording.declared(board.verdicts),
            wording.moved(board),
            wording.machine(board),
        )
        if note
    ]
    lines += ["", *(f"{escaped(note)}  " for note in notes if rows), ""]
    for row in rows:
        if wording.to_explain(row.verdict):
            place = escaped(wording.place(board, row.verdict))
            lines.append(
                f"- **{row.word}** {code(row.verdict.id)} at {place}: {escaped(wording.reason(row))}. {code(wording.command(row.verdict))}"
            )
    lines += [f"- {escaped(words)}" for words in (*wording.champions(board), *summary(board))]
    if board.told:
        lines += ["", "<details><summary>Decisions</summary>", ""]
        for told in board.told:
            words = f"{told.decision.decider}: {told.decision.why}; {'' if told.opinions else 'no guard was asked; '}{told.outcome or 'open'}"
            lines.append(f"- {code(told.decision.id)} {escaped(words)}")
            lines += [
                f"  - {escaped(f'{one.guard} {one.stance}{wording.sure(one.confidence)}, {one.clause}: {one.why}')}"
                for one in told.opinions
            ]
        lines += ["", "</details>"]
    if told_right := records.lines(board):
        lines += ["", "<details><summary>How often each guard was right</summary>", "", _row(records.HEADINGS)]
        lines += [
            "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
            *(_row(tuple(map(escaped, row))) for row in told_right),
        ]
        lines += ["", *filter(None, [escaped(records.arbitration(board))]), "", "</details>"]
    return "\n".join(lines).rstrip() + "\n"


def escaped(text: str) -> str:
    """`text` on one line with nothing in it that Markdown or HTML would read."""
    return SPECIAL.sub(r"\\\1", " ".join(wording.clean(text).split()))


def code(text: str) -> str:
    """`text` as a code span, also where it holds back-ticks; a bar is escaped, so that it fits a table cell."""
    words = " ".join(wording.clean(text).split()).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    pad = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{pad}{words}{pad}{fence}" if words else ""


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
