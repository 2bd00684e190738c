"""The HTML report's first half: the scoreboard, what happened, what was decided, and each task."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.report import svg, wording
from bench.report.curves import figures
from bench.report.markup import Child, Markup, coded, prose, tag
from bench.scoreboard import Scoreboard, Told
from plan.decision import Stance
from plan.nouns import Run, State, Status, Task

STANCE = {Stance.ALLOW: ("✓ allows", "pass"), Stance.OBJECT: ("~ objects", "unsure"), Stance.BLOCK: ("✗ BLOCKS", "fail")}
LOG_LINES = 20


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the report; anchors begin with a capital, so that they never meet a task's."""

    title: str
    children: tuple[Child, ...]

    @property
    def anchor(self) -> str:
        """The fragment that leads here."""
        return self.title[0].upper() + self.title[1:].replace(" ", "-")

    def html(self) -> Markup:
        """The section as an element."""
        return tag(
            "section",
            tag("h2", self.title, id=f"{self.anchor}-title"),
            self.children,
            id=self.anchor,
            aria_labelledby=f"{self.anchor}-title",
        )


def table(
    caption: str, headings: Iterable[str], body: Iterable[Child], *, class_: str | None = None, numeric: Iterable[int] = ()
) -> Markup:
    """A table that scrolls by itself when the page is too narrow, and can be reached by keyboard."""
    right = set(numeric)
    head = tag("tr", [tag("th", name, scope="col", class_="num" if i in right else None) for i, name in enumerate(headings)])
    made = tag("table", tag("thead", head), tag("tbody", body), class_=class_)
    return tag("div", made, class_="scroll", role="region", aria_label=caption, tabindex="0")


def scoreboard(board: Scoreboard) -> Section:
    """Every target: its interval as a bar, its threshold as a line, its seeds as dots; then what to do about those missed."""
    headings = ("metric", "seeds, interval, threshold", "target", "measured", "95% interval", "n", "margin", "verdict")
    right = {2, 3, 4, 5, 6}
    head = tag(
        "thead", tag("tr", [tag("th", h, scope="col", class_="num" if i in right else None) for i, h in enumerate(headings)])
    )
    rows = wording.rows(board)
    bodies = []
    for task in board.plan.tasks:
        own = [row for row in rows if row.verdict.task == task.id]
        name = tag(
            "th",
            tag("a", task.title or task.id, href=f"#{task.id}"),
            tag("span", task.id, class_="id"),
            colspan=len(headings),
            scope="rowgroup",
        )
        bodies.append(tag("tbody", tag("tr", name, class_="group"), [_target(row) for row in own]))
    notes = [f"Note {number}: {note}" for number, note in enumerate(wording.relative(board), 1)]
    notes += [*wording.champions(board), wording.spread(board), wording.short(board), wording.rules(board).capitalize()]
    key = "Dots are seeds, the bar is the interval, the upright line the threshold; its tinted side is where the target holds."
    missed = [row for row in rows if row.verdict.state in (State.FAIL, State.UNSURE)]
    steps = [
        tag(
            "li",
            tag("b", row.word),
            " ",
            tag("a", row.verdict.id, href=f"#{row.verdict.id}", class_="id"),
            tag("span", coded(f" at {wording.place(board, row.verdict)}: {wording.reason(row)}. ")),
            tag("code", wording.command(row.verdict)),
            class_=row.verdict.state,
        )
        for row in missed
    ]
    return Section(
        "Scoreboard",
        (
            tag("p", key, class_="soft"),
            tag(
                "div",
                tag("table", head, bodies, class_="board"),
                class_="scroll",
                role="region",
                aria_label="Scoreboard",
                tabindex="0",
            ),
            tag(
                "p",
                coded(" ".join(f"{note}." for note in notes if note)),
                class_="meta",
            )
            if rows
            else None,
            tag("ul", steps, class_="next") if steps else None,
        ),
    )


def _target(row: wording.Row) -> Markup:
    verdict = row.verdict
    described = f"measured {row.measured}, interval {row.interval}, target {row.target}, {wording.many(verdict.n, 'seed')}, {row.word[2:]}"
    note = tag("sup", f" {row.note}") if row.note else None
    return tag(
        "tr",
        tag("th", tag("span", verdict.target.metric, class_="id"), scope="row"),
        tag("td", svg.strip(verdict, described=described), class_=f"strip {verdict.state}"),
        tag("td", row.target, note, class_="num", data_label="target"),
        tag("td", row.measured, class_="num", data_label="measured"),
        tag("td", row.interval, class_="num", data_label="interval"),
        tag("td", row.n, class_="num", data_label="n"),
        tag("td", row.margin, class_="num", data_label="margin"),
        tag("td", row.word, class_=f"word {verdict.state}"),
        id=verdict.id,
        class_="target",
    )


