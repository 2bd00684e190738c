"""The verb `run`: opens the ledger, holds it, runs the loop behind a display, and prints the table."""

from __future__ import annotations

import itertools
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import anyio

from agents.display import Display, JsonDisplay, LiveDisplay, PlainDisplay, speaks_unicode
from agents.orchestrator import Options, Orchestrator, cores
from agents.plan_diff import refused
from agents.reading import beside, read_plan, say, tell
from agents.schedule import gate_request, request_of, select
from bench import texts
from bench.data import survey_tasks
from bench.fold import fold
from bench.identity import Identifier, environment_facts
from bench.ledger import Ledger, LedgerFault
from kernels.native import names, prepare
from plan.catalogue import shelf, suggest
from plan.decision import IMPROVING
from plan.exits import Exit, FailOn, exit_code
from plan.nouns import Plan, Task

BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?")
SCALE = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def run_plan(
    path: Path,
    place: str,
    *,
    only: tuple[str, ...],
    budget: str | None,
    workers: int | None,
    fresh: bool,
    retry_failed: bool,
    dry_run: bool,
    display: str,
    fail_on: FailOn,
    backend: str,
    improve: str | None = None,
    deciders: tuple[str, ...] = (),
) -> Exit:
    """Everything `orchestrate run` does; the exit code."""
    plan = read_plan(path)
    if fault := _unknown(improve, deciders):
        return say(Exit.USAGE, f"{fault}; nothing was run")
    if improve is not None:
        plan = replace(plan, tasks=tuple(replace(task, improve=task.improve or kinds_in(improve)) for task in plan.tasks))
    try:
        seconds = None if budget is None else seconds_in(budget)
    except ValueError as error:
        return say(Exit.USAGE, str(error))
    strangers = [id for id in only if id not in {task.id for task in plan.tasks}]
    if strangers:
        near = suggest(strangers[0], [task.id for task in plan.tasks])
        hint = f"; did you mean `{near}`?" if near else ""
        return say(Exit.NOTHING, f"`{plan.path}` has no task `{strangers[0]}`{hint}; nothing was run")
    if not _has_torch():
        told = "`torch` is not installed, and every measurement needs it; nothing was run\n  help: `python -m pip install -e .`"
        return say(Exit.ENVIRONMENT, told)
    options = Options(
        workers=workers or cores(),
        only=only,
        budget=seconds,
        retry_failed=retry_failed,
        deciders=deciders,
        command=shlex.join(["orchestrate", *sys.argv[1:]]),
        machine=environment_facts(),
    )
    if fault := _unreadable():
        return say(Exit.ENVIRONMENT, fault)
    check_needs(plan, only)
    if dry_run:
        from agents.dry_run import print_forecast

        return print_forecast(plan, place, options)
    return _work(plan, place, options, display=display, fail_on=fail_on, backend=backend, fresh=fresh)


def _unreadable() -> str | None:
    """What stands on the shelves of those who decide and cannot be read: without it others would decide alone."""
    broken = [
        f"the {kind} `{item.name}` cannot be read: {item.why}" for kind in ("guard", "decider") for item in shelf(kind).broken
    ]
    return "\n  ".join([*broken, "mend the file or take it off its shelf; nothing was run"]) if broken else None


def kinds_in(improve: str) -> tuple[str, ...]:
    """`tune, replace` as the kinds of actions that it names."""
    return tuple(dict.fromkeys(kind.strip() for kind in improve.split(",")))


def _unknown(improve: str | None, deciders: tuple[str, ...]) -> str | None:
    for word, known, what in [
        *((kind, IMPROVING, "way to improve") for kind in (kinds_in(improve) if improve is not None else ())),
        *((name, shelf("decider"), "decider") for name in deciders),
    ]:
        if word not in known:
            near = suggest(word, known)
            return f"there is no {what} `{word}`" + (f"; did you mean `{near}`?" if near else f"; there are {', '.join(known)}")
    return None


def seconds_in(budget: str) -> float:
    """`3m` as 180.0; ValueError for what is no time."""
    matched = BUDGET.fullmatch(budget.strip())
    if matched is None:
        raise ValueError(f"`--budget {budget}` is no time; write e.g. 90s, 3m or 1.5h; nothing was run")
    return float(matched[1]) * SCALE[matched[2]]


def sweep_undecided(ledger: Ledger, work: Path) -> None:
    """Take away the branches and work trees of duels that no session will end any more; those of champions stay."""
    from agents.worktree import Branches, NoRepository
    from bench.repository import GitFault

    told = []
    try:
        facts = fold(ledger.events())
        won = [case.applied.details for case in facts.cases.values() if case.applied and case.promoted and case.undone is None]
        if any(case.decision.action.kind in IMPROVING for case in facts.cases.values()):
            kept = {one["branch"]: one["commit"] for one in won if one.get("branch")}
            told = Branches(work, ledger=facts.first_session).sweep(keep=kept)
    except (LedgerFault, NoRepository, GitFault, OSError) as error:
        told = [f"branches of its candidates could not be taken away: {error}"]
    for line in told:
        print(line, file=sys.stderr)


