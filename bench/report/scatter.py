"""The Pareto chart: quality against one cost, every model with its intervals, the front of the two as a stair."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from bench.pareto import Axis, Front, Point, Standing
from bench.report import svg, wording
from bench.report.markup import Markup, tag
from bench.report.matrix import axis_in_words, labels
from bench.table import Estimate

SMALL, LARGE, CROWD = (420.0, 270.0), (860.0, 460.0), 10
"""Width and height of a chart of up to so many models, and of more."""
FOOT, TOP = 44.0, 22.0
LETTER, LINE, MARK = 7.3, 13.0, 8.0
"""Width of a letter of a label, its height, and half of a mark."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def scatter(front: Front, cost: Axis) -> Markup:
    """Quality (up) against `cost` (across); bytes and seconds on a logarithmic axis. Its marks are those of the whole front."""
    quality = front.axes[0]
    points = [point for point in front.points if point.standing is not Standing.UNPLACED]
    names = labels(front)
    width, height = LARGE if crowded(front) else SMALL
    warp = _logarithm(points, cost)
    across, up = ([_ends(point.places[axis.name]) for point in points] for axis in (cost, quality))
    y_low, y_high = _padded([end for ends in up for end in ends])
    ticks_y = svg.nice(y_low, y_high, 8 if crowded(front) else 4)
    left = 12.0 + 6.4 * max(len(svg.short(tick)) for tick in ticks_y)
    x_low, x_high = _padded([warp(end) for ends in across for end in ends])
    x, y = svg.Scale(x_low, x_high, left, width - 14), svg.Scale(y_low, y_high, height - FOOT, TOP)
    parts: list[Markup] = []
    for tick in ticks_y:
        parts.append(tag("line", x1=left, x2=width - 8, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(tag("text", svg.short(tick), x=left - 6, y=y(tick) + 3.5, text_anchor="end"))
    for value in _ticks(x_low, x_high, cost.unit) if warp is _linear else _powers(x_low, x_high):
        at = x(warp(value))
        parts.append(tag("line", x1=at, x2=at, y1=TOP, y2=height - FOOT, class_="grid"))
        parts.append(tag("text", wording.figure(value, cost.unit), x=at, y=height - FOOT + 15, text_anchor="middle"))
    parts.append(tag("text", f"{quality.name}, {quality.better} is better", x=left, y=TOP - 9, class_="name"))
    parts.append(tag("text", f"{axis_in_words(cost)}, {cost.better} is better", x=width - 8, y=height - 8, text_anchor="end"))
    if (stair := _stair(points, cost, quality)) and len(stair) > 1:
        corners = [(x(warp(a)), y(b)) for a, b in stair]
        path = f"M{corners[0][0]:.1f} {corners[0][1]:.1f}"
        for (_, before), (end, after) in pairwise(corners):  # between two models the cheaper one is the best there is
            path += f"L{end:.1f} {before:.1f}L{end:.1f} {after:.1f}"
        parts.append(tag("path", d=path, class_="stair"))
    spots = {p.cell.name: (x(warp(p.places[cost.name].value)), y(p.places[quality.name].value)) for p in points}
    taken: list[Box] = [(a - MARK, b - MARK, a + MARK, b + MARK) for a, b in spots.values()]
    frame = left + 3, TOP, width, height - FOOT - 2
    for point in sorted(points, key=lambda point: (list(Standing).index(point.standing), point.cell.name)):
        bars = _bars(point.places[cost.name], point.places[quality.name], x, y, warp)
        parts.append(_mark(point, names[point.cell.name], spots[point.cell.name], bars, taken, frame))
    described = "; ".join(
        f"{names[p.cell.name]} {wording.figure(p.places[quality.name].value, quality.unit)} at "
        f"{wording.figure(p.places[cost.name].value, cost.unit)}, {p.standing.value}"
        for p in points
    )
    return svg.chart(width, height, "pareto", f"{front.column.name} against {axis_in_words(cost)}", described, parts)


def crowded(front: Front) -> bool:
    """Whether a chart of this front needs the whole width."""
    return len(front.points) > CROWD


def _bars(at: Estimate, level: Estimate, x: svg.Scale, y: svg.Scale, warp: Callable[[float], float]) -> list[Markup]:
    bars = []
    if at.low is not None and at.high is not None and at.low < at.high:
        bars.append(tag("line", x1=x(warp(at.low)), x2=x(warp(at.high)), y1=y(level.value), y2=y(level.value), class_="bar"))
    if level.low is not None and level.high is not None and level.low < level.high:
        bars.append(tag("line", x1=x(warp(at.value)), x2=x(warp(at.value)), y1=y(level.low), y2=y(level.high), class_="bar"))
    return bars


def _mark(point: Point, name: str, at: tuple[float, float], bars: list[Markup], taken: list[Box], frame: Box) -> Markup:
    """The bars, the sign and the label, with a line from one to the other where the label found no room beside its sign."""
    x, y = at
    if point.standing is Standing.DOMINATED:
        sign = tag("circle", cx=x, cy=y, r=4.0, class_="dominated")
    else:
        sign = tag("path", d=f"M{x:.1f} {y - 7:.1f}l6 7l-6 7l-6 -7z", class_=point.standing.value)
    box = min(_rooms(at, LETTER * len(name), frame), key=lambda box: sum(_shared(box, other) for other in taken))
    taken.append(box)
    begin, line = box[0], box[3] - 3
    away = abs(line - y) > 1.5 * LINE
    leader = tag("line", x1=x, y1=y, x2=begin if begin > x else box[2], y2=line - 4, class_="bar") if away else ""
    text = tag("text", name, x=begin, y=line, class_="label")
    return tag("g", tag("title", f"{name}: {point.standing.value}"), bars, leader, sign, text)


def _rooms(at: tuple[float, float], width: float, frame: Box) -> list[Box]:
    """Where the label of a mark may stand, the nearest first: right and left of it, on its height and some lines above and below."""
    x, y = at
    left, top, right, bottom = frame
    found = []
    for lines in sorted(range(-8, 9), key=abs):
        for begin in (x + 10, x - 10 - width):
            low = y + 7 + lines * LINE
            box = begin, low - LINE, begin + width, low
            if left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom:
                found.append(box)
    begin = max(left, min(x + 10, right - width))
    return found or [(begin, y - LINE, begin + width, y)]


def _shared(one: Box, two: Box) -> float:
    """The area that two boxes share."""
    return max(0.0, min(one[2], two[2]) - max(one[0], two[0])) * max(0.0, min(one[3], two[3]) - max(one[1], two[1]))


def _stair(points: Sequence[Point], cost: Axis, quality: Axis) -> list[tuple[float, float]]:
    """(cost, quality) of what nothing beats on these two axes alone, from the cheapest on."""
    signs = [(axis, 1 if axis.better == "less" else -1) for axis in (cost, quality)]
    pairs = sorted(tuple(sign * point.places[axis.name].value for axis, sign in signs) for point in points)
    kept: list[tuple[float, ...]] = []
    for pair in pairs:
        if not kept or pair[1] < kept[-1][1]:
            kept.append(pair)
    return [(signs[0][1] * a, signs[1][1] * b) for a, b in kept]


def _linear(value: float) -> float:
    return value


def _logarithm(points: Sequence[Point], cost: Axis) -> Callable[[float], float]:
    """Base 2 for sizes and times that differ by more than a factor of four; an interval that reaches below zero ends at half the smallest."""
    values = [point.places[cost.name].value for point in points]
    floor = min(values) / 2
    if cost.unit not in ("B", "s") or floor <= 0 or max(values) <= 4 * min(values):
        return _linear
    return lambda value: math.log2(max(value, floor))


def _ticks(low: float, high: float, unit: str) -> list[float]:
    """Numbers that are round in the unit they are shown in."""
    scale = 1024.0 ** max(0, math.floor(math.log(high, 1024))) if unit == "B" and high >= 1 else 1.0
    return [tick * scale for tick in svg.nice(low / scale, high / scale, 4)]


def _powers(low: float, high: float) -> list[float]:
    """About five powers of two within 2**low and 2**high; every power a multiple of one stride, so that equal ranges have equal ticks."""
    stride = max(1, math.ceil((high - low) / 5))
    return [2.0**power for power in range(math.ceil(low), math.floor(high) + 1) if power % stride == 0]


def _ends(estimate: Estimate) -> tuple[float, ...]:
    known = (estimate.value, estimate.low, estimate.high)
    return tuple(end for end in known if end is not None)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    pad = (max(values) - min(values)) * 0.12 or abs(values[0]) * 0.05 or 1.0
    return min(values) - pad, max(values) + pad
