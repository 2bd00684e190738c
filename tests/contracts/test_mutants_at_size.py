"""Bugs that only show at ordinary sizes pass the contract's small blocks; `tests/kernels/test_ordinary_sizes.py` catches them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernels import native
from plan.catalogue import HOUSE

TESTS = "tests/kernels/test_ordinary_sizes.py"
MUTANTS = {
    "keys of gated linear attention beyond 64 are left out": (
        "kernels/cpp/gla.cpp",
        "row < w.rows;",
        "row < (w.rows < 64 ? w.rows : 64);",
        "gated_linear and compiled",
    ),
    "keys of scalar decay beyond 64 are left out": (
        "kernels/cpp/simple_gla.cpp",
        "for (long i = 0; i < rows; i += 4)",
        "for (long i = 0; i < (rows < 64 ? rows : 64); i += 4)",
        "scalar_decay and compiled",
    ),
    "keys of the delta rule beyond 64 get no gradient": (
        "kernels/cpp/delta_rule.cpp",
        "for (long i = 0; i < keys;) {",
        "for (long i = 0; i < (keys < 64 ? keys : 64);) {",
        "delta_rules and compiled",
    ),
    "documents beyond the fourth have no say in the gradient of D": (
        "kernels/cpp/scan.cpp",
        "store(to.D + item.b * s.E + item.channel(g), dDs[g], item.count(g));",
        "store(to.D + item.b * s.E + item.channel(g), item.b < 4 ? dDs[g] : dDs[g] * 0.0f, item.count(g));",
        "batch_of_nine and compiled",
    ),
    "taps beyond 4,096 are left out": (
        "kernels/fft_convolution.py",
        "self.taps_LD.detach()[: N // 2]",
        "self.taps_LD.detach()[: min(N // 2, 4096)]",
        "taps",
    ),
    "keys beyond 8,192 are never among the best": (
        "kernels/topk_attention.py",
        ".triu(S - t + 1)",
        ".triu(S - t + 1) | (torch.arange(S, device=q_BHtD.device) < S - 8192)",
        "sixteen and torch",
    ),
}


def test_what_every_mutant_replaces_stands_once_in_its_file() -> None:
    assert [(HOUSE / file).read_text().count(old) for file, old, *_ in MUTANTS.values()] == [1] * len(MUTANTS)


@pytest.mark.slow
@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("bug", MUTANTS)
def test_a_bug_that_needs_an_ordinary_size_is_caught(bug: str, tmp_path: Path) -> None:
    """pytest -m slow tests/contracts/test_mutants_at_size.py"""
    file, old, new, chosen = MUTANTS[bug]
    for folder in ("bench", "kernels", "modules", "plan", "tests/kernels"):
        shutil.copytree(HOUSE / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOUSE / "pyproject.toml", tmp_path)
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", TESTS, "-k", chosen]
    for planted in (False, True):
        if planted:
            path = tmp_path / file
            path.write_text(path.read_text().replace(old, new, 1))
        ran = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
        )
        assert ran.returncode == (1 if planted else 0), ran.stdout[-3000:]
