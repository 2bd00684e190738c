"""The fork server: a process that has torch imported, owns no thread, and forks one guard per order.

`main FD PARENT NAME...`, started by `sources.py`, imports each module named, calls each `module:function` named, and then serves the
control socket FD. An order is a single byte with a socket attached; what is on that socket is the guard's to read. multiprocessing's fork server does the same trick, but hands
every child the whole environment, runs a resource tracker beside it and imports `__main__` again in each child; here the
environment is scrubbed before exec, where /proc would still show it afterwards.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
from contextlib import suppress

from bench.autobench import confine, seal, tree
from bench.autobench import measure as _imported_before_the_fork  # noqa: F401
from bench.autobench.guard import guard
from bench.autobench.outcome import Order
from plan import wire
from plan.nouns import Limits


def serve(control: socket.socket) -> None:
    """Fork a guard for each socket that arrives on `control`, until it closes.

    Descriptors open now were opened by what was imported, and stay open in workers; all others are closed there.
    """
    imported = [descriptor for descriptor in confine.open_descriptors() if descriptor != control.fileno()]
    guards: set[int] = set()
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        if poll.poll(200 if guards else None):
            message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not message:
                return
            link = socket.socket(fileno=descriptors[0])
            pid = os.fork()
            if pid == 0:
                try:
                    guard(link, imported)
                finally:
                    os._exit(70)
            guards.add(pid)
            link.close()
        bury(guards)


def bury(guards: set[int]) -> None:
    """Reap guards that ended, and kill one that candidate code has stopped, and the orphans of one that was killed."""
    orphaned = False
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG | os.WUNTRACED))[0]:
            pid, status = ended
            if os.WIFSTOPPED(status):
                os.kill(pid, signal.SIGKILL)
            else:
                guards.discard(pid)
                orphaned |= status != 0
    if orphaned:
        tree.purge(guards)


def main(arguments: list[str]) -> None:
    """Import what is named, then serve."""
    gc.disable()
    control = socket.socket(fileno=int(arguments[0]))
    confine.die_with(int(arguments[1]))  # importing takes seconds in which nobody reads `control`
    confine.forbid_privileges()
    for name in arguments[2:]:
        module, _, function = name.partition(":")
        loaded = importlib.import_module(module)
        if function:
            getattr(loaded, function)()
    sys.stdout.flush()
    confine.inherit_orphans()
    blank = Order(function="", arguments={}, limits=Limits(), folder="", cwd="", marker=confine.BLANK)
    wire.decode(Order, wire.encode(blank))  # fills the caches of `wire`, which every fork then has
    seal.prepare()
    gc.freeze()
    serve(control)
