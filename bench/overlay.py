"""A candidate's tree laid over the house: `modules` and `kernels` are read there, everything that measures and judges where it always was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

LAID = ("modules", "kernels")
"""Packages that a candidate may change."""
Trees = Callable[[str], Path]
"""Where the tree that a request names (`Request.tree`) is checked out; LookupError when it is nowhere."""


def no_trees(tree: str) -> Path:
    """Where nobody keeps candidates' trees."""
    raise LookupError(f"the tree {tree[:12]} is not kept here")


class Overlay:
    """The house as it looks with `tree` laid over it; without one, the house as it is. All paths are absolute and resolved."""

    def __init__(self, house: Path, tree: Path | None) -> None:
        self.house, self.tree = house, None if tree is None else tree.resolve()
        self._laid = tuple(house / name for name in LAID) if tree else ()

    def real(self, path: Path) -> Path:
        """Where the house's `path` is read."""
        for package in self._laid:
            if self.tree and (path == package or package in path.parents):
                return self.tree / path.relative_to(self.house)
        return path

    def nominal(self, path: Path) -> Path:
        """What place of the house is read at `path`; a file that is laid over is no place of this house."""
        if self.tree is None:
            return path
        for name in LAID:
            if (self.tree / name) in path.parents:
                return self.house / path.relative_to(self.tree)
        return self.tree / "laid over" / path.name if any(package in path.parents for package in self._laid) else path
