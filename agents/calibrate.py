"""The verb `calibrate`: compares a module with itself on this machine, and says which differences can be found in that noise.

The seeds are the plan's own, from 0 on, one measurement at a time, so what a plan has measured already is taken from the ledger. No candidate
is chosen or judged by these numbers.
"""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from rich.table import Table

from agents.reading import console, say
from agents.running import check_needs, workshop
from agents.schedule import request_of
from bench.calibration import SECONDS, calibration
from bench.events import Calibration
from bench.fold import Facts, fold
from bench.identity import environment_facts
from bench.ledger import Ledger
from bench.one_by_one import OneByOne
from bench.report import wording
from bench.table import primary, words
from plan.exits import Exit
from plan.grammar import parse
from plan.nouns import Plan, Request, Run, Status
from plan.wire import SCHEMA, encode, plain

SHOWN = (8, 16)
"""Numbers of pairs whose detectable difference has a column."""
RECENT = 8
"""Measurements from which the time of those to come is told."""


def calibrate(
    module: str,
    place: str,
    *,
    benchmark: str,
    pairs: int,
    steps: int | None,
    config: Sequence[str],
    data: str | None,
    json: bool,
) -> Exit:
    """Measure what is missing, keep the profile in the ledger, print it. PlanFaults when the command names what is not there."""
    plan = _plan(module, benchmark, pairs, steps, config, data)
    check_needs(plan)
    task = plan.tasks[0]
    with Ledger.open(place) as ledger, ledger.hold():
        runs = list[Run]()
        with OneByOne(ledger, work=workshop(ledger)) as bench:
            requests = [request_of(task, seed) for seed in range(2 * pairs)]
            missing = [request for request in requests if bench.known(request) is None]
            print(_forecast(missing, bench.facts), file=sys.stderr, flush=True)
            for request in requests:
                runs.append(bench.run(request))
                cached = request not in missing
                missing = missing if cached else missing[1:]
                _tell(runs[-1], cached=cached, left=_seconds(missing, bench.facts))
        found = calibration(
            runs,
            module=module,
            benchmark=benchmark,
            config=task.config,
            steps=task.budget.steps,
            machine=environment_facts(),
        )
        about = [found.module, found.benchmark, plain(found.config), found.steps, [run.key for run in runs]]
        ledger.append("calibration", sha256(encode(about).encode()).hexdigest(), found)
        where = ledger.where
    _print([found], where, json=json)
    if not found.noise:
        run = next((run for run in runs if run.status is not Status.OK), runs[0])
        return say(Exit.MISSED, f"no two pairs have numbers; {run.id} ended {run.status.value}: {run.message}")
    return Exit.HOLDS


def show(place: str, *, json: bool) -> Exit:
    """The calibrations that the ledger holds, oldest first."""
    with Ledger.open(place, create=False) as ledger:
        found, where = fold(ledger.events()).calibrations, ledger.where
    if not found and not json:
        return say(Exit.NOTHING, f"{where} holds no calibration; make one with `orchestrate calibrate MODULE`")
    _print(found, where, json=json)
    return Exit.HOLDS


def _plan(module: str, benchmark: str, pairs: int, steps: int | None, config: Sequence[str], data: str | None) -> Plan:
    """The question as a plan of one task, so that what it names is checked as in any plan."""
    lines = [f"# Calibration: {module} against itself", "", f"- **benchmark**: `{benchmark}`", f"- **seeds**: {2 * pairs}"]
    lines += [f"- **budget**: {steps} steps"] if steps is not None else []
    lines += [f"- **data**: `{data}`"] if data is not None else []
    lines += ["", "## itself: the same module again", "", f"- **module**: `{module}`", ""]
    lines += ["| metric | | threshold | rule |", "| --- | -- | --: | --- |", f"| `{primary(benchmark)}` | >= | 0 | mean |", ""]
    lines += ["```toml config", *config, "```", ""] if config else []
    return parse("\n".join(lines), path=f"calibrate {module}")


def _forecast(missing: Sequence[Request], facts: Facts) -> str:
    """What is to be measured, and about how long that takes, as far as the ledger can tell."""
    if not missing:
        return "every measurement is in the ledger; nothing is measured"
    many = wording.many(len(missing), "measurement")
    seconds = _seconds(missing, facts)
    if seconds is None:
        return f"{many}, one at a time; how long they take is told after the first, since the ledger holds none like them"
    return f"{many}, one at a time: about {wording.duration(seconds)}, by like ones in the ledger"


def _seconds(missing: Sequence[Request], facts: Facts) -> float | None:
    """About how long the measurements take: as long each as the latest like them that ended, on average; None when there was none."""
    if not missing:
        return 0.0
    like = [run.cost.seconds for run in facts.runs.values() if replace(run.request, seed=missing[0].seed) == missing[0]]
    recent = like[-RECENT:]
    return len(missing) * sum(recent) / len(recent) if recent else None


def _tell(run: Run, *, cached: bool, left: float | None) -> None:
    how = "in the ledger" if cached else f"measured in {run.cost.seconds:.2g} s"
    word = "" if run.status is Status.OK else f": {run.status.value}, {run.message}"
    rest = f"; about {wording.duration(left)} left" if left and not cached else ""
    print(f"  seed {run.request.seed}: {run.id} {how}{word}{rest}", file=sys.stderr, flush=True)


def _print(found: Sequence[Calibration], where: str, *, json: bool) -> None:
    if json:
        print(jsonlib.dumps({"v": SCHEMA, "ledger": where, "calibrations": [plain(one) for one in found]}))
        return
    out = console()
    for one in found:
        asked = ", ".join(filter(None, [words(one.config), f"{one.steps} steps" if one.steps else ""]))
        failed = f"; {wording.many(one.failed, 'measurement')} failed" if one.failed else ""
        out.print(
            f"{one.module} against itself on {one.benchmark}{f' ({asked})' if asked else ''}: {len(one.runs)} measurements{failed}"
        )
        table = Table(box=None, header_style="dim", pad_edge=False)
        for heading in (
            "metric",
            "mean",
            "sd of a pair's difference",
            "95% interval of it",
            "autocorrelation",
            "pairs",
            *(f"found in {n} pairs" for n in SHOWN),
        ):
            table.add_column(heading, justify="left" if heading == "metric" else "right")
        for name, noise in one.noise.items():
            unit = "s" if name == SECONDS else wording.metric_unit(one.module, one.benchmark, name)
            share = f" ({abs(noise.deviation / noise.mean):.2%})" if noise.mean else ""
            table.add_row(
                name,
                wording.figure(noise.mean, unit),
                wording.figure(noise.deviation, unit) + share,
                wording.interval(noise.low, noise.high, unit),
                "" if noise.autocorrelation is None else f"{noise.autocorrelation:+.2f}",
                str(noise.pairs),
                *(wording.figure(dict(noise.detectable).get(n), unit) if noise.deviation else "any" for n in SHOWN),
            )
        out.print(table)
        clock = "its metrics are timings: what they differ by is this machine's clock and load. " if one.alone else ""
        out.print(f"{clock}Found: the improvement that a run's first duel promotes in nine of ten cases.")
    out.print(f"ledger: {where}")
