"""The verbs that only read: check, report, runs, the table of modules, explain. None of them imports torch."""

from __future__ import annotations

import json as jsonlib
import sys
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from plan import catalogue
from plan.exits import Exit
from plan.wire import SCHEMA, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bench.identity import Identifier
    from bench.ledger import Ledger
    from bench.scoreboard import Scoreboard
    from plan.nouns import Plan, Run, Status


def say(code: Exit, text: str) -> Exit:
    """Tell a user's error on stderr; the exit code."""
    print(f"error: {text}", file=sys.stderr)
    return code


class NoPlan(Exception):
    """The plan's file cannot be read; the message says what, where and the mend."""


def read_plan(path: Path) -> Plan:
    """The plan in the file at `path`; PlanFaults when it has any, NoPlan when the file cannot be read."""
    from plan.grammar import read

    try:
        return read(path)
    except FileNotFoundError:
        raise NoPlan(f"no plan at {path}\n  help: write one there, or give its path with `--plan`") from None
    except OSError as error:
        raise NoPlan(f"the plan cannot be read: {path} ({error.strerror})\n  help: mend the path or its rights") from None


def check_plan(path: Path, *, json: bool) -> Exit:
    """Every fault of the plan, or a line that says it has none, after a look at the texts it names."""
    from bench.data import DataError, survey_tasks
    from plan.faults import PlanFaults

    try:
        plan = read_plan(path)
    except PlanFaults as faults:
        if json:
            print(jsonlib.dumps({"v": SCHEMA, "plan": str(path), "faults": [plain(fault) for fault in faults.faults]}))
            return Exit.FAULTS
        raise
    try:
        notes = survey_tasks(plan.tasks, plan=plan.path)
    except DataError as error:  # no fault of the plan: where it will run, the text may be there
        notes = [f"note: {error}".replace("nothing was run", "a run would stop at it")]
    for note in notes:
        print(note, file=sys.stderr)
    targets = sum(len(task.targets) for task in plan.tasks)
    if json:
        print(jsonlib.dumps({"v": SCHEMA, "plan": str(path), "faults": [], "tasks": len(plan.tasks), "targets": targets}))
    else:
        print(f"{path}: {_many(len(plan.tasks), 'task')}, {_many(targets, 'target')}, no faults")
    return Exit.HOLDS


def _many(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def show_table(place: str, *, earlier: bool, json: bool) -> Exit:
    """Modules down, benchmarks across, and the Pareto fronts, from the ledger's runs under today's code, data and machine."""
    from bench.fold import fold
    from bench.identity import Identifier
    from bench.ledger import Ledger
    from bench.pareto import fronts
    from bench.report import matrix as face
    from bench.table import matrix

    with Ledger.open(place, create=False) as ledger:
        runs, where = list(fold(ledger.events()).runs.values()), ledger.where
    identifier = Identifier()
    made = matrix(runs, current=lambda run: _is_current(run, identifier), earlier=earlier)
    found = fronts(made)
    if json:
        print(jsonlib.dumps({**face.document(made, found), "ledger": where}))
        return Exit.HOLDS
    if not made.cells:
        hint = f" {_many(made.left_out, 'earlier measurement')} can be shown with `--earlier`" if made.left_out else ""
        return say(
            Exit.NOTHING, f"nothing in {where} was measured with today's code, data and machine;{hint or ' nothing at all'}"
        )
    face.print_matrix(made, found, ledger=where)
    return Exit.HOLDS


def _is_current(run: Run, identifier: Identifier) -> bool:
    """Whether measuring the same today would be the same run."""
    try:
        return identifier.identify(run.request).key == run.key
    except Exception:  # its module, benchmark or text is gone, and a candidate may have done anything to its files
        return False


def list_runs(place: str, *, module: str | None, status: Status | None, json: bool) -> Exit:
    """Every measurement, one line each, in the order they were submitted."""
    from bench.fold import fold
    from bench.ledger import Ledger

    with Ledger.open(place, create=False) as ledger:
        facts = fold(ledger.events())
    known = sorted({*catalogue.shelf("module"), *(run.request.module for run in facts.runs.values())})
    if module is not None and module not in known:
        near = catalogue.suggest(module, known)
        return say(
            Exit.USAGE, f"no module `{module}`; " + (f"did you mean `{near}`?" if near else f"there are {', '.join(known)}")
        )
    runs = [run for run in facts.runs.values() if module in (None, run.request.module) and status in (None, run.status)]
    if not runs:
        print(f"none of the {len(facts.runs)} measurements in {place} is asked for", file=sys.stderr)
    if json:
        for run in runs:
            print(jsonlib.dumps({"v": SCHEMA, "id": run.id, **plain(run)}))
        return Exit.HOLDS
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("run", "module", "benchmark", "seed", "status", "seconds", "metrics"):
        table.add_column(column, justify="right" if column in ("seed", "seconds") else "left", overflow="fold")
    for run in runs:
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in sorted(run.metrics.items())) or run.message
        table.add_row(
            run.id,
            run.request.module,
            run.request.benchmark,
            str(run.request.seed),
            run.status.value,
            f"{run.cost.seconds:.1f}",
            numbers,
        )
    console().print(table)
    return Exit.HOLDS


