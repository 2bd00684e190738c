"""The charts of the HTML report as inline SVG: targets as strips, curves with every seed, runs as time lanes.

Colours are classes of the style sheet. Every chart carries a title and a description, and stands beside a table of its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from bench.report.markup import Markup, tag
from bench.scoreboard import Lane, Told
from plan.nouns import State, Status, Verdict

Points = Sequence[tuple[float, float]]
FINEST = 160
"""Points a drawn curve keeps at most."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps [low, high] linearly to [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def strip(verdict: Verdict, *, described: str) -> Markup:
    """One target: the threshold as a line, its good side tinted, the interval as a bar, seeds as dots."""
    known: list[float] = [v for v in (verdict.threshold, verdict.low, verdict.high, verdict.value, *verdict.values) if _finite(v)]
    if not any(_finite(v) for v in (verdict.value, *verdict.values)):
        return tag("span", "no number" if verdict.state is State.FAIL else "not measured yet", class_="faint")
    width, height, middle = 300.0, 34.0, 17.0
    pad = (max(known) - min(known)) * 0.08 or abs(known[0]) * 0.05 or 1.0
    x = Scale(min(known) - pad, max(known) + pad, 0, width)
    parts = [tag("line", x1=0, x2=width, y1=middle, y2=middle, class_="axis")]
    if _finite(verdict.threshold):
        at = x(verdict.threshold)
        good = (at, width) if verdict.target.comparator.wants_more else (0.0, at)
        parts.insert(0, tag("rect", x=good[0], y=3.0, width=good[1] - good[0], height=height - 6, class_="good"))
    if verdict.low is not None and verdict.high is not None and verdict.n:
        left, right = (x(v) if _finite(v) else edge for v, edge in ((verdict.low, 0.0), (verdict.high, width)))
        parts.append(tag("rect", x=left, y=middle - 5, width=max(1.5, right - left), height=10, rx=2, class_="interval"))
    parts += [tag("circle", cx=x(value), cy=middle, r=3.6, class_="seed") for value in verdict.values if _finite(value)]
    if _finite(verdict.value):
        parts.append(tag("line", x1=x(verdict.value), x2=x(verdict.value), y1=middle - 8, y2=middle + 8, class_="value"))
    if _finite(verdict.threshold):
        parts.append(tag("line", x1=at, x2=at, y1=1, y2=height - 1, class_="threshold"))
    return chart(width, height, f"strip {verdict.state}", verdict.id, described, parts)


