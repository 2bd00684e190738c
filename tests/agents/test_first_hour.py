"""What a newcomer meets in the first hour: a shelf that cannot be read, a wrong word, another clone, a reader that goes away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest

from agents import calibrate, reading
from agents.display import PlainDisplay
from agents.events import Noted
from bench.calibration import calibration
from bench.events import Session
from bench.ledger import Ledger
from bench.report import wording
from plan import catalogue
from plan.catalogue import HOUSE
from plan.exits import Exit
from plan.nouns import Cost, Request, Run, Status
from tests.agents.loop import Loop

PLAN = """# Plan: one

## one: some accuracy

- **module**: `attention`
- **benchmark**: `mqar-64x4-v64-v1`
- **seeds**: 1

| metric     |    | threshold | rule       |
| ---------- | -- | --------: | ---------- |
| `accuracy` | >= |       0.5 | every seed |
"""


def _copy(folder: Path) -> Path:
    """A copy of the house."""
    for name in ("agents", "alignment", "bench", "envs", "kernels", "modules", "plan"):
        shutil.copytree(HOUSE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOUSE / "pyproject.toml", folder)
    return folder


def _call(folder: Path, *words: str, house: Path = HOUSE) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(house)}
    command = "from agents.cli import main; main()"
    return subprocess.run([sys.executable, "-Pc", command, *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_without_a_guard_that_cannot_be_read_nothing_is_run_and_its_shelf_says_so(tmp_path: Path) -> None:
    house = _copy(tmp_path / "house")
    with (house / "alignment" / "guards" / "constitution.py").open("a") as file:
        file.write("x = = 1\n")
    (house / "Plan.md").write_text(PLAN)
    ran = _call(house, "run", "--plan", "Plan.md", house=house)
    assert ran.returncode == Exit.ENVIRONMENT
    assert "the guard `constitution` cannot be read: alignment/guards/constitution.py:" in ran.stderr
    assert "nothing was run" in ran.stderr
    listed = _call(house, "modules", "--shelf", "guard", house=house)
    assert listed.returncode == Exit.ENVIRONMENT
    assert "constitution.py" in listed.stderr


def test_in_another_clone_nothing_is_done_with_this_ones_code(tmp_path: Path) -> None:
    other = _copy(tmp_path / "other")
    checked = _call(other, "check", "--plan", str(HOUSE / "plan" / "Smoke.md"))
    assert checked.returncode == Exit.ENVIRONMENT
    assert str(HOUSE) in checked.stderr
    assert _call(tmp_path, "check", "--plan", str(HOUSE / "plan" / "Smoke.md")).returncode == Exit.HOLDS


def test_every_column_of_a_calibration_has_its_heading(capsys: pytest.CaptureFixture[str]) -> None:
    request = Request(module="attention", benchmark="mqar-64x4-v64-v1", seed=0)
    runs = [
        Run(
            key=f"k{n}",
            request=request,
            status=Status.OK,
            metrics={"accuracy": 0.1 + 0.01 * (n % 3)},
            cost=Cost(seconds=1.0 + n % 2),
        )
        for n in range(8)
    ]
    found = calibration(runs, module="attention", benchmark="mqar-64x4-v64-v1", config={}, steps=None, machine={})
    calibrate._print([found], "ledger.db", json=False)
    lines = capsys.readouterr().out.splitlines()
    heading, row = next((one, two) for one, two in pairwise(lines) if one.strip().startswith("metric"))
    assert len([word for word in heading.split("  ") if word.strip()]) == len([word for word in row.split("  ") if word.strip()])


def test_a_ledger_in_which_no_plan_was_run_is_told_so(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db"):
        pass
    for words in (("report",), ("why", "one::accuracy")):
        told = Loop(tmp_path, plan=PLAN).call(*words, "--ledger", "ledger.db")
        assert told.returncode == Exit.ENVIRONMENT
        assert "no session" in told.stderr
        assert "internal error" not in told.stderr


def test_where_the_report_cannot_be_written_the_table_is_printed_and_nothing_is_left_lying(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.append("session", "s", Session(path="Plan.md", text=PLAN, digest="d"))
        reading.report_path(ledger).mkdir()
        reading.tell(ledger)
    told = capsys.readouterr()
    assert "accuracy" in told.out
    assert "cannot be written" in told.err
    assert not list(tmp_path.glob("*.part"))


def test_a_reader_that_goes_away_ends_nothing() -> None:
    class Gone(StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    PlainDisplay(Gone())(Noted(text="anything"))


def test_a_sign_that_the_terminal_cannot_show_is_no_reason_to_end(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HOUSE), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "agents.cli", "explain", "P005"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_words_that_are_nearly_right_are_understood_or_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reading.explain_code("p3") is Exit.HOLDS
    assert capsys.readouterr().out.startswith("P003")
    loop = Loop(tmp_path, plan=PLAN)
    wrong = loop.call("compare", "retnet", "transformer", "--benchmark", "bytes-stdlib-v1", "--metric", "val_bbp")
    assert wrong.returncode == Exit.USAGE
    assert "did you mean `--metric val_bpb`?" in wrong.stderr
    assert catalogue.suggest("val_bbp", ["val_bpb"]) == "val_bpb"


def test_the_next_step_names_the_ledger_unless_it_is_the_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert wording.beside(str(tmp_path / "my own.db")) == f" --ledger '{tmp_path}/my own.db'"
    assert wording.beside(str(tmp_path / "runs" / "ledger.db")) == wording.beside("") == ""
