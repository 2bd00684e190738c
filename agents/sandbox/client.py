"""The caller's side of the sandbox: start a warden, hand it the order, and read what became of it."""

from __future__ import annotations

import functools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict, Unpack

from agents.sandbox import frames
from agents.sandbox.order import Order
from agents.sandbox.outcome import Layer, Outcome, neutral
from plan.nouns import Status

HOUSE = str(Path(__file__).resolve().parents[2])
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from agents.sandbox import warden; warden.main(int(sys.argv[2]))"
GRACE = 30.0
"""Seconds the warden may take beyond the program's own, to build the walls and to bury what was behind them."""
SENTENCE = 400
"""Characters of a message: a program's last line may be all that it ever wrote."""


class Unconfined(RuntimeError):
    """This machine cannot wall off the least that untrusted code needs, or the sandbox could not be built; nothing was run."""


class Options(TypedDict, total=False):
    """What `run`, `run_async` and `start` understand; defaults in `agents.sandbox.order.Order`."""

    tests: str | None
    """Trusted Python text that calls the program's functions by name and raises where they are wrong. It runs in another process, to
    which only plain data comes back, so that the program cannot forge its verdict."""
    folder: Path | None
    """Working directory: the program gets a copy, and what it writes comes back when it ends by itself."""
    reads: Sequence[Path]
    """Further files and directories it may read."""
    environment: Mapping[str, str]
    """The only variables it has besides a fixed few; nothing is inherited."""
    seconds: float
    """Wall clock, and CPU of each process."""
    memory: int
    """Bytes: address space of each process, resident memory of all together."""
    disk: int
    """Bytes its files may hold together."""
    files: int
    """Files and directories it may make."""
    processes: int
    """Processes and threads at a time."""
    output: int
    """Bytes kept of stdout and of stderr each."""
    without: Sequence[str]
    """Layers to leave out, to measure what each is worth. Never for untrusted code."""


def run(program: str | Sequence[str], **options: Unpack[Options]) -> Outcome:
    """Run untrusted Python text, or the words of a command, behind every wall this machine has.

    Nothing of it lives on when this returns, nor when the caller is killed. Raises Unconfined, with what is missing.
    """
    with start(program, **options) as sandbox:
        return sandbox.outcome()


async def run_async(program: str | Sequence[str], **options: Unpack[Options]) -> Outcome:
    """`run` on asyncio or trio; cancelling it kills the whole tree."""
    import anyio

    with start(program, **options) as sandbox:
        await anyio.wait_readable(sandbox.link)
        return sandbox.outcome()


@functools.cache
def layers() -> tuple[Layer, ...]:
    """Every layer, and whether it stands on this machine for this user: tried, not guessed. Raises Unconfined."""
    return run("").layers


def start(program: str | Sequence[str], **options: Unpack[Options]) -> Sandbox:
    """The same without waiting: a context manager whose end is the end of the program."""
    folder = options.get("folder")
    text = program if isinstance(program, str) else None
    if options.get("tests") is not None and text is None:
        raise ValueError("`tests` call functions of a Python text; a command has none")
    limits = {name: value for name, value in options.items() if name not in ("folder", "reads", "environment", "without")}
    order = Order(
        source=text,
        argv=() if text is not None else tuple(map(str, program)),
        python=sys.executable,
        folder=None if folder is None else str(Path(folder).resolve(strict=True)),
        reads=(*_python(), *(str(Path(path).absolute()) for path in options.get("reads", ()))),
        environment=dict(options.get("environment", {})),
        without=tuple(options.get("without", ())),
        **limits,  # type: ignore[arg-type]
    )
    return Sandbox(order)


