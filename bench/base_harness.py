"""`python -m bench.eval_harness --base REF`: reads the plan, measures both sides, prints a row for each metric, and ends with CI's exit code."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from bench.against_base import ERROR, Answer, BaseFault, Row, against_base, commit_of, exit_code, unpacked
from bench.hold import Held, LedgerFault
from bench.ledger import Ledger
from bench.one_by_one import OneByOne
from bench.report import wording
from bench.report.terminal import PLAIN_HEAD, Face
from kernels.native import prepare
from plan.catalogue import suggest
from plan.exits import Exit
from plan.faults import PlanFaults
from plan.grammar import read
from plan.nouns import Run, Status
from plan.wire import SCHEMA, plain

DEFAULT_PLAN = Path("plan/Plan.md")
GLYPH = {Answer.BETTER: "✓", Answer.WORSE: "✗", Answer.UNDECIDED: "~", Answer.UNCHANGED: "=", Answer.NONE: "…"}


def compare_with_base(
    revision: str, path: Path | None, place: str, *, only: Sequence[str], pairs: int | None, json: bool
) -> Exit:
    """Measure what differs from `revision`, print, and say by the exit code whether anything is worse."""
    try:
        plan = read(path or DEFAULT_PLAN)
        commit = commit_of(revision)
        if strangers := [id for id in only if id not in {task.id for task in plan.tasks}]:
            near = suggest(strangers[0], [task.id for task in plan.tasks])
            hint = f"; did you mean `{near}`?" if near else ""
            return _say(Exit.NOTHING, f"`{plan.path}` has no task `{strangers[0]}`{hint}; nothing was measured")
        tasks = [task for task in plan.tasks if not only or task.id in only]
        prepare(lambda name: print(f"building kernel `{name}`, once for this machine", file=sys.stderr, flush=True))
        with Ledger.open(place) as ledger, ledger.hold():
            work = _workshop(ledger)
            tree = unpacked(commit, work)
            with OneByOne(ledger, work=work, trees=lambda _: tree) as bench:
                rows = against_base(tasks, commit, bench, most=pairs, tell=_tell)
            where = ledger.where
    except PlanFaults as faults:
        print(faults, file=sys.stderr)
        return Exit.FAULTS
    except (BaseFault, LedgerFault, Held) as fault:
        return _say(Exit.ENVIRONMENT, f"{fault}; what was measured before is in the ledger")
    except OSError as fault:
        return _say(
            Exit.ENVIRONMENT, f"{fault.strerror or fault}: {fault.filename or ''}; what was measured before is in the ledger"
        )
    if json:
        print(
            jsonlib.dumps(
                {"v": SCHEMA, "base": revision, "commit": commit, "ledger": where, "rows": [plain(row) for row in rows]}
            )
        )
    else:
        _print(rows, revision, commit, where)
    return exit_code(rows)


def _workshop(ledger: Ledger) -> Path:
    file = Path(ledger.where)
    return file.with_name(f"{file.stem}-work") if file.is_absolute() else Path("runs/server-base-work").resolve()


def _tell(run: Run, side: str) -> None:
    word = "" if run.status is Status.OK else f": {run.status.value}, {run.message}"
    asked = f"{run.request.module}, {run.request.benchmark}, seed {run.request.seed}"
    print(f"  {side:4} {run.id} ({asked}) {run.cost.seconds:.2g} s{word}", file=sys.stderr, flush=True)


def _print(rows: Sequence[Row], revision: str, commit: str, where: str) -> None:
    face = Face(sys.stdout)
    table = Table(box=PLAIN_HEAD, header_style="dim", pad_edge=False)
    for heading in ("task", "metric", f"against {revision}", "gain", "interval", "n", ""):
        table.add_column(heading, overflow="fold")
    for row in rows:
        unit = wording.metric_unit(row.module, row.benchmark, row.metric)
        cells = (
            row.task,
            row.metric,
            f"{GLYPH[row.answer]} {row.answer.value}",
            wording.figure(row.gain, unit),
            wording.interval(row.low, row.high, unit),
            str(row.n or ""),
            row.reason,
        )
        table.add_row(*map(face.text, cells))
    face.console.print(table)
    tally = ", ".join(f"{sum(row.answer is answer for row in rows)} {answer.value}" for answer in Answer)
    face.line(
        face.text(
            f"{tally}; base {commit[:12]}, only its modules and kernels; declared error {wording.rate(ERROR)} over all rows"
        )
    )
    face.line(face.text(f"ledger: {where}"))


def _say(code: Exit, text: str) -> Exit:
    print(f"error: {text}", file=sys.stderr)
    return code
