"""What was read once is remembered between processes, and a memory never stands for what it was not written for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plan.catalogue import HOUSE

READ = """
import sys
from pathlib import Path
from bench import fingerprint, texts
texts.recall()
found = fingerprint.Reader(Path(sys.argv[1])).fingerprint([Path(sys.argv[1]) / "modules" / "one.py"])
texts.keep()
print(found.digest, texts._file())
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "house" / "modules").mkdir(parents=True)
    (tmp_path / "house" / "modules" / "one.py").write_text("from modules.two import x\n\n\ndef f():\n    return x + 1\n")
    (tmp_path / "house" / "modules" / "two.py").write_text("x = 'caf\\udce9.txt'\n")
    return tmp_path / "house"


def _read(house: Path) -> tuple[str, Path]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(house.parent / "cache"), "PYTHONPATH": str(HOUSE)}
    done = subprocess.run([sys.executable, "-c", READ, str(house)], env=environment, capture_output=True, text=True, check=True)
    digest, _, file = done.stdout.strip().partition(" ")
    return digest, Path(file)


def test_what_is_remembered_means_what_was_read_and_a_changed_file_is_read_anew(house: Path) -> None:
    first, file = _read(house)
    assert file.is_file()
    written = file.stat().st_mtime_ns
    assert _read(house) == (first, file)
    assert file.stat().st_mtime_ns == written, "nothing new was read, so nothing is written"
    (house / "modules" / "two.py").write_text("x = 2  # another value\n")
    second, _ = _read(house)
    assert second != first
    (house / "modules" / "two.py").write_text("x = 2  # another comment\n")
    assert _read(house)[0] == second


@pytest.mark.parametrize("damage", [
    lambda text: text[: len(text) // 2],
    lambda text: text.replace('"', "'"),
    lambda text: text.replace("f", "g"),
    lambda text: "",
    lambda text: "\x00\xff" * 100,
])  # fmt: skip
def test_a_damaged_memory_is_no_memory(house: Path, damage: object) -> None:
    first, file = _read(house)
    file.write_bytes(damage(file.read_text()).encode("latin-1"))  # type: ignore[operator]
    assert _read(house)[0] == first


def test_where_nothing_can_be_written_texts_are_read_all_the_same(house: Path) -> None:
    first, file = _read(house)
    file.unlink()
    file.mkdir()
    assert _read(house)[0] == first
