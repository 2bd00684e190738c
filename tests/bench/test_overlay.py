"""A tree laid over the house counts by what its modules and kernels mean, and nothing else of it counts at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.identity import Identifier, run_key
from bench.overlay import Overlay
from plan.catalogue import HOUSE
from plan.nouns import Request

REQUEST = Request(module="retnet", benchmark="flops-v1", seed=0)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for package in ("modules", "kernels", "bench"):
        shutil.copytree(HOUSE / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def key(tree: Path) -> str:
    return Identifier(trees=lambda _: tree).identify(replace(REQUEST, tree="t" * 40)).key


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_tree_that_means_the_same_is_the_same_run(tree: Path) -> None:
    own = Identifier().identify(REQUEST).key
    assert key(tree) == own
    edit(tree / "modules/retnet.py", '"""', '"""Said otherwise. ')
    assert key(tree) == own


@pytest.mark.parametrize(("file", "old", "new", "counts"), [
    ("modules/retnet.py", "memory_growth: float = 2.0", "memory_growth: float = 3.0", True),
    ("kernels/retention.py", "import torch", "import torch\nx = 1", True),
    ("bench/suites/flops.py", '"batch": 8', '"batch": 1', False),
    ("bench/judge.py", "DISPLAYED = 0.95", "DISPLAYED = 0.5", False),
    ("modules/mamba.py", "d_state: int = 16", "d_state: int = 8", False),
])  # fmt: skip
def test_modules_and_kernels_of_the_tree_count_and_its_copy_of_the_judge_does_not(
    tree: Path, file: str, old: str, new: str, counts: bool
) -> None:
    own = key(tree)
    edit(tree / file, old, new)
    assert (key(tree) != own) is counts


def test_a_run_without_a_tree_has_the_key_it_had_before_there_were_trees() -> None:
    def of(request: Request) -> str:
        return run_key(request, code="c", data_digest="d", environment={})

    assert (
        of(REQUEST) == of(replace(REQUEST, tree="t" * 40)) == "59fa5407b4362ce6135ce76c0ad84c2052d078beba718b75e79cca27401649a4"
    )


def test_a_tree_that_is_kept_nowhere_is_no_run() -> None:
    with pytest.raises(LookupError):
        Identifier().identify(replace(REQUEST, tree="t" * 40))


@pytest.mark.parametrize("there", [lambda house: house / "modules/a.py", lambda house: house / "kernels/triton/b.py"])
def test_every_place_that_is_laid_over_is_read_in_the_tree_and_named_as_in_the_house(
    tmp_path: Path, there: Callable[[Path], Path]
) -> None:
    house, tree = tmp_path / "house", tmp_path / "tree"
    overlay = Overlay(house, tree)
    assert overlay.real(there(house)) == there(tree)
    assert overlay.nominal(there(tree)) == there(house)
    assert not overlay.nominal(there(house)).is_relative_to(house)
    assert overlay.real(house / "bench/a.py") == house / "bench/a.py" == overlay.nominal(house / "bench/a.py")
