"""The verb `compare`: two modules on the same seeds, batches and steps, and one of three answers.

The question becomes a plan of two tasks, held in memory, and runs through the loop like any other: the same ledger and cache, gates and
budgets, resumed when it was interrupted. The plan's text is in the ledger, so `why` and `report` tell of it as of any plan.
"""

from __future__ import annotations

import json as jsonlib
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.table import Table

from agents.reading import say
from bench.comparison import ERROR, Answer, Comparison, Side, compared
from bench.direction import Better, better_when
from bench.report import wording
from bench.report.terminal import PLAIN_HEAD, Face
from bench.table import primary
from plan import catalogue
from plan.exits import Exit
from plan.grammar import parse
from plan.nouns import Plan
from plan.wire import SCHEMA, plain

if TYPE_CHECKING:
    from bench.fold import Facts

EXITS = {Answer.BETTER: Exit.HOLDS, Answer.WORSE: Exit.MISSED, Answer.UNDECIDED: Exit.UNDECIDED, Answer.NONE: Exit.MISSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be compared, as the command line says it."""

    a: str
    b: str
    benchmark: str = "bytes-stdlib-v1"
    metric: str | None = None
    """The benchmark's first by default."""
    better: Better | None = None
    """For a metric of which nobody has said which way is better."""
    seeds: int = 5
    up_to: int | None = None
    """Seeds that an undecided comparison may buy; they are paid for in the declared error."""
    steps: int | None = None
    config_a: Sequence[str] = ()
    """Lines of TOML, as in the config of a task."""
    config_b: Sequence[str] = ()
    data: str | None = None


def compare(
    wish: Wish,
    place: str,
    *,
    budget: str | None,
    workers: int | None,
    retry_failed: bool,
    dry_run: bool,
    display: str,
    json: bool,
) -> Exit:
    """Everything `orchestrate compare` does; the exit code. PlanFaults when the wish names what is not there."""
    if wish.up_to is not None and wish.up_to < wish.seeds:
        return say(Exit.USAGE, f"`--up-to {wish.up_to}` is below `--seeds {wish.seeds}`; nothing was run")
    if fault := unmeasured(wish):
        return say(Exit.USAGE, f"{fault}; nothing was run")
    plan, better = plan_for(wish)
    if better is None:
        metric = plan.tasks[-1].targets[0].metric
        return say(
            Exit.USAGE, f"nobody has said which way `{metric}` is better; say `--better less` or `--better more`; nothing was run"
        )
    from agents.orchestrator import Options, cores
    from agents.plan_diff import looked_before
    from agents.running import check_needs, seconds_in, session, stopped_by_signal
    from bench.fold import fold
    from bench.identity import environment_facts
    from bench.ledger import Ledger

    try:
        seconds = None if budget is None else seconds_in(budget)
    except ValueError as error:
        return say(Exit.USAGE, str(error))
    options = Options(
        workers=workers or cores(),
        budget=seconds,
        retry_failed=retry_failed,
        alternate=True,
        command=shlex.join(["orchestrate", *sys.argv[1:]]),
        machine=environment_facts(),
    )
    check_needs(plan)
    if dry_run:
        from agents.dry_run import print_forecast

        return print_forecast(plan, place, options)
    with Ledger.open(place) as ledger, ledger.hold():
        again = looked_before(fold(ledger.events()), plan)
        loop = session(plan, ledger, options, display=display, backend="asyncio")
        found = compared(plan, loop.standing.verdicts, loop.standing.runs_by_task(), better=better)
        found = replace(found, warnings=(*found.warnings, *again))
        where, detectable = ledger.where, _detectable(found, loop.standing.facts)
    if json:
        print(jsonlib.dumps({**document(found, plan, ledger=where), "detectable": detectable}))
    else:
        print_comparison(found, ledger=where, detectable=detectable)
    ended = stopped_by_signal(loop)
    return EXITS[found.answer] if ended is None else ended


def unmeasured(wish: Wish) -> str | None:
    """Why `--metric` names what is not measured; None where it names what is, or where something graver is at fault."""
    benchmark, modules = catalogue.shelf("benchmark").get(wish.benchmark), catalogue.shelf("module")
    if wish.metric is None or benchmark is None or not {wish.a, wish.b} <= modules.keys():
        return None
    known = {**(benchmark.arguments.get("metrics") or {}), **(modules[wish.a].arguments.get("metrics") or {})}
    if wish.metric in known:
        return None
    near = catalogue.suggest(wish.metric, known)
    return f"`{wish.benchmark}` reports no `{wish.metric}`; " + (
        f"did you mean `--metric {near}`?" if near else f"it reports {', '.join(known)}"
    )


def plan_for(wish: Wish) -> tuple[Plan, Better | None]:
    """The plan that asks this question, and which way its metric is better, None where nobody has said so; PlanFaults as of any plan.

    The text says that the first task needs the second, as a plan must; the plan returned leaves it out, so that both are measured seed by seed.
    """
    metric = wish.metric or primary(wish.benchmark)
    better = better_when(wish.a, wish.benchmark, metric) or wish.better
    plan = parse(_text(wish, metric, better or "less"), path=shlex.join(["compare", wish.a, wish.b]))
    return replace(plan, tasks=tuple(replace(task, needs=()) for task in plan.tasks)), better


def _text(wish: Wish, metric: str, better: Better) -> str:
    a, b = (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "module" for name in (wish.a, wish.b))
    ours, theirs = f"a-{a}-vs-{b}", f"b-{b}-vs-{a}"
    settings = [
        f"- **benchmark**: `{wish.benchmark}`",
        f"- **seeds**: {wish.seeds}" + (f", up to {wish.up_to}" if wish.up_to and wish.up_to > wish.seeds else ""),
        f"- **budget**: {wish.steps} steps" if wish.steps is not None else "",
        f"- **data**: `{wish.data}`" if wish.data is not None else "",
    ]
    level = 100 * (1 - ERROR / 2)
    good, bad = (("<", f"upper {level:g}%"), (">", f"lower {level:g}%"))[:: 1 if better == "less" else -1]
    return "\n".join(
        [
            f"# Comparison: {wish.a} against {wish.b}",
            "",
            f"Both are measured with the same seeds, on the same batches. Of two that are the same, one is called better or worse in {ERROR:.0%}",
            "of all comparisons at most.",
            "",
            *filter(None, settings),
            "",
            f"## {theirs}: what {wish.b} measures",
            "",
            "Its row only shows the number.",
            "",
            *_task(wish.b, (), [(metric, ">=", "0", "mean")], wish.config_b),
            f"## {ours}: {wish.a} is better, or it is worse",
            "",
            "Holds the first row, it is better; the second, worse; neither, and the seeds do not tell.",
            "",
            *_task(wish.a, (theirs,), [(metric, sign, f"1 x {theirs}", rule) for sign, rule in (good, bad)], wish.config_a),
        ]
    )


def _task(module: str, needs: Sequence[str], rows: Sequence[tuple[str, str, str, str]], config: Sequence[str]) -> Iterator[str]:
    yield f"- **module**: `{module}`"
    yield from (f"- **needs**: `{need}`" for need in needs)
    yield from ("", "| metric | | threshold | rule |", "| --- | -- | --: | --- |")
    yield from (f"| `{metric}` | {sign} | {threshold} | {rule} |" for metric, sign, threshold, rule in rows)
    yield ""
    if config:
        yield from ("```toml config", *config, "```", "")


def _detectable(found: Comparison, facts: Facts) -> float | None:
    """The difference that so many seeds tell in nine of ten cases, by the ledger's latest calibration of this benchmark with either module."""
    from bench.calibration import latest, told_apart

    known = latest(facts.calibrations, found.benchmark, modules=(found.a.module, found.b.module))
    noise = known.noise.get(found.metric) if known else None
    return None if noise is None else told_apart(noise.deviation, n=found.n, error=(1 - found.confidence) / 2)


def print_comparison(found: Comparison, *, ledger: str, detectable: float | None = None) -> None:
    """The answer in a sentence, the difference, what each side was given, and the next step."""
    face = Face(sys.stdout)
    face.line(face.text(sentence(found), "bold"))
    if found.difference is not None:
        face.line(face.text(_difference(found)))
    face.line(
        face.text(
            f"{found.reason}"
            + (f"; about {wording.many(found.more_seeds, 'more seed')} would decide it" if found.more_seeds else "")
        )
    )
    if detectable is not None:
        told = f"by calibration, {wording.many(found.n, 'seed')} tell a difference of {wording.figure(detectable, found.unit)} in nine of ten cases"
        face.line(face.text(told))
    face.console.print(_sides(face, found))
    for warning in found.warnings:
        face.line(face.text(f"warning: {warning}", "yellow"))
    face.line(face.text(f"→  orchestrate why {found.a.task}{wording.beside(ledger)}"), face.text(f"ledger: {ledger}"))


def sentence(found: Comparison) -> str:
    """The answer for people."""
    a, b, on = found.a.module, found.b.module, f"in `{found.metric}` on `{found.benchmark}`"
    match found.answer:
        case Answer.NONE:
            return f"no answer: {a} and {b} cannot be compared {on}"
        case Answer.UNDECIDED:
            return f"~ undecided: whether {a} is better or worse than {b} {on}"
        case Answer.BETTER:
            return f"✓ better: {a} than {b} {on}"
    return f"✗ worse: {a} than {b} {on}"


def _difference(found: Comparison) -> str:
    seeds = f"{wording.many(found.n, 'seed')}, {found.better} is better"
    claimed = f"; declared error {wording.rate(found.error)}" if found.error is not None else ""
    between = f"{100 * found.confidence:.4g}% interval {wording.interval(found.low, found.high, found.unit)}"
    return f"A - B = {wording.figure(found.difference, found.unit)}, {between}; {seeds}{claimed}"


def _sides(face: Face, found: Comparison) -> Table:
    table = Table(box=PLAIN_HEAD, header_style="dim", pad_edge=False)
    for heading in ("", "A", "B"):
        table.add_column(heading, overflow="fold")

    def row(name: str, one: str, two: str) -> None:
        table.add_row(*map(face.text, (name, one, two)))

    a, b, unit = found.a, found.b, found.unit
    row("module", a.module, b.module)
    row("overrides", a.overrides or "none", b.overrides or "none")
    row(found.metric, *(_estimate(side, unit) for side in (a, b)))
    for name, values, base in (
        ("steps", (a.steps, b.steps), ""),
        ("tokens", (a.tokens, b.tokens), ""),
        ("parameters", (a.parameters, b.parameters), ""),
        ("training FLOPs a token", (a.train_flops, b.train_flops), "FLOP"),
        ("training FLOPs", (a.training_flops, b.training_flops), "FLOP"),
    ):
        if values != (None, None):
            row(name, *(wording.figure(value, base) for value in values))
    return table


def _estimate(side: Side, unit: str) -> str:
    one = side.estimate
    if one is None:
        return "not measured"
    spread = f"  ({wording.interval(one.low, one.high, unit)})" if one.low is not None else ""
    return f"{wording.figure(one.value, unit)}{spread}  n {len(one.values)}"


def document(found: Comparison, plan: Plan, *, ledger: str) -> dict[str, Any]:
    """The comparison as plain JSON values."""
    return {"v": SCHEMA, **plain(found), "plan": {"path": plan.path, "digest": plan.digest}, "ledger": ledger}
