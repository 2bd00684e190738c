"""The command `orchestrate`: every verb, its options and its exit codes.

Commands import inside their bodies, so that `--help`, `check`, `modules` and `report` need no torch.
Results go to stdout, narration to stderr.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from agents.options import (
    DEFAULT_PLAN,
    Backend,
    Better,
    BudgetOption,
    DataOption,
    DeciderOption,
    FailOnOption,
    ImproveOption,
    JsonOption,
    LastPlanOption,
    LedgerOption,
    NameArgument,
    OnlyOption,
    PlanOption,
    PlanVerb,
    ProposerOption,
    RetryOption,
    Show,
    VersionOption,
    WorkersOption,
)
from agents.rules import rules
from bench.hold import DEFAULT_LEDGER
from plan.exits import Exit, FailOn
from plan.nouns import Status

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def first(version: VersionOption = False) -> None:
    """Train and benchmark what a Markdown plan names, and say pass, fail or unsure at a stated error rate."""


@app.command()
def check(plan: PlanOption = DEFAULT_PLAN, json: JsonOption = False) -> None:
    """Tell every fault of a plan, with line, column and a hint; run nothing."""
    from agents.reading import check_plan

    raise typer.Exit(check_plan(plan, json=json))


@app.command()
def run(
    plan: PlanOption = DEFAULT_PLAN,
    ledger: LedgerOption = DEFAULT_LEDGER,
    only: OnlyOption = None,
    budget: BudgetOption = None,
    workers: WorkersOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set the ledger aside and start a new one.")] = False,
    retry_failed: RetryOption = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", "--explain", help="Measure nothing; print the graph, the runs, why each is cached or not, the time."
        ),
    ] = False,
    display: Annotated[Show, typer.Option("--display", help="How the work is told on stderr (json: on stdout).")] = Show.AUTO,
    json: JsonOption = False,
    fail_on: FailOnOption = FailOn.UNSURE,
    backend: Annotated[Backend, typer.Option("--backend", help="The event loop.")] = Backend.ASYNCIO,
    improve: ImproveOption = None,
    decider: DeciderOption = None,
    proposer: ProposerOption = None,
) -> None:
    """Measure what the plan wants and is not in the ledger yet, then judge every target."""
    from agents.running import run_plan

    if proposer is not None:
        from agents.proposer import choose

        choose(proposer)
    raise typer.Exit(
        run_plan(
            plan,
            ledger,
            only=tuple(only or ()),
            budget=budget,
            workers=workers,
            fresh=fresh,
            retry_failed=retry_failed,
            dry_run=dry_run,
            display=Show.JSON if json else display,
            fail_on=fail_on,
            backend=backend.value,
            improve=improve,
            deciders=tuple(decider or ()),
        )
    )


@app.command()
def why(
    what: Annotated[str, typer.Argument(help="task, task::metric, run id (r...), or decision id (d...).")],
    plan: LastPlanOption = None,
    ledger: LedgerOption = DEFAULT_LEDGER,
    json: JsonOption = False,
) -> None:
    """Replay how a verdict or a decision came about, from the ledger alone."""
    from agents.why import explain_why

    raise typer.Exit(explain_why(what, plan, ledger, json=json))


@app.command()
def report(
    plan: LastPlanOption = None,
    ledger: LedgerOption = DEFAULT_LEDGER,
    format: Annotated[str, typer.Option("--format", help="html, md, json or text.")] = "html",
    out: Annotated[Path | None, typer.Option("--out", help="Where to write; default: beside the ledger; `-` is stdout.")] = None,
    timeless: Annotated[
        bool, typer.Option("--timeless", help="Leave out times and durations; equal facts, equal bytes.")
    ] = False,
) -> None:
    """Write the report, a pure function of the ledger."""
    from agents.reading import write_report

    raise typer.Exit(write_report(plan, ledger, format=format, out=out, without_times=timeless))


@app.command()
def runs(
    ledger: LedgerOption = DEFAULT_LEDGER,
    module: Annotated[str | None, typer.Option("--module", help="Only this module.")] = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only this status.")] = None,
    json: JsonOption = False,
) -> None:
    """List every measurement the ledger holds."""
    from agents.reading import list_runs

    raise typer.Exit(list_runs(ledger, module=module, status=status, json=json))


@app.command()
def modules(
    name: NameArgument = None,
    shelf: Annotated[str, typer.Option("--shelf", help="module, benchmark, env, decider or guard.")] = "module",
    table: Annotated[bool, typer.Option("--table", help="Modules x benchmarks and Pareto fronts, as measured.")] = False,
    ledger: LedgerOption = DEFAULT_LEDGER,
    earlier: Annotated[
        bool, typer.Option("--earlier", help="With --table: also show what was measured under code that has since changed.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List what stands on a shelf, or all about one thing on it; with --table, what was measured of the modules."""
    from agents.reading import say, show_table
    from agents.shelves import list_shelf, show_entry

    if name is not None:
        raise typer.Exit(
            show_entry(name, json=json) if not table else say(Exit.USAGE, "`--table` shows all modules; leave NAME out")
        )
    raise typer.Exit(show_table(ledger, earlier=earlier, json=json) if table else list_shelf(shelf, json=json))


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="The module that is asked about.")],
    b: Annotated[str, typer.Argument(help="The module it is compared with.")],
    benchmark: Annotated[str, typer.Option("--benchmark", help="What both are measured on.")] = "bytes-stdlib-v1",
    metric: Annotated[str | None, typer.Option("--metric", help="Default: the benchmark's first.")] = None,
    better: Annotated[
        Better | None, typer.Option("--better", help="Which way the metric is better, where that is not known.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=3, help="Seeds of each, fixed before the run.")] = 5,
    up_to: Annotated[
        int | None, typer.Option("--up-to", min=3, help="Seeds that an undecided comparison may buy, in the same declared error.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Training steps of each run; default: the benchmark's.")
    ] = None,
    config_a: Annotated[
        list[str] | None,
        typer.Option(
            "--config-a", metavar="TOML", help="A line of TOML for A, e.g. d_model=64 or recipe.lr=1e-2; may be repeated."
        ),
    ] = None,
    config_b: Annotated[
        list[str] | None, typer.Option("--config-b", metavar="TOML", help="A line of TOML for B; may be repeated.")
    ] = None,
    data: DataOption = None,
    ledger: LedgerOption = DEFAULT_LEDGER,
    budget: BudgetOption = None,
    workers: WorkersOption = None,
    retry_failed: RetryOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure nothing; print the runs and the time.")] = False,
    display: Annotated[Show, typer.Option("--display", help="How the work is told on stderr.")] = Show.AUTO,
    json: JsonOption = False,
) -> None:
    """Say whether module A is better or worse than B at equal budget, or that the seeds do not tell."""
    from agents.compare import Wish
    from agents.compare import compare as answer

    wish = Wish(
        a=a,
        b=b,
        benchmark=benchmark,
        metric=metric,
        better=None if better is None else better.value,
        seeds=seeds,
        up_to=up_to,
        steps=steps,
        config_a=config_a or (),
        config_b=config_b or (),
        data=data,
    )
    raise typer.Exit(
        answer(
            wish,
            ledger,
            budget=budget,
            workers=workers,
            retry_failed=retry_failed,
            dry_run=dry_run,
            display=display,
            json=json,
        )
    )


@app.command()
def plan(
    what: Annotated[PlanVerb, typer.Argument(help="`diff`: what a changed plan asks less of.")],
    plans: Annotated[
        list[str] | None, typer.Argument(help="[OLD] NEW: files, OLD also as REV:PATH; default: ledger, plan/Plan.md.")
    ] = None,
    ledger: LedgerOption = DEFAULT_LEDGER,
    acknowledge: Annotated[bool, typer.Option("--acknowledge", help="As a person: let what NEW asks less of stand.")] = False,
    json: JsonOption = False,
) -> None:
    """Flag every weakened target of a changed plan, with its line; `run` waits until a person acknowledges it."""
    from agents.plan_diff import plan_diff

    *old, new = plans or [str(DEFAULT_PLAN)]
    if len(old) > 1:
        raise typer.BadParameter(f"{len(old) + 1} plans; give OLD and NEW")
    raise typer.Exit(plan_diff(old[0] if old else None, Path(new), ledger, acknowledge=acknowledge, json=json))


@app.command()
def pulls(
    repo: Annotated[Path, typer.Option("--repo", help="A clone, or a folder inside it.")] = Path("."),
    github: Annotated[str | None, typer.Option("--github", help="OWNER/NAME: ask GitHub which are open.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="Another API server than GitHub's own.")] = None,
    branches: Annotated[
        str | None, typer.Option("--branches", help="Without --github: look at the local branches of this pattern.")
    ] = None,
    base: Annotated[str | None, typer.Option("--base", help="Without --github: the branch they go into.")] = None,
    use_asyncio: Annotated[
        bool, typer.Option("--use-asyncio", help="Merge on all cores while the server is still being asked.")
    ] = False,
    watch: Annotated[float | None, typer.Option("--watch", min=1.0, help="Look again every so many seconds.")] = None,
    ledger: LedgerOption = DEFAULT_LEDGER,
    json: JsonOption = False,
) -> None:
    """Say which open pull requests conflict with their base and with each other, as text and in meaning."""
    from agents.pulls.tell import look_at_pulls
    from agents.pulls.transport import API
    from agents.pulls.watch import Source
    from agents.reading import say

    if github is None and url is not None:
        raise typer.Exit(say(Exit.USAGE, "`--url` needs `--github OWNER/NAME`; nothing was asked"))
    if github is not None and (branches is not None or base is not None):
        raise typer.Exit(say(Exit.USAGE, "`--branches` and `--base` are for a clone without `--github`; nothing was asked"))
    source = Source(repo=repo, github=github, url=url or API, branches=branches, base=base)
    raise typer.Exit(look_at_pulls(source, ledger, concurrent=use_asyncio, every=watch, json=json))


@app.command()
def calibrate(
    module: Annotated[str, typer.Argument(help="The module that is compared with itself.")] = "transformer",
    benchmark: Annotated[str, typer.Option("--benchmark", help="What it is measured on.")] = "bytes-stdlib-v1",
    pairs: Annotated[int, typer.Option("--pairs", min=2, help="Pairs of measurements, each with two seeds.")] = 6,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training steps; default: the benchmark's.")] = None,
    config: Annotated[
        list[str] | None, typer.Option("--config", metavar="TOML", help="A line of TOML, e.g. d_model=64; may be repeated.")
    ] = None,
    data: DataOption = None,
    ledger: LedgerOption = DEFAULT_LEDGER,
    show: Annotated[bool, typer.Option("--show", help="Measure nothing; print every calibration of the ledger.")] = False,
    json: JsonOption = False,
) -> None:
    """Compare a module with itself: how noisy this machine is, and which differences can be found in that noise."""
    from agents import calibrate as verb

    if show:
        raise typer.Exit(verb.show(ledger, json=json))
    code = verb.calibrate(
        module, ledger, benchmark=benchmark, pairs=pairs, steps=steps, config=config or (), data=data, json=json
    )
    raise typer.Exit(code)


@app.command()
def review(
    decision: Annotated[str | None, typer.Argument(help="Decision id (d...); without one, list what may be voted on.")] = None,
    approve: Annotated[bool, typer.Option("--approve", help="It should be tried.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="It should not be tried: the guard `critic` blocks it.")] = False,
    comment: Annotated[str, typer.Option("--comment", help="What to keep with it; alone it is no vote.")] = "",
    by: Annotated[str | None, typer.Option("--by", help="Who says so; default: your account.")] = None,
    plan: LastPlanOption = None,
    ledger: LedgerOption = DEFAULT_LEDGER,
    json: JsonOption = False,
) -> None:
    """Vote on a decision, or list decisions with their votes and how far people and critic foresaw what came."""
    from agents import review as verb

    if decision is None:
        raise typer.Exit(verb.show(plan, ledger, json=json))
    raise typer.Exit(verb.vote(decision, ledger, approve=approve, reject=reject, comment=comment, by=by, json=json))


app.command()(rules)


@app.command()
def promote(
    task: Annotated[str, typer.Argument(help="The task whose champion is to be reviewed.")],
    branch: Annotated[str | None, typer.Option("--branch", help="Name of the branch; default: promote/TASK.")] = None,
    plan: LastPlanOption = None,
    ledger: LedgerOption = DEFAULT_LEDGER,
    json: JsonOption = False,
) -> None:
    """Make a branch ready for review from the champion that stands for a task."""
    from agents import promote as verb

    raise typer.Exit(verb.promote(task, plan, ledger, branch=branch, json=json))


@app.command()
def doctor(json: JsonOption = False) -> None:
    """Tell whether this machine and environment can do the job, and what to mend."""
    from agents.doctor import examine

    raise typer.Exit(examine(json=json))


@app.command()
def explain(code: Annotated[str, typer.Argument(help="A fault code such as P007.")]) -> None:
    """Explain a fault code, with a wrong and a right example."""
    from agents.reading import explain_code

    raise typer.Exit(explain_code(code))


for verb in app.registered_commands:
    verb.short_help = (verb.callback.__doc__ or "").partition("\n")[0] if verb.callback else None  # whole, not cut at 45 letters


def main() -> None:
    """Entry point: user errors are told in one paragraph, internal ones leave a crash file."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit(Exit.INTERRUPTED))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a sign that the terminal cannot show is no reason to end
    try:
        from plan.house import check_house

        check_house()
        app(standalone_mode=True)
    except SystemExit:
        raise
    except BrokenPipeError:  # whoever read the output has gone; nothing more can be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.PIPE)
    except Exception as error:
        if os.environ.get("ORCHESTRATE_DEBUG") == "1":
            raise
        from agents.crash import tell

        sys.exit(tell(error))


if __name__ == "__main__":
    main()
