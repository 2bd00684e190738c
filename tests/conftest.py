"""Tests compute on one thread, as every measurement does: how much memory a kernel takes depends on how many share its work."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"


@cache
def makes_something_once(file: Path) -> bool:
    """Whether tests of `file` share a fixture."""
    return '@pytest.fixture(scope="' in file.read_text(encoding="utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    """Tests that share what their file makes once run in one process, where each process would make it again; all others run anywhere.

    (`--dist loadgroup` is meant for this; it has no effect in pytest-xdist 3.8 under pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class KeptTogether(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if makes_something_once(config.rootpath / file) else nodeid

    return KeptTogether(config, log) if config.getoption("dist") == "load" else None
