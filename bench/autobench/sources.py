"""The house's modules are compiled from their sources in every worker, and each can be shown to somebody before it runs.

Bytecode files are matched with their source by whole seconds and size: an edit within a second would be measured under the key
of the new code and with the numbers of the old, and whoever can write a file could forge one for somebody else's module.
This file starts the fork server, since a script is the one thing that Python always compiles.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

HOUSE = Path(__file__).resolve().parents[2]

compiled: dict[Path, bytes] = {}
"""What was compiled in this process or those it was forked from."""
show: list[Callable[[Path, bytes], None]] = []
"""Who is shown a source that is about to be compiled; what they raise, the import raises."""


asked: list[Callable[[Path], None]] = []
"""Who is told of a source that is looked for, be it to import it or to see whether it is there."""


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

    packages: Collection[str] = ("plan",)
    tree: str = ""
    """Where `laid` packages are found instead of in the house."""
    laid: Collection[str] = ()
    alone = False
    """Whether what lies beside the packages belongs to the house."""

    @classmethod
    def find_spec(cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        first = fullname.partition(".")[0]
        if first not in cls.packages and not (cls.alone and ((HOUSE / f"{first}.py").exists() or (HOUSE / first).is_dir())):
            return None
        spec = PathFinder.find_spec(fullname, [cls.tree] if fullname in cls.laid else path, target)
        ours = (str(HOUSE), cls.tree) if cls.tree else str(HOUSE)
        if spec is not None and spec.origin and spec.origin.startswith(ours) and type(spec.loader) is SourceFileLoader:
            spec.loader = _Compiled(fullname, spec.origin)
            for witness in asked:
                witness(Path(spec.origin).resolve())
        return spec


def always_compile() -> None:
    """From now on, in this process and those forked from it."""
    sys.meta_path.insert(0, _House)
    from plan.house import PACKAGES

    _House.packages = PACKAGES
    from bench.importable import stands_alone

    _House.alone = stands_alone(HOUSE)


def lay_over(tree: Path, packages: Collection[str]) -> None:
    """From now on, in this process, `packages` come from the folder `tree`, also those that were imported before."""
    _House.tree, _House.laid = str(tree), frozenset(packages)
    for name in [name for name in sys.modules if name.partition(".")[0] in _House.laid]:
        del sys.modules[name]
    for path in [path for path in compiled if any(path.is_relative_to(HOUSE / package) for package in packages)]:
        del compiled[path]


if __name__ == "__main__":
    sys.modules["bench.autobench.sources"] = sys.modules["__main__"]
    sys.path[0] = os.getcwd()  # as for `python -m`, and not this file's folder
    compiled[Path(__file__).resolve()] = Path(__file__).read_bytes()
    always_compile()
    from bench.autobench.server import main

    main(sys.argv[1:])
