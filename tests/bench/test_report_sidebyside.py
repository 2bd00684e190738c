"""Curves of modules side by side: what is drawn lies where the numbers say, the window of rates that work is marked, and nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import pytest

from bench.report.lines import LETTER, LINE
from bench.report.sidebyside import figures
from plan.nouns import Run, Status
from tests.bench.test_report_html import Page
from tests.bench.zoo_runs import run

RATES = "mqar-64x4-v64-rates-v1"
GROWTH = "time-growth-32k-v1"
LENGTHS = (2048.0, 4096.0, 8192.0, 16384.0)


def swept(module: str, seed: int, accuracy: Mapping[str, float], **more: object) -> Run:
    return run(module, RATES, seed, {"accuracy": 0.5}, facts={"validation_accuracy": accuracy}, **more)  # type: ignore[arg-type]


def timed(module: str, seconds: Sequence[float], seed: int = 0, name: str = "forward_seconds") -> Run:
    one = run(module, GROWTH, seed, {"forward_exponent": 1.0})
    return replace(one, series={name: tuple(zip(LENGTHS, seconds, strict=True))})


def drawn(figure: str) -> dict[str, list[tuple[float, float, float]]]:
    """Of each line by its name: x, y and radius of its dots."""
    groups = re.findall(r'<g class="hue\d"><title>(.*?)</title>(.*?)</g>', figure, re.DOTALL)
    return {
        name: [tuple(map(float, dot)) for dot in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', body)]  # type: ignore[misc]
        for name, body in groups
    }


def test_accuracy_is_drawn_over_the_rates_with_the_window_of_those_that_work_marked() -> None:
    wide = {"0.001": 0.95, "0.003": 1.0, "0.01": 0.91, "0.03": 0.2}
    narrow = {"0.03": 0.1, "0.01": 0.99, "0.003": 0.5, "0.001": 0.95}
    (figure,) = figures([swept("attention", 0, wide), swept("mamba", 0, narrow)])
    found = drawn(figure)
    large = {name: [radius > 4 for _, _, radius in dots] for name, dots in found.items()}
    assert large == {"attention": [True, True, True, False], "mamba": [False, False, True, False]}
    (x0, y0, _), (x1, y1, _), (x2, *_), (x3, y3, _) = found["attention"]
    assert (x1 - x0) / (x3 - x0) == pytest.approx((x3 - x2) / (x3 - x0), abs=0.01), "steps of three have equal lengths"
    assert (y3 - y1) / (y0 - y1) == pytest.approx((1.0 - 0.2) / (1.0 - 0.95), rel=0.05)
    assert figure.count('class="window"') == 1, "a window of one rate has no breadth"
    assert "Accuracy over learning rates, mqar-64x4-v64-rates-v1" in Page(figure).text


def test_a_point_is_the_mean_of_the_seeds_that_ended_and_stands_in_the_table() -> None:
    seeds = [swept("gla", seed, {"0.001": value, "0.01": 0.5}) for seed, value in enumerate((0.2, 0.4))]
    lost = swept("gla", 2, {"0.001": 1.0, "0.01": 1.0}, status=Status.CRASHED)
    (figure,) = figures([*seeds, lost, swept("mamba", 0, {"0.001": 0.1, "0.01": 0.7})])
    rows = re.findall(r'<th scope="row">(\w+)</th><td class="num">(.*?)</td><td class="num">(.*?)</td>', figure)
    assert rows == [("gla", "0.3", "0.5"), ("mamba", "0.1", "0.7")]


def test_one_module_alone_is_not_beside_anything() -> None:
    assert figures([swept("gla", 0, {"0.001": 0.1}), timed("gla", (1.0, 2.0, 4.0, 8.0))]) == []


def test_throughput_is_tokens_over_seconds_on_two_logarithmic_axes() -> None:
    linear, quadratic = (1.0, 2.0, 4.0, 8.0), (0.5, 2.0, 8.0, 32.0)
    (figure,) = figures([timed("retnet", linear), timed("transformer", quadratic)])
    assert "Forward throughput, time-growth-32k-v1" in Page(figure).text
    flat, falling = (drawn(figure)[name] for name in ("retnet", "transformer"))
    assert len({y for _, y, _ in flat}) == 1, "linear time is a level line"
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(falling)]
    assert steps == [pytest.approx(steps[0], abs=0.11)] * 3, "a power of the length is a straight line"
    assert steps[0][1] > 0
    assert "2_048" in figure, "2048 tokens in one second"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("memory_bytes", "Peak memory of a forward pass"),
        ("train_memory_bytes", "Peak memory of training"),
        ("state_bytes", "State carried on"),
        ("train_seconds", "Forward and backward throughput"),
    ],
)
def test_everything_that_is_recorded_over_length_has_its_chart(name: str, title: str) -> None:
    (figure,) = figures([timed(module, (1.0, 2.0, 4.0, 8.0), name=name) for module in ("gla", "hyena")])
    assert f"<b>{title}, {GROWTH}</b>" in figure


def test_decoding_at_several_lengths_is_one_curve() -> None:
    ratios = {"decode-throughput-2k-v1": 1.0, "decode-throughput-8k-v1": 2.0, "decode-throughput-32k-v1": 4.0}
    runs = [run(m, name, 0, {"decode_ratio": ratio * k}) for name, ratio in ratios.items() for m, k in (("gla", 1), ("mamba", 2))]
    (figure,) = figures(runs)
    assert [len(dots) for dots in drawn(figure).values()] == [3, 3]
    assert "gla from 1 x to 4 x; mamba from 2 x to 8 x" in figure


def test_many_models_with_equal_numbers_have_names_apart() -> None:
    modules = (
        "attention",
        "delta_net",
        "gla",
        "hyena",
        "linear_attention",
        "mamba",
        "mamba2",
        "retnet",
        "rwkv4",
        "rwkv6",
        "rwkv7",
    )
    (figure,) = figures([timed(module, (1.0, 2.0, 4.0, 8.0)) for module in modules])
    labels = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="label">(\w+)<', figure)
    assert {name for *_, name in labels} == set(modules)
    for (_, y, _), (_, y2, _) in combinations(labels, 2):
        assert abs(float(y) - float(y2)) >= LINE - 0.11
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', figure)[1])  # type: ignore[index]
    assert all(float(x) + LETTER * len(name) <= width for x, _, name in labels)
    looks = re.findall(r'<g class="(hue\d)">.*?<path d="[^"]*"(?: stroke-dasharray="([^"]*)")? class="model"', figure, re.DOTALL)
    assert len(set(looks)) == len(modules), "no two lines look the same"
