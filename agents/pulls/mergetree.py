"""Real merges of commits without a working tree, an index, or a single new object in the user's repository.

`git merge-tree --write-tree --stdin` does what `git merge` does (renames, directories against files, recursive bases), many
pairs in one process. It works in a bare repository of its own in a temporary folder, which borrows the user's objects through
`objects/info/alternates`; what it writes is thrown away with the folder. That repository has no config, so neither the
user's merge settings nor merge drivers run; `.gitattributes` count as they stand in the side that is merged into.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import repository
from bench.pulls import Conflict, Mergeable
from bench.repository import UNSET, GitFault, text

if TYPE_CHECKING:
    import git

OLDEST = (2, 38)
"""The first git whose `merge-tree` has `--write-tree` and `--stdin`."""
OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
UNRELATED = "refusing to merge unrelated histories"


class PullsFault(Exception):
    """Pull requests cannot be looked at: what, where, the mend."""


class Merge:
    """What one merge came to; `tree` is its result, which lives as long as the workshop."""

    __slots__ = ("conflicts", "mergeable", "tree", "why")

    def __init__(self, mergeable: Mergeable, *, tree: str = "", conflicts: tuple[Conflict, ...] = (), why: str = "") -> None:
        self.mergeable, self.tree, self.conflicts, self.why = mergeable, tree, conflicts, why


def open_repository(path: Path) -> git.Repo:
    """The repository at `path` or above it; PullsFault when there is none, or no git that can do this."""
    try:
        import git
    except ImportError as error:  # GitPython raises it also when there is no git to run
        why = str(error).strip().partition("\n")[0]
        raise PullsFault(f"git cannot be used ({why})\n  help: install git 2.38 or newer and GitPython") from None
    try:
        repo = git.Repo(path, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        raise PullsFault(f"no git repository at {path}\n  help: give the path of a clone with `--repo`") from None
    version = tuple(repo.git.version_info[:2])
    if version < OLDEST:
        spoken, needed = ".".join(map(str, version)), ".".join(map(str, OLDEST))
        raise PullsFault(f"git {spoken} is too old for `merge-tree --write-tree`\n  help: install git {needed} or newer")
    return repo


class Workshop:
    """A throwaway repository beside the user's; a context manager that leaves nothing behind."""

    def __init__(self, repo: git.Repo) -> None:
        self.repo = repo
        self.version = ".".join(map(str, repo.git.version_info))
        self.shallow = False
        self._attributes: dict[str, tuple[tuple[str, str], ...]] = {}
        self._one_at_a_time = threading.Lock()
        self._trees: dict[tuple[tuple[str, str], ...], Path] = {}

    def __enter__(self) -> Workshop:
        self.folder = Path(tempfile.mkdtemp(prefix="touchstone-pulls-"))
        try:
            self._prepare()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prepare(self) -> None:
        common = Path(self.repo.common_dir).resolve()
        form = self._user("rev-parse", "--show-object-format").strip()
        self.bare = self.folder / "store.git"
        self.run("init", "--bare", "--quiet", "--template=", f"--object-format={form}", str(self.bare), inside=False)
        (self.bare / "objects" / "info").mkdir(exist_ok=True)
        (self.bare / "objects" / "info" / "alternates").write_text(f"{common / 'objects'}\n")
        self.shallow = (common / "shallow").exists()
        if self.shallow:
            shutil.copy(common / "shallow", self.bare / "shallow")
        (self.folder / "empty").mkdir()

    def _user(self, *command: str) -> str:
        """The output of a git command that only reads the user's repository."""
        import git

        try:
            return str(self.repo.git.execute(["git", *command], strip_newline_in_stdout=False))
        except git.GitCommandError as error:
            raise PullsFault(f"`git {command[0]}` failed in {self.repo.git_dir}: {_said(str(error.stderr))}") from None

    def run(self, *command: str, feed: str = "", inside: bool = True, tree: Path | None = None) -> str:
        """The output of git in the throwaway repository; PullsFault with git's own words when it fails."""
        code, out, said = self.attempt(*command, feed=feed, inside=inside, tree=tree)
        if code:
            raise PullsFault(f"`git {command[0]}` failed ({code}): {_said(said)}")
        return text(out)

    def read(self, specs: Sequence[str]) -> dict[str, tuple[str, str, bytes]]:
        """Object id, type and content of what each spec (an id, or `tree:path`) names; those that name nothing are left out."""
        asked = [spec for spec in dict.fromkeys(specs) if "\n" not in spec]
        code, out, said = self.attempt("cat-file", "--batch", feed="".join(f"{spec}\n" for spec in asked))
        if code:
            raise PullsFault(f"`git cat-file` failed ({code}): {_said(said)}")
        found, at = {}, 0
        for spec in asked:
            end = out.index(b"\n", at)
            words = out[at:end].split()
            at = end + 1
            if words[-1] not in (b"missing", b"ambiguous"):
                size = int(words[2])
                found[spec] = words[0].decode(), words[1].decode(), out[at : at + size]
                at += size + 1
        return found

    def attempt(
        self,
        *command: str,
        feed: str = "",
        inside: bool = True,
        tree: Path | None = None,
        config: bool = False,
        seconds: float | None = None,
    ) -> tuple[int, bytes, str]:
        """Exit code, output and complaints of git in the throwaway repository; subprocess.TimeoutExpired after `seconds`.

        Unless `config`, nobody's settings count.
        """
        place = [f"--git-dir={self.bare}"] if inside else []
        if tree is not None:
            place += ["-c", "core.bare=false", f"--work-tree={tree}"]
        try:
            done = repository.attempt(
                *place,
                *command,
                cwd=tree or self.folder,
                env={} if config else UNSET,
                feed=feed.encode(errors="surrogateescape"),
                keep=KEPT if config else (),
                seconds=seconds,
            )
        except GitFault as fault:
            raise PullsFault(str(fault)) from None
        return done.returncode, done.stdout, text(done.stderr)

    def merges(self, pairs: Sequence[tuple[str, str]]) -> list[Merge]:
        """What merging the second commit of each pair into the first comes to, in the order of `pairs`.

        Commits are full object ids; one that is not there is an unknown, as is what git cannot finish.
        """
        missing = self.missing({oid for pair in pairs for oid in pair})
        made: dict[int, Merge] = {}
        groups: dict[Path, list[int]] = {}
        for place, (ours, theirs) in enumerate(pairs):
            if lost := [oid for oid in (ours, theirs) if oid in missing]:
                made[place] = Merge(Mergeable.UNKNOWN, why=f"commit {lost[0][:12] or 'of no id'} is not in the clone")
            else:
                groups.setdefault(self._tree_of_attributes(ours), []).append(place)
        for tree, places in groups.items():
            made |= zip(places, self._batch([pairs[place] for place in places], tree), strict=True)
        return [made[place] for place in range(len(pairs))]

    def missing(self, oids: set[str]) -> set[str]:
        """Those that name no commit here."""
        named = sorted(oid for oid in oids if OID.fullmatch(oid))
        told = self.run("cat-file", "--batch-check=%(objectname) %(objecttype)", feed="".join(f"{oid}\n" for oid in named))
        return oids - {line.split()[0] for line in told.splitlines() if line.endswith(" commit")}

    def _batch(self, pairs: Sequence[tuple[str, str]], tree: Path) -> Iterator[Merge]:
        """Merge all pairs in one process; git gives up at the first it refuses, and another process goes on behind it."""
        left = list(pairs)
        while left:
            feed = "".join(f"{ours} {theirs}\n" for ours, theirs in left)
            code, out, said = self.attempt("merge-tree", "--write-tree", "--stdin", "--name-only", feed=feed, tree=tree)
            answers = list(_records(text(out)))
            yield from answers[: len(left)]
            if code == 0 and len(answers) == len(left):
                return
            if code == 0 or len(answers) >= len(left):
                raise PullsFault(f"`git merge-tree` gave {len(answers)} answers to {len(left)} questions; nothing was recorded")
            if UNRELATED in said and not self.shallow:
                yield Merge(Mergeable.NO, why="the two histories have no commit in common")
            else:
                why = (
                    "no common commit in this shallow clone; `git fetch --unshallow` brings it"
                    if UNRELATED in said
                    else _said(said)
                )
                yield Merge(Mergeable.UNKNOWN, why=why)
            left = left[len(answers) + 1 :]

    def _tree_of_attributes(self, commit: str) -> Path:
        """A folder with nothing but the `.gitattributes` of `commit`: what a merge into its checkout would go by."""
        with self._one_at_a_time:
            return self._folder_of(commit)

    def _folder_of(self, commit: str) -> Path:
        if commit not in self._attributes:
            listed = self.run("ls-tree", "-r", "-z", commit).split("\0")
            entries = [line.partition("\t") for line in listed if line.endswith(".gitattributes")]
            self._attributes[commit] = tuple(
                (path, meta.split()[2])
                for meta, _, path in entries
                if path.rpartition("/")[2] == ".gitattributes" and meta.startswith("100")
            )
        found = self._attributes[commit]
        if not found:
            return self.folder / "empty"
        if found not in self._trees:
            folder = self._trees[found] = self.folder / f"attributes-{len(self._trees)}"
            for path, blob in found:
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(self.run("cat-file", "blob", blob).encode(errors="surrogateescape"))
        return self._trees[found]


