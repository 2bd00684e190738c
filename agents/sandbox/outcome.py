"""How a confined program ended, and which walls it met."""

from __future__ import annotations

from dataclasses import dataclass

from plan.nouns import Status


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
