"""The HTML report's last part: how sure the verdicts are, and where every number came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from bench.report import wording
from bench.report.markup import Child, coded, tag
from bench.report.story import Section, table
from bench.scoreboard import Scoreboard
from plan.nouns import RuleKind, State, Verdict


def certainty(board: Scoreboard) -> Section:
    """Per target: the rule, the seeds and looks spent, the interval, p or e, the declared error; and the Holm family."""
    body = []
    for row in wording.rows(board):
        verdict, task = row.verdict, board.plan.task(row.verdict.task)
        looks = task.seeds.looks
        claimed = wording.claimed(verdict)
        cells = (
            tag("a", verdict.id, href=f"#{verdict.id}", class_="id"),
            row.word,
            verdict.target.rule.text,
            row.n,
            "after every seed"
            if verdict.target.rule.kind is RuleKind.ANYTIME
            else f"{sum(verdict.n >= look for look in looks)} of {len(looks)} ({', '.join(map(str, looks))})",
            row.interval,
            _strength(verdict),
            wording.rate(claimed) if claimed is not None else "none claimed",
            f"about {verdict.more_seeds}" if verdict.more_seeds else "–",
        )
        body.append(
            tag(
                "tr",
                [
                    tag("td", cell, class_="num" if i in (3, 5) else verdict.state if i == 1 else None)
                    for i, cell in enumerate(cells)
                ],
            )
        )
    headings = ("target", "verdict", "rule", "n", "looks spent", "95% interval", "p or e", "declared error", "more seeds")
    family = [verdict for verdict in board.verdicts if verdict.target.rule.kind is RuleKind.P_VALUE]
    holm = f"The {len(family)} p-rules form one family; their p values are Holm-adjusted over it." if family else ""
    lost = {task: sum(run.status.value != "ok" for run in runs) for task, runs in board.runs.items()}
    excluded = "; ".join(f"{task}: {n}" for task, n in sorted(lost.items()) if n)
    sentences = [
        f"{wording.declared(board.verdicts).capitalize()}.",
        wording.moved(board),
        holm,
        "The sample sizes at which a verdict may be given were fixed before the first run; an interval rule's error is shared among them.",
        f"Runs without a number, none of which was dropped silently: {excluded}." if excluded else "No run was excluded.",
    ]
    return Section(
        "How sure are we",
        (
            tag("p", " ".join(filter(None, sentences))) if board.verdicts else None,
            table("How sure are we", headings, body, numeric=(3, 5)),
            [tag("p", coded(f"{note}."), class_="meta") for note in (wording.spread(board), wording.short(board)) if note],
        ),
    )


def _strength(verdict: Verdict) -> str:
    parts = [
        f"p = {verdict.p_value:.2g}" if verdict.p_value is not None else "",
        f"e = {verdict.e_value:.3g}" if verdict.e_value is not None else "",
    ]
    return ", ".join(filter(None, parts)) or "–"


def provenance(board: Scoreboard) -> Section:
    """The plan as run, the commands, the machines, and the facts that every run recorded."""
    missed = {verdict.target.line for verdict in board.verdicts if verdict.state in (State.FAIL, State.UNSURE)}
    source = [
        tag("span", f"{line}\n", class_="at" + (" missed" if number in missed else ""), id=f"L{number}", data_line=number)
        for number, line in enumerate(board.plan.source.splitlines(), 1)
    ]
    latest = board.sessions[-1] if board.sessions else None
    named: list[tuple[str, Child]] = [("plan", board.plan.path), ("plan's sha256", tag("span", board.plan.digest, class_="id"))]
    if latest:
        named.append(("command", tag("code", latest.command)) if latest.command else ("command", "not recorded"))
        named += [
            (name if name == "machine" else f"machine: {name}", _plain(value)) for name, value in sorted(latest.machine.items())
        ]
        named += [(f"option: {name}", _plain(value) if value else "none") for name, value in sorted(latest.options.items())]
        named.append(("sessions", str(len(board.sessions))))
    named += list(_facts(board).items())
    return Section(
        "Provenance",
        (
            tag("dl", [(tag("dt", name), tag("dd", words)) for name, words in named]),
            tag("details", tag("summary", "The plan as it was run"), tag("pre", source, class_="source"), open=True),
        ),
    )


def _facts(board: Scoreboard) -> Mapping[str, str]:
    """Every fact that runs recorded, tables leaf by leaf: its value where all agree, else the distinct values."""
    seen: dict[str, set[str]] = {}
    for runs in board.runs.values():
        for run in runs:
            for name, value in _leaves(run.facts):
                seen.setdefault(name, set()).add(_plain(value))
    told = {}
    for name, values in sorted(seen.items()):
        shown = sorted(values)[:6]
        rest = f" and {len(values) - 6} more" if len(values) > 6 else ""
        told[name] = (f"{len(values)} values: " if len(values) > 1 else "") + " · ".join(shown) + rest
    return told


def _leaves(facts: Mapping[str, object], within: str = "") -> Iterator[tuple[str, object]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value


def _plain(value: object) -> str:
    if value is None or value == "":
        return "none"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
