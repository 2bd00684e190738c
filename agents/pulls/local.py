"""Pull requests without a server: what a clone holds under `refs/pull/*/head`, or its own branches."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agents.pulls.mergetree import PullsFault
from bench.pulls import Pull

if TYPE_CHECKING:
    import git

NUMBERED = re.compile(r"refs/(?:remotes/[^/]+/)?(?:pull|pr|pulls)/(?P<number>[0-9]{1,9})(?:/head)?")
BASES = ("main", "master", "trunk", "develop")


def local_pulls(repo: git.Repo, *, branches: str | None = None, base: str | None = None) -> tuple[Pull, ...]:
    """What is not merged into `base` yet, of the refs that match `branches` (a shell pattern on the branch's name).

    Without `branches`: the fetched pull requests (`refs/pull/*/head`), and where there are none, all local branches.
    `base` is the remote's default branch unless given. PullsFault when a base cannot be found.
    """
    name, tip = _base(repo, base)
    listed = list(_open(repo, tip))
    numbered = [(int(match["number"]), oid) for ref, oid in listed if (match := NUMBERED.fullmatch(ref))]
    if branches is None and numbered:
        heads = dict(sorted(numbered))
        return tuple(
            Pull(name=f"#{number}", number=number, head=oid, base=name, base_head=tip, title=_title(repo, oid))
            for number, oid in heads.items()
        )
    found = {ref.removeprefix("refs/heads/"): oid for ref, oid in listed if ref.startswith("refs/heads/")}
    return tuple(
        Pull(name=branch, head=oid, base=name, base_head=tip, title=_title(repo, oid))
        for branch, oid in found.items()
        if branch != name and fnmatch.fnmatchcase(branch, branches or "*")
    )


def _base(repo: git.Repo, wanted: str | None) -> tuple[str, str]:
    """The branch that pull requests go into, and its tip."""
    names = [wanted] if wanted else [*_default(repo), *BASES]
    for name in names:
        for ref in (f"refs/heads/{name}", f"refs/remotes/{name}", f"refs/remotes/origin/{name}", name if wanted else ""):
            if oid := _commit(repo, ref):
                return name.removeprefix("origin/"), oid
    if wanted is None and not repo.head.is_detached and (oid := _commit(repo, "HEAD")):
        return repo.active_branch.name, oid
    tried = f"`{wanted}` is no branch or commit" if wanted else f"there is no branch {', '.join(BASES)}"
    raise PullsFault(f"{tried} of {repo.git_dir}\n  help: name the branch that pull requests go into with `--base`")


def _default(repo: git.Repo) -> Iterator[str]:
    """Where `origin/HEAD` points."""
    import git

    try:
        yield str(repo.git.symbolic_ref("--quiet", "--short", "refs/remotes/origin/HEAD")).removeprefix("origin/")
    except git.GitCommandError:
        return


def _commit(repo: git.Repo, ref: str) -> str:
    import git

    try:
        return str(repo.git.rev_parse("--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")) if ref else ""
    except git.GitCommandError:
        return ""


def _open(repo: git.Repo, base: str) -> Iterator[tuple[str, str]]:
    """Refs and their commits that are not contained in `base`."""
    told = repo.git.for_each_ref(f"--no-merged={base}", "--format=%(refname) %(objecttype) %(objectname)")
    for line in str(told).splitlines():
        ref, kind, oid = line.split(" ")
        if kind == "commit" and not ref.endswith("/HEAD"):
            yield ref, oid


def _title(repo: git.Repo, oid: str) -> str:
    return str(repo.commit(oid).summary)[:200]