def curves(series: Sequence[Points], centre: Points, lost: Sequence[Points], *, title: str, described: str) -> Markup:
    """Curves over steps: each finished seed thin, their centre thick, those of runs that failed dashed."""
    drawn = [line for line in (*series, *lost, centre) if line]
    width, height = 360.0, 190.0
    ys = [y for line in drawn for _, y in line if math.isfinite(y)]
    xs = [x for line in drawn for x, _ in line]
    pad = (max(ys) - min(ys)) * 0.05 or abs(ys[0]) * 0.05 or 1.0
    ticks = nice(min(ys) - pad, max(ys) + pad, 4)
    left = 12.0 + 6.4 * max(len(short(tick)) for tick in ticks)
    x = Scale(min(xs), max(xs), left, width - 8)
    y = Scale(min(ys) - pad, max(ys) + pad, height - 24, 8)
    parts = []
    for tick in ticks:
        parts.append(tag("line", x1=left, x2=width - 8, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(tag("text", short(tick), x=left - 6, y=y(tick) + 3.5, text_anchor="end"))
    for at, anchor in ((min(xs), "start"), (max(xs), "end")):
        parts.append(tag("text", short(at), x=x(at), y=height - 8, text_anchor=anchor))
    parts += [_line(line, x, y, "one") for line in series]
    parts += [_line(line, x, y, "lost") for line in lost]
    if centre:
        parts.append(_line(centre, x, y, "centre"))
    return chart(width, height, "curves", title, described, parts)


def lanes(runs: Sequence[Lane], told: Sequence[Told], tasks: Sequence[str]) -> Markup:
    """Runs by task over time, decisions as diamonds; stretches in which nothing ran are cut short and marked."""
    clock = Clock(runs)
    rows: list[tuple[str, list[Lane]]] = []
    for task in tasks:
        free: list[list[Lane]] = []
        for lane in sorted((lane for lane in runs if lane.task == task), key=lambda lane: (lane.began, lane.run)):
            row = next((row for row in free if row[-1].ended <= lane.began), None)
            if row is None:
                free.append(row := [])
            row.append(lane)
        rows += [(task if not index else "", row) for index, row in enumerate(free)]
    left = min(260.0, 16 + 7.0 * max((len(task) for task, _ in rows), default=0))
    width, step = 1000.0, 22.0
    height = len(rows) * step + 30
    x = Scale(0, clock.length, left, width - 12)
    parts = []
    for tick in clock.ticks():
        parts.append(tag("line", x1=x(tick), x2=x(tick), y1=4, y2=height - 24, class_="grid"))
        parts.append(tag("text", clock.say(tick), x=x(tick), y=height - 8, text_anchor="middle"))
    parts += [tag("line", x1=x(cut), x2=x(cut), y1=4, y2=height - 24, class_="cut") for cut in clock.cuts]
    first: dict[str, float] = {}
    for index, (task, row) in enumerate(rows):
        top = 6 + index * step
        if task:
            first[task] = top
            label = task if len(task) <= 34 else task[:33] + "…"
            parts.append(tag("text", label, x=left - 10, y=top + 12, text_anchor="end", class_="label"))
        for lane in row:
            begin, end = x(clock(lane.began)), x(clock(lane.ended))
            status = lane.status or "abandoned"
            paid = f", paid by {lane.payer}" if lane.payer else ""
            name = tag("title", f"{lane.run} {status}, {lane.ended - lane.began:.1f} s{paid}")
            kind = ("ran" if lane.status is Status.OK else "ran lost") + (" shared" if lane.payer else "")
            parts.append(tag("rect", name, x=begin, y=top, width=max(2.0, end - begin - 0.6), height=15, rx=2, class_=kind))
    for one in told:
        if one.at is not None and one.decision.action.task in first:
            at, top = x(clock(one.at)), first[one.decision.action.task]
            path = f"M{at:.1f} {top - 1:.1f}l6 8.5l-6 8.5l-6 -8.5z"
            parts.append(tag("path", tag("title", f"decision {one.decision.id}"), d=path, class_="decision"))
    many = sum(not lane.payer for lane in runs)
    return chart(
        width, height, "lanes", "Runs over time", f"{many} runs of {len(first)} tasks; the table below lists them.", parts
    )


class Clock:
    """Seconds of the day to seconds on the axis: idle stretches of over a tenth of the busy time become short cuts."""

    def __init__(self, runs: Sequence[Lane]) -> None:
        busy: list[list[float]] = []
        for lane in sorted(runs, key=lambda lane: lane.began):
            if busy and lane.began <= busy[-1][1]:
                busy[-1][1] = max(busy[-1][1], lane.ended)
            else:
                busy.append([lane.began, lane.ended])
        longest = 0.1 * sum(end - begin for begin, end in busy)
        self.cuts: list[float] = []
        self.stretches: list[tuple[float, float, float]] = []
        at = 0.0
        for index, (begin, end) in enumerate(busy):
            if index:
                idle = begin - busy[index - 1][1]
                if idle > longest:
                    idle = longest / 3
                    self.cuts.append(at + idle / 2)
                at += idle
            self.stretches.append((begin, end, at))
            at += end - begin
        self.length = at
        self.unit = (1.0, "s") if at < 180 else (60.0, "min") if at < 10800 else (3600.0, "h")

    def __call__(self, moment: float) -> float:
        place = 0.0
        for begin, end, at in self.stretches:
            if moment >= begin:
                place = at + min(moment, end) - begin
        return place

    def ticks(self) -> list[float]:
        """About six round moments on the axis."""
        return [tick * self.unit[0] for tick in nice(0, self.length / self.unit[0], 6)]

    def say(self, moment: float) -> str:
        """A moment on the axis in its unit."""
        return f"{moment / self.unit[0]:g} {self.unit[1]}"


def nice(low: float, high: float, about: int) -> list[float]:
    """About so many round numbers within [low, high]; more, where those would be a single one."""
    rough = (high - low) / max(1, about)
    if rough <= 0 or not math.isfinite(rough):
        return [low]
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first < 1 and about < 16:
        return nice(low, high, 2 * about)
    return [round(k * step, 12) for k in range(first, last + 1)] or [low]


def _line(points: Points, x: Scale, y: Scale, kind: str) -> Markup:
    stride = max(1, -(-len(points) // FINEST))
    kept = [*points[::stride], *([points[-1]] if (len(points) - 1) % stride else [])]
    path = "".join(f"{'L' if i else 'M'}{x(a):.1f} {y(b):.1f}" for i, (a, b) in enumerate(p for p in kept if math.isfinite(p[1])))
    return tag("path", d=path, class_=kind)


def chart(width: float, height: float, kind: str, title: str, described: str, parts: Sequence[Markup]) -> Markup:
    """The drawing as an element that a screen reader tells by its title and description."""
    box = f"0 0 {width:g} {height:g}"
    return tag(
        "svg",
        tag("title", title),
        tag("desc", described),
        parts,
        viewBox=box,
        role="img",
        class_=f"chart {kind}",
        aria_label=f"{title}: {described}",
    )


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def short(value: float) -> str:
    """A number beside an axis."""
    return f"{value:.4g}".replace("e+0", "e").replace("e-0", "e−").replace("-", "−")
