"""What a process tree uses, and its end, read from /proc without any help of the house's heavier parts."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

try:
    with open("/proc/sys/net/core/wmem_default") as _file:
        BUFFER = int(_file.read())
except (OSError, ValueError):
    BUFFER = 212_992
"""Bytes that may wait in one socket."""


def below(root: int) -> list[int]:
    """Everything that descends from `root`, zombies included; empty without /proc or CONFIG_PROC_CHILDREN."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        parent = waiting.pop()
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                with suppress(OSError), open(f"/proc/{parent}/task/{thread}/children") as file:
                    children = [int(pid) for pid in file.read().split()]
                    found += children
                    waiting += children
    return found


def memory(pids: list[int]) -> int:
    """Resident bytes that belong to `pids` alone or to their shared memory: files mapped from disk do not count."""
    total = 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith((b"RssAnon:", b"RssShmem:")):
                    total += int(line.split()[1]) << 10
    return total


def waiting(pid: int) -> int:
    """Bytes that may wait in the sockets of `pid`'s network namespace: they are the kernel's, and in no process's account."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/net/sockstat") as file:
        return int(file.readline().split()[2]) * BUFFER
    return 0


def end(root: int, *, patience: float = 5.0) -> None:
    """Kill and reap everything below this process, `root` first; as a subreaper it inherits every orphan of its tree."""
    limit = time.monotonic() + patience
    with suppress(ProcessLookupError):
        os.kill(root, signal.SIGKILL)
    while time.monotonic() < limit:
        for pid in below(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)