def explain_code(code: str) -> Exit:
    """What a fault code means, with a wrong and a right example."""
    from plan.faults import EXPLAIN

    number = code.upper().removeprefix("P")
    code = f"P{number:0>3}" if number.isdecimal() else code
    text = EXPLAIN.get(code.upper())
    if text is None:
        return say(Exit.USAGE, f"no fault code `{code}`; they are {min(EXPLAIN)} to {max(EXPLAIN)}")
    print(f"{code.upper()}\n\n{text.strip()}")
    return Exit.HOLDS


def tell(ledger: Ledger, *, only: Collection[str] | None = None) -> None:
    """Print the pass/fail table, of `only` these tasks, and write the HTML report of all; where it cannot be written, say so and go on."""
    from bench.report.terminal import print_table
    from bench.scoreboard import scoreboard

    board, target = scoreboard(ledger), report_path(ledger)
    try:
        _write(target, report_makers()["html"](board))
    except OSError as error:
        print_table(board, only=only, ledger=ledger.where)
        say(
            Exit.ENVIRONMENT,
            f"the report cannot be written to {target} ({error.strerror}); the table above and the ledger are whole",
        )
    else:
        print_table(board, only=only, ledger=ledger.where, report=str(target))


def write_report(path: Path | None, place: str, *, format: str, out: Path | None, without_times: bool) -> Exit:
    """Write the report of what the ledger holds, as html, md, json or text."""
    from bench.ledger import Ledger

    makers = report_makers()
    if format not in makers:
        return say(Exit.USAGE, f"no report format `{format}`; there are {', '.join(makers)}; nothing was written")
    plan = None if path is None else read_plan(path)
    from bench.scoreboard import scoreboard, timeless

    with Ledger.open(place, create=False) as ledger:
        board = scoreboard(ledger, plan)
        target = out or (report_path(ledger).with_suffix("." + format) if format != "text" else Path("-"))
    text = makers[format](timeless(board) if without_times else board)
    if str(target) == "-":
        sys.stdout.write(text)
        return Exit.HOLDS
    try:
        _write(target, text)
    except OSError as error:
        return say(Exit.ENVIRONMENT, f"the report cannot be written to {target} ({error.strerror}); the ledger is untouched")
    print(target)
    return Exit.HOLDS


def report_makers() -> dict[str, Callable[[Scoreboard], str]]:
    """Format -> what makes it."""
    from bench.report import html, json, markdown

    return {"html": html.render, "md": markdown.render, "json": json.render, "text": _as_text}


def _as_text(board: Scoreboard) -> str:
    from bench.report.terminal import print_table

    stream = StringIO()
    print_table(board, stream=stream)
    return stream.getvalue()


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def report_path(ledger: Ledger) -> Path:
    """Where the HTML report goes by default: beside the ledger's file and named after it unless that is `ledger.db`, else under `runs/`."""
    file = Path(ledger.where)
    if not file.is_absolute():
        return Path("runs/report.html").resolve()
    return file.with_name("report.html") if file.name == "ledger.db" else beside(file, "report.html")


def beside(file: Path, what: str) -> Path:
    """The place beside a ledger's `file` for its `what`, never that of a file with another name: `a.db` has `a-work`, `a` has `a.work`."""
    return file.with_name(f"{file.stem}-{what}" if file.suffix == ".db" else f"{file.name}.{what}")


def console() -> Console:
    """Standard output, as wide as the text needs when it is not a terminal; text in it is never read as markup."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False, emoji=False)
