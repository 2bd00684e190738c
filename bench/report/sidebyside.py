"""What the runs recorded over length and over learning rates, with all modules of a plan in one chart each.

Over length: peak memory, state, and tokens a second, forwards, forwards and backwards, and in decoding. Over learning rates: validation
accuracy of each benchmark that tries several, with the window of rates that work. A point is the mean of the seeds that ended with numbers; a
rate at which training diverged counts as accuracy 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench import statistics
from bench.rate_window import WORKS, working
from bench.report import wording
from bench.report.lines import Axes, Curve, lines
from bench.report.markup import Markup, tag
from bench.report.matrix import short_names
from bench.table import words
from plan import catalogue
from plan.nouns import Run, Status

Row = tuple[str, str]
"""A module and its overrides, the recipe left out."""
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One thing that several benchmarks may record over length."""

    title: str
    axes: Axes
    points: Callable[[Run], Sequence[tuple[float, float]]]
    """Of a run; none where it records no such thing."""


def _series(name: str) -> Callable[[Run], Sequence[tuple[float, float]]]:
    return lambda run: run.series.get(name, ())


def _tokens_per(name: str) -> Callable[[Run], Sequence[tuple[float, float]]]:
    return lambda run: [(length, length / seconds) for length, seconds in run.series.get(name, ()) if seconds > 0]


def _decoding(run: Run) -> Sequence[tuple[float, float]]:
    """The ratio of a benchmark that decodes in a document of so many tokens, as one point of a curve."""
    entry = catalogue.shelf("benchmark").get(run.request.benchmark)
    context = (entry.arguments.get("options") or {}).get("context") if entry else None
    return [(float(context), run.metrics["decode_ratio"])] if context and "decode_ratio" in run.metrics else []


LENGTH = "length in tokens"
CHARTS = (
    Chart(title="Peak memory of a forward pass", axes=Axes(across=LENGTH, up="bytes", unit="B"), points=_series("memory_bytes")),
    Chart(title="Peak memory of training", axes=Axes(across=LENGTH, up="bytes", unit="B"), points=_series("train_memory_bytes")),
    Chart(title="State carried on", axes=Axes(across=LENGTH, up="bytes", unit="B"), points=_series("state_bytes")),
    Chart(title="Forward throughput", axes=Axes(across=LENGTH, up="tokens a second"), points=_tokens_per("forward_seconds")),
    Chart(
        title="Forward and backward throughput",
        axes=Axes(across=LENGTH, up="tokens a second"),
        points=_tokens_per("train_seconds"),
    ),
    Chart(
        title="Decoding against the transformer of equal size",
        axes=Axes(across="tokens before", up="times as fast", unit="x"),
        points=_decoding,
    ),
)


def figures(runs: Iterable[Run]) -> list[Markup]:
    """The charts that two models or more have a curve in; first over learning rates, then over length."""
    good = [run for run in runs if run.status is Status.OK]
    made = []
    for benchmark in sorted({run.request.benchmark for run in good}):
        found = _by_row([run for run in good if run.request.benchmark == benchmark], _validation)
        made += _figure(f"Accuracy over learning rates, {benchmark}", found, RATES, mark=_window)
    for chart in CHARTS:
        groups: dict[tuple[str, int, str], list[Run]] = defaultdict(list)
        for run in good:
            if chart.points(run):
                joined = "" if chart.points is _decoding else run.request.benchmark
                groups[joined, run.request.threads, run.request.device].append(run)
        for (benchmark, threads, device), group in sorted(groups.items()):
            beside = [benchmark, f"{threads} threads" if threads != 1 else "", device if device != "cpu" else ""]
            title = ", ".join(filter(None, [chart.title, *beside]))
            made += _figure(title, _by_row(group, chart.points), chart.axes)
    return made


RATES = Axes(across="learning rate", up="validation accuracy", share=True)


def _validation(run: Run) -> Sequence[tuple[float, float]]:
    told = run.facts.get("validation_accuracy")
    return sorted((float(rate), float(value)) for rate, value in told.items()) if isinstance(told, Mapping) else []


def _window(points: Points) -> tuple[float, float] | None:
    """The stretch of rates around the best whose mean accuracy says that they work."""
    best = max(range(len(points)), key=lambda i: points[i][1])
    rates, validation = ([point[axis] for point in points] for axis in (0, 1))
    return working(rates, validation, best)


def _by_row(runs: Iterable[Run], points: Callable[[Run], Sequence[tuple[float, float]]]) -> dict[Row, Points]:
    """The mean at each x that all seeds of a row have."""
    known: dict[Row, dict[str, list[Mapping[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if found := points(run):
            config = {key: value for key, value in run.request.config.items() if key != "recipe"}
            known[run.request.module, words(config)][run.request.benchmark].append(dict(found))
    made: dict[Row, Points] = {}
    for row, benchmarks in sorted(known.items()):
        means = {
            x: statistics.mean([seed[x] for seed in seeds])
            for seeds in benchmarks.values()
            for x in set.intersection(*(set(seed) for seed in seeds))
        }
        if means:
            made[row] = tuple(sorted(means.items()))
    return made


def _figure(
    title: str, found: Mapping[Row, Points], axes: Axes, *, mark: Callable[[Points], tuple[float, float] | None] | None = None
) -> list[Markup]:
    if len(found) < 2:
        return []
    names = short_names({row: (row[0], set(row[1].split())) for row in found})
    curves = [Curve(name=names[row], points=points, marked=mark(points) if mark else None) for row, points in found.items()]
    xs = sorted({x for points in found.values() for x, _ in points})
    body = [
        tag(
            "tr",
            tag("th", curve.name, scope="row"),
            [tag("td", _said(dict(curve.points).get(x), axes), class_="num") for x in xs],
        )
        for curve in curves
    ]
    head = tag(
        "tr",
        [
            tag("th", heading, scope="col", class_="num" if i else None)
            for i, heading in enumerate([axes.across, *(f"{x:g}" for x in xs)])
        ],
    )
    numbers = tag("table", tag("thead", head), tag("tbody", body))
    legend = (
        f"; large dots and the band: the window of rates whose accuracy is at least {WORKS:g}"
        if mark
        else "; both axes are logarithmic"
    )
    return [
        tag(
            "figure",
            tag("figcaption", tag("b", title), legend),
            lines(curves, axes, title=title),
            tag(
                "details",
                tag("summary", "Numbers"),
                tag("div", numbers, class_="scroll", role="region", aria_label=title, tabindex="0"),
            ),
        )
    ]


def _said(value: float | None, axes: Axes) -> str:
    return wording.figure(value, axes.unit)
