"""Compares every pair of forty branches with a real `git merge` in a scratch clone, and prints what both cost.

`python -m agents.pulls.proof` takes about a minute on two cores; `--pairs N` merges only N of the 780, evenly spread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from agents.pulls.cache import Cache
from agents.pulls.forty import build
from agents.pulls.local import local_pulls
from agents.pulls.mergetree import Workshop, open_repository
from agents.pulls.survey import survey
from bench.pulls import Mergeable, Pulls
from bench.repository import UNSET, attempt, git, text

Couple = tuple[str, str]


class Clone:
    """A scratch clone in which `git merge` is what it is for everybody, with nobody's settings."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self.folder = folder
        self._git("clone", "--quiet", "--no-hardlinks", "--template=", str(repository), str(folder), inside=False)

    def merge(self, ours: str, theirs: str) -> str:
        """The tree of merging `theirs` into a checkout of `ours`; empty when git reports a conflict or refuses."""
        self._git("checkout", "--quiet", "--force", "--detach", f"origin/{ours}")
        self._git("clean", "--quiet", "-d", "--force", "-x")
        code, _ = self._git("merge", "--quiet", "--no-commit", "--no-ff", f"origin/{theirs}", fine=(0, 1, 128))
        tree = self._git("write-tree")[1].strip() if code == 0 else ""
        self._git("reset", "--quiet", "--hard")
        return tree

    def _git(self, *command: str, inside: bool = True, fine: tuple[int, ...] = (0,)) -> tuple[int, str]:
        """Exit code and output."""
        who = ["-c", "user.name=proof", "-c", "user.email=proof@example.org", "-c", "advice.detachedHead=false"]
        done = attempt(*who, *command, cwd=self.folder if inside else None, env=UNSET)
        if done.returncode not in fine:
            raise RuntimeError(f"git {' '.join(command)}: {text(done.stderr).strip()}")
        return done.returncode, text(done.stdout)


@dataclass(frozen=True, slots=True)
class Compared:
    """What both ways found of the same pairs."""

    pairs: int
    conflicts: int
    disagreements: tuple[str, ...]


def look(repository: Path, *, cache: Path | None = None, workers: int = 1, branches: str | None = None) -> Pulls:
    """The product's answer for all branches of `repository`, or those that match a pattern."""
    repo = open_repository(repository)
    with Workshop(repo) as shop:
        pulls = local_pulls(repo, branches=branches)
        return survey(shop, pulls, repository=repository.name, cache=Cache(cache), workers=workers)


def compare(repository: Path, clone: Clone, couples: list[Couple]) -> Compared:
    """Every couple merged both ways; clean merges must also come to the same tree."""
    repo = open_repository(repository)
    heads = {pull.name: pull.head for pull in local_pulls(repo)}
    wrong, conflicts = [], 0
    with Workshop(repo) as shop:
        merges = shop.merges([(heads[ours], heads[theirs]) for ours, theirs in couples])
    for (ours, theirs), merge in zip(couples, merges, strict=True):
        real = clone.merge(ours, theirs)
        conflicts += not real
        if (merge.mergeable is Mergeable.YES) != bool(real) or (real and real != merge.tree):
            wrong.append(f"{theirs} into {ours}: git merge {real[:12] or 'conflicts'}, ours {merge.mergeable} {merge.tree[:12]}")
    return Compared(len(couples), conflicts, tuple(wrong))


def objects(repository: Path) -> str:
    """What `git count-objects -v` says."""
    return text(git("count-objects", "-v", cwd=repository))


def main() -> int:
    """Print the comparison; 1 when the two ways disagree, or an object was left in the repository."""
    parser = argparse.ArgumentParser(prog="python -m agents.pulls.proof", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=780, help="how many of the 780 pairs are merged for real")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        repository = Path(room, "forty")
        names = build(repository)
        every = list(combinations(names, 2))
        couples = every[:: max(1, len(every) // max(1, asked.pairs))][: asked.pairs]
        before = objects(repository)
        took = {}
        for title, workers in (("cold, one git process", 1), ("again, from the cache", 1), ("cold, two git processes", 2)):
            began = time.perf_counter()
            seen = look(repository, cache=Path(room, f"cache-{workers}.db"), workers=workers)
            took[title] = time.perf_counter() - began
        began = time.perf_counter()
        found = compare(repository, Clone(repository, Path(room, "clone")), couples)
        real = (time.perf_counter() - began) * len(every) / len(couples)
        untouched = objects(repository) == before
    print(f"{len(names)} branches, {seen.pairs} pairs and {len(seen.pulls)} bases looked at")
    print(f"{found.pairs} pairs merged for real: {found.conflicts} conflict, {len(found.disagreements)} disagreements")
    for line in found.disagreements:
        print(f"  {line}")
    for title, seconds in took.items():
        print(f"{title:<24} {seconds:6.2f} s   {real / seconds:5.0f} times faster than git merge")
    print(f"{'git merge, all 780':<24} {real:6.2f} s")
    print(f"count-objects of the repository: {'unchanged' if untouched else 'CHANGED'}")
    return int(bool(found.disagreements) or not untouched)


if __name__ == "__main__":
    sys.exit(main())
