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


PlanOption = Annotated[Path, typer.Option("--plan", help="The plan, a Markdown file.")]
LedgerOption = Annotated[str, typer.Option("--ledger", envvar="ORCHESTRATE_LEDGER", help="SQLite file or database URL.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
FailOnOption = Annotated[FailOn, typer.Option("--fail-on", help="From which verdict on the exit code is 1.")]
DEFAULT_PLAN = Path("plan/Plan.md")
DEFAULT_LEDGER = "runs/ledger.db"
