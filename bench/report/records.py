"""How often each guard was right, as a chart and as a table: what nobody has decided yet counts as pending, never as right."""

from __future__ import annotations

from typing import Any

from bench.outcomes import Question, Record
from bench.report import svg
from bench.report.markup import Markup, coded, tag
from bench.report.story import STANCE, Section, table
from bench.report.wording import many
from bench.scoreboard import Scoreboard
from plan.wire import plain

KEY = (
    "To allow is right of what turned out sound, to object or to block of what did not; a guard that says what is better is held to promotions. "
    "Bars are 95 % intervals (Clopper and Pearson) of the share that was right, the upright line is the share."
)
HEADINGS = ("guard", "says", "held to", "right", "decided", "share right", "95% interval", "pending")
STEP, LEFT, WIDTH = 24.0, 210.0, 760.0


def lines(board: Scoreboard) -> list[tuple[str, ...]]:
    """The table's rows, a cell each heading; none before anybody has said anything."""
    return [_cells(one) for one in board.records]


def document(board: Scoreboard) -> list[dict[str, Any]]:
    """The records as plain values, with share and interval."""
    made = []
    for one in board.records:
        low, high = one.interval
        made.append({**plain(one), "decided": one.decided, "share": one.share, "low": low, "high": high})
    return made


def arbitration(board: Scoreboard) -> str:
    """One sentence on who decided what was tried first, people or the critic; empty while it was the deciders."""
    placed = [one for ranking in board.rankings for one in ranking.contenders]
    if not placed:
        return ""
    weights = [one.weight for one in placed]
    chance = sum(one.drawn for one in placed)
    return (
        f"The critic put {many(len(placed), 'change')} in order in {many(len(board.rankings), 'round')}, {chance} of them by chance; "
        f"people's weight in it was {min(weights):.2f} to {max(weights):.2f}, last {weights[-1]:.2f}."
    )


def section(board: Scoreboard) -> Section | None:
    """The chart and its table; absent before any guard has spoken."""
    if not board.records:
        return None
    body = [
        tag("tr", [tag("td", cell, class_="num" if i > 2 else "id" if i == 0 else None) for i, cell in enumerate(cells)])
        for cells in lines(board)
    ]
    pending = sum(one.pending for one in board.records)
    note = f"{many(pending, 'opinion')} {'is' if pending == 1 else 'are'} pending: nothing has decided yet who was right."
    return Section(
        "Records of the guards",
        (
            tag("p", KEY, class_="soft"),
            tag(
                "div",
                tag("div", chart(board.records), class_="wide"),
                class_="scroll",
                role="region",
                aria_label="How often each guard was right",
                tabindex="0",
            ),
            tag("p", coded(note), class_="meta"),
            tag("p", first) if (first := arbitration(board)) else None,
            table("Records of the guards", HEADINGS, body, numeric=range(3, len(HEADINGS))),
        ),
    )


def chart(records: tuple[Record, ...]) -> Markup:
    """One row a guard and stance: the interval of the share that was right, and the counts beside it."""
    x = svg.Scale(0.0, 1.0, LEFT, WIDTH - 150)
    height = STEP * len(records) + 30
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(tag("line", x1=x(tick), x2=x(tick), y1=4, y2=height - 24, class_="grid"))
        parts.append(tag("text", f"{tick:.0%}", x=x(tick), y=height - 8, text_anchor="middle"))
    for row, one in enumerate(records):
        middle = 6 + STEP * row + STEP / 2
        words, colour = STANCE[one.stance]
        name = [tag("tspan", f"{one.guard[:18]} "), tag("tspan", words.lower(), class_="faint")]
        parts.append(tag("text", name, x=LEFT - 12, y=middle + 4, text_anchor="end", class_="label"))
        if one.share is not None:
            low, high = (x(end) for end in one.interval)
            at = x(one.share)
            bar = tag("rect", x=low, y=middle - 5, width=max(1.5, high - low), height=10, rx=2, class_="interval")
            mark = tag("line", x1=at, x2=at, y1=middle - 8, y2=middle + 8, class_="value")
            parts.append(tag("g", bar, mark, class_=f"record {colour}"))
        parts.append(tag("text", _count(one), x=WIDTH - 138, y=middle + 4))
    described = "; ".join(f"{one.guard} {STANCE[one.stance][0][2:].lower()}: {_count(one)}" for one in records)
    return svg.chart(WIDTH, height, "records", "How often each guard was right", described, parts)


def _count(one: Record) -> str:
    said = f"{one.right} of {one.decided} right" if one.decided else "none decided"
    return said + (f", {one.pending} pending" if one.pending else "")


def _cells(one: Record) -> tuple[str, ...]:
    low, high = one.interval
    held = "promotions" if one.question is Question.BETTER else "soundness"
    share = f"{one.share:.0%}" if one.share is not None else "–"
    interval = f"{low:.0%} – {high:.0%}" if one.decided else "–"
    return one.guard, one.stance.value, held, str(one.right), str(one.decided), share, interval, str(one.pending)