class Sandbox:
    """A program behind walls, from its start to its end."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.nonce = secrets.token_hex(16)
        self.link, theirs = socket.socketpair()
        kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        self._warden = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOT, HOUSE, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=kept,
            cwd="/",
            start_new_session=True,
        )
        theirs.close()
        frames.write(self.link.fileno(), json.dumps({"nonce": self.nonce, **order._asdict()}).encode())

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End the program and everything it started; harmless when that has happened."""
        self.link.close()
        try:
            self._warden.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait()
        if self._warden.stderr:
            self._warden.stderr.close()

    def outcome(self) -> Outcome:
        """Wait for the end, put the files it wrote into its folder, and say how it went."""
        self.link.settimeout(self.order.seconds + GRACE)
        facts = self._frame()
        if facts.pop("nonce") != self.nonce:
            raise Unconfined("the answer is not the warden's; nothing of it was used")
        stdout, stderr = self._body(), self._body()
        while "file" in (told := self._frame()):
            if self.order.folder is not None:
                take(Path(self.order.folder), told["file"], self._body(), executable=told["executable"])
        standing = tuple(
            Layer(name=name, on=not what.startswith("off: "), detail=what.removeprefix("off: "))
            for name, what in facts["layers"].items()
        )
        if "failed" in facts:
            raise Unconfined(f"the sandbox could not be built: {facts['failed']}")
        if not self.order.without:
            _say_what_is_missing(tuple(layer for layer in standing if not layer.on))
        status, message = _judged(self.order, facts, stderr)
        ended = facts.get("ended")
        return Outcome(
            status=status,
            message=neutral(message[:SENTENCE].encode("utf-8", "backslashreplace")),
            code=os.WEXITSTATUS(ended) if ended is not None and os.WIFEXITED(ended) else None,
            signal=os.WTERMSIG(ended) if ended is not None and os.WIFSIGNALED(ended) else None,
            stdout=stdout,
            stderr=stderr,
            truncated=facts["truncated"],
            seconds=facts["seconds"],
            peak_bytes=facts["peak"],
            layers=standing,
        )

    def _frame(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._body())
        return told

    def _body(self) -> bytes:
        try:
            body = frames.read_from(self.link)
        except TimeoutError:
            raise Unconfined("the warden did not answer in time; it was killed, and what it guarded with it") from None
        if body is None:
            self._warden.wait(GRACE)
            said = self._warden.stderr.read().decode(errors="replace").strip() if self._warden.stderr else ""
            raise Unconfined(f"the warden ended without an answer: {said.splitlines()[-1] if said else self._warden.returncode}")
        return body


def take(folder: Path, name: str, body: bytes, *, executable: bool) -> None:
    """Write what the program left as `name` into `folder`: never outside it, never through a symbolic link."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise ValueError(f"`{name}` does not lie in the sandbox's folder")
    place = folder
    for part in parts[:-1]:
        place /= part
        if place.is_symlink():
            return
        with suppress(FileExistsError):
            place.mkdir()
    place /= parts[-1]
    if place.is_dir() or (not place.is_symlink() and place.exists() and place.read_bytes() == body):
        return
    fresh = place.with_name(f".{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o755 if executable else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
    fresh.replace(place)


def _judged(order: Order, facts: dict[str, Any], stderr: bytes) -> tuple[Status, str]:
    """(status, sentence) from what the warden saw."""
    match facts["stopped"]:
        case "time":
            return Status.TIMED_OUT, f"still running after {order.seconds:g} s; its process tree was killed"
        case "memory":
            return Status.OUT_OF_MEMORY, f"its processes together used more than {order.memory >> 20} MiB"
        case "disk":
            return Status.CRASHED, f"its files held more than {order.disk >> 20} MiB or {order.files} entries"
        case "caller":
            return Status.KILLED, "stopped by the caller"
    if order.tests is not None:
        verdict = facts["verdict"]
        if verdict is None:
            return Status.CRASHED, "the judge's process ended without a verdict"
        last = verdict["why"].strip().splitlines()[-1:] or [""]
        return (Status.OK, "every test passed") if verdict["passed"] is True else (Status.CRASHED, f"a test failed: {last[0]}")
    ended = facts.get("ended", 0)
    last = stderr.decode("utf-8", "backslashreplace").strip().splitlines()[-1:] or [""]
    if os.WIFSIGNALED(ended):
        number = os.WTERMSIG(ended)
        if number == signal.SIGXCPU:
            return Status.TIMED_OUT, f"used more than {order.seconds:g} s of CPU"
        return Status.CRASHED, f"ended by {signal.Signals(number).name if number in set(signal.Signals) else f'signal {number}'}"
    if facts.get("forged"):
        return Status.FORGED, "something wrote to the channel that only the end of the program may write to"
    if code := os.WEXITSTATUS(ended):
        status = Status.OUT_OF_MEMORY if last[0].startswith("MemoryError") else Status.CRASHED
        return status, f"exit code {code}: {last[0]}"
    if order.source is not None and not facts.get("finished"):
        return Status.EXITED_EARLY, "exit code 0 before its last statement"
    return Status.OK, "ran to its end"


@functools.cache
def _say_what_is_missing(off: tuple[Layer, ...]) -> None:
    """The loud line, once per process and set of missing layers."""
    if off:
        told = "; ".join(f"{layer.name} ({layer.detail})" for layer in off)
        print(f"SANDBOX WEAKER THAN IT COULD BE: {told}. `orchestrate doctor` shows every layer", file=sys.stderr)


@functools.cache
def _python() -> tuple[str, ...]:
    """What this interpreter needs to start: its installation and, in a virtual environment, that one's."""
    real = os.path.dirname(os.path.realpath(sys.executable))
    return tuple(dict.fromkeys((sys.base_prefix, sys.base_exec_prefix, sys.prefix, real, os.path.dirname(sys.executable))))
