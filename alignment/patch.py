"""Patches: unified diffs, read strictly, because what a lenient reader skips a lenient tool may still apply.

Only text files that are changed, added or deleted under plain names come through. Everything else that a diff can say
(renames, copies, modes, links, submodules, binary data, quoted or climbing paths) is a fault with its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

_HEADER = re.compile(r"diff --git a/(?P<old>\S+) b/(?P<new>\S+)")
_HUNK = re.compile(r"@@ -(?P<a>\d+)(?:,(?P<m>\d+))? \+(?P<b>\d+)(?:,(?P<n>\d+))? @@(?: .*)?")
_INDEX = re.compile(r"index [0-9a-f]{4,64}\.\.[0-9a-f]{4,64}(?: 100644)?")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_UNWANTED = {
    "rename ": "a rename; delete the one file and add the other",
    "copy ": "a copy; add the file as a new one",
    "similarity index": "a rename or a copy",
    "dissimilarity index": "a rewrite told as a similarity; give plain hunks",
    "old mode": "a change of mode; files here are 100644",
    "new mode": "a change of mode; files here are 100644",
    "GIT binary patch": "binary data",
    "Binary files": "binary data",
    "Submodule ": "a submodule",
}
_NO_NEWLINE = "\\ No newline at end of file"


class PatchFault(ValueError):
    """What a patch says that no patch here may say; `line` is 1-based in the patch."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"patch line {line}: {why}")
        self.line, self.why = line, why


