"""The system-call filter: a classic BPF program, assembled here, that allows what `syscalls.py` lists and refuses the rest.

A refused call fails with EPERM, so that honest code which merely tries something gets an ordinary error. A call made through
another architecture's entry (32-bit on a 64-bit kernel) ends the process, because its numbers mean something else.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agents.sandbox import linux, syscalls

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE = 0x00050000 | errno.EPERM
UNKNOWN = 0x00050000 | errno.ENOSYS
"""Answer to clone3, whose flags lie in memory that a filter cannot read: the C library then falls back to clone."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_X32 = 0x40000000
_CLONE3 = 435

NEW_NAMESPACE = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
CLONE_PTRACE, CLONE_PARENT = 0x2000, 0x8000
AF_UNIX, SOCK_STREAM, SOCK_FLAGS = 1, 1, 0o2004000
IOCTLS = (0x5401, 0x541B, 0x5413, 0x5421, 0x5450, 0x5451)
"""TCGETS FIONREAD TIOCGWINSZ FIONBIO FIONCLEX FIOCLEX: never TIOCSTI or TIOCLINUX, which type on the user's terminal."""
FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032, 1033, 1034, 36, 37, 38)
"""Duplicate, flags, locks, seals and the size of a pipe; not F_SETPIPE_SZ (kernel memory), F_SETOWN, F_NOTIFY or leases."""
PRCTLS = (15, 16, 3, 0x53564D41)
"""PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_VMA (the C library names its memory)."""


class Only(NamedTuple):
    """A condition on one argument's low 32 bits: none of `without` set, and the rest one of `values` where any are given."""

    argument: int
    values: tuple[int, ...] = ()
    without: int = 0
    ignore: int = 0
    """Bits that do not matter for `values`."""


Conditions = Mapping[str, Sequence[Only]]
NEVER = (Only(argument=0, without=0xFFFFFFFF, values=(0xFFFFFFFF,)),)
MARKING = ("chmod", "fchmod", "fchmodat", "fchmodat2", "utime", "utimes", "utimensat", "futimesat")
"""Calls that change the mode or the times of a file, which Landlock does not guard."""


def conditions(*, own_pid: int | None = None, may_fork: bool = True, private: bool = True) -> dict[str, Sequence[Only]]:
    """Calls allowed under a condition. `own_pid`: signals may go to that process and its group only (no pid namespace hides others).

    Without a `private` root the user's files are in sight, so no file's mode or times may be changed.
    """
    rules: dict[str, Sequence[Only]] = {
        "clone": [Only(argument=0, without=NEW_NAMESPACE | CLONE_PTRACE | CLONE_PARENT)],
        "socketpair": [Only(argument=0, values=(AF_UNIX,)), Only(argument=1, values=(SOCK_STREAM,), ignore=SOCK_FLAGS)],
        "ioctl": [Only(argument=1, values=IOCTLS)],
        "fcntl": [Only(argument=1, values=FCNTLS)],
        "prctl": [Only(argument=0, values=PRCTLS)],
        "prlimit64": [Only(argument=0, values=(0,))],
        "sched_setaffinity": [Only(argument=0, values=(0,))],
    }
    if own_pid is not None:
        rules["kill"] = [Only(argument=0, values=(0, own_pid))]
        rules["tgkill"] = [Only(argument=0, values=(own_pid,))]
        rules["tkill"] = rules["rt_sigqueueinfo"] = [Only(argument=0, values=(own_pid,))]
    if not may_fork:
        rules["clone"] = rules["fork"] = rules["vfork"] = NEVER
    if not private:
        rules.update(dict.fromkeys(MARKING, NEVER))
    return rules


def assemble(architecture: syscalls.Architecture, rules: Conditions) -> bytes:
    """The filter for `architecture`: `struct sock_filter` after `struct sock_filter`."""
    known = syscalls.numbers(architecture)
    code = [_do(_LOAD, _ARCHITECTURE), _do(_EQUAL, architecture.audit, 1, 0), _do(_RETURN, KILL), _do(_LOAD, _NUMBER)]
    if architecture.name == "x86_64":
        code += [_do(_AT_LEAST, _X32, 0, 1), _do(_RETURN, KILL)]
    code += [_do(_EQUAL, _CLONE3, 0, 1), _do(_RETURN, UNKNOWN)]
    for name, tests in rules.items():
        if name in known:
            block = [line for test in tests for line in _condition(test)] + [_do(_RETURN, ALLOW)]
            code += [_do(_EQUAL, known[name], 0, len(block)), *block]
    for low, high in _intervals(sorted(number for name, number in known.items() if name not in rules)):
        code += [_do(_AT_LEAST, low, 1, 0), _do(_RETURN, REFUSE), _do(_AT_LEAST, high + 1, 1, 0), _do(_RETURN, ALLOW)]
    return b"".join([*code, _do(_RETURN, REFUSE)])


def load(program: bytes) -> None:
    """Bind this process, and all it will ever start, to `program`; OSError when the kernel has no filters."""
    text = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    whole = Program(len(program) // 8, ctypes.addressof(text))
    linux.prctl(linux.PR_SET_SECCOMP, 2, ctypes.addressof(whole))


def available() -> bool:
    """Whether this kernel takes filters and this machine's numbers are known."""
    return linux.LIBC is not None and syscalls.here() is not None and linux.asks_seccomp()


def _condition(test: Only) -> list[bytes]:
    code = [_do(_LOAD, _ARGUMENTS + 8 * test.argument)]
    if test.without:
        code += [_do(_ANY_BIT, test.without, 0, 1), _do(_RETURN, REFUSE)]
    if test.values:
        if test.ignore:
            code.append(_do(0x54, ~test.ignore & 0xFFFFFFFF))
        last = len(test.values)
        code += [_do(_EQUAL, value & 0xFFFFFFFF, last - index, 0) for index, value in enumerate(test.values)]
        code.append(_do(_RETURN, REFUSE))
    return code


def _intervals(sorted_numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers as (first, last)."""
    runs: list[tuple[int, int]] = []
    for number in sorted_numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def _do(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)
