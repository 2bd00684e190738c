"""What the sandbox is asked to run.

A named tuple and no dataclass, like all that the warden imports: `dataclasses` would double the time until a program starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

MINIMUM = {"files": ("mounts", "landlock"), "network": ("network", "seccomp"), "privileges": ("no-new-privileges",)}
"""What must be walled off, each by at least one of these layers, or nothing is run."""


class Order(NamedTuple):
    """One program and its walls, as the caller hands it to the warden (as JSON)."""

    source: str | None = None
    """Python text to run; else `argv` is run."""
    argv: tuple[str, ...] = ()
    tests: str | None = None
    """Trusted Python text that judges `source` from a process of its own."""
    python: str = ""
    folder: str | None = None
    reads: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
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
