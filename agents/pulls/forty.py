"""Forty branches that meet in every way two branches can: the fixture of `python -m agents.pulls.proof` and of the tests.

Edits of one line, of far lines and the same edit twice, add/add, modify/delete, renames against edits, deletions and other renames,
a renamed directory, files against directories, modes, symbolic links, binary files, line ends, a union driver in `.gitattributes`,
criss-cross histories with two merge bases, and a history of its own. 780 pairs, of which about one in ten conflicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.repository import git

FILE, PROGRAM, LINK = "100644", "100755", "120000"
Change = tuple[str, str, bytes] | tuple[str, str] | tuple[str, str, str]
"""(mode, path, content) puts a file; ("-", path) deletes; ("R", from, to) renames a file or a folder."""


def lines(*edits: tuple[int, str], many: int = 40, end: str = "\n") -> bytes:
    """Numbered lines, those named replaced."""
    new = dict(edits)
    return "".join(
        f"{new.get(number, f'line {number} of a text that renames can be told by')}{end}" for number in range(many)
    ).encode()


def picture(colour: int) -> bytes:
    """A binary file."""
    return bytes(range(256)) * 8 + bytes([0, colour] * 64)


BASE: tuple[Change, ...] = (
    (FILE, "notes.txt", lines()),
    (FILE, "list.txt", lines(many=30, end=" item\n")),
    (FILE, "a/one.txt", lines(many=25, end=" one\n")),
    (FILE, "a/two.txt", lines(many=35, end=" two\n")),
    (FILE, "b/three.txt", lines(many=20, end=" three\n")),
    (FILE, "lib/first.txt", lines(many=20, end=" first\n")),
    (FILE, "lib/second.txt", lines(many=21, end=" second\n")),
    (FILE, "lib/third.txt", lines(many=22, end=" third\n")),
    (FILE, "run.sh", b"#!/bin/sh\n" + lines(many=12, end=" run\n")),
    (LINK, "link", b"notes.txt"),
    (FILE, "image.bin", picture(1)),
    (FILE, "CHANGES", b"# changes\n\n- first\n"),
    (FILE, "empty", b""),
    (FILE, ".gitattributes", b"CHANGES merge=union\n*.bin binary\n"),
)

BRANCHES: Mapping[str, Sequence[Change]] = {
    "edit-here": [(FILE, "notes.txt", lines((5, "here")))],
    "edit-here-otherwise": [(FILE, "notes.txt", lines((5, "otherwise")))],
    "edit-here-as-well": [(FILE, "notes.txt", lines((5, "here")))],
    "edit-next-line": [(FILE, "notes.txt", lines((6, "next")))],
    "edit-far": [(FILE, "notes.txt", lines((33, "far")))],
    "edit-both": [(FILE, "notes.txt", lines((5, "here"), (33, "far off")))],
    "line-ends": [(FILE, "notes.txt", lines(end="\r\n"))],
    "add": [(FILE, "new.txt", b"one thing\n")],
    "add-otherwise": [(FILE, "new.txt", b"another thing\n")],
    "add-the-same": [(FILE, "new.txt", b"one thing\n")],
    "modify-one": [(FILE, "a/one.txt", lines((3, "modified"), many=25, end=" one\n"))],
    "delete-one": [("-", "a/one.txt")],
    "rename-two": [("R", "a/two.txt", "a/deux.txt")],
    "rename-two-otherwise": [("R", "a/two.txt", "a/zwei.txt")],
    "rename-two-and-edit": [("-", "a/two.txt"), (FILE, "a/deux.txt", lines((9, "edited"), many=35, end=" two\n"))],
    "delete-two": [("-", "a/two.txt")],
    "modify-two": [(FILE, "a/two.txt", lines((30, "modified"), many=35, end=" two\n"))],
    "add-where-two-goes": [(FILE, "a/deux.txt", b"in the way\n")],
    "rename-list-to-target": [("R", "list.txt", "target.txt")],
    "rename-three-to-target": [("R", "b/three.txt", "target.txt")],
    "rename-folder": [("R", "lib", "source")],
    "add-in-folder": [(FILE, "lib/fourth.txt", b"the fourth\n")],
    "edit-in-folder": [(FILE, "lib/second.txt", lines((4, "edited"), many=21, end=" second\n"))],
    "file-d": [(FILE, "d", b"a file\n")],
    "folder-d": [(FILE, "d/inner.txt", b"in a folder\n")],
    "three-becomes-folder": [("-", "b/three.txt"), (FILE, "b/three.txt/inner.txt", b"inner\n")],
    "program": [(PROGRAM, "run.sh", b"#!/bin/sh\n" + lines(many=12, end=" run\n"))],
    "edit-program": [(FILE, "run.sh", b"#!/bin/sh\n" + lines((2, "echo"), many=12, end=" run\n"))],
    "delete-program": [("-", "run.sh")],
    "link-elsewhere": [(LINK, "link", b"list.txt")],
    "link-otherwise": [(LINK, "link", b"a/one.txt")],
    "link-becomes-file": [(FILE, "link", b"no link any more\n")],
    "picture": [(FILE, "image.bin", picture(2))],
    "picture-otherwise": [(FILE, "image.bin", picture(3))],
    "changes": [(FILE, "CHANGES", b"# changes\n\n- first\n- second\n")],
    "changes-otherwise": [(FILE, "CHANGES", b"# changes\n\n- first\n- third\n")],
    "no-union": [(FILE, ".gitattributes", b"*.bin binary\n"), (FILE, "CHANGES", b"# changes\n\n- first\n- fourth\n")],
}  # fmt: skip
CROSSED: Mapping[str, Sequence[Change]] = {
    "crossed-left": [(FILE, "list.txt", lines((2, "crossed left"), (20, "left"), many=30, end=" item\n"))],
    "crossed-right": [(FILE, "list.txt", lines((2, "crossed right"), (20, "right"), many=30, end=" item\n"))],
}
"""Made on two merges of the same two commits, one resolved to the left and one to the right: two merge bases."""
ALONE = "history-of-its-own"
NAMES = (*BRANCHES, *CROSSED, ALONE)


class Stream:
    """What `git fast-import` reads."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.mark = 0

    def commit(self, branch: str, changes: Sequence[Change], *, parents: Sequence[int] = ()) -> int:
        """Put a commit on top of `parents` (marks) and the branch onto it; its mark."""
        self.mark += 1
        self.out += f"commit refs/heads/{branch}\nmark :{self.mark}\ncommitter Forty <forty@example.org> {1_700_000_000 + self.mark} +0000\n".encode()
        self._data(f"{branch} {self.mark}".encode())
        for word, parent in zip(("from", *("merge",) * 9), parents, strict=False):
            self.out += f"{word} :{parent}\n".encode()
        for change in changes:
            match change:
                case ("-", str(path)):
                    self.out += f"D {path}\n".encode()
                case ("R", str(old), str(new)):
                    self.out += f"R {old} {new}\n".encode()
                case (mode, path, bytes(content)):
                    self.out += f"M {mode} inline {path}\n".encode()
                    self._data(content)
        self.out += b"\n"
        return self.mark

    def write(self, folder: Path) -> None:
        """Make the repository, with `main` checked out."""
        for command, feed in (
            (["init", "--quiet", "--initial-branch=main", "--template=", str(folder)], b""),
            (["-C", str(folder), "fast-import", "--quiet"], bytes(self.out)),
            (["-C", str(folder), "checkout", "--quiet", "--force", "main"], b""),
        ):
            git(*command, feed=feed)

    def _data(self, content: bytes) -> None:
        self.out += b"data %d\n%b\n" % (len(content), content)


def build(folder: Path) -> tuple[str, ...]:
    """Make a repository at `folder` with `main`, checked out, and the forty branches; their names."""
    stream = Stream()
    base = stream.commit("main", BASE)
    for name, changes in BRANCHES.items():
        stream.commit(name, changes, parents=[base])
    sides = {
        side: stream.commit(f"crossing-{side}", [(FILE, "list.txt", lines((2, side), many=30, end=" item\n"))], parents=[base])
        for side in ("left", "right")
    }
    for name, other in (("left", "right"), ("right", "left")):
        kept = (FILE, "list.txt", lines((2, name), many=30, end=" item\n"))
        merged = stream.commit(f"crossed-{name}", [kept], parents=[sides[name], sides[other]])
        stream.commit(f"crossed-{name}", CROSSED[f"crossed-{name}"], parents=[merged])
    stream.commit(ALONE, [(FILE, "notes.txt", b"from nowhere\n")])
    stream.write(folder)
    git("branch", "--quiet", "-D", "crossing-left", "crossing-right", cwd=folder)
    return NAMES
