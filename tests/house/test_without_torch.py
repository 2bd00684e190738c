"""What only reads works where torch is not installed, and what has nothing to measure does not import it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
NO_TORCH = """
import importlib.metadata, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
real = importlib.metadata.distribution

def distribution(name):
    if name == "torch":
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)

importlib.metadata.distribution = distribution
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which torch cannot be found."""
    (tmp_path / "sitecustomize.py").write_text(NO_TORCH)
    return {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{HOUSE}"}


def orchestrate(*words: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "agents.cli", *words], env=env, cwd=cwd, capture_output=True, text=True)


def test_the_fixture_really_hides_torch(bare: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", "import torch"], env=bare, capture_output=True, text=True)
    assert "No module named 'torch'" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["run", "--help"],
        ["check", "--plan", str(HOUSE / "plan/Plan.md")],
        ["modules"],
        ["modules", "--shelf", "benchmark"],
        ["modules", "--json"],
        ["explain", "P003"],
    ],
    ids=" ".join,
)
def test_reading_commands_need_no_torch(bare: dict[str, str], tmp_path: Path, words: list[str]) -> None:
    done = orchestrate(*words, env=bare, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_zoo_is_listed_without_torch(bare: dict[str, str], tmp_path: Path) -> None:
    listed = json.loads(orchestrate("modules", "--json", env=bare, cwd=tmp_path).stdout)
    assert {"attention", "mamba", "moe", "retnet", "transformer"} <= {entry["name"] for entry in listed["entries"]}


def test_a_report_is_written_without_torch(bare: dict[str, str], tmp_path: Path) -> None:
    planned = orchestrate("run", "--plan", str(HOUSE / "plan/Smoke.md"), "--budget", "0s", env=dict(os.environ), cwd=tmp_path)
    assert planned.returncode == 1, planned.stderr
    done = orchestrate("report", "--format", "md", "--out", "-", env=bare, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "waiting" in done.stdout


def test_a_run_without_torch_says_so_and_begins_nothing(bare: dict[str, str], tmp_path: Path) -> None:
    done = orchestrate("run", "--plan", str(HOUSE / "plan/Smoke.md"), "--ledger", "l.db", env=bare, cwd=tmp_path)
    assert done.returncode == 4, done
    assert "`torch` is not installed" in done.stderr
    assert not (tmp_path / "l.db").exists()


def test_help_and_check_do_not_import_torch(tmp_path: Path) -> None:
    script = (
        "import sys\nsys.argv = ['orchestrate', *sys.argv[1:]]\n"
        "from agents.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('HEAVY', sorted({'torch', 'scipy', 'sqlalchemy', 'numpy'} & set(sys.modules)))"
    )
    for words in (["--help"], ["check", "--plan", str(HOUSE / "plan/Plan.md")], ["modules"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HOUSE)},
        )
        assert done.stdout.splitlines()[-1] == "HEAVY []", (words, done.stdout[-300:], done.stderr)