class Misapplied(ValueError):
    """The file is not the one that the patch was made for."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """A run of lines of the old file (from `at`, 1-based) and what takes its place; lines keep their ends."""

    at: int
    old: tuple[str, ...]
    new: tuple[str, ...]
    line: int
    """Where it begins in the patch."""


@dataclass(frozen=True, slots=True)
class Change:
    """What the patch does to one file."""

    path: str
    kind: str
    """`changed`, `added` or `deleted`."""
    hunks: tuple[Hunk, ...]
    line: int

    def applied(self, text: str | None) -> str | None:
        """The file after the patch; Misapplied when `text` (None: there is no such file) is not what it was made for."""
        if (text is None) != (self.kind == "added"):
            raise Misapplied(f"`{self.path}` is {'not there' if text is None else 'there already'}")
        lines, result, done = _LINES.findall(text or ""), list[str](), 0
        for hunk in self.hunks:
            start = max(hunk.at - 1, 0) if hunk.old else hunk.at
            if start < done or tuple(lines[start : start + len(hunk.old)]) != hunk.old:
                raise Misapplied(f"`{self.path}` does not say at line {hunk.at} what the patch's line {hunk.line} expects")
            result += lines[done:start] + list(hunk.new)
            done = start + len(hunk.old)
        if self.kind == "deleted":
            if done != len(lines) or result:
                raise Misapplied(f"`{self.path}` has more lines than the patch deletes")
            return None
        return "".join(result + lines[done:])


def parse(text: str) -> tuple[Change, ...]:
    """What the unified diff `text` does, file by file; PatchFault for whatever is not a plain change of text files."""
    return tuple(_Reader(text).changes())


class _Reader:
    def __init__(self, text: str) -> None:
        if "\r" in text:
            raise PatchFault(1 + text[: text.index("\r")].count("\n"), "a carriage return, which hides what stands before it")
        if "\0" in text:
            raise PatchFault(1 + text[: text.index("\0")].count("\n"), "a zero byte")
        self.lines = text.split("\n")
        if self.lines[-1]:
            raise PatchFault(len(self.lines), "the last line has no end; the patch is cut off")
        self.lines.pop()
        self.next = 0

    def changes(self) -> list[Change]:
        found: list[Change] = []
        while self.next < len(self.lines):
            change = self._change()
            if change.path.lower() in {earlier.path.lower() for earlier in found}:
                raise PatchFault(change.line, f"`{change.path}` is changed twice, or in two spellings")
            found.append(change)
        if not found:
            raise PatchFault(1, "it changes nothing")
        return found

    def _change(self) -> Change:
        first = self.next + 1
        named, declared = self._header(first)
        old, new = self._name("--- ", "a/"), self._name("+++ ", "b/")
        path = new or old
        if path is None:
            self._refuse(first, "neither side names a file")
        kind = "added" if old is None else "deleted" if new is None else "changed"
        if old and new and old != new:
            self._refuse(first, f"a rename of `{old}` to `{new}`")
        if named not in (None, path):
            self._refuse(first, f"its header names `{named}`, its hunks are of `{path}`")
        if declared not in (None, kind):
            self._refuse(first, f"`{path}` is declared {declared}, its hunks say {kind}")
        hunks: list[Hunk] = []
        while self._peek().startswith("@@"):
            hunks.append(self._hunk(hunks))
        if not hunks:
            self._refuse(first, f"`{path}` has no hunk")
        whole = hunks[0]
        if (kind == "added" and (len(hunks) > 1 or whole.old)) or (kind == "deleted" and (len(hunks) > 1 or whole.new)):
            self._refuse(first, f"`{path}` is {kind}, but its hunks are not a whole file")
        return Change(path, kind, tuple(hunks), first)

    def _header(self, first: int) -> tuple[str | None, str | None]:
        """The name and the kind that git's own lines declare, where there are any."""
        if not self._peek().startswith("diff "):
            return None, None
        line = self._take()
        match = _HEADER.fullmatch(line)
        if not match or match["old"] != match["new"]:
            self._refuse(first, f"`{line}` does not name one file in plain letters")
        self._plain(match["new"], first)
        declared: str | None = "changed"
        while not self._peek().startswith("--- "):
            line = self._take()
            if line in ("new file mode 100644", "deleted file mode 100644"):
                declared = "added" if line.startswith("new") else "deleted"
            elif line.startswith(("new file mode", "deleted file mode")):
                self._refuse(self.next, f"`{line}`: a program, a link or a submodule; only mode 100644 is a text file")
            elif not _INDEX.fullmatch(line):
                told = next((why for start, why in _UNWANTED.items() if line.startswith(start)), "not a line of a patch")
                self._refuse(self.next, f"`{line[:60]}`: {told}")
        return match["new"], declared

    def _name(self, mark: str, side: str) -> str | None:
        line = self._take()
        if not line.startswith(mark):
            self._refuse(self.next, f"expected `{mark}{side}...`, found `{line[:60]}`")
        name = line[len(mark) :].partition("\t")[0]
        if name == "/dev/null":
            return None
        if not name.startswith(side):
            self._refuse(self.next, f"`{name[:60]}` does not begin with `{side}`")
        self._plain(name[2:], self.next)
        return name[2:]

    def _plain(self, name: str, line: int) -> None:
        if not _NAME.fullmatch(name) or ".." in name or name.endswith("."):
            self._refuse(line, f"`{name[:60]}` is not a plain path below the house")

    def _hunk(self, earlier: list[Hunk]) -> Hunk:
        line = self.next + 1
        match = _HUNK.fullmatch(self._take())
        if not match:
            self._refuse(line, "a hunk begins with `@@ -a,m +b,n @@`")
        at, want_old, want_new = int(match["a"]), int(match["m"] or 1), int(match["n"] or 1)
        if earlier and at < earlier[-1].at + len(earlier[-1].old):
            self._refuse(line, "hunks overlap or are out of order")
        shift = sum(len(hunk.new) - len(hunk.old) for hunk in earlier)
        start_old, start_new = (at if want_old else at + 1), int(match["b"]) if want_new else int(match["b"]) + 1
        if start_new - start_old != shift:
            self._refuse(line, "its line numbers do not add up")
        old: list[str] = []
        new: list[str] = []
        while len(old) < want_old or len(new) < want_new:
            text = self._take()
            mark, rest = text[:1], text[1:] + "\n"
            if self._peek() == _NO_NEWLINE:
                self._take()
                rest = rest[:-1]
            if mark not in (" ", "-", "+"):
                self._refuse(self.next, f"`{text[:60]}` is no line of a hunk")
            old += [rest] if mark in " -" else []
            new += [rest] if mark in " +" else []
        if len(old) != want_old or len(new) != want_new:
            self._refuse(line, f"it promises {want_old} and {want_new} lines and has {len(old)} and {len(new)}")
        if any(not part.endswith("\n") for part in (*old[:-1], *new[:-1])):
            self._refuse(line, "a line without an end stands before others")
        return Hunk(at, tuple(old), tuple(new), line)

    def _peek(self) -> str:
        return self.lines[self.next] if self.next < len(self.lines) else ""

    def _take(self) -> str:
        if self.next >= len(self.lines):
            self._refuse(len(self.lines), "it ends in the middle")
        self.next += 1
        return self.lines[self.next - 1]

    def _refuse(self, line: int, why: str) -> NoReturn:
        raise PatchFault(line, why)
