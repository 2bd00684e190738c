"""A candidate's branch and work tree in the repository that holds the house; the user's own tree, index, stash and hooks are never touched.

Commits are made with an index file of their own and by a fixed committer, at the time of the commit they stand on, so that the same
candidate on the same commit is the same commit whenever it is made. A branch is `touchstone-LEDGER/TASK/DECISION`, since two
ledgers on one plan make the same decisions: LEDGER tells a ledger and its place apart from every other, a copy included. It is part of
the first word, as git keeps nothing below `touchstone/` for one who has a branch called `touchstone`. Only a patched candidate needs
its files: they are checked out, unfiltered, below the ledger's work folder, under the first digits of the commit.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench import repository
from bench.overlay import LAID
from bench.repository import GitFault, text
from plan.catalogue import HOUSE

PREFIX = "touchstone"
NAME, MAIL = "Touchstone", "touchstone@localhost"
QUIET = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "commit.gpgSign=false", "submodule.recurse=false",
         "advice.detachedHead=false", "gc.auto=0", "maintenance.auto=false")  # fmt: skip
"""What git is told whatever the user's settings are: run nothing of theirs. Filters have names, and are silenced one by one."""


class NoRepository(Exception):
    """There is no repository in which a candidate could have a branch; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Where a candidate stands in the repository."""

    branch: str
    commit: str


def folder_of(work: Path, tree: str, house: Path = HOUSE) -> Path:
    """Where the tree of a patched candidate is checked out: what holds its `modules` and `kernels`; LookupError when it is not there."""
    top = next((place for place in (house, *house.parents) if (place / ".git").exists()), house)
    folder = work / "trees" / tree[:16] / house.relative_to(top)
    if not (folder / LAID[0]).is_dir():
        raise LookupError(f"the work tree of commit {tree[:12]} is not at {folder}")
    return folder


