"""One self-contained HTML file of a scoreboard: no script, no outside resource, the same bytes for the same facts."""

from __future__ import annotations

import json

from bench.report import evidence, pulls, records, story, wording, zoo
from bench.report.json import document
from bench.report.markup import Markup, prose, tag
from bench.report.style import STYLE
from bench.scoreboard import Scoreboard
from bench.scoreboard import timeless as without_time
from plan.nouns import State

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(board: Scoreboard, *, timeless: bool = False) -> str:
    """The whole file. `timeless`: only what a second telling of the same facts repeats, byte for byte."""
    if timeless:
        board = without_time(board)
    sections = [
        made
        for make in (
            story.scoreboard,
            story.happenings,
            story.decisions,
            records.section,
            story.tasks,
            pulls.section,
            zoo.zoo,
            evidence.certainty,
            evidence.provenance,
        )
        if (made := make(board)) is not None
    ]
    title = board.plan.title or board.plan.path
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{wording.held(board)} · {title}"),
        tag("style", Markup(STYLE)),
    )
    body = tag(
        "body",
        tag("a", "Skip to the scoreboard", href="#Scoreboard", class_="skip"),
        _header(board, title),
        tag(
            "nav",
            tag("ul", [tag("li", tag("a", section.title, href=f"#{section.anchor}")) for section in sections]),
            aria_label="Sections",
        ),
        tag("main", [section.html() for section in sections]),
        tag(
            "footer", "Made from the ledger alone by Touchstone. Every number stands beside its interval and its number of seeds."
        ),
        tag("script", _data(board), type="application/json", id="Data"),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _header(board: Scoreboard, title: str) -> Markup:
    badges = [tag("li", f"{n} {wording.COUNTED[state][n > 1]}", class_=state) for state in State if (n := board.count(state))]
    facts = [f"plan {board.plan.digest[:12]}", wording.declared(board.verdicts), wording.machine(board)]
    facts.append(f"measured for {wording.duration(board.spent)}" if board.spent else "")
    return tag(
        "header",
        tag("h1", title),
        tag("p", wording.held(board), class_="lead"),
        tag("div", prose(board.plan.prose), class_="prose") if board.plan.prose.strip() else None,
        tag("ul", badges, class_="tally"),
        tag("p", [tag("span", fact) for fact in facts if fact], class_="meta"),
    )


def _data(board: Scoreboard) -> Markup:
    text = json.dumps(document(board), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
