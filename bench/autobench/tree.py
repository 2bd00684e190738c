"""Process trees as /proc shows them: who descends from whom, what they use, and the end of all of them.

Linux only (with CONFIG_PROC_CHILDREN, as distributions build it); elsewhere `descendants` and `marked` are empty and `end` falls back to the worker's process group.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
LINUX = (PROC / "self/stat").exists()
MARKER = "TOUCHSTONE_RUN"
STOPPING = 0.3
"""Seconds in which a tree is only stopped, as long as more of it is found."""
PROCESSES = 512
"""Processes that a measurement may have at once: far more than any work needs, and few enough to be ended in time."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Children of `pid`, zombies included; of all its threads."""
    found: list[int] = []
    with suppress(OSError):
        for thread in (PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def descendants(root: int) -> list[int]:
    """Everything below `root`, zombies included."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children(waiting.pop())
        found += below
        waiting += below
    return found


def usage(pids: list[int]) -> tuple[int, float]:
    """(resident bytes, CPU seconds) of the living among `pids` together; pages they share count once per process."""
    resident, ticks = 0, 0
    for pid in pids:
        if fields := _of_a_thread(pid, _stat(pid)):
            resident += int(fields[21]) * _PAGE
            ticks += int(fields[11]) + int(fields[12])
    return resident, ticks / _TICK


def shared_once(pids: list[int]) -> int:
    """Resident bytes of `pids`, pages that several processes share divided among them (slow, exact)."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            place = PROC / str(pid)
            if _outlived(_stat(pid)):
                place = next(thread for thread in (place / "task").iterdir() if thread.name != str(pid))
            for line in (place / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
    return total


def marked(marker: str) -> list[int]:
    """Living processes that carry `marker` in the environment they were started with."""
    found, wanted = [], f"{MARKER}={marker}".encode()
    for pid in map(int, filter(str.isdecimal, os.listdir(PROC))) if LINUX else ():
        with suppress(OSError):
            if wanted in (PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def end(root: int, reaped: Callable[[int, int, resource.struct_rusage], None], group: int | None = None) -> int:
    """Stop everything below `root`, which must be this process, then kill and reap it, until nothing is left: what is stopped starts
    nothing in the place of what is killed.

    `reaped(pid, status, usage)` is told of each. As a child subreaper `root` inherits every orphan of its tree, so that "no child left" is
    the kernel's own word that nothing survives. Returns how many were still alive. `group` is killed too where there is no /proc.
    """
    killed: set[int] = set()
    stop_until = time.monotonic() + STOPPING
    while True:
        try:
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                reaped(*ended)
        except ChildProcessError:
            return len(killed)
        below = list(filter(runs, descendants(root)))
        fresh = set(below) - killed
        killed |= fresh
        for pid in fresh:
            with suppress(OSError):
                os.kill(pid, signal.SIGSTOP)
        if fresh and time.monotonic() < stop_until:  # those not found yet are children of these
            continue
        for pid in below:
            _kill(pid)
        if not LINUX and group is not None:
            with suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        time.sleep(0.001)


def purge(known: Collection[int], patience: float = 5.0, suspect: Callable[[int], bool] = lambda pid: True) -> int:
    """Kill and reap the children of this process that are `suspect` and not `known`, with all that descends from them, until
    there is none; how many were found. A descendant of a killed one comes to this process, if it is a child subreaper, and is next.
    """
    found: set[int] = set()
    until = time.monotonic() + patience
    while strays := [pid for pid in children(os.getpid()) if pid not in known and suspect(pid)]:
        found.update(strays)
        for stray in strays:
            for pid in (stray, *descendants(stray)):
                _kill(pid)
            with suppress(ChildProcessError):
                os.waitpid(stray, os.WNOHANG)
        if time.monotonic() > until:
            break
        time.sleep(0.001)
    return len(found)


def sweep(marker: str, patience: float = 5.0) -> int:
    """Kill whatever carries `marker` until nothing does; how many were found. For when the guard itself is gone."""
    killed: set[int] = set()
    until = time.monotonic() + patience
    while (alive := marked(marker)) and time.monotonic() < until:
        for pid in alive:
            killed.add(pid)
            _kill(pid)
        time.sleep(0.002)
    return len(killed)


def is_stopped(pid: int) -> bool:
    """Whether a signal or a tracer has stopped `pid`."""
    return _stat(pid)[:1] in (["T"], ["t"])


def _kill(pid: int) -> None:
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    """Whether `pid` has a thread that has not ended; a leader that has is shown as a zombie while its threads run."""
    fields = _stat(pid)
    return bool(fields) and (fields[0] not in "ZX" or _outlived(fields))


def _outlived(fields: list[str]) -> bool:
    """Whether the fields are of a leader that has ended before its threads."""
    return bool(fields) and fields[0] in "ZX" and fields[17] != "1"


def _of_a_thread(pid: int, fields: list[str]) -> list[str]:
    """`fields`, with the resident pages that a thread tells of where the leader has ended and shows none."""
    if _outlived(fields):
        with suppress(OSError):
            for thread in (PROC / str(pid) / "task").iterdir():
                if thread.name != str(pid) and (of_it := _stat(f"{pid}/task/{thread.name}")):
                    fields[21] = of_it[21]
    return fields


def _stat(pid: int | str) -> list[str]:
    """Fields of /proc/PID/stat from the state on (index 0 = field 3 of proc(5)); empty when it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()