class Branches:
    """The candidates' branches in the repository of `house`, for one ledger with the folder `work`; NoRepository when there is none."""

    def __init__(self, work: Path, *, ledger: str = "", house: Path = HOUSE) -> None:
        """`ledger`: what it is told apart by from one that had this folder before; see `Facts.first_session`."""
        try:
            import git
        except ImportError as error:  # GitPython raises it also when there is no git to run
            raise NoRepository(f"git cannot be used ({str(error).strip().partition(chr(10))[0]})") from None
        self.work, self.house = work.resolve(), house
        self.own = f"{PREFIX}-{sha256(f'{ledger} {self.work}'.encode()).hexdigest()[:8]}/"
        self._silenced: dict[str, str] = {}
        try:
            top = git.Repo(house, search_parent_directories=True).working_tree_dir
        except (git.InvalidGitRepositoryError, git.NoSuchPathError):
            raise NoRepository(f"{house} is not in a git repository") from None
        if top is None:
            raise NoRepository(f"{house} lies in a bare repository")
        self.top = Path(top).resolve()
        self.prefix = house.relative_to(self.top).as_posix().removeprefix(".")
        try:
            self._silenced = _without_filters(self.top)
            self._git("ls-files", "--error-unmatch", "--", f"{LAID[0]}/__init__.py", cwd=house)
            self.head = self._git("rev-parse", "--verify", "HEAD^{commit}")
        except GitFault as fault:
            raise NoRepository(f"the repository at {self.top} does not hold the house: {fault}") from None

    def make(self, task: str, decision: str, *, champion: str, files: Mapping[str, str | None], message: str) -> Made:
        """The branch of a candidate, and with `files` (path below the house -> new text, None: deleted) its work tree. Twice is once.

        `champion` is the text of `champions/TASK.toml`. A patched candidate stands on the user's `modules` and `kernels` as they are now,
        uncommitted edits included, which get a commit of their own.
        """
        parent = self.head
        if files:
            parent = self._commit(
                parent,
                self._snapshot(),
                "What the candidate stands on: modules and kernels as they were, uncommitted edits included",
            )
        contents = {path: None if text is None else text.encode() for path, text in files.items()}
        commit = self._commit(parent, self._blobs({f"champions/{task}.toml": champion.encode(), **contents}), message)
        made = Made(branch=f"{self.own}{task}/{decision}", commit=commit)
        if self.branches().get(made.branch) != commit and (theirs := self._theirs(made.branch)):
            raise GitFault(f"there is a branch `{made.branch}`, which {theirs}; it was left alone")
        try:
            self._git("update-ref", f"refs/heads/{made.branch}", commit)
            if files:
                self.check_out(commit)
        except (GitFault, OSError):
            self.remove(made.branch, commit)
            raise
        return made

    def check_out(self, commit: str) -> None:
        """See that the commit's work tree is there, whole."""
        folder = self._folder(commit)
        if self._whole(folder, commit):
            return
        self._remove_tree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._git("worktree", "add", "--quiet", "--detach", str(folder), commit)

    def remove(self, branch: str, commit: str) -> str:
        """Take a candidate's branch and work tree away; what is not there is no fault.

        A branch of another ledger, on which somebody has committed, or that is checked out somewhere, is theirs: it stays, and the answer says why.
        """
        self._remove_tree(self._folder(commit))
        return self._delete(branch)

    def _delete(self, branch: str) -> str:
        if branch not in (tips := self.branches()):
            return ""
        if theirs := self._theirs(branch):
            return f"the branch {branch} stays, since it {theirs}; delete it when you need it no more"
        self._git("update-ref", "-d", f"refs/heads/{branch}", tips[branch])
        return ""

    def _theirs(self, branch: str) -> str:
        """Why a candidate's branch is not ours to move or to delete; empty when it is, or is not there."""
        tip = self.branches().get(branch)
        if tip is None:
            return ""
        if not branch.startswith(self.own):
            return "was made by another ledger, or by this one in another place"
        if f"branch refs/heads/{branch}" in self._git("worktree", "list", "--porcelain").splitlines():
            return "is checked out"
        made_here = self._git("show", "-s", "--format=%ce", tip) == MAIL or not self._git(
            "rev-list", "-1", tip, "--not", self.head
        )
        return "" if made_here else "has commits of somebody else"

    def sweep(self, *, keep: Mapping[str, str]) -> list[str]:
        """Take away what killed runs of this ledger left: all of its own but `keep` (branch -> commit); what it did, in words."""
        taken = []
        whole = {self._folder(commit) for commit in keep.values()}
        for folder in self._worktrees():
            if folder.parent == self.work / "trees" and folder not in whole:
                self._remove_tree(folder)
                taken.append(f"taken away: {folder}, which an interrupted run left")
        for folder in (self.work / "trees").glob("*"):
            if folder not in whole:
                shutil.rmtree(folder, ignore_errors=True)
        for branch in self.branches():
            if branch.startswith(self.own) and branch not in keep:
                taken.append(self._delete(branch) or f"taken away: {branch}, which an interrupted run left")
        return taken

    def branches(self) -> dict[str, str]:
        """All branches of candidates, of whatever ledger -> their commits."""
        told = self._git("for-each-ref", "--format=%(refname) %(objectname)", f"refs/heads/{PREFIX}-*/**")
        return {
            name.removeprefix("refs/heads/"): commit for name, _, commit in (line.partition(" ") for line in told.splitlines())
        }

    def offer(self, name: str, *, champion: Mapping[str, str | None], message: str) -> str:
        """A branch `name` for review, standing on the user's HEAD: its commit. ValueError when there is one of that name."""
        reference = f"refs/heads/{name}"
        if self._git("for-each-ref", reference):
            raise ValueError(f"there is a branch `{name}` already; name another with `--branch`, or delete it")
        self._git("check-ref-format", reference)
        contents = {path: None if text is None else text.encode() for path, text in champion.items()}
        commit = self._commit(self.head, self._blobs(contents), message)
        self._git("update-ref", reference, commit, "0" * len(commit))
        return commit

    def edited(self) -> list[str]:
        """The user's files among `modules` and `kernels` that differ from the last commit, or are not in it."""
        told = self._git(
            "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", *LAID, cwd=self.house, strip=False
        )
        return sorted(line[3:] for line in told.split("\0") if line)

    def at_head(self, path: str) -> str | None:
        """The text of a file below the house in the user's last commit; None when it is not in it."""
        place = self._path(path)
        if not self._git("ls-tree", self.head, "--", place):
            return None
        return self._git("cat-file", "blob", f"{self.head}:{place}", strip=False)

    def _snapshot(self) -> dict[str, tuple[str, str] | None]:
        """The user's `modules` and `kernels` as they lie there: path -> mode and blob, None for what is gone."""
        listed = self._git(
            "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *LAID, cwd=self.house, strip=False
        )
        found: dict[str, tuple[str, str] | None] = {}
        for path in sorted({name for name in listed.split("\0") if name}):
            file = self.house / path
            found[self._path(path)] = self._blob(file.read_bytes(), os.access(file, os.X_OK)) if file.is_file() else None
        return found

    def _blobs(self, files: Mapping[str, bytes | None]) -> dict[str, tuple[str, str] | None]:
        return {self._path(path): None if content is None else self._blob(content) for path, content in files.items()}

    def _blob(self, content: bytes, executable: bool = False) -> tuple[str, str]:
        return "100755" if executable else "100644", self._git("hash-object", "-w", "--stdin", feed=content)

    def _commit(self, parent: str, files: Mapping[str, tuple[str, str] | None], message: str) -> str:
        """A commit on `parent` with these files; `parent` itself when they change nothing."""
        with tempfile.TemporaryDirectory() as aside:
            index = {"GIT_INDEX_FILE": str(Path(aside) / "index")}
            gone = "0" * len(parent)
            lines = [f"{entry[0]} {entry[1]}\t{path}" if entry else f"0 {gone}\t{path}" for path, entry in files.items()]
            self._git("read-tree", parent, env=index)
            self._git("update-index", "-z", "--index-info", feed="\0".join([*lines, ""]).encode(), env=index)
            tree = self._git("write-tree", env=index)
        if tree == self._git("rev-parse", f"{parent}^{{tree}}"):
            return parent
        when = f"@{self._git('show', '-s', '--format=%ct', parent)} +0000"
        dated = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        return self._git("commit-tree", tree, "-p", parent, "-F", "-", feed=message.encode(), env=dated)

    def _folder(self, commit: str) -> Path:
        return self.work / "trees" / commit[:16]

    def _path(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def _whole(self, folder: Path, commit: str) -> bool:
        """Whether the work tree is there, stands on `commit`, and has been written to the end."""
        if folder not in set(self._worktrees()):
            return False
        try:
            return self._git("rev-parse", "HEAD", cwd=folder) == commit and not self._git("status", "--porcelain", cwd=folder)
        except (GitFault, OSError):
            return False

    def _worktrees(self) -> Iterator[Path]:
        for line in self._git("worktree", "list", "--porcelain").splitlines():
            if line.startswith("worktree "):
                yield Path(line.removeprefix("worktree "))

    def _remove_tree(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # before git hears of it: it would not remove one that was cut off half-way
        if folder in set(self._worktrees()):
            self._git("worktree", "remove", "--force", "--force", str(folder))

    def _git(
        self, *command: str, cwd: Path | None = None, env: Mapping[str, str] = {}, feed: bytes = b"", strip: bool = True
    ) -> str:
        """The output of a git command that asks nobody and runs nothing of the user's; GitFault with git's last words when it fails."""
        who = {
            f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in (("NAME", NAME), ("EMAIL", MAIL))
        }
        switches = [part for setting in QUIET for part in ("-c", setting)]
        ours = {**who, **self._silenced, **env}
        told = text(repository.git(*switches, *command, cwd=cwd or self.top, env=ours, feed=feed))
        return told.strip("\n") if strip else told


def _without_filters(folder: Path) -> dict[str, str]:
    """An environment in which git runs none of the filters that are configured there: an empty process comes before `clean` and `smudge`."""
    told = repository.attempt("config", "--name-only", "-z", "--get-regexp", r"^filter\..", cwd=folder)
    drivers = sorted({name.rpartition(".")[0] for name in text(told.stdout).split("\0") if name})
    settings = [(f"{driver}.{key}", value) for driver in drivers for key, value in (("process", ""), ("required", "false"))]
    keys = {f"GIT_CONFIG_KEY_{n}": key for n, (key, _) in enumerate(settings)}
    values = {f"GIT_CONFIG_VALUE_{n}": value for n, (_, value) in enumerate(settings)}
    return {"GIT_CONFIG_COUNT": str(len(settings)), **keys, **values}


def toml(value: Mapping[str, Any]) -> str:
    """A config as TOML: plain keys first, then its tables."""
    return "".join(_lines(value, ()))


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    if path:
        yield f"\n[{'.'.join(path)}]\n"
    for key, value in sorted(table.items()):
        if not isinstance(value, Mapping):
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
    for key, value in sorted(table.items()):
        if isinstance(value, Mapping):
            yield from _lines(value, (*path, key))
