"""What the sandbox is asked to run, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from plan.nouns import Status

MINIMUM = {"files": ("mounts", "landlock"), "network": ("network", "seccomp"), "privileges": ("no-new-privileges",)}
"""What must be walled off, each by at least one of these layers, or nothing is run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One program and its walls, as the caller hands it to the warden (as JSON)."""

    source: str | None = None
    """Python text to run; else `argv` is run."""
    argv: tuple[str, ...] = ()
    tests: str | None = None
    """Trusted Python text that judges `source` from a process of its own."""
    python: str = ""
    folder: str | None = None
    reads: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 10.0
    """Wall-clock seconds; each process has as many CPU seconds."""
    memory: int = 512 << 20
    """Bytes: address space of each process, and resident memory of all together."""
    disk: int = 64 << 20
    """Bytes that the program's files may hold together, and each alone."""
    files: int = 2048
    """Files and directories it may make."""
    processes: int = 32
    """Processes and threads at a time."""
    descriptors: int = 128
    output: int = 1 << 20
    """Bytes kept of stdout and of stderr each; what comes after is read and dropped."""
    without: tuple[str, ...] = ()
    """Layers left out, to measure what each is worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One wall: its name, whether it stands, and what it is or why it does not."""

    name: str
    on: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a confined program ended. Everything in it except `status` and `message` was chosen by the program: treat it as hostile."""

    status: Status
    """OK only when the source ran to its end (or, with `tests`, when all of them passed) and no limit was met."""
    message: str
    """One sentence for a person; terminal escapes are removed."""
    code: int | None = None
    """Exit code of the main process; none when a signal or a limit ended it."""
    signal: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    """The first `output` bytes, as written. For a terminal use `shown`."""
    truncated: bool = False
    seconds: float = 0.0
    peak_bytes: int = 0
    """Highest resident memory of all its processes together that was seen."""
    layers: tuple[Layer, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the status is OK."""
        return self.status is Status.OK

    @property
    def shown(self) -> str:
        """Both outputs as text that cannot steer a terminal."""
        return neutral(self.stdout + self.stderr)


def neutral(output: bytes) -> str:
    """`output` as text that cannot steer a terminal: whatever is not printable, newline or tab is spelt out (`\\x1b[2J`)."""
    text = output.decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode() for sign in text)
