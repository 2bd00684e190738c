"""The house's modules are compiled from their sources in every worker, and each can be shown to somebody before it runs.

Bytecode files are matched with their source by whole seconds and size: an edit within a second would be measured under the key
of the new code and with the numbers of the old, and whoever can write a file could forge one for somebody else's module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from plan.catalogue import HOUSE
from plan.house import PACKAGES

compiled: dict[Path, bytes] = {}
"""What was compiled in this process or those it was forked from."""
show: list[Callable[[Path, bytes], None]] = []
"""Who is shown a source that is about to be compiled; what they raise, the import raises."""


class _Compiled(SourceFileLoader):
    """Reads and writes no bytecode."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        content = self.get_data(path)
        for witness in show:
            witness(Path(path).resolve(), content)
        compiled[Path(path).resolve()] = content
        code: CodeType = self.source_to_code(content, path)
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
    """From now on, in this process and those forked from it; what it has loaded before counts as the sources are now."""
    sys.meta_path.insert(0, _House)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and (name.partition(".")[0] in PACKAGES or name == "__main__") and Path(file).resolve().is_relative_to(HOUSE):
            compiled[Path(file).resolve()] = Path(file).read_bytes()
