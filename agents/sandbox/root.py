"""The private root: an empty tmpfs with read-only views of what Python needs and one small writable place; everything else is not there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from agents.sandbox import linux

BOX = "/box"
"""The working directory of a program that was given no folder."""
PROGRAM = "/program"
"""Where the program's text lies, read-only."""
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_BASE = "/proc"
"""Where the new root is put together: a directory that every Linux has and that nothing here needs afterwards."""
_FACTS = ("cpuinfo", "meminfo")


class Unbuildable(Exception):
    """This process may not mount; it can go on with the real root."""


def build(*, reads: Iterable[str], folder: str | None, program: str | None, disk: int, files: int, owner: int) -> str:
    """Make and enter the private root; the folder's path inside. Needs CAP_SYS_ADMIN over its mount namespace.

    The folder is a copy in memory of at most `disk` bytes and `files` entries; `owner` is the uid that may write there.
    Unbuildable before anything has changed; any other OSError leaves the process in a half-built root that must not be used.
    """
    facts = {name: _text(f"/proc/{name}") for name in _FACTS}
    try:
        linux.unshare(linux.NEW_MOUNTS)
        linux.mount("", "/", flags=linux.RECURSIVE | linux.PRIVATE)
        linux.mount("sandbox", _BASE, "tmpfs", linux.NO_SUID | linux.NO_DEV, "size=8m,nr_inodes=8192,mode=755")
    except OSError as error:
        raise Unbuildable(str(error)) from None
    box = folder or BOX
    writable = _writable(folder, disk, files, owner)
    _bind(f"{writable}/tmp", "/tmp")
    shown: list[str] = []
    for path in sorted({*LIBRARIES, *reads, box}, key=lambda path: os.path.realpath(path)):
        if path == box:
            _bind(f"{writable}/box", os.path.realpath(box))
        else:
            _show(path, shown)
    for device in DEVICES:
        _bind(device, device)
    linux.LIBC and linux.LIBC.umount2(writable.encode(), 2)
    os.rmdir(writable)
    for place, text in {f"/proc/{name}": text for name, text in facts.items()}.items():
        _write(place, text)
    _write("/etc/passwd", f"sandbox:x:{owner}:{owner}::{box}:/bin/false\n")
    _write("/etc/group", f"sandbox:x:{owner}:\n")
    if program is not None:
        _write(f"{PROGRAM}/program.py", program)
    linux.mount("", _BASE, flags=linux.REMOUNT | linux.BIND | linux.READ_ONLY | linux.NO_SUID | linux.NO_DEV)
    linux.pivot(_BASE)
    return os.path.realpath(box)


def _writable(folder: str | None, disk: int, files: int, owner: int) -> str:
    place = f"{_BASE}/writable"
    os.mkdir(place)
    linux.mount("box", place, "tmpfs", linux.NO_SUID | linux.NO_DEV, f"size={disk},nr_inodes={files + 8},mode=755")
    for name in ("box", "tmp"):
        os.mkdir(f"{place}/{name}")
    if folder is not None:
        copy(folder, f"{place}/box", owner)
    for name in ("box", "tmp"):
        os.chmod(f"{place}/{name}", 0o700)
        os.chown(f"{place}/{name}", owner, -1)
    return place


def left_in(box: str, *, most: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The regular files below `box`, of at most `most` bytes together, once nothing runs any more that could change them."""
    for parent, _, names, descriptor in os.fwalk(box, follow_symlinks=False):
        for name in sorted(names):
            facts = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > most:
                continue
            most -= facts.st_size
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            with os.fdopen(file, "rb") as content:
                body = content.read()
            path = os.path.relpath(os.path.join(parent, name), box)
            yield {"file": path, "executable": bool(facts.st_mode & 0o100)}, body


def held_by(box: str) -> tuple[int, int]:
    """(bytes on disk, entries) below `box`."""
    size = count = 0
    for _, folders, names, descriptor in os.fwalk(box, follow_symlinks=False):
        count += len(folders) + len(names)
        for name in names:
            with suppress(OSError):
                size += os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_blocks * 512
    return size, count


def copy(source: str, target: str, owner: int) -> None:
    """Copy directories, regular files and symbolic links below `source`; nothing else, and no link is followed."""
    for parent, folders, names in os.walk(source):
        inside = os.path.join(target, os.path.relpath(parent, source))
        for name in [*folders, *names]:
            old, new = os.path.join(parent, name), os.path.join(inside, name)
            mode = os.lstat(old).st_mode
            if stat.S_ISLNK(mode):
                os.symlink(os.readlink(old), new)
            elif stat.S_ISDIR(mode):
                os.mkdir(new)
            elif stat.S_ISREG(mode):
                with open(old, "rb") as content, open(new, "wb") as twin:
                    while part := content.read(1 << 20):
                        twin.write(part)
                os.chmod(new, mode & 0o700)
            else:
                continue
            os.chown(new, owner, -1, follow_symlinks=False)


def _show(path: str, shown: list[str]) -> None:
    """Bind `path` read-only, with the symbolic links that lead to it."""
    walked = "/"
    parts = os.path.normpath(path).split("/")[1:]
    for index, part in enumerate(parts):
        step = os.path.join(walked, part)
        if os.path.islink(step):
            with suppress(FileExistsError, OSError):
                os.makedirs(_BASE + walked, exist_ok=True)
                os.symlink(os.readlink(step), _BASE + step)
            return _show(os.path.join(walked, os.readlink(step), *parts[index + 1 :]), shown)
        walked = step
    covered = any(os.path.commonpath([walked, other]) == other for other in shown)
    if not covered and os.path.exists(walked):
        _bind(walked, walked)
        linux.lock_tree(_BASE + walked)
        shown.append(walked)


def _bind(source: str, target: str) -> None:
    place = _BASE + target
    if os.path.isdir(source):
        os.makedirs(place, exist_ok=True)
    elif os.path.exists(source):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if not os.path.exists(place):
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
    else:
        return
    linux.mount(source, place, flags=linux.BIND | linux.RECURSIVE)


def _write(place: str, text: str) -> None:
    os.makedirs(os.path.dirname(_BASE + place), exist_ok=True)
    with suppress(FileExistsError), open(_BASE + place, "x", encoding="utf-8", errors="surrogatepass") as file:
        file.write(text)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 18)
    except OSError:
        return ""
