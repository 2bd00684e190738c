"""The table and the fronts as they are shown: on a terminal, in a record, on the page."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from io import StringIO
from itertools import combinations
from pathlib import Path

import pytest

from bench.judge import judge
from bench.pareto import fronts
from bench.report import html, matrix
from bench.report.scatter import LARGE, LETTER, LINE, scatter
from bench.scoreboard import Scoreboard
from bench.table import Matrix
from bench.table import matrix as tabled
from plan.nouns import Run, Seeds, Status, Task
from tests.bench.report_boards import EVERY, plan_of, target
from tests.bench.test_report_html import Page, browser, pixels, visit
from tests.bench.zoo_runs import run, seeds, zoo

TOLD = """\
Pareto front of bytes-stdlib-v1 val_bpb, 300 steps (less is better) against state_bytes of memory-growth-v1 (less is better) \
and train_ratio of train-throughput-512-v1 (more is better)
  ◆ front: mamba; retnet
  ◇ unsure: transformer, which retnet beats by the means, while intervals overlap

mean of the seeds and its 95% interval; the runs of a cell share config, steps, code, data and machine
ledger: here.db
"""


def shown(runs: list[Run], **more: object) -> str:
    made, stream = tabled(runs, **more), StringIO()  # type: ignore[arg-type]
    matrix.print_matrix(made, fronts(made), ledger="here.db", stream=stream)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def test_a_terminal_shows_sizes_means_intervals_seeds_and_signs_then_the_front_in_words() -> None:
    text = shown(zoo())
    assert text.endswith(TOLD)
    rows = {
        line.split()[0]: re.split(r"\s{3,}", line.strip())
        for line in text.splitlines()
        if re.match(r" (mamba|retnet|tran)", line)
    }
    assert rows["retnet"] == [
        "retnet", "none", "400_006", "64 KiB", "–", "◆ 3 bpb  (2.925 – 3.075 bpb)  n 3", "0  n 1, no interval",
        "1.11 x  (1.085 – 1.135 x)  n 3",
    ]  # fmt: skip
    assert rows["transformer"][5].startswith("◇ 3.027 bpb")
    headings = text.partition("─")[0]
    assert all(word in headings for word in ("bytes-stdlib-v1", "val_bpb", "300 steps", "train_ratio", "state_exponent"))


class Terminal(StringIO):
    """A stream that says it is one; rich asks the environment how wide it is."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


LONG: dict[str, dict[str, object]] = {
    "hybrid": {"pattern": "mamba transformer", "settings": {"mamba": {"d_state": 32, "expand": 3}}, "decoder": {"layers": 1}},
    "delta_net": {"d_model": 64, "negative_eigenvalues": True},
    "gated_delta_net": {},
}


def a_wide_zoo() -> list[Run]:
    """Models with long overrides and recipes on six benchmarks, and numbers with many digits."""
    runs, also = [], {"parameters": 4_629_120.0, "state_bytes": 315_904.0, "train_flops": 3_522_816.0}
    for module, config in LONG.items():
        more = {"recipe": {"lr": 0.0123, "warmup": 0.0123, "final_lr": 0.0123}}
        for name in ("bytes-stdlib-v1", "mqar-64x4-v64-v1", "state-tracking-parity-v1", "time-growth-32k-v1"):
            metric = tabled([run(module, name, 0)]).columns[0].metric
            runs += seeds(module, name, metric, (0.98765, 0.97654, 0.96543), also, config={**config, **more})
        runs += seeds(module, "bytes-stdlib-v1", "val_bpb", (2.98765, 2.97654), also, config=config)
    return runs


