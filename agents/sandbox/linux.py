"""Linux by hand: the system calls the sandbox needs and Python 3.11 does not offer, through the C library.

Every function raises OSError with the call's name; outside Linux `LIBC` is none and nothing here may be called.
"""

from __future__ import annotations

import ctypes
import os
import sys

LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_GET_SECCOMP = 1, 4, 22, 21
PR_CAPBSET_DROP, PR_SET_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 24, 36, 38, 47
NEW_MOUNTS, NEW_CGROUP, NEW_UTS, NEW_IPC = 0x20000, 0x02000000, 0x04000000, 0x08000000
NEW_USER, NEW_PID, NEW_NET = 0x10000000, 0x20000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_NUMBERS = {
    "pivot_root": {"x86_64": 155, "aarch64": 41},
    "capset": {"x86_64": 126, "aarch64": 91},
    "mount_setattr": {"x86_64": 442, "aarch64": 442},
}


def call(name: str, number: int, *arguments: object) -> int:
    """A system call by its number."""
    return _checked(name, _libc().syscall(ctypes.c_long(number), *arguments))


def prctl(option: int, *arguments: int) -> None:
    """prctl with missing arguments zero."""
    whole = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    _checked(f"prctl({option})", _libc().prctl(option, *whole))


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` names for new ones."""
    _checked("unshare", _libc().unshare(flags))


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    texts = (text.encode() if text else None for text in (source, target, kind))
    _checked(f"mount on {target}", _libc().mount(*texts, ctypes.c_ulong(flags), data.encode() or None))


def lock_tree(target: str) -> None:
    """Make `target` and every mount below it read-only, without devices and without set-user-id."""
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY | NO_SUID | NO_DEV, 0, 0, 0)
    try:
        number = _number("mount_setattr")
        call("mount_setattr", number, _AT_FDCWD, target.encode(), _AT_RECURSIVE, ctypes.byref(attributes), ctypes.c_size_t(32))
    except OSError:  # before Linux 5.12; a user namespace must repeat the flags it inherited
        kept = os.statvfs(target).f_flag & (NO_SUID | NO_DEV | NO_EXEC | 1024 | 2048 | 4096)
        kept = kept & 15 | (kept & 0x1C00)
        mount("", target, flags=REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEV | kept)


def pivot(root: str) -> None:
    """Make the mount at `root` the file system's root, and let go of the old one."""
    os.chdir(root)
    call("pivot_root", _number("pivot_root"), b".", b".")
    _checked("umount2", _libc().umount2(b".", _DETACH))
    os.chdir("/")


def drop_capabilities() -> None:
    """Give every capability up, for good where this process may say so."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    call("capset", _number("capset"), ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))


def asks_seccomp() -> bool:
    """Whether the kernel knows seccomp filters (a null program answers EFAULT then)."""
    _libc().prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    return ctypes.get_errno() == 14


def die_with(parent: int) -> None:
    """Be killed when the thread that forked this process ends; at once if process `parent` (0: outside this pid namespace) is not it."""
    prctl(PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(70)


def _number(name: str) -> int:
    try:
        return _NUMBERS[name][os.uname().machine]
    except KeyError:
        raise OSError(38, f"{name}: number not known on {os.uname().machine}") from None


def _checked(name: str, result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


def _libc() -> ctypes.CDLL:
    if LIBC is None:
        raise OSError(38, "not Linux")
    return LIBC
