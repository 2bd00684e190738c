"""The house's modules are compiled from their sources in every worker.

Bytecode files are matched with their source by whole seconds and size: an edit within a second would be measured under the key
of the new code and with the numbers of the old, and whoever can write a file could forge one for somebody else's module.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from plan.catalogue import HOUSE
from plan.house import PACKAGES


class _Compiled(SourceFileLoader):
    """Reads and writes no bytecode."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class _House(PathFinder):
    """Finds the house's modules as usual, and has them loaded by `_Compiled`."""

    @classmethod
    def find_spec(cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin and spec.origin.startswith(str(HOUSE)) and type(spec.loader) is SourceFileLoader:
            spec.loader = _Compiled(fullname, spec.origin)
        return spec


def always_compile() -> None:
    """From now on, in this process and those forked from it."""
    sys.meta_path.insert(0, _House)
