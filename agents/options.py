"""What the verbs of `orchestrate` have in common: the choices of their options, and options that several of them take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from plan.exits import FailOn


class Show(StrEnum):
    """The displays of `run`."""

    AUTO = "auto"
    LIVE = "live"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


class Backend(StrEnum):
    """The event loops that `run` works on."""

    ASYNCIO = "asyncio"
    TRIO = "trio"


class Better(StrEnum):
    """Which way a metric is better."""

    LESS = "less"
    MORE = "more"


class PlanVerb(StrEnum):
    """What `plan` can do."""

    DIFF = "diff"


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"orchestrate {version('touchstone-lab')}, from {Path(__file__).resolve().parents[1]}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_version, help="Say which version this is, and from where.")
]
PlanOption = Annotated[Path, typer.Option("--plan", metavar="FILE", help="The plan, a Markdown file.")]
LastPlanOption = Annotated[
    Path | None, typer.Option("--plan", metavar="FILE", help="Default: the plan of the ledger's last session.")
]
LedgerOption = Annotated[
    str, typer.Option("--ledger", metavar="PLACE", envvar="ORCHESTRATE_LEDGER", help="SQLite file or database URL.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
FailOnOption = Annotated[FailOn, typer.Option("--fail-on", help="From which verdict on the exit code is 1.")]
BudgetOption = Annotated[
    str | None, typer.Option("--budget", metavar="TIME", help="Wall-clock limit of this session, e.g. 90s, 3m, 1.5h.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", metavar="N", min=1, help="Measurements at a time; default: one a core.")
]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="Measure again what ended without numbers.")]
NameArgument = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Of one thing on any shelf: its metrics, units, settings, defaults and ranges."),
]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", metavar="TASK", help="Only this task and what it needs; may be repeated.")
]
ImproveOption = Annotated[
    str | None,
    typer.Option("--improve", metavar="KINDS", help="What may be tried where a target fails: tune, refactor, replace."),
]
DeciderOption = Annotated[
    list[str] | None,
    typer.Option("--decider", metavar="NAME", help="Ask only this decider; may be repeated. Default: all but the baselines."),
]
ProposerOption = Annotated[
    str | None,
    typer.Option("--proposer", metavar="URL", help="Ask this OpenAI-compatible endpoint for patches; see docs/sandbox.md."),
]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="PATH", help="Text file or folder, for a benchmark that reads one.")
]
DEFAULT_PLAN = Path("plan/Plan.md")
