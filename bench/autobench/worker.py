"""The worker: the one process in which candidate code runs, and nothing after it.

Two attributes of an exception are understood, so that nothing heavy need be imported here to know its class: `told = True`
promises that its message says everything a user needs, and the log has that sentence instead of a traceback;
`status = Status.NOT_FINITE` on an ArithmeticError says that the numbers, not the code, went wrong.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from bench.autobench import confine, seal
from bench.autobench.channel import Sender
from bench.autobench.outcome import Order, Rejected
from bench.autobench.tree import MARKER
from plan.nouns import Status

Tell = Callable[[int, int, Mapping[str, float]], None]
EVERY = 0.05
"""Seconds between two progress messages; those in between are dropped, the last step never is."""


def work(order: Order, channel: int, key: bytes, *, output: int, imported: Sequence[int], parent: int, server: int) -> NoReturn:
    """Run the order's function behind its walls, which no signal of its own reaches `parent` or `server`, send what it returned, and exit without running anything else."""
    os.setsid()
    confine.die_with(parent)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    confine.close_descriptors(channel, *imported)
    os.set_inheritable(channel, False)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False, errors="backslashreplace")
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False, errors="backslashreplace")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable()
    gc.enable()
    sender = Sender(channel, key)
    failure: dict[str, str] | None = None
    try:
        os.chdir(order.cwd)
        os.environ[MARKER] = order.marker
        sys.path[:0] = order.paths
        confine.pin_threads(order.threads)
        confine.restrict(order.limits)
        if order.sealed and seal.is_there():
            seal.close(guard=parent, server=server, orchestrator=order.asker or parent)
        sender.send("result", _call(order, sender))
    except SystemExit as error:
        failure = {"status": Status.EXITED_EARLY, "message": f"sys.exit({error.code!r}) before its result was delivered"}
    except Rejected as error:
        failure = {"status": error.status, "message": str(error)}
        print(f"{error.status}: {error}", file=sys.stderr)
    except BaseException as error:
        confine.breathe()
        failure = _failure(_status(error), error)
    if failure:
        sender.send("failed", failure)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if failure else 0)


def _call(order: Order, sender: Sender) -> Mapping[str, Any]:
    module, _, name = order.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    last = 0.0

    def tell(step: int, total: int, numbers: Mapping[str, float]) -> None:
        nonlocal last
        now = time.monotonic()
        if step >= total or now - last >= EVERY:
            last = now
            sender.send("progress", [int(step), int(total), {str(k): float(v) for k, v in numbers.items()}])

    result: Mapping[str, Any] = function(tell, **order.arguments)
    return result


def _status(error: BaseException) -> Status:
    if is_allocation(error):
        return Status.OUT_OF_MEMORY
    diverged = isinstance(error, ArithmeticError) and getattr(error, "status", None) == Status.NOT_FINITE
    return Status.NOT_FINITE if diverged else Status.CRASHED


def _failure(status: Status, error: BaseException) -> dict[str, str]:
    if getattr(error, "told", False) is True and str(error):
        message = " ".join(str(error).split())
        print(message, file=sys.stderr)
        return {"status": status, "message": message}
    traceback.print_exception(error)
    last = traceback.format_exception_only(error)[-1].strip().splitlines()
    return {"status": status, "message": (last or [type(error).__name__])[0]}


def is_allocation(error: BaseException) -> bool:
    """Whether memory ran out, which torch tells as RuntimeError and the system as OSError."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, OSError) and error.errno == 12)
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )
