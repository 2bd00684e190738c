"""Every file passes the linter, the formatter and the strict type checker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=" ".join)
def test_the_sources_are_clean(command: list[str]) -> None:
    script = Path(sys.executable).with_name(command[0])
    done = subprocess.run([script, *command[1:]], cwd=HOUSE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_no_file_has_outgrown_its_subject() -> None:
    long = {
        path.relative_to(HOUSE): n
        for path in HOUSE.glob("*/**/*.py")
        if ".venv" not in path.parts and (n := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_no_two_test_files_share_a_name() -> None:
    names = [path.name for path in (HOUSE / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
