"""Bugs of every kind planted in the real modules and kernels are caught by the contract, each by the check that is for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from house_of_mutants import Shelf
from planted import MUTANTS, Mutant, anywhere
from planted_compiled import COMPILED

from kernels import native
from plan import catalogue
from plan.catalogue import HOUSE

SHELF = {name: entry.path for name, entry in catalogue.shelf("module").items() if entry.path.is_relative_to(HOUSE)}
ANYWHERE = [mutant for name, path in SHELF.items() for mutant in anywhere(name, str(path.relative_to(HOUSE)))]
OUTSIDE = {"ceiling.cpp", "quantised.cpp"}
"""Compiled kernels that no block calls, so that no contract sees them; their own tests do."""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with_bugs = Shelf(tmp_path_factory.mktemp("shelf"))
    yield with_bugs
    with_bugs.close()


def test_what_every_mutant_replaces_stands_once_in_its_file() -> None:
    """Of two places the bug would lie in one that nobody chose; of none, in none."""
    places = {
        f"{mutant} ({mutant.file})": (HOUSE / mutant.file).read_text().count(mutant.old)
        for mutant in MUTANTS + COMPILED + ANYWHERE
    }
    assert {name: count for name, count in places.items() if count != 1} == {}


def test_every_compiled_kernel_that_a_block_calls_has_a_wrong_gradient_among_its_planted_bugs() -> None:
    files = {path.name for path in (HOUSE / "kernels" / "cpp").glob("*.cpp")} - OUTSIDE
    assert {Path(mutant.file).name for mutant in COMPILED if "gradient" in mutant.bug} == files


@pytest.mark.skipif(
    native.compiler() is None, reason="without a C++ compiler there is one path only, which cannot differ from another"
)
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_planted_bug_is_caught(shelf: Shelf, mutant: Mutant) -> None:
    with shelf.edited(mutant.file, mutant.old, mutant.new):
        assert shelf.complaints(mutant.module, mutant.claim, **mutant.settings)


@pytest.mark.slow
@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("mutant", COMPILED, ids=str)
def test_a_bug_planted_in_a_compiled_kernel_is_caught(shelf: Shelf, mutant: Mutant) -> None:
    """pytest -m slow tests/contracts/test_mutants.py"""
    with shelf.edited(mutant.file, mutant.old, mutant.new):
        assert shelf.complaints(mutant.module, mutant.claim, **mutant.settings)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", ANYWHERE, ids=str)
def test_a_bug_that_every_block_may_have_is_caught_in_every_block(shelf: Shelf, mutant: Mutant) -> None:
    """pytest -m slow tests/contracts/test_mutants.py"""
    with shelf.edited(mutant.file, mutant.old, mutant.new):
        assert shelf.complaints(mutant.module, mutant.claim, **mutant.settings)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.settings], ids=str)
def test_the_settings_of_a_mutant_break_nothing_by_themselves(shelf: Shelf, mutant: Mutant) -> None:
    assert shelf.complaints(mutant.module, mutant.claim, **mutant.settings) == []
