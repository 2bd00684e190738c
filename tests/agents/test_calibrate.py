"""`orchestrate calibrate` as a user meets it: real measurements, kept, gone on with, shown, and told by `compare`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bench.fold import fold
from bench.ledger import Ledger
from plan.exits import Exit
from tests.agents.loop import Loop

SMALL = ["d_model=16", "heads=2", "recipe.batch=8"]
ASKED = ["calibrate", "attention", "--benchmark", "mqar-64x4-v64-v1", "--steps", "2"]
ASKED += [word for line in SMALL for word in ("--config", line)]


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    made = Loop(tmp_path_factory.mktemp("calibrate"))
    done = made.call(*ASKED, "--pairs", "2", "--json")
    assert done.returncode == Exit.HOLDS, done.stderr
    (made.folder / "first.txt").write_text(done.stderr)
    return made


def test_how_long_it_takes_is_told_beforehand_or_else_after_the_first(loop: Loop) -> None:
    forecast, *told = (loop.folder / "first.txt").read_text().splitlines()
    assert forecast.startswith("4 measurements, one at a time; how long they take is told after the first")
    assert [bool(re.search(r"about [0-9.]+ s left", line)) for line in told] == [True, True, True, False]


def test_what_was_measured_is_kept_and_only_the_rest_is_measured_when_more_is_asked(loop: Loop) -> None:
    done = loop.call(*ASKED, "--pairs", "3", "--json")
    assert done.returncode == Exit.HOLDS, done.stderr
    forecast, *told = done.stderr.splitlines()
    assert re.match(r"2 measurements, one at a time: about [0-9.]+ s, by like ones in the ledger", forecast)
    assert [" left" in line for line in told] == [False] * 4 + [True, False]
    assert [("in the ledger" in line, "measured in" in line) for line in told] == [(True, False)] * 4 + [(False, True)] * 2
    with Ledger.open(str(loop.folder / "runs/ledger.db"), create=False) as ledger:
        facts = fold(ledger.events())
    assert [len(one.runs) for one in facts.calibrations] == [4, 6]
    runs = list(facts.runs.values())
    assert [run.request.seed for run in runs] == list(range(6))
    values = np.array([run.metrics["accuracy"] for run in runs])
    kept = facts.calibrations[-1].noise["accuracy"]
    assert kept.deviation == pytest.approx(np.sqrt(((values[1::2] - values[::2]) ** 2).mean()))
    assert json.loads(done.stdout)["calibrations"][0]["noise"]["accuracy"]["pairs"] == 3


def test_show_prints_every_calibration_and_measures_nothing(loop: Loop) -> None:
    done = loop.call("calibrate", "--show")
    assert done.returncode == Exit.HOLDS
    assert done.stdout.count("attention against itself on mqar-64x4-v64-v1") == 2
    assert "found in 8 pairs" in done.stdout
    assert not done.stderr


def test_compare_tells_what_its_seeds_can_tell(loop: Loop) -> None:
    sides = [word for side in "ab" for line in SMALL for word in (f"--config-{side}", line)]
    asked = ["compare", "attention", "attention", "--benchmark", "mqar-64x4-v64-v1", "--steps", "2", "--seeds", "3", *sides]
    done = loop.call(*asked, "--json")
    found = json.loads(done.stdout)
    with Ledger.open(str(loop.folder / "runs/ledger.db"), create=False) as ledger:
        deviation = fold(ledger.events()).calibrations[-1].noise["accuracy"].deviation
    assert found["detectable"] == pytest.approx(deviation * 3.9, rel=0.2)
    assert "by calibration, 3 seeds tell a difference of" in loop.call(*asked, "--display", "none").stdout


def test_what_is_not_there_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    empty = Loop(tmp_path)
    assert empty.call("calibrate", "attentoin", "--benchmark", "mqar-64x4-v64-v1").returncode == Exit.FAULTS
    assert empty.call("calibrate", "--show").returncode == Exit.ENVIRONMENT
    assert not (tmp_path / "runs").exists()
