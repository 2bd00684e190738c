"""The exit codes of every command, and how verdicts become one."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum

from plan.nouns import State, Verdict


class Exit(IntEnum):
    """What a command's exit code means; the same for all commands."""

    HOLDS = 0
    """Every target holds; in `compare`, the first is better."""
    MISSED = 1
    """Some target fails, is unsure, or still waits at the end; in `compare`, the first is worse, or there is no answer."""
    USAGE = 2
    """The command line was not understood."""
    FAULTS = 3
    """The plan has faults, or asks less than the one before it and nobody acknowledged that; nothing was run."""
    ENVIRONMENT = 4
    """Something the command needs is not there: a file, a package, a device, the right house."""
    NOTHING = 5
    """Nothing was selected."""
    UNDECIDED = 6
    """`compare` has the numbers it wanted, and they do not tell which side is better."""
    INTERNAL = 70
    """A mistake of the program's own."""
    INTERRUPTED = 130
    """SIGINT."""
    PIPE = 141
    """Whoever read the output went away, as in `| head -1`."""
    TERMINATED = 143
    """SIGTERM."""


class FailOn(StrEnum):
    """From which verdict on a command exits with `Exit.MISSED`."""

    FAIL = "fail"
    """Only when a target fails."""
    UNSURE = "unsure"
    """Whenever not every target holds: unsure and waiting targets count as missed."""
    NEVER = "never"


def exit_code(verdicts: Iterable[Verdict], fail_on: FailOn = FailOn.UNSURE) -> Exit:
    """The exit code for these verdicts; `Exit.NOTHING` when there are none."""
    states = {verdict.state for verdict in verdicts}
    if not states:
        return Exit.NOTHING
    missed = {FailOn.FAIL: {State.FAIL}, FailOn.UNSURE: set(State) - {State.PASS}, FailOn.NEVER: set[State]()}[fail_on]
    return Exit.MISSED if states & missed else Exit.HOLDS
