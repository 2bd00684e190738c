"""What opens, lists or asks without Python's telling, and what processes do that a measurement forks: refused as all else, or not to be had."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest
from small_house import House

from bench.autobench.tree import LINUX
from plan.nouns import Status

pytestmark = pytest.mark.skipif(not LINUX, reason="the guarantees are made on Linux")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"))
    yield house
    house.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "number.txt"
    path.write_text("7")
    return path


def refused(house: House, act: str, told: str, **config: object) -> None:
    outcome = house.measure(act, **config)
    assert outcome.status is Status.CRASHED, outcome
    assert outcome.message.startswith(told), outcome
    assert outcome.metrics == {}


def test_a_database_that_is_attached_to_another_is_a_file_that_is_read(house: House, tmp_path: Path) -> None:
    path = tmp_path / "numbers.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (x)")
        connection.execute("insert into t values (7)")
    refused(house, "attaches_a_database", f"it reads `{path}`, which does not count into its identity", where=str(path)[::-1])
    assert house.measure("attaches_a_database", where=str(path)[::-1], named=str(path)).metrics == {"score": 7}
    refused(house, "connects_by_itself", "it connects without `sqlite3.connect`")


def test_what_opens_files_in_c_is_refused_and_arithmetic_in_c_is_not(house: House, file: Path) -> None:
    refused(house, "takes_open_from_c", "it takes `open` from a C library", where=str(file)[::-1])
    assert house.measure("takes_arithmetic_from_c").metrics == {"score": 7}


def test_the_names_in_a_folder_anywhere_are_refused_and_a_pattern_is_not(house: House, file: Path) -> None:
    where = str(file.parent)[::-1]
    refused(house, "lists_elsewhere", f"it lists `{file.parent}`, whose names do not count", where=where)
    assert house.measure("finds_elsewhere", where=where).metrics == {"score": 1}
    assert house.measure("lists_elsewhere", where="/proc/self/task"[::-1]).metrics == {"score": 1}


def test_where_a_link_points_is_refused_and_what_lies_there_is_found(house: House, file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    refused(house, "reads_where_it_points", f"it reads where `{link}` points", where=str(link)[::-1])
    assert house.measure("resolves", where=str(link)[::-1]).metrics == {"score": len(str(file.resolve()))}


def test_shared_memory_of_somebody_else_is_refused_and_ones_own_is_not(house: House) -> None:
    memory = SharedMemory(create=True, size=8)
    try:
        refused(house, "shares_memory", f"it reads `/dev/shm/{memory.name}`", where=memory.name[::-1])
    finally:
        memory.close()
        memory.unlink()
    assert house.measure("shares_memory", where="").metrics == {"score": 1}


def test_to_look_whether_a_module_is_there_is_to_name_it(house: House) -> None:
    refused(house, "looks_whether_it_is_there", "it reads `kernels/apart.py`, which does not count into its identity")
    with house.edited("bench/suites/late.py", "import kernels\n", "import kernels\nimport kernels.apart\n"):
        assert house.measure("looks_whether_it_is_there").status is Status.OK


def test_a_library_may_look_whether_a_package_is_there_that_is_called_as_one_of_the_house(house: House) -> None:
    assert house.measure("a_library_looks_whether_it_is_there").metrics == {"score": 1}


@pytest.mark.parametrize("shell", [False, True])
def test_a_file_that_a_program_is_started_with_is_read(shell: bool, house: House, file: Path) -> None:
    refused(house, "hands_it_on", f"it reads `{file}`, which does not count", where=str(file)[::-1], shell=shell)
    assert house.measure("hands_it_on", where=str(file)[::-1], shell=shell, named=str(file)).metrics == {"score": 7}
    assert house.measure("starts_a_program").metrics == {"score": 7}


@pytest.mark.parametrize("act", ["reads_in_a_pool", "hides_it_in_a_child"])
def test_what_a_forked_process_is_refused_its_measurement_is_refused(act: str, house: House, file: Path) -> None:
    told = f"a process that it forked: it reads `{file}`, which does not count into its identity"
    refused(house, act, told, where=str(file)[::-1])


def test_a_measurement_that_waits_in_vain_for_one_that_was_refused_names_the_file(house: House, file: Path) -> None:
    seen = house.measure("waits_for_a_child_in_vain", seconds=2, where=str(file)[::-1])
    assert seen.status is Status.TIMED_OUT
    assert seen.message.startswith("still running after 2 s"), seen
    assert f"a process that it waited for was refused: it reads `{file}`" in seen.message


def test_the_line_and_the_docstring_that_the_shelf_tells_of_are_told_to_nobody_who_measures(house: House) -> None:
    assert house.measure("tells_what_the_shelf_says_of_itself").metrics == {"score": 0}
