"""Four faces of one event stream: live, plain, JSON lines, none. Narration only; results are the caller's."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import IO, Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from agents.events import Decided, Event, Finished, Judged, Noted, Opened, Progressed, Started, Stopped
from agents.trials import TRIAL
from bench.report.wording import clean, duration, log_lines, tally
from bench.scoreboard import Scoreboard
from plan.decision import IMPROVING
from plan.nouns import Plan, State, Status
from plan.wire import SCHEMA, plain

MARKS = {State.PASS: "✓", State.FAIL: "✗", State.UNSURE: "~", State.WAITING: "…"}
PLAIN_MARKS = {State.PASS: "+", State.FAIL: "x", State.UNSURE: "~", State.WAITING: "."}
BARS = "▁▂▃▄▅▆▇█"
HEARTBEAT = 60.0


class Display(AbstractContextManager["Display"]):
    """Shows events; entering and leaving starts and ends whatever it holds on the terminal."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


class JsonDisplay(Display):
    """One JSON record a line on stdout: {"event": ..., "v": 1, ...}; progress is left out."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self.stream = stream

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progressed):
            return
        record: dict[str, Any] = {"event": type(event).__name__.lower(), "v": SCHEMA}
        fields = plain(event)
        if isinstance(event, Opened):
            fields["plan"] = {"path": event.plan.path, "digest": event.plan.digest, "tasks": len(event.plan.tasks)}
        with suppress(BrokenPipeError):  # whoever listened has gone; the work goes on
            print(json.dumps(record | fields, ensure_ascii=False), file=self.stream, flush=True)


class PlainDisplay(Display):
    """One line an event on stderr, and a heart-beat line a minute."""

    def __init__(self, stream: TextIO = sys.stderr, *, clock: Any = time.monotonic, since: float | None = None) -> None:
        """`since`: when the session began, by `clock`; default now."""
        self.stream, self.clock = stream, clock
        self.told = clock()
        self.began = self.told if since is None else since
        self.running: dict[str, Progressed] = {}
        self.marks = MARKS if speaks_unicode(stream) else PLAIN_MARKS

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progressed):
            self.running[event.run] = event
            if self.clock() - self.told >= HEARTBEAT:
                self._say("still measuring " + ", ".join(f"{p.run} step {p.step}/{p.total}" for p in self.running.values()))
            return
        if isinstance(event, Finished):
            self.running.pop(event.run.id, None)
        for line in narrate(event, self.marks):
            self._say(line)

    def _say(self, line: str) -> None:
        self.told = self.clock()
        text = f"{duration(self.told - self.began):>8}  {clean(line)}"
        if not speaks_unicode(self.stream):
            text = text.encode("ascii", "replace").decode("ascii")
        with suppress(BrokenPipeError):
            print(text, file=self.stream, flush=True)


class LiveDisplay(Display):
    """Events scroll by; under them one line a running measurement, with a sparkline, and one total."""

    def __init__(self, console: Console | None = None, *, since: float | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.running: dict[str, Started] = {}
        self.progress: dict[str, Progressed] = {}
        self.curves: dict[str, list[float]] = {}
        self.began: dict[str, float] = {}
        self.start = time.monotonic() if since is None else since
        self.budget: float | None = None
        self.plan: Plan | None = None
        self.judged: Judged | None = None
        self.live = Live(console=self.console, refresh_per_second=4, transient=True, get_renderable=self._draw)  # draws at once

    def __enter__(self) -> LiveDisplay:
        self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.live.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case Opened():
                self.budget, self.plan = event.budget, event.plan
            case Started():
                self.running[event.run] = event
                self.began[event.run] = time.monotonic()
                return
            case Progressed():
                self.progress[event.run] = event
                curve = self.curves.setdefault(event.run, [])
                curve.extend(list(event.numbers.values())[:1])
                return
            case Finished():
                for known in (self.running, self.progress, self.curves, self.began):
                    known.pop(event.run.id, None)
            case Judged():
                self.judged = event
        unicode = speaks_unicode(self.console.file)
        for line in narrate(event, MARKS if unicode else PLAIN_MARKS):
            line = clean(line)
            self.live.console.print(Text(line if unicode else line.encode("ascii", "replace").decode()))

    def _draw(self) -> Group:
        lines = [self._line(run, started) for run, started in self.running.items()]
        total = f"{duration(time.monotonic() - self.start)}"
        if self.budget is not None:
            total += f" of {duration(self.budget)}"
        if self.judged is not None and self.plan is not None:
            held = tally(Scoreboard(plan=self.plan, verdicts=self.judged.verdicts))
            total += f"   {self.judged.done}/{self.judged.jobs} measurements   {held}"
            if self.judged.seconds_left is not None:
                total += f"   ≈ {duration(self.judged.seconds_left)} left"
        return Group(*lines, Text(total, style="bold"))

    def _line(self, run: str, started: Started) -> Text:
        request = started.request
        name = f" ▸ {', '.join(started.tasks) or 'gate'} · {request.module} seed {request.seed}"
        progress = self.progress.get(run)
        if progress is None or not progress.total:
            return Text(f"{name:<44} starting", style="cyan")
        share = progress.step / progress.total
        bar = "━" * round(16 * share) + "╌" * (16 - round(16 * share))
        spent = time.monotonic() - self.began[run]
        left = f"≈ {duration(spent / share - spent)} left" if share > 0.02 else ""
        number = "  ".join(f"{key} {value:.4g}" for key, value in list(progress.numbers.items())[:1])
        return Text(
            f"{name:<44} {progress.step:>5}/{progress.total} {bar} {left:<14} {number} {sparkline(self.curves.get(run, []))}",
            style="cyan",
            no_wrap=True,
            overflow="ellipsis",
        )


def narrate(event: Event, marks: dict[State, str]) -> Iterable[str]:
    """The lines a person reads about one event."""
    match event:
        case Opened():
            budget = f" · budget {duration(event.budget)}" if event.budget is not None else ""
            yield (
                f"{event.plan.path}: {len(event.plan.tasks)} tasks · {event.jobs} measurements, {event.cached} already in "
                f"{event.ledger} · {event.workers} at a time{budget}"
            )
        case Started():
            again = "" if event.reason == "new" else f": {event.reason}"
            yield f"measuring {event.run} {_asked(event.tasks, event.request.module, event.request.benchmark, event.request.seed)}{again}"
        case Finished():
            run = event.run
            name = _asked(event.tasks, run.request.module, run.request.benchmark, run.request.seed)
            if run.status is Status.OK:
                yield f"measured  {run.id} {name} in {duration(run.cost.seconds)}"
                if not event.tasks and run.metrics.get("failures"):
                    many = run.metrics["failures"]
                    yield (
                        f"    red gate: `{run.request.module}` breaks {many:g} contract check{'' if many == 1 else 's'}; "
                        "the tasks behind it are not judged"
                    )
            else:
                yield f"{run.status.value:<9} {run.id} {name}: {run.message}"
                if run.status is not Status.KILLED:
                    yield from (f"    | {line}" for line in log_lines(run)[-20:])
        case Judged():
            yield from (
                f"{marks[v.state]} {v.id} {v.state.value}: {v.reason}" for v in event.changed if v.state is not State.WAITING
            )
        case Decided():
            yield f"decision {event.decision.id} by {event.decision.decider}: {event.decision.why}"
            for opinion in event.opinions:
                if opinion.stance.value != "allow":
                    yield f"    {opinion.stance.value} by {opinion.guard} ({opinion.clause}): {opinion.why}"
            yield f"    {_became(event)}"
        case Noted():
            yield event.text
        case Stopped():
            yield f"{event.reason} after {duration(event.seconds)}"
        case Progressed():
            pass


def _became(event: Decided) -> str:
    """What is true once a decision was carried out or not: what improves a task changes nothing before it has won."""
    if not event.applied:
        return "not applied"
    if event.decision.action.kind in IMPROVING:
        return "its duel begins; the champion stands until it is beaten"
    return "its trial begins; nothing is changed by it" if event.decision.action.kind == TRIAL else "applied"


def sparkline(values: list[float], *, width: int = 16) -> str:
    """The last part of a curve as block characters, resampled to `width`; numbers that are none are left out."""
    values = [value / 2 for value in values if math.isfinite(value)]  # half of it, so that no difference overflows
    if len(values) < 2:
        return ""
    picked = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)] if len(values) > width else values
    low, high = min(picked), max(picked)
    return "".join(BARS[round((value - low) / ((high - low) or 1.0) * (len(BARS) - 1))] for value in picked)


def _asked(tasks: tuple[str, ...], module: str, benchmark: str, seed: int) -> str:
    return f"{', '.join(tasks) or 'gate'} ({module}, {benchmark}, seed {seed})"


def speaks_unicode(stream: IO[str]) -> bool:
    """Whether marks, bars and curves can be shown on `stream`."""
    return (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "").startswith("utf")
