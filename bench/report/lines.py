"""A chart of several models' curves: one line each, named at its end, on logarithmic axes where sizes, times or rates are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.report import svg, wording
from bench.report.markup import Markup, tag

WIDTH, HEIGHT = 560.0, 330.0
TOP, FOOT, LETTER, LINE = 26.0, 40.0, 7.3, 13.0
HUES, DASHES = 8, ("", "6 3", "2 3")
"""Colours of the style sheet that lines go round, and how they are dashed from round to round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What one model measured, in the order of x, and the stretch of x that is marked, if any."""

    name: str
    points: tuple[tuple[float, float], ...]
    marked: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What stands along a chart. x is always logarithmic, with a tick at each x that was measured."""

    across: str
    up: str
    unit: str = ""
    """Of y, as `plan.units` shows it."""
    share: bool = False
    """Whether y is linear from 0 to 1 instead of logarithmic."""


def lines(curves: Sequence[Curve], axes: Axes, *, title: str) -> Markup:
    """The chart; `curves` have at least one point in all, and where y is logarithmic only points above 0 are drawn."""
    warp: Callable[[float], float] = _same if axes.share else math.log2
    drawn = [(curve, [(x, y) for x, y in curve.points if axes.share or y > 0]) for curve in curves]
    drawn = [(curve, points) for curve, points in drawn if points]
    xs = sorted({x for _, points in drawn for x, _ in points})
    ys = [warp(y) for _, points in drawn for _, y in points]
    low, high = (0.0, 1.0) if axes.share else (min(ys) - 0.5, max(ys) + 0.5)
    marks = [(tick, f"{tick:g}") for tick in svg.nice(0, 1, 5)] if axes.share else _ticks(low, high, axes.unit)
    left = 12.0 + 6.4 * max(len(words) for _, words in marks)
    right = WIDTH - 16 - LETTER * max(len(curve.name) for curve, _ in drawn)
    across, up = svg.Scale(math.log2(xs[0]), math.log2(xs[-1]), left + 6, right), svg.Scale(low, high, HEIGHT - FOOT, TOP)

    def x_of(x: float) -> float:
        return across(math.log2(x))

    def y_of(y: float) -> float:
        return up(warp(y))

    parts = [tag("text", axes.up, x=left, y=TOP - 12, class_="name")]
    parts.append(tag("text", axes.across, x=right, y=HEIGHT - 6, text_anchor="end"))
    for tick, words in marks:
        parts.append(tag("line", x1=left, x2=right, y1=y_of(tick), y2=y_of(tick), class_="grid"))
        parts.append(tag("text", words, x=left - 6, y=y_of(tick) + 3.5, text_anchor="end"))
    for x in xs[:: max(1, len(xs) // 8)]:
        parts.append(tag("line", x1=x_of(x), x2=x_of(x), y1=TOP, y2=HEIGHT - FOOT, class_="grid"))
        parts.append(tag("text", f"{x:g}", x=x_of(x), y=HEIGHT - FOOT + 15, text_anchor="middle"))
    ends = _apart([y_of(points[-1][1]) for _, points in drawn])
    for number, ((curve, points), at) in enumerate(zip(drawn, ends, strict=True)):
        parts.append(_curve(curve, [(x, x_of(x), y_of(y)) for x, y in points], number, (right, at)))
    said = "; ".join(
        f"{curve.name} from {wording.figure(points[0][1], axes.unit)} to {wording.figure(points[-1][1], axes.unit)}"
        for curve, points in drawn
    )
    return svg.chart(WIDTH, HEIGHT, "lines", title, said, parts)


def _same(value: float) -> float:
    return value


def _curve(curve: Curve, places: Sequence[tuple[float, float, float]], number: int, label: tuple[float, float]) -> Markup:
    """The line, dots at what was measured, larger ones within the marked stretch, and the name."""
    hue, dash = f"hue{number % HUES}", DASHES[number // HUES % len(DASHES)]
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for _, a, b in places)
    marked = curve.marked
    within = [(a, b) for x, a, b in places if marked and marked[0] <= x <= marked[1]]
    band = tag("path", d="M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in within), class_="window") if len(within) > 1 else ""
    dots = [tag("circle", cx=a, cy=b, r=5.0 if (a, b) in within else 2.6) for _, a, b in places]
    (_, a, b), (x, y) = places[-1], label
    leader = tag("line", x1=a + 4, y1=b, x2=x + 7, y2=y, class_="leader") if abs(y - b) > 3 or x - a > 12 else ""
    text = tag("text", curve.name, x=x + 10, y=y + 4, class_="label")
    return tag(
        "g", tag("title", curve.name), band, tag("path", d=path, stroke_dasharray=dash or None, class_="model"), dots, leader, text,
        class_=hue,
    )  # fmt: skip


def _apart(wanted: Sequence[float]) -> list[float]:
    """Heights as near to the wanted ones as names of one line each can stand, from the top down, none below the chart."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = dict.fromkeys(order, 0.0)
    above = TOP - LINE
    for i in order:
        above = placed[i] = max(wanted[i], above + LINE)
    below = HEIGHT - 4 + LINE
    for i in reversed(order):
        below = placed[i] = min(placed[i], below - LINE)
    return [placed[i] for i in range(len(wanted))]


def _ticks(low: float, high: float, unit: str) -> list[tuple[float, str]]:
    """Up to seven numbers within 2**low and 2**high, in words: powers of two of bytes; of others 1, 2 and 5 of each power of ten, or finer ones."""
    if unit == "B":
        values = [2.0**power for power in range(math.ceil(low), math.floor(high) + 1)]
    else:
        decades = range(math.floor(low * math.log10(2)), math.ceil(high * math.log10(2)) + 1)
        values = [m * 10.0**power for power in decades for m in (1, 2, 5) if low <= math.log2(m * 10.0**power) <= high]
    if len(values) < 3:
        values = svg.nice(2.0**low, 2.0**high, 4)
    return [(value, wording.figure(value, unit)) for value in values[:: math.ceil(len(values) / 7)] if value > 0]
