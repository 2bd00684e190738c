"""Open pull requests in the reports: how many merge, which do not, and which tasks they touch."""

from __future__ import annotations

from bench.pulls import Mergeable, Pair, in_the_way
from bench.report.markup import Markup, coded, tag
from bench.report.story import Section, table
from bench.report.wording import many
from bench.scoreboard import Scoreboard
from plan.nouns import PullsRule

WORD = {Mergeable.YES: ("✓ merges", "pass"), Mergeable.NO: ("✗ CONFLICT", "fail"), Mergeable.UNKNOWN: ("? unknown", "unsure")}
MOST = 8
"""Paths and names told of one pair."""


def summary(board: Scoreboard) -> tuple[str, ...]:
    """One line on all pull requests, and one for each task whose module is changed by one that does not merge; none without any."""
    seen = board.pulls
    if seen is None or not seen.pulls:
        return ()
    merging = sum(pair.clean for pair in seen.against_base)
    others = f", {len(seen.between)} of {many(seen.pairs, 'pair')} are in each other's way" if seen.pairs else ""
    head = f"pull requests of {seen.repository}: {merging} of {len(seen.pulls)} merge into their base{others}"
    return head, *(f"{_mark(board, task)} {task}: {why}" for task, why in in_the_way(seen, board.plan).items())


def section(board: Scoreboard) -> Section | None:
    """A table of the pull requests, then what is the matter with each pair that is not clean; absent without any."""
    seen, words = board.pulls, summary(board)
    if seen is None or not words:
        return None
    rows = [
        tag(
            "tr",
            tag("th", pull.name, scope="row"),
            tag("td", pull.title),
            tag("td", pull.base, class_="id"),
            tag("td", _word(pair), class_=f"word {WORD[pair.mergeable][1] if not pair.clashes else 'fail'}"),
            tag("td", sum(pull.name in (one.ours, one.theirs) for one in seen.between), class_="num"),
            tag("td", len(pull.files), class_="num"),
        )
        for pull, pair in zip(seen.pulls, seen.against_base, strict=True)
    ]
    headings = ("pull", "title", "base", "into its base", "others in its way", "files")
    told = [pair for pair in (*seen.against_base, *seen.between) if not pair.clean]
    return Section(
        "Pull requests",
        (
            tag("p", coded(f"{words[0]}.")),
            tag("ul", [tag("li", coded(line)) for line in words[1:]]) if words[1:] else None,
            table("Pull requests", headings, rows, numeric=(4, 5)),
            tag("details", tag("summary", f"{many(len(told), 'pair')} in detail"), tag("ul", [_pair(pair) for pair in told]))
            if told
            else None,
            tag("ul", [tag("li", coded(note)) for note in seen.notes]) if seen.notes else None,
        ),
    )


def _mark(board: Scoreboard, task: str) -> str:
    return "held:" if board.plan.task(task).pulls is PullsRule.HOLD else "note:"


def _word(pair: Pair) -> str:
    return "✗ BREAKS A NAME" if pair.mergeable is Mergeable.YES and pair.clashes else WORD[pair.mergeable][0]


def _pair(pair: Pair) -> Markup:
    faults = [f"{one.path} ({one.kind})" for one in pair.conflicts]
    faults += [f"`{one.name}` ({one.what}) of {one.gone} goes with {one.gone_by}, {one.used} needs it" for one in pair.clashes]
    more = f" and {len(faults) - MOST} more" if len(faults) > MOST else ""
    return tag("li", tag("b", f"{pair.theirs} into {pair.ours}"), coded(f": {'; '.join(faults[:MOST]) or pair.why}{more}"))