def on_a_terminal(made: Matrix, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """The table alone, as a terminal of that width shows it."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    matrix.print_matrix(made, (), ledger="here.db", stream=stream)
    return re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue()).partition("mean of the seeds")[0]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_narrow_terminal_breaks_no_figure_no_name_and_no_interval(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tabled(a_wide_zoo())
    table = on_a_terminal(made, width, monkeypatch)
    assert all(len(line) <= width for line in table.splitlines())
    lines = {part for line in table.splitlines() for part in re.split(r"\s{2,}", line.strip())}
    for cell in made.cells:
        mean, interval, n = matrix.said(cell).split("  ")[:3]
        assert {interval, n} <= {part.strip("[] ") for part in lines}, (width, cell.name)
        assert any(part.endswith(mean) for part in lines)
        for override in [*cell.config.split(), *cell.recipe.split()]:
            assert "{" in override or any(override in part.strip("[]").split() for part in lines), (width, override)
        assert {cell.module, cell.column.benchmark, cell.column.metric, "4_629_120", "308.5 KiB", "3.523 MFLOP"} <= lines


def test_a_wider_terminal_has_fewer_pieces_and_a_file_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made, counted = tabled(a_wide_zoo()), []
    for width in (80, 120, 200, 400):
        counted.append(on_a_terminal(made, width, monkeypatch).count("train FLOPs"))
    assert counted == sorted(counted, reverse=True)
    assert (counted[0], counted[-1]) == (4, 1)
    (heading,) = [line for line in shown(a_wide_zoo()).splitlines() if "train FLOPs" in line]
    assert all(name in heading for name in ("module", "overrides", "parameters", "state"))


def test_the_best_rate_and_its_window_are_told_beside_the_accuracy_as_the_seeds_found_them() -> None:
    found = [
        run("gla", "mqar-64x4-v64-rates-v1", seed, {"accuracy": 0.9, "best_lr": rate, "lr_window": 3.0})
        for seed, rate in enumerate((0.003, 0.003, 0.01))
    ]
    text, made = shown(found), tabled(found)
    assert [column.metric for column in made.columns] == ["accuracy", "best_lr", "lr_window"]
    assert "0.003 – 0.01  n 3" in text
    assert "3 x  n 3" in text
    both = [*found, *(replace(one, request=replace(one.request, module="retnet"), key=one.key + "r") for one in found)]
    assert {front.column.metric for front in fronts(tabled(both))} <= {"accuracy"}


def test_lost_runs_other_recipes_and_earlier_code_stand_in_the_cell() -> None:
    runs = [
        *seeds("retnet", "bytes-stdlib-v1", "val_bpb", (2.5, 2.7), config={"recipe": {"lr": 0.01}}),
        run("retnet", "bytes-stdlib-v1", 2, status=Status.CRASHED, config={"recipe": {"lr": 0.01}}),
        *seeds("retnet", "bytes-stdlib-v1", "val_bpb", (2.9,)),
    ]
    text = shown(runs, current=lambda one: "recipe" in one.request.config, earlier=True)
    assert "2.6 bpb  (1.329 – 3.871 bpb)  n 2  ✗ 1 crashed  [lr=0.01]\n" in text
    assert "2.9 bpb  n 1, no interval  ‡\n" in text
    assert "‡ measured under code, data or a machine that has since changed" in text


def test_the_record_has_every_number_in_base_units() -> None:
    made = tabled(zoo())
    record = json.loads(json.dumps(matrix.document(made, fronts(made)), allow_nan=False))
    (cell,) = [
        c for row in record["rows"] if row["module"] == "mamba" for c in row["cells"] if c["column"]["metric"] == "val_bpb"
    ]
    assert (cell["values"], cell["seeds"], cell["standing"], cell["better"]) == ([2.48, 2.49, 2.47], [0, 1, 2], "front", "less")
    assert [point["standing"] for point in record["fronts"][0]["points"]] == ["front", "front", "unsure"]


def board() -> Scoreboard:
    """A plan with a task for each module and benchmark of the small zoo."""
    runs: dict[str, list[Run]] = {}
    for one in zoo():
        runs.setdefault(f"{one.request.module}-{one.request.benchmark}", []).append(one)
    tasks = [
        Task(
            id=id, title=id, module=found[0].request.module, benchmark=found[0].request.benchmark,
            seeds=Seeds(first=len(found), most=len(found)), targets=(target(next(iter(found[0].metrics)), "<=", 2.9, EVERY),),
        )
        for id, found in runs.items()
    ]  # fmt: skip
    plan = plan_of(*tasks)
    return Scoreboard(plan=plan, verdicts=judge(plan, runs), runs={id: tuple(found) for id, found in runs.items()})


def section(page: str) -> str:
    found = re.search(r'<section id="Modules-and-benchmarks".*?</section>', page, re.DOTALL)
    assert found
    return found[0]


def test_the_page_has_the_table_with_links_to_the_verdicts_and_a_chart_for_each_cost() -> None:
    found = section(html.render(board()))
    text = Page(found).text
    assert "◇ 3.027 bpb  (2.975 – 3.078 bpb)  n 3" in text
    assert "◆ front: mamba; retnet" in text
    assert 'href="#mamba-bytes-stdlib-v1::val_bpb" class="pass"' in found
    charts = re.findall(r'<svg viewBox[^>]*class="chart pareto".*?</svg>', found, re.DOTALL)
    assert [re.search("<title>(.*?)</title>", chart)[1] for chart in charts] == [  # type: ignore[index]
        "bytes-stdlib-v1 val_bpb, 300 steps against state_bytes of memory-growth-v1",
        "bytes-stdlib-v1 val_bpb, 300 steps against train_ratio of train-throughput-512-v1",
    ]
    assert (
        "mamba 2.48 bpb at 38.09 KiB, front; retnet 3 bpb at 64 KiB, front; transformer 3.027 bpb at 32 MiB, unsure" in charts[0]
    )


def test_the_page_is_the_same_bytes_for_the_same_facts_in_another_order() -> None:
    one = board()
    two = replace(one, runs={id: tuple(reversed(found)) for id, found in reversed(one.runs.items())})
    assert section(html.render(one)) == section(html.render(two))


def test_marks_lie_where_the_numbers_say_and_bars_span_the_intervals() -> None:
    (front,) = fronts(tabled(zoo()))
    chart = scatter(front, front.axes[1])
    marks = {
        name: (float(x), float(y) + 7) for name, x, y in re.findall(r"<g><title>(\w+): .*?<path d=\"M([\d.]+) ([\d.]+)l6", chart)
    }
    assert marks.keys() == {"mamba", "retnet", "transformer"}
    bytes_of = {"mamba": 39_000, "retnet": 65_536, "transformer": 33_554_432}
    (x0, y0), (x1, y1), (x2, y2) = (marks[name] for name in bytes_of)
    share = math.log(65_536 / 39_000) / math.log(33_554_432 / 39_000)
    assert (x1 - x0) / (x2 - x0) == pytest.approx(share, abs=0.005)
    assert (y0 - y1) / (y0 - y2) == pytest.approx((3.0 - 2.48) / (3.0267 - 2.48), abs=0.01)
    low, high = (float(end) for end in re.search(r'retnet: .*?y1="([\d.]+)" y2="([\d.]+)" class="bar"', chart).groups())  # type: ignore[union-attr]
    per_bit = (y0 - y1) / (3.0 - 2.48)
    assert low - high == pytest.approx(per_bit * (3.0745 - 2.9255), abs=0.3)


def test_no_two_labels_of_a_chart_overlap() -> None:
    many = [
        one
        for name in "abcdefgh"
        for one in seeds(f"mod{name}", "bytes-stdlib-v1", "val_bpb", (2.5, 2.5), {"state_bytes": 1024.0})
    ]
    (front,) = fronts(tabled(many))
    labels = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="label">(\w+)<', scatter(front, front.axes[1]))
    assert len(labels) == 8
    for (x, y, name), (x2, y2, _) in combinations(labels, 2):
        assert abs(float(y) - float(y2)) >= LINE or abs(float(x) - float(x2)) >= LETTER * len(name)


def test_a_chart_of_many_models_is_wide_and_keeps_all_labels_within() -> None:
    many = [
        one
        for name in "abcdefghijkl"
        for one in seeds(f"module_{name}", "bytes-stdlib-v1", "val_bpb", (2.5, 2.6), {"state_bytes": 2.0 ** ord(name)})
    ]
    (front,) = fronts(tabled(many))
    chart = scatter(front, front.axes[1])
    assert f'viewBox="0 0 {LARGE[0]:g} {LARGE[1]:g}"' in chart
    labels = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="label">(\w+)<', chart)
    assert len(labels) == 12
    assert all(0 < float(x) <= LARGE[0] - LETTER * len(name) for x, _, name in labels)


def test_a_label_tells_one_override_that_sets_a_model_apart() -> None:
    forms = [{}, {"experts": 16}, {"experts": 16, "capacity": 1.25, "own_rate": 0.0}]
    state = {"state_bytes": 1024.0}
    many = [one for form in forms for one in seeds("moe", "bytes-stdlib-v1", "val_bpb", (2.5, 2.6), state, config=form)]
    (front,) = fronts(tabled(many))
    assert set(matrix.labels(front).values()) == {"moe defaults", "moe experts=16", "moe own_rate=0.0 …"}


@browser
def test_a_browser_draws_the_chart_in_light_and_dark_without_a_complaint(tmp_path: Path) -> None:
    page, text = tmp_path / "report.html", html.render(board())
    page.write_text(
        re.sub(r"<main>.*</main>", lambda _: f"<main>{section(text)}</main>", text, flags=re.DOTALL), encoding="utf-8"
    )
    gold = {}
    for mode, option in (("light", "1"), ("dark", "0")):
        picture = tmp_path / f"{mode}.png"
        _, log = visit(
            page,
            tmp_path / mode,
            f"--blink-settings=preferredColorScheme={option}",
            f"--screenshot={picture}",
            "--window-size=900,1400",
        )
        assert ":CONSOLE" not in log, log
        gold[mode] = {pixel[:3] for row in pixels(picture) for pixel in row}
    assert (0x86, 0x60, 0x15) in gold["light"]
    assert (0xD9, 0xB2, 0x5F) in gold["dark"]
