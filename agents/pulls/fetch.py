"""Bringing the commits of pull requests into the throwaway repository, never into the user's."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agents.pulls.mergetree import PullsFault, Workshop
from bench.pulls import Pull

if TYPE_CHECKING:
    import git

PATIENCE = 300.0
"""Seconds that a fetch may take."""


def remote_of(repo: git.Repo, repository: str, *, host: str) -> str:
    """Where to fetch `owner/name` from: the clone's own remote of that name, else https on the host of the API."""
    wish = re.compile(rf"(?:^|[/:]){re.escape(repository)}(?:\.git)?/?$", re.IGNORECASE)
    for remote in repo.remotes:
        for url in remote.urls:
            if wish.search(url):
                return str(url)
    return f"https://{host.removeprefix('api.')}/{repository}.git"


def fetch(shop: Workshop, pulls: Sequence[Pull], url: str) -> tuple[tuple[Pull, ...], tuple[str, ...]]:
    """The pull requests with the heads and base tips that `url` has now, and what could not be fetched.

    Only what the user's clone lacks is transferred. Credentials are git's own business; nothing is asked for at the terminal.
    """
    wanted = {f"refs/pull/{pull.number}/head" for pull in pulls} | {f"refs/heads/{pull.base}" for pull in pulls}
    notes: tuple[str, ...] = ()
    try:
        _fetch(shop, url, sorted(wanted))
        got = wanted
    except PullsFault as fault:
        got, faults = set[str](), list[str]()
        reachable = _reaches(shop, url)
        for ref in sorted(wanted) if reachable else ():
            try:
                _fetch(shop, url, [ref])
                got.add(ref)
            except PullsFault as missing:
                faults.append(f"{ref}: {missing}")
        notes = (f"not fetched: {'; '.join(faults[:5]) if reachable else fault}",)
    tips = {ref: shop.run("rev-parse", "--verify", f"{_mine(ref)}^{{commit}}").strip() for ref in got}
    fresh = tuple(
        replace(
            pull,
            head=tips.get(f"refs/pull/{pull.number}/head", pull.head),
            base_head=tips.get(f"refs/heads/{pull.base}", pull.base_head),
        )
        for pull in pulls
    )
    return fresh, notes


def _fetch(shop: Workshop, url: str, refs: Sequence[str]) -> None:
    _git(
        shop,
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--end-of-options",
        url,
        *(f"+{ref}:{_mine(ref)}" for ref in refs),
    )


def _reaches(shop: Workshop, url: str) -> bool:
    try:
        _git(shop, "ls-remote", "--quiet", "--end-of-options", url, "HEAD")
    except PullsFault:
        return False
    return True


def _git(shop: Workshop, *command: str) -> None:
    """Run git with the user's own settings, which hold the ways to reach a server; PullsFault with its words when it fails."""
    try:
        code, _, said = shop.attempt(*command, config=True, seconds=PATIENCE)
    except subprocess.TimeoutExpired:
        raise PullsFault(f"`git {command[0]}` took longer than {PATIENCE:g} s") from None
    if code:
        words = "; ".join(line.strip() for line in said.splitlines() if line.strip())
        raise PullsFault(f"`git {command[0]}` failed: {re.sub(r'//[^/@ ]*@', '//', words)[:300] or code}")


def _mine(ref: str) -> str:
    """The name of a fetched ref in the throwaway repository."""
    return f"refs/fetched/{ref.removeprefix('refs/')}"
