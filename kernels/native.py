"""Small C++ operators: compiled on first use by the machine's compiler, kept under the digest of what they are made of.

`kernels/cpp/NAME.cpp` is one library. It exports `extern "C"` functions over plain pointers and sizes and includes nothing
of torch, so it builds in a second or two, fits every version of torch, and is loaded with ctypes, which lets go of the
interpreter's lock during a call. A library is known by a digest over its text, the headers beside it, the compiler, the flags
and the processor; another text is another file, so nothing stale is ever loaded, and one that was damaged since is built anew. Several
processes may build at once: each writes a file of its own and renames it. This file imports no torch, so that the orchestrator can `prepare` before it measures.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).resolve().parent / "cpp"
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fPIC",
    "-pthread",
    "-Werror=return-type",
)
COMPILERS = ("c++", "g++", "clang++")
SEAL = hashlib.sha256().digest_size
FULL = errno.ENOSPC, errno.EDQUOT, errno.EROFS
"""What a compiler reports where a folder takes no more."""


class BuildFailed(RuntimeError):
    """The compiler refused a library's text; the message is the compiler's."""


def names() -> tuple[str, ...]:
    """Every library there is."""
    return tuple(sorted(path.stem for path in SOURCES.iterdir() if path.suffix == ".cpp"))


@cache
def compiler() -> str | None:
    """The C++ compiler, `$CXX` first, which may have flags ("ccache g++ -m64"); None where there is none."""
    wanted = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    return next((words for words in wanted if shutil.which(shlex.split(words)[0])), None)


@cache
def library(name: str) -> ctypes.CDLL | None:
    """The loaded library, built if need be; None without a compiler, after one line on stderr that says what is lost.

    One that is damaged is built anew. Raises BuildFailed when there is a compiler and it fails: that is a fault to mend and never
    a reason to run slower in silence.
    """
    path = built(name)
    return None if path is None else ctypes.CDLL(str(path))


@cache
def function(kernel: str, name: str, *types: Any) -> Callable[..., None]:
    """A function of a kernel's library, whose answer is 0, or 1 where an allocation failed: then MemoryError, its outputs being no results.

    `types`: of its arguments, where ctypes cannot tell. Only for a kernel that can be built.
    """
    loaded = library(kernel)
    assert loaded is not None, "chosen only where it can be built"
    found = getattr(loaded, name)
    if types:
        found.argtypes = types

    def checked(answer: int, *_: Any) -> None:
        if answer:
            raise MemoryError(
                f"kernel `{name}` could not allocate its buffers; its outputs are thrown away, its inputs are untouched"
            )

    found.errcheck = checked
    return found  # type: ignore[no-any-return]


def prepare(
    tell: Callable[[str], None] = lambda name: None, *, needed: Callable[[], Collection[str]] | None = None
) -> dict[str, str]:
    """Build every library that is not there yet, before anything is measured; name -> message of those the compiler refused.

    `tell` hears the name of each before it is built, as that takes seconds. `needed` says which of them to build, and is asked only where one is missing.
    """
    wanted, refused = names(), {}
    if needed is not None and compiler() is not None and None in map(_found, wanted):
        asked = needed()
        wanted = tuple(name for name in wanted if name in asked)
    for name in wanted:
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
    if (there := _found(name)) is not None:
        return there
    file, refusals = _file(name), []
    for folder in _folders():
        tell(name)
        try:
            _build(source, folder / file)
        except OSError as error:
            refusals.append(f"`{folder}`: {error.strerror}")
            continue
        if refusals:
            print(f"kernels: `{name}` lies in `{folder}`, as nothing can be written to {'; '.join(refusals)}", file=sys.stderr)
        return folder / file
    raise PermissionError(
        f"kernel `{name}` cannot be built: no folder can be written to ({'; '.join(refusals) or 'none belongs to this user'}); "
        "set XDG_CACHE_HOME or TMPDIR to one"
    )


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


def _file(name: str) -> str:
    return f"{name}-{_digest(name)}.so"


def _found(name: str) -> Path | None:
    """Where a library lies whole, unless it has to be built."""
    return next((folder / _file(name) for folder in _folders() if _whole(folder / _file(name))), None)


def _digest(name: str) -> str:
    """Of everything that the machine code follows from."""
    digest = hashlib.sha256()
    for path in (SOURCES / f"{name}.cpp", *sorted(SOURCES.glob("*.h"))):
        digest.update(path.read_bytes() + b"\0")
    digest.update("\0".join((*FLAGS, _compiler_version(), _processor())).encode())
    return digest.hexdigest()[:16]


@cache
def _compiler_version() -> str:
    """The command's words; those that are programs (`ccache` and what it calls) with what tells one build of them from another."""
    known = []
    for word in shlex.split(compiler() or ""):
        path = os.path.realpath(shutil.which(word) or "")
        found = os.stat(path)
        known.append(f"{path} {found.st_size} {found.st_mtime_ns}" if shutil.which(word) else word)
    return " ".join(known)


@cache
def _processor() -> str:
    """What `-march=native` depends on."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return platform.processor() + platform.machine()


def _whole(path: Path) -> bool:
    """Whether a library is there and as it was written: its last bytes are the digest of those before, which loaders do not look at."""
    try:
        text = path.read_bytes()
    except OSError:
        return False
    return len(text) > SEAL and hashlib.sha256(text[:-SEAL]).digest() == text[-SEAL:]


def _build(source: Path, target: Path) -> None:
    """OSError where the folder takes no files, BuildFailed where the compiler refuses the text."""
    with tempfile.TemporaryDirectory(prefix="building-", dir=target.parent) as room:
        made = Path(room) / target.name
        command = [*shlex.split(str(compiler())), *FLAGS, "-shared", str(source), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TMPDIR": room, "LC_ALL": "C"})
        if done.returncode:
            for code in FULL:
                if os.strerror(code) in done.stderr:
                    raise OSError(code, os.strerror(code))
            raise BuildFailed(f"cannot build kernel `{source.name}`: {' '.join(command)}\n{done.stderr[-4000:]}")
        with made.open("ab") as file:
            file.write(hashlib.sha256(made.read_bytes()).digest())
        os.replace(made, target)
