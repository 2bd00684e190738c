"""What measures may gain a module of its own package while a candidate runs, and nothing that means something else."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from bench.autobench.instruments import Instruments


def test_a_module_called_like_a_builtin_is_no_new_meaning_and_a_hidden_builtin_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "measuring_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "bytes.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    package = importlib.import_module("measuring_package")
    instruments = Instruments((str(folder),))
    instruments.note()
    importlib.import_module("measuring_package.bytes")
    assert instruments.changed() == ""
    package.len = lambda anything: 0  # type: ignore[attr-defined]
    assert instruments.changed() == "measuring_package.len"
