"""Who may import whom: import-linter holds, and each forbidden arrow is found when it is drawn."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plan.house import PACKAGES

HOUSE = Path(__file__).resolve().parents[2]
FORBIDDEN = [
    ("plan/house.py", "kernels.attention"),
    ("kernels/attention.py", "plan.nouns"),
    ("plan/house.py", "bench.ledger"),
    ("kernels/attention.py", "modules.trainer"),
    ("modules/trainer.py", "bench.data"),
    ("modules/trainer.py", "envs"),
    ("envs/__init__.py", "modules.trainer"),
    ("bench/judge.py", "alignment.guards.evidence"),
    ("alignment/guards/evidence.py", "bench.judge"),
    ("bench/judge.py", "agents.events"),
    ("alignment/guards/evidence.py", "agents.events"),
    ("plan/house.py", "torch"),
    ("plan/nouns.py", "rich"),
    ("plan/nouns.py", "optuna"),
    ("plan/nouns.py", "markdown_it"),
    ("kernels/attention.py", "numpy"),
    ("kernels/retention.py", "optuna"),
    ("bench/judge.py", "torch"),
]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [script, "--no-cache"], cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(folder), "PATH": ""}
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(HOUSE / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOUSE / "pyproject.toml", folder)
    return folder


def test_no_file_imports_up_or_sideways() -> None:
    done = lint(HOUSE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("file", "target"), FORBIDDEN, ids=[f"{file}->{target}" for file, target in FORBIDDEN])
def test_a_forbidden_import_is_found(copy: Path, file: str, target: str) -> None:
    path = copy / file
    before = path.read_text(encoding="utf-8")
    try:
        path.write_text(f"{before}\nimport {target}\n", encoding="utf-8")
        done = lint(copy)
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert "BROKEN" in done.stdout
    assert target.partition(".")[0] in done.stdout
