"""`bench.eval_harness --base REF` as CI meets it: a small house in a git repository of its own, edited, measured on both sides."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plan.catalogue import HOUSE
from plan.exits import Exit

MODULE = '''"""A number with noise of one per cent."""

import random
from dataclasses import dataclass

from plan.catalogue import module


@dataclass(frozen=True)
class Config:
    d_model: int = 8
    """Width."""


@module("{name}", system="T-0", paper="none")
class Tiny:
    """The first line."""

    def score(self, seed):
        return {score}
'''
SUITE = '''"""One number and a size that no seed changes."""

from plan import catalogue
from plan.catalogue import benchmark


@benchmark("small-v1", metrics={"score_bpb": "bpb", "parameters": ""}, source="here", options={})
def measure(bench):
    """Asks the module."""
    return {"score_bpb": catalogue.load("module", bench.request.module)().score(bench.request.seed), "parameters": 8.0}
'''
NOISE = "(1 + 0.01 * random.Random({salt}).gauss(0, 1))"
BASE, OWN = NOISE.format(salt="seed"), NOISE.format(salt="seed * 7919 + 1")
EDITS = {
    "untouched": (f"2.5 * {BASE}  # as it was", f"2.5 * {BASE}  # with another comment"),
    "shuffled": (f"2.5 * {BASE}", f"2.5 * {OWN}"),
    "broken": (f"2.5 * {BASE}", f"2.5 * {OWN} if seed < 0 else [][seed]"),
    "once": ("2.5", "2.6 if seed == 1_000_000 else 2.4"),
    "fresh": (None, f"2.5 * {OWN}"),
    "lower": (f"2.5 * {BASE}", f"2.3 * {OWN}"),
}
TASK = """
## {name}: a question

- **module**: `{name}`
- **benchmark**: `small-v1`
- **gate**: off

| metric | | threshold | rule |
| --- | -- | --: | --- |
| `score_bpb` | <= | 3 | mean |
"""
SIZE = "| `parameters` | <= | 9 | every seed |\n"


class Repository:
    """The small house and the commands that run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for package in ("plan", "bench"):
            shutil.copytree(HOUSE / package, root / package, ignore=shutil.ignore_patterns("__pycache__", "suites"))
        (root / "kernels/cpp").mkdir(parents=True)
        shutil.copy(HOUSE / "kernels/native.py", root / "kernels/native.py")
        for package in ("kernels", "modules", "bench/suites"):
            (root / package).mkdir(exist_ok=True)
            (root / package / "__init__.py").touch()
        (root / "bench/suites/small.py").write_text(SUITE)
        (root / "kernels/cpp/README").write_text("none here\n")
        (root / "small.md").write_text("# Plan: small\n" + "".join(TASK.format(name=name) for name in EDITS) + SIZE)
        self.write(0)
        self.git("init", "-q", "-b", "main")
        self.git("add", ".")
        self.git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", "the base")
        self.write(1)

    def write(self, side: int) -> None:
        for name, scores in EDITS.items():
            if scores[side] is not None:
                (self.root / f"modules/{name}.py").write_text(MODULE.format(name=name, score=scores[side]))

    def git(self, *command: str) -> str:
        return subprocess.run(["git", *command], cwd=self.root, check=True, capture_output=True, text=True).stdout

    def harness(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench.eval_harness", "--plan", "small.md", *options]
        env = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1", **environment}
        return subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def answered(repository: Repository) -> tuple[dict[tuple[str, str], Any], subprocess.CompletedProcess[str]]:
    before = [repository.git("status", "--porcelain"), repository.git("worktree", "list"), repository.git("for-each-ref")]
    # a hook's own variables must not lead git elsewhere
    only = [word for name in EDITS if name not in ("broken", "once") for word in ("--only", name)]
    done = repository.harness("--base", "HEAD", "--json", *only, GIT_DIR=str(repository.root / "nowhere"))
    assert done.stdout, done.stderr
    after = [repository.git("status", "--porcelain"), repository.git("worktree", "list"), repository.git("for-each-ref")]
    assert [line.replace("?? runs/\n", "") for line in after] == before
    return {(row["task"], row["metric"]): row for row in json.loads(done.stdout)["rows"]}, done


def test_every_row_has_the_answer_that_its_edit_deserves(answered: tuple[dict[tuple[str, str], Any], Any]) -> None:
    rows, done = answered
    told = {task: row["answer"] for (task, metric), row in rows.items() if metric == "score_bpb"}
    assert told == {
        "untouched": "unchanged",
        "lower": "better",
        "shuffled": "undecided",
        "fresh": "no answer",
    }
    assert done.returncode == Exit.UNDECIDED
    assert rows["lower", "parameters"]["answer"] == "unchanged"
    assert "both gave the same on all" in rows["lower", "parameters"]["reason"]


def test_gains_are_those_of_the_pairs_and_lie_in_their_interval(answered: tuple[dict[tuple[str, str], Any], Any]) -> None:
    rows, _ = answered
    assert rows["lower", "score_bpb"]["gain"] == pytest.approx(0.2, abs=0.05)
    row = rows["lower", "score_bpb"]
    assert 0 < row["low"] <= row["gain"] <= row["high"]
    assert len(row["runs"]) == 2 * row["n"]
    assert rows["untouched", "score_bpb"]["n"] == 0


def test_sides_are_measured_in_turn_and_nothing_is_measured_for_what_is_unchanged(
    answered: tuple[dict[tuple[str, str], Any], subprocess.CompletedProcess[str]],
) -> None:
    told = [line.split() for line in answered[1].stderr.splitlines() if "(lower," in line]
    assert [line[0] for line in told[:6]] == ["base", "own", "own", "base", "base", "own"]
    assert "(untouched," not in answered[1].stderr


@pytest.mark.parametrize(
    ("task", "code"),
    [("untouched", Exit.HOLDS), ("shuffled", Exit.UNDECIDED)],
)
def test_the_exit_code_is_the_answer(repository: Repository, answered: Any, task: str, code: Exit) -> None:
    done = repository.harness("--base", "main", "--only", task)
    assert done.returncode == code, done.stdout + done.stderr
    assert "base" in done.stdout


def test_one_loss_in_front_of_wins_of_its_size_is_made_up_for_within_the_pairs_of_a_duel(repository: Repository) -> None:
    done = repository.harness("--base", "HEAD", "--only", "once", "--json")
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["answer"], row["n"], done.returncode) == ("better", 13, Exit.HOLDS)


@pytest.mark.slow
def test_what_breaks_is_worse(repository: Repository) -> None:
    done = repository.harness("--base", "HEAD", "--only", "broken", "--json")
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["answer"], row["gain"], done.returncode) == ("worse", None, Exit.MISSED)
    assert "6 of the own runs ended without it" in row["reason"]


def test_what_is_not_there_is_told_in_a_sentence(repository: Repository) -> None:
    for options, code, word in (
        (("--base", "nowhere"), Exit.ENVIRONMENT, "nowhere"),
        (("--base", "HEAD", "--only", "lowr"), Exit.NOTHING, "did you mean `lower`?"),
        (("--only", "lower"), Exit.USAGE, "--base"),
    ):
        done = repository.harness(*options)
        assert (done.returncode, done.stdout) == (code, "")
        assert word in done.stderr
        assert "Traceback" not in done.stderr