KEPT = frozenset({"GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"})
"""Settings of git's that reaching a server may need."""


def _records(out: str) -> Iterator[Merge]:
    """The merges in what `merge-tree --stdin --name-only` printed: status, tree, paths and, of conflicts, messages.

    1 is clean and 0 is a conflict, other than the exit code of a single merge has it.
    """
    fields = iter(out.split("\0"))
    for status in fields:
        if status == "":
            return
        status, tree = (
            status.rpartition("\n")[2],
            next(fields, ""),
        )  # some versions of git print advice on submodules between the fields
        if status not in ("0", "1") or not OID.fullmatch(tree):
            raise PullsFault(f"`git merge-tree` answered `{status[:40]}`, which this version of the program does not understand")
        paths = list(_until_empty(fields))
        if status == "1":
            yield Merge(Mergeable.YES, tree=tree)
            continue
        kinds: dict[str, str] = {}
        while (count := next(fields, "").rpartition("\n")[2]) != "":
            if not count.isdecimal():
                raise PullsFault(
                    f"`git merge-tree` answered `{count[:40]}`, which this version of the program does not understand"
                )
            named = [next(fields, "") for _ in range(int(count))]
            kind, _ = next(fields, ""), next(fields, "")
            if kind.startswith("CONFLICT"):
                for path in named:
                    kinds.setdefault(path, kind.removeprefix("CONFLICT").strip(" ()"))
        conflicts = tuple(Conflict(path=path, kind=kinds.get(path, "conflict")) for path in dict.fromkeys([*paths, *kinds]))
        yield Merge(Mergeable.NO, tree=tree, conflicts=conflicts)


def _until_empty(fields: Iterator[str]) -> Iterator[str]:
    for field in fields:
        if field == "":
            return
        yield field


def _said(words: str) -> str:
    """What git complained of, on one line."""
    lines: Iterable[str] = (line.strip() for line in words.splitlines())
    return "; ".join(line for line in lines if line)[:300] or "no reason was given"