def happenings(board: Scoreboard) -> Section | None:
    """Runs and decisions over time; absent from a timeless report."""
    if not board.lanes:
        return None
    tasks = [task.id for task in board.plan.tasks]
    began = min(lane.began for lane in board.lanes)
    shared = [lane for lane in board.lanes if lane.payer]
    also = {
        lane: [one.task for one in shared if (one.run, one.began) == (lane.run, lane.began)]
        for lane in board.lanes
        if not lane.payer
    }
    body = [
        tag(
            "tr",
            tag(
                "td", [(" and " if i else "", tag("a", task, href=f"#{task}")) for i, task in enumerate([lane.task, *also[lane]])]
            ),
            tag("td", lane.run, class_="id"),
            tag("td", lane.status or "abandoned"),
            tag("td", wording.duration(lane.began - began), class_="num"),
            tag("td", wording.duration(lane.ended - lane.began), class_="num"),
        )
        for lane in sorted(also, key=lambda lane: (lane.began, lane.run))
    ]
    return Section(
        "What happened",
        (
            tag(
                "p",
                "One bar per run, pale where another task pays for it, diamonds are decisions, a dashed upright line is a pause that was cut short.",
                class_="soft",
            ),
            tag(
                "div",
                tag("div", svg.lanes(board.lanes, board.told, tasks), class_="wide"),
                class_="scroll",
                role="region",
                aria_label="Runs over time",
                tabindex="0",
            ),
            tag(
                "details",
                tag("summary", f"The {len(body)} runs as a table"),
                table("Runs over time", ("task", "run", "status", "began after", "took"), body, numeric=(3, 4)),
            ),
        ),
    )


def decisions(board: Scoreboard) -> Section:
    """Who proposed what, on which evidence, expecting what; what the guards said, and what became of it."""
    if not board.told:
        return Section("Decisions", (tag("p", "None were made.", class_="soft"),))
    return Section("Decisions", tuple(_decision(told) for told in board.told))


def _decision(told: Told) -> Markup:
    decision, action = told.decision, told.decision.action
    opinions = [
        tag(
            "li",
            tag("b", STANCE[one.stance][0], class_=STANCE[one.stance][1]),
            coded(f" {one.guard}{wording.sure(one.confidence)}, {one.clause}: {one.why}"),
        )
        for one in told.opinions
    ]
    return tag(
        "article",
        tag(
            "div",
            tag("h3", f"{action.kind} ", tag("a", action.task, href=f"#{action.task}")),
            tag("span", decision.id, class_="id soft"),
            class_="heading",
        ),
        tag("p", coded(decision.why)),
        tag(
            "dl",
            [
                (tag("dt", name), tag("dd", words))
                for name, words in (
                    ("who", decision.decider),
                    ("what", (action.kind, _listed(action.details))),
                    ("evidence", " ".join(decision.evidence) or "none"),
                    ("expected", coded(f"{decision.expected:.4g}: {decision.expects}")),
                    ("guards", tag("ul", opinions, class_="opinions") if opinions else "none were asked"),
                    ("outcome", told.outcome or "open"),
                )
            ],
        ),
        id=f"decision-{decision.id}",
    )


def _listed(asked: Mapping[str, object]) -> Child:
    """What an action asks for, entry by entry; a text of several lines as it stands."""
    found = [tag("li", f"{name}: ", tag("pre", words) if "\n" in words else words) for name, words in wording.details(asked)]
    return tag("ul", found, class_="details") if found else None


def tasks(board: Scoreboard) -> Section:
    """Each task: why it is wanted, its curves, its runs, its settings, its gate, and the logs of what failed."""
    return Section("Tasks", tuple(_task(board, task) for task in board.plan.tasks))


