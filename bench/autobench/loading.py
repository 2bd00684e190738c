"""Torch for the fork server: linked while something else is imported, and used once before the fork.

To link its library takes a fifth of a second in which no Python need run, so a thread does it beside the imports that come before torch's.
Its first operators look at the processor and fill tables: what is done before the fork is done for every worker.
"""

from __future__ import annotations

import ctypes
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

from bench.autobench.tree import LINUX

LINKED = ("unicodedata", "_decimal")
"""Compiled modules that pytest imports. One library is linked at a time, so they would have to wait for torch's."""
_threads: list[Thread] = []


def begin() -> None:
    """Link torch's library in a thread, where it is installed as on Linux; `torch` itself is not imported."""
    spec = find_spec("torch") if LINUX else None
    library = Path(spec.origin).parent / "lib/libtorch_cpu.so" if spec and spec.origin else Path()
    if library.is_file():
        for name in LINKED:
            import_module(name)
        _threads.append(Thread(target=_link, args=(library,)))
        _threads[0].start()


def finish() -> None:
    """Wait until no thread is left, as there must be none at the fork; use torch for the first time."""
    for thread in _threads:
        thread.join()
    torch = sys.modules["torch"]
    some = torch.arange(3.0)
    torch.equal(some * 2, some + some)
    some.sum().item()


def _link(library: Path) -> None:
    """What cannot be linked, torch's own import tells of. (`ctypes.CDLL` would hold up all Python, a function called by it does not.)"""
    load = ctypes.CDLL(None).dlopen
    load.argtypes, load.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    load(bytes(library), sys.getdlopenflags())
