"""The walls a process puts around itself before untrusted code runs in it: identity, limits, Landlock, system calls."""

from __future__ import annotations

import os
import resource
from contextlib import suppress

from agents.sandbox import landlock, linux, seccomp, syscalls
from agents.sandbox.order import Order
from agents.sandbox.root import DEVICES, LIBRARIES

STRANGER = 0x70000000
"""First of the user ids that belong to nobody; a random one above it makes RLIMIT_NPROC count this sandbox alone."""
NOBODY = 65534
Walls = dict[str, str]
"""Layer -> what it is; a detail that begins with `off: ` says why it is not there."""


def stranger() -> int:
    """A user id that no account has."""
    return STRANGER + int.from_bytes(os.urandom(3))


def enter(order: Order, *, uid: int | None, private: bool, hidden: bool, counted: bool, writes: tuple[str, ...]) -> Walls:
    """Confine this process for good; what each wall is.

    uid: what to become, none to stay. private: it stands in a root of its own, so that only `writes` need be told apart. hidden: a
    pid namespace keeps it from naming other processes. counted: RLIMIT_NPROC counts the processes of this sandbox alone.
    """
    walls: Walls = {}
    skip = order.without
    effective = _identify(uid, walls) if "uid" not in skip else False
    if "rlimits" not in skip:
        walls["rlimits"] = _limit(order, counted=counted)
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)
    walls["no-new-privileges"] = "an exec gains nothing"
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    if "landlock" in skip:
        walls["landlock"] = "off: left out"
    else:
        reads = ("/",) if private else (*LIBRARIES, *order.reads)
        abi = landlock.restrict(reads=reads, writes=(*writes, *DEVICES))
        walls["landlock"] = f"version {abi}: writes in its folder only" if abi else "off: this kernel has none"
    if "seccomp" in skip:
        walls["seccomp"] = "off: left out"
    elif not seccomp.available():
        walls["seccomp"] = f"off: not in this kernel, or system-call numbers unknown on {os.uname().machine}"
    else:
        architecture = syscalls.here()
        assert architecture is not None
        may_fork = effective or counted
        rules = seccomp.conditions(own_pid=None if hidden else os.getpid(), may_fork=may_fork, private=private)
        seccomp.load(seccomp.assemble(architecture, rules))
        walls["seccomp"] = f"{len(syscalls.numbers(architecture))} calls allowed" + (
            "" if may_fork else ", none that makes processes"
        )
    return walls


def _identify(uid: int | None, walls: Walls) -> bool:
    """Become `uid`, drop every capability; whether RLIMIT_NPROC binds this process."""
    with suppress(OSError):
        for capability in range(64):
            linux.prctl(linux.PR_CAPBSET_DROP, capability)
    if uid is not None:
        with suppress(OSError):
            os.setgroups([])
        for who in (uid, NOBODY):  # a container may map few ids
            with suppress(OSError):
                os.setresgid(who, who, who)
                os.setresuid(who, who, who)
                break
    linux.drop_capabilities()
    who = os.getuid()
    walls["uid"] = f"runs as {who} without capabilities" if who else "off: runs as root, though without capabilities"
    return who != 0


def reachable(program: str) -> bool:
    """Whether a user id that owns nothing may execute `program`."""
    step = os.path.realpath(program)
    while os.stat(step).st_mode & 1:
        if step == "/":
            return True
        step = os.path.dirname(step)
    return False


def _limit(order: Order, *, counted: bool) -> str:
    whole = max(1, -int(-order.seconds // 1))
    tasks = order.processes + 4 + (0 if counted else _tasks_of(os.getuid()))
    for kind, most in (
        (resource.RLIMIT_CPU, whole + 1),
        (resource.RLIMIT_AS, order.memory),
        (resource.RLIMIT_FSIZE, order.disk),
        (resource.RLIMIT_NPROC, tasks),
        (resource.RLIMIT_NOFILE, order.descriptors),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 256),
        (resource.RLIMIT_NICE, 0),
        (resource.RLIMIT_RTPRIO, 0),
        (resource.RLIMIT_STACK, 8 << 20),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    return f"{order.memory >> 20} MiB, {order.processes} processes, {order.disk >> 20} MiB of files, {whole} CPU seconds"


def _tasks_of(uid: int) -> int:
    """Threads that user `uid` has already: outside a user namespace the kernel counts them all."""
    count = 0
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            facts = os.stat(f"/proc/{pid}/task")
            count += facts.st_nlink - 2 if facts.st_uid == uid else 0
    return count
