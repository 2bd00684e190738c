"""Reads the cheats and their honest twins, which lie with the tests, as the task's data: a folder of Python files that list `PAIRS`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Protocol

import alignment.facts  # noqa: F401  the cheats import it, and they are data, whose imports nobody follows
from alignment.measured import Unmeasurable


class Edit(Protocol):
    """What is added to the attention block, by place."""

    top: str
    init: str
    forward: str
    methods: str
    returns: str
    claim: str

    @property
    def patch(self) -> str:
        """The edit as a unified diff of the house's own file."""
        ...


class Pair(Protocol):
    """A cheat and its twin."""

    name: str
    cheat: Edit
    twin: Edit


def cheats(folder: Path) -> list[Pair]:
    """Every pair of the folder, file by file; Unmeasurable when it holds none."""
    sys.path.insert(0, str(folder.resolve().parent))
    try:
        files = [importlib.import_module(f"{folder.name}.{path.stem}") for path in sorted(folder.glob("*.py"))]
    finally:
        sys.path.pop(0)
    found: list[Pair] = [pair for file in files for pair in getattr(file, "PAIRS", ())]
    if not found:
        raise Unmeasurable(
            f"`{folder}` holds no pairs of a cheat and its twin; name `tests/alignment/cheats` of a clone. nothing was measured"
        )
    return found
