"""Git, run for the house: it asks nobody, hears nothing of the caller's `GIT_*` variables, and its failures are words with a mend."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

CALM = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
"""Nobody is there to be asked, nothing that is only read is refreshed, and messages are the same everywhere."""
UNSET = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
"""As `env`: with nobody's settings but the repository's own."""


class GitFault(Exception):
    """Git refused, or there is none; the message has its last words."""


def attempt(
    *command: str,
    cwd: Path | None = None,
    env: Mapping[str, str] = {},
    feed: bytes = b"",
    keep: Collection[str] = (),
    seconds: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """How a git command ended; GitFault when git is not there, subprocess.TimeoutExpired after `seconds`.

    A hook, or a shell that works on another repository, has `GIT_DIR` and the like set: only those that `keep` names are handed on.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in keep}
    try:
        return subprocess.run(
            ["git", *command], cwd=cwd, env={**own, **CALM, **env}, input=feed, capture_output=True, timeout=seconds, check=False
        )
    except FileNotFoundError:
        if cwd is not None and not cwd.is_dir():
            raise GitFault(f"`git {_verb(command)}` cannot be run in {cwd}, which is no folder") from None
        raise GitFault("git is not installed, or not on the PATH\n  help: install git 2.38 or newer") from None


def git(*command: str, cwd: Path | None = None, env: Mapping[str, str] = {}, feed: bytes = b"") -> bytes:
    """What a git command tells; GitFault with its last words when it fails."""
    done = attempt(*command, cwd=cwd, env=env, feed=feed)
    if done.returncode:
        raise GitFault(f"`git {_verb(command)}` failed ({done.returncode}): {_reason(text(done.stderr))}")
    return done.stdout


def text(told: bytes) -> str:
    """What git printed; bytes that are no UTF-8, as a path may hold, survive as surrogates."""
    return told.decode(errors="surrogateescape")


def _reason(told: str) -> str:
    """The last line, which says what is wrong; of a lock that is in the way, the file, as those lines are general advice."""
    if lock := re.search(r"Unable to create '(.+\.lock)': File exists", told):
        return f"the lock {lock[1]} is there\n  help: when no git is at work in this repository, an earlier one was killed: delete that file"
    return (told.strip().splitlines() or ["it gave no reason"])[-1]


def _verb(command: tuple[str, ...]) -> str:
    """The subcommand, behind the options that stand before it."""
    words = iter(command)
    for word in words:
        if word in ("-c", "-C"):
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""
