"""Landlock: file access by path, TCP and signals, restricted by the process itself without any privilege (Linux 5.13 and later)."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress

from agents.sandbox import linux

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
READS = _EXECUTE | _READ | _LIST
_FILE_ONLY = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_MAKE_DEVICES_AND_SOCKETS = 1 << 6 | 1 << 9 | 1 << 11
_FIRST, _REFER = 0x1FFF, 1 << 13


def version() -> int:
    """The kernel's Landlock ABI; 0 when it has none or it is switched off."""
    try:
        return linux.call("landlock_create_ruleset", _CREATE, None, ctypes.c_size_t(0), 1)
    except OSError:
        return 0


def handled(abi: int) -> tuple[int, int, int]:
    """(file accesses, network accesses, scopes) that version `abi` can refuse."""
    files = _FIRST | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0) | (_IOCTL if abi >= 5 else 0)
    return files, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0


def restrict(*, reads: Iterable[str], writes: Iterable[str]) -> int:
    """Allow reading and executing below `reads`, everything but devices and sockets below `writes`, and nothing else, for good.

    Returns the ABI used; 0 means that nothing was restricted. Needs PR_SET_NO_NEW_PRIVS or CAP_SYS_ADMIN. A path that does not
    exist is left out.
    """
    if not (abi := version()):
        return 0
    files, network, scopes = handled(abi)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    attributes = struct.pack("=QQQ", files, network, scopes)[:size]
    rules = linux.call("landlock_create_ruleset", _CREATE, attributes, ctypes.c_size_t(size), 0)
    for path in reads:
        _allow(rules, path, READS)
    for path in writes:
        _allow(rules, path, files & ~_MAKE_DEVICES_AND_SOCKETS)
    linux.call("landlock_restrict_self", _RESTRICT, rules, 0)
    os.close(rules)
    return abi


def _allow(rules: int, path: str, access: int) -> None:
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            files = os.path.isdir(path) or access & _FILE_ONLY
            beneath = struct.pack("=Qi", access if files is True else files, place)
            linux.call("landlock_add_rule", _ADD, rules, 1, beneath, 0)
        finally:
            os.close(place)
