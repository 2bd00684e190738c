"""Small C++ operators: compiled on first use by the machine's compiler, kept under the digest of what they are made of.

`kernels/cpp/NAME.cpp` is one library. It exports `extern "C"` functions over plain pointers and sizes and includes nothing
of torch, so it builds in a second or two, fits every version of torch, and is loaded with ctypes, which lets go of the
interpreter's lock during a call. A library is known by a digest over its text, the headers beside it, the compiler, the flags
and the processor; another text is another file, so nothing stale is ever loaded. Several processes may build at once: each writes a
file of its own and renames it. This file imports no torch, so that the orchestrator can `prepare` before it measures.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "cpp"
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC", "-pthread")
COMPILERS = ("c++", "g++", "clang++")


class BuildFailed(RuntimeError):
    """The compiler refused a library's text; the message is the compiler's."""


def names() -> tuple[str, ...]:
    """Every library there is."""
    return tuple(sorted(path.stem for path in SOURCES.iterdir() if path.suffix == ".cpp"))


@cache
def compiler() -> str | None:
    """Path of the C++ compiler, `$CXX` first; None where there is none."""
    wanted = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    return next(filter(None, map(shutil.which, wanted)), None)


@cache
def library(name: str) -> ctypes.CDLL | None:
    """The loaded library, built if need be; None without a compiler, after one line on stderr that says what is lost.

    Raises BuildFailed when there is a compiler and it fails: that is a fault to mend and never a reason to run slower in silence.
    """
    path = built(name)
    return None if path is None else ctypes.CDLL(str(path))


def prepare(tell: Callable[[str], None] = lambda name: None) -> dict[str, str]:
    """Build every library that is not there yet, before anything is measured; name -> message of those the compiler refused.

    `tell` hears the name of each before it is built, as that takes seconds.
    """
    refused = {}
    for name in names():
        try:
            built(name, tell)
        except BuildFailed as error:
            refused[name] = str(error)
    return refused


def built(name: str, tell: Callable[[str], None] = lambda name: None) -> Path | None:
    """Where the library lies, built if need be; None and BuildFailed as in `library`, OSError where nothing can be written."""
    if compiler() is None:
        _say_once()
        return None
    source = SOURCES / f"{name}.cpp"
    if not source.is_file():
        raise ValueError(f"no kernel library `{name}`; there are {', '.join(names())}")
    file = f"{name}-{_digest(name)}.so"
    folders = _folders()
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    for folder in folders:
        if os.access(folder, os.W_OK):
            tell(name)
            _build(source, folder / file)
            return folder / file
    raise PermissionError(f"kernel `{name}` cannot be built: no folder can be written to; set XDG_CACHE_HOME or TMPDIR to one")


@cache
def _say_once() -> None:
    print("kernels: no C++ compiler found (CXX, c++, g++, clang++); the slower pure torch forms run instead", file=sys.stderr)


def _folders() -> list[Path]:
    """Where libraries may lie: the user's cache and, for homes that cannot be written to, a folder of the user's own beside.

    What lies in somebody else's folder is not run.
    """
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folders = (Path(root) / "touchstone" / "native", Path(tempfile.gettempdir()) / f"touchstone-native-{os.getuid()}")
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [folder for folder in folders if folder.is_dir() and folder.stat().st_uid == os.getuid()]


def _digest(name: str) -> str:
    """Of everything that the machine code follows from."""
    digest = hashlib.sha256()
    for path in (SOURCES / f"{name}.cpp", *sorted(SOURCES.glob("*.h"))):
        digest.update(path.read_bytes() + b"\0")
    digest.update("\0".join((*FLAGS, _compiler_version(), _processor())).encode())
    return digest.hexdigest()[:16]


@cache
def _compiler_version() -> str:
    path = os.path.realpath(compiler() or "")
    found = os.stat(path)
    return f"{path} {found.st_size} {found.st_mtime_ns}"


@cache
def _processor() -> str:
    """What `-march=native` depends on."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return platform.processor() + platform.machine()


def _build(source: Path, target: Path) -> None:
    handle, temporary = tempfile.mkstemp(suffix=".so", dir=target.parent)
    os.close(handle)
    command = [str(compiler()), *FLAGS, "-shared", str(source), "-o", temporary]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BuildFailed(f"cannot build kernel `{source.name}`: {' '.join(command)}\n{done.stderr[-4000:]}")
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