def _work(plan: Plan, place: str, options: Options, *, display: str, fail_on: FailOn, backend: str, fresh: bool) -> Exit:
    if fresh and "://" in place and not place.startswith("sqlite"):
        return say(Exit.USAGE, "`--fresh` sets a file aside; on a server name another database with `--ledger`; nothing was run")
    if fresh and ("://" in place or Path(place).exists()):
        with Ledger.open(place) as earlier, earlier.hold():
            aside = set_aside(earlier)
        print(f"the earlier ledger was set aside as {aside}", file=sys.stderr)
    with Ledger.open(place) as ledger, ledger.hold():
        if told := refused(fold(ledger.events()), plan, place):
            return say(Exit.FAULTS, told)
        loop = session(plan, ledger, options, display=display, backend=backend)
        selected = {task.id for task in loop.standing.tasks}
        if display != "json":
            tell(ledger, only=selected if options.only else None)
    if (ended := stopped_by_signal(loop)) is not None:
        return ended
    return exit_code([verdict for verdict in loop.standing.verdicts if verdict.task in selected], fail_on)


def session(plan: Plan, ledger: Ledger, options: Options, *, display: str, backend: str) -> Orchestrator:
    """One session of the loop, to its end, over a ledger that the caller holds."""
    _build_kernels(select(plan, options.only))
    texts.recall()
    with _display(display, since=options.since) as watch:
        loop = Orchestrator(plan, ledger, work=workshop(ledger), options=options, watch=watch)
        anyio.run(loop.run, backend=backend)
    texts.keep()
    return loop


def stopped_by_signal(loop: Orchestrator) -> Exit | None:
    """The exit code of a session that a signal ended."""
    if loop.signal is None:
        return None
    return Exit.INTERRUPTED if loop.signal == signal.SIGINT else Exit.TERMINATED


def _build_kernels(tasks: Sequence[Task]) -> None:
    """Compile what is missing and reached by the tasks' code before anything is measured, so that no measurement pays for it."""

    def tell(name: str) -> None:
        print(f"building kernel `{name}`, once for this machine", file=sys.stderr, flush=True)

    refused = prepare(tell, needed=lambda: kernels_of(tasks))
    for message in refused.values():
        print(f"{message}\n  runs that need it will crash; the others go on", file=sys.stderr)


def kernels_of(tasks: Sequence[Task]) -> set[str]:
    """The kernels that measurements of `tasks` reach; all where improving may bring another module in, or where nobody can tell."""
    if any(task.improve for task in tasks):
        return set(names())
    identifier = Identifier()
    requests = [request for task in tasks for request in (request_of(task, 0), *([gate_request(task)] if task.gate else []))]
    try:
        files = {Path(file) for request in requests for file in identifier.identify(request).code.files}
    except (LookupError, OSError):  # the loop meets it too, and says what it means
        return set(names())
    return {file.stem for file in files if file.suffix == ".cpp"}


class NoDevice(Exception):
    """A plan asks for a device that this machine, or this build of torch, does not have."""


def check_needs(plan: Plan, only: tuple[str, ...] = ()) -> None:
    """DataError or NoDevice that names the task and its line when what it measures on is not there; what a text lacks is told on stderr."""
    tasks = select(plan, only)
    for note in survey_tasks(tasks, plan=plan.path):
        print(note, file=sys.stderr)
    if not (elsewhere := [task for task in tasks if task.device != "cpu"]):
        return
    there = _cuda_devices()
    for task in elsewhere:
        if int(task.device.partition(":")[2] or 0) >= there:
            raise NoDevice(
                f"task `{task.id}` at {plan.path}:{task.line} asks for `{task.device}`, and torch sees {there or 'no'} CUDA devices "
                "here; nothing was run\n  help: run it where there is one, or write `- **device**: cpu`"
            )


def _has_torch() -> bool:
    with suppress(ModuleNotFoundError):
        return find_spec("torch") is not None
    return False


def _cuda_devices() -> int:
    """How many torch sees; asked in a process of its own, since this one imports no torch."""
    asked = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout.strip()
    return int(said) if said.isdecimal() else 0


def set_aside(ledger: Ledger) -> Path:
    """Rename a file's ledger and its work folder so that a new one starts empty; nothing is deleted."""
    file = Path(ledger.where)
    if not file.is_absolute():
        raise LedgerFault("only a file can be set aside", where=ledger.where, mend="name another database for a fresh start")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    sweep_undecided(ledger, workshop(ledger))
    work, aside = workshop(ledger), file.with_name(f"{file.stem}-{stamp}{file.suffix}")
    for again in itertools.count(2):
        if not aside.exists() and not beside(aside, "work").exists():
            break
        aside = file.with_name(f"{file.stem}-{stamp}-{again}{file.suffix}")
    ledger.close()
    for suffix in ("", "-wal", "-shm"):
        part = file.with_name(file.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    if work.exists():
        work.rename(beside(aside, "work"))
    return aside


def workshop(ledger: Ledger) -> Path:
    """Folder for the measurements' logs and checkpoints: beside the ledger's file, else under `runs/`."""
    file = Path(ledger.where)
    if file.is_absolute():
        return beside(file, "work")
    return Path(f"runs/server-{sha256(ledger.where.encode()).hexdigest()[:8]}-work").resolve()


def _display(name: str, *, since: float) -> Display:
    match name:
        case "json":
            return JsonDisplay()
        case "none":
            return Display()
        case "live":
            return LiveDisplay(since=since)
        case "auto" if sys.stderr.isatty() and speaks_unicode(sys.stderr):
            return LiveDisplay(since=since)
    return PlainDisplay(since=since)
