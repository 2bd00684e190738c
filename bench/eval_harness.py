"""`python -m bench.eval_harness`: the pass/fail table of a whole plan, read from the ledger. Nothing is measured or written.

With `--base REF` it measures instead: what the plan's tasks give under the `modules` and `kernels` of that revision and under the user's, seed
by seed, and whether anything got better or worse.

Exit codes are those of `plan.exits`: 0 every target holds (nothing is worse, and all is decided), 1 some target does not (something is worse),
2 usage, 3 the plan has faults, 4 no ledger or an unreadable one (no such revision), 5 nothing selected, 6 with `--base`: something is
undecided, 70 internal.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.hold import DEFAULT_LEDGER
from plan.exits import Exit, FailOn, exit_code

if TYPE_CHECKING:
    from bench.scoreboard import Scoreboard
    from plan.nouns import Plan


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def evaluate(
    plan: Annotated[Path | None, typer.Option("--plan", help="The plan; default: that of the ledger's latest session.")] = None,
    ledger: Annotated[
        str, typer.Option("--ledger", envvar="ORCHESTRATE_LEDGER", help="SQLite file or database URL.")
    ] = DEFAULT_LEDGER,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table as Markdown on stdout.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the HTML report to this file too.")] = None,
    timeless: Annotated[
        bool, typer.Option("--timeless", help="Leave out times and durations; equal facts, equal bytes.")
    ] = False,
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="From which verdict on the exit code is 1.")] = FailOn.UNSURE,
    base: Annotated[
        str | None, typer.Option("--base", help="A git revision: measure whether the tasks are better or worse than there.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="With --base: only this task; may be repeated.")] = None,
    pairs: Annotated[int | None, typer.Option("--pairs", min=1, help="With --base: most pairs of each task.")] = None,
) -> None:
    """Print interval, n, margin and verdict of every target of a plan, from the ledger alone; with --base, compare with a revision."""
    if json and markdown:
        raise typer.BadParameter("choose one of `--json` and `--markdown`")
    if base is not None:
        from bench.base_harness import compare_with_base

        raise typer.Exit(compare_with_base(base, plan, ledger, only=only or (), pairs=pairs, json=json))
    if only or pairs:
        raise typer.BadParameter("`--only` and `--pairs` go with `--base`")
    raise typer.Exit(_evaluate(plan, ledger, json=json, markdown=markdown, html=html, timeless=timeless, fail_on=fail_on))


def _evaluate(
    path: Path | None, place: str, *, json: bool, markdown: bool, html: Path | None, timeless: bool, fail_on: FailOn
) -> Exit:
    from bench import scoreboard
    from bench.hold import LedgerFault
    from bench.report import html as html_face
    from bench.report import json as json_face
    from bench.report import markdown as markdown_face
    from bench.report import terminal
    from plan.faults import PlanFaults

    try:
        board, where = _board(_plan(path), place)
    except PlanFaults as faults:
        print(faults, file=sys.stderr)
        return Exit.FAULTS
    except LedgerFault as fault:
        return _say(Exit.ENVIRONMENT, str(fault))
    except LookupError as fault:
        return _say(
            Exit.NOTHING, f"{fault.args[0]}: {place}\n  help: give one with `--plan`, or start a session with `orchestrate run`"
        )
    except (OSError, UnicodeDecodeError) as fault:
        return _say(
            Exit.ENVIRONMENT, f"the plan cannot be read: {path} ({fault})\n  help: mend the path; nothing was read or written"
        )
    if timeless:
        board = scoreboard.timeless(board)
    if html is not None:
        try:
            html.parent.mkdir(parents=True, exist_ok=True)
            html.write_text(html_face.render(board), encoding="utf-8")
        except OSError as fault:
            return _say(
                Exit.ENVIRONMENT, f"the report cannot be written to {html} ({fault.strerror})\n  help: give another `--html`"
            )
    if json:
        sys.stdout.write(json_face.render(board))
    elif markdown:
        sys.stdout.write(markdown_face.render(board))
    else:
        terminal.print_table(board, ledger=where, report=str(html or ""))
    return exit_code(board.verdicts, fail_on)


def _plan(path: Path | None) -> Plan | None:
    from plan.grammar import read

    return None if path is None else read(path)


def _board(plan: Plan | None, place: str) -> tuple[Scoreboard, str]:
    from bench.ledger import Ledger
    from bench.scoreboard import from_events, scoreboard

    if plan is not None and "://" not in place and not Path(place).exists():
        print(f"note: there is no ledger at {place} yet, so nothing was measured", file=sys.stderr)
        return from_events((), plan), place
    with Ledger.open(place, create=False) as ledger:
        return scoreboard(ledger, plan), ledger.where


def _say(code: Exit, text: str) -> Exit:
    print(f"error: {text}", file=sys.stderr)
    return code


def main() -> int:
    """The command, with a user's view of mistakes that are ours; the exit code."""
    try:
        app(prog_name="python -m bench.eval_harness", standalone_mode=True)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.HOLDS
    except Exception as mistake:
        if os.environ.get("ORCHESTRATE_DEBUG"):
            traceback.print_exc()
        return _say(
            Exit.INTERNAL,
            f"a mistake of the program's own: {type(mistake).__name__}: {mistake} (ORCHESTRATE_DEBUG=1 shows where)",
        )
    return Exit.HOLDS


if __name__ == "__main__":
    sys.exit(main())