def _task(board: Scoreboard, task: Task) -> Markup:
    runs = board.runs.get(task.id, ())
    states = [
        tag("span", f"{wording.GLYPH[v.state]} {v.target.metric}", class_=f"badge {v.state}") for v in board.verdicts_of(task.id)
    ]
    return tag(
        "article",
        tag("div", tag("h3", task.title or task.id), tag("span", task.id, class_="id soft"), class_="heading"),
        tag("p", [(state, " ") for state in states]),
        tag("div", prose(task.prose.strip()), class_="prose") if task.prose.strip() else None,
        tag("dl", [(tag("dt", name), tag("dd", words)) for name, words in _settings(board, task) if words]),
        (tag("h4", "Curves"), tag("div", drawn, class_="figures")) if (drawn := figures(task, runs)) else None,
        (tag("h4", "Runs"), _runs(task, runs)) if runs else tag("p", "No run has finished.", class_="soft"),
        [_lost(run) for run in runs if run.status not in (Status.OK, Status.KILLED)],
        (tag("h4", "Config"), tag("pre", _config(task))) if task.config else None,
        id=task.id,
    )


def _settings(board: Scoreboard, task: Task) -> list[tuple[str, Child]]:
    budget = task.budget
    limits = [
        f"{budget.seconds / 60:g} min" if budget.seconds else "",
        f"{budget.steps} steps" if budget.steps else "",
        f"{budget.runs} runs" if budget.runs else "",
    ]
    needs = [(tag("a", need, href=f"#{need}"), " ") for need in task.needs]
    seeds = f"{task.seeds.first}" + (f", up to {task.seeds.most}" if task.seeds.most > task.seeds.first else "")
    return [
        ("module", task.module),
        ("benchmark", task.benchmark),
        ("needs", needs),
        ("seeds", seeds),
        ("device", task.device),
        ("budget", ", ".join(filter(None, limits))),
        ("gate", _gate(board, task)),
        ("spent", wording.duration(board.seconds[task.id]) if task.id in board.seconds else None),
        ("plan", tag("a", f"{board.plan.path}:{task.line}", href=f"#L{task.line}")),
    ]


def _gate(board: Scoreboard, task: Task) -> Child:
    if not task.gate:
        return "none: the plan switches it off"
    run = board.gates.get(task.id)
    if run is None:
        return "not run yet"
    if run.status is Status.OK and run.metrics.get("failures") == 0:
        return tag("span", tag("b", "✓ green", class_="pass"), f" {run.id}")
    found = f"{run.metrics['failures']:g} contract checks fail" if "failures" in run.metrics else f"{run.status} {run.message}"
    return [tag("b", "✗ RED", class_="fail"), f" {found}, {run.id}", _log(run)]


def _runs(task: Task, runs: tuple[Run, ...]) -> Markup:
    names = list(
        dict.fromkeys([target.metric for target in task.targets] + sorted({name for run in runs for name in run.metrics}))
    )
    units = {name: wording.metric_unit(task.module, task.benchmark, name) for name in names}
    units |= {target.metric: wording.unit_of(task, target) for target in task.targets}
    timed = any(run.cost.seconds for run in runs)
    body = []
    for run in runs:
        cells = [
            tag("td", run.id, class_="id"),
            tag("td", run.request.seed, class_="num"),
            tag("td", run.status, class_="" if run.status is Status.OK else "fail"),
        ]
        cells += [tag("td", wording.figure(run.metrics.get(name), units[name]), class_="num") for name in names]
        if timed:
            cells += [
                tag("td", words, class_="num")
                for words in (wording.duration(run.cost.seconds), wording.figure(run.cost.peak_bytes, "B"))
            ]
        body.append(tag("tr", cells))
    headings = ("run", "seed", "status", *names, *(("time", "peak memory") if timed else ()))
    return table(f"Runs of {task.id}", headings, body, numeric=(1, *range(3, len(headings))))


def _lost(run: Run) -> Markup:
    return tag(
        "details",
        tag("summary", tag("b", f"✗ {run.status}", class_="fail"), f" {run.id}, seed {run.request.seed}: {run.message}"),
        _log(run),
        open=True,
    )


def _log(run: Run) -> Markup | None:
    lines = wording.log_lines(run)[-LOG_LINES:]
    return tag("pre", "\n".join(lines)[-8000:], class_="log") if lines else None


def _config(task: Task) -> str:
    plain = {key: value for key, value in task.config.items() if not isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}" for key, value in sorted(plain.items())]
    for key, value in sorted(task.config.items()):
        if isinstance(value, dict):
            lines += ["", f"[{key}]"] + [
                f"{k} = {json.dumps(v, ensure_ascii=False, default=str)}" for k, v in sorted(value.items())
            ]
    return "\n".join(lines).strip()
