"""Text as bytes, offline: the standard library's own source, or any text file or folder given by path.

A corpus is split into train and validation by the hash of what a document says, never by where it stands,
so a file cannot move between the sides when its neighbours change. Documents are joined by a zero byte.
"""

from __future__ import annotations

import gzip
import os
import sys
import sysconfig
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plan import catalogue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from plan.nouns import Task

STDLIB = "bytes-stdlib"
FORMAT = "corpus-1"
"""Part of every digest: a change of the reading or splitting rules is a change of the data."""
VALIDATION_SHARE = 0.08
FEW_FILES = 50
"""Below this many distinct files a corpus is split by blocks of lines instead of by files."""
BLOCK_BYTES = 4096
FAMILIAR = 0.5
"""A validation document is moved to train when train holds more than this share of its telling lines."""
TELLING_LINE = 20
"""Bytes a stripped line needs to count as telling; shorter ones (`return self`) are everywhere."""
NAMED = 20
"""Files that are no text, of which so many are named in the facts."""
NAMED_IN_A_LINE = 5
PLENTY = 1 << 20
"""Bytes of text of which a share is surely long enough for any window of a benchmark that reads the user's text."""
LEFT_OUT = frozenset({"site-packages", "dist-packages", "__pycache__", "lib-dynload"})


class DataError(Exception):
    """The data asked for is missing, unreadable or too small; the message says which and what helps."""

    told = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """Two disjoint byte arrays and what is known about them."""

    train: NDArray[np.uint8]
    validation: NDArray[np.uint8]
    facts: dict[str, Any]
    """`corpus`, `data_digest`, counts of files, documents and bytes, and which files are no text; belongs into every run."""

    def batch(self, *, seed: int, step: int, batch: int, length: int) -> NDArray[np.int64]:
        """`batch` random train windows of `length + 1` bytes; a pure function of its arguments."""
        import numpy as np

        self._enough("train", length)
        starts = np.random.default_rng([seed, step]).integers(0, len(self.train) - length, size=batch)
        windows: NDArray[np.int64] = self.train[starts[:, None] + np.arange(length + 1)].astype(np.int64)
        return windows

    def windows(self, *, count: int, length: int) -> NDArray[np.int64]:
        """Up to `count` evenly spaced validation windows of `length + 1` bytes, the same for every module and seed.

        Windows never overlap in what they predict: fewer than `count` come back when there are not enough bytes.
        """
        import numpy as np

        self._enough("validation", length)
        count = min(count, (len(self.validation) - 1) // length)
        starts = np.linspace(0, len(self.validation) - length - 1, count).astype(np.int64)
        windows: NDArray[np.int64] = self.validation[starts[:, None] + np.arange(length + 1)].astype(np.int64)
        return windows

    def _enough(self, side: str, length: int) -> None:
        _enough(side, self.facts["corpus"], have=self.facts[f"bytes_{side}"], length=length)


def _enough(side: str, source: str, *, have: int, length: int) -> None:
    if have >= length + 1:
        return
    mend = "give more text, or a shorter `length` under `[recipe]`"
    if side == "validation":
        mend = f"give more text: {VALIDATION_SHARE:.0%} of it is held out, and the length of these windows is the benchmark's own"
    raise DataError(f"the {side} side of `{source}` has {have} bytes, a window of length {length} needs {length + 1}; {mend}")


def digest(source: str) -> str:
    """sha256 over the sorted (relative name, sha256 of content) of a corpus name or path; reads every file, imports nothing heavy."""
    return _digest(_documents(source))


def _digest(documents: Iterable[tuple[str, bytes]]) -> str:
    total = sha256(FORMAT.encode())
    for name, content in documents:
        total.update(f"{name}\0{sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def is_counted(path: Path, *, root: Path) -> bool:
    """Whether the digest of the corpus at `root`, a file or folder, tells what the file `path` below it says."""
    inside = path.relative_to(root).parts
    if any(part.startswith(".") for part in inside) or not LEFT_OUT.isdisjoint(inside):
        return False
    content = path.read_bytes()
    return _is_text(_unpacked(content) if path.name.endswith(".gz") else content)


def facts(source: str) -> dict[str, Any]:
    """Digest and counts of a corpus: files, documents, bytes of each side, and the files that are not UTF-8 text (`not_text`)."""
    return dict(corpus(source).facts)


def survey(source: str, *, length: int = 0) -> list[str]:
    """A look at a corpus before anything is run on it: names of the files that are not UTF-8 text, and so are left out.

    Raises DataError where there is no text, or too little to hold out a window of `length` bytes. Imports nothing heavy.
    """
    lost: list[str] = []
    files = list(_documents(source, lost))
    if length and sum(len(content) for _, content in files) < PLENTY:
        _enough("validation", source, have=len(_joined(_split(files).validation)), length=length)
    return lost


def survey_tasks(tasks: Iterable[Task], *, plan: str) -> list[str]:
    """What a person should know of the texts that `tasks` of the plan at `plan` name: which files they are made without.

    Raises DataError with the first task whose text is not there, is none, or is too little for its benchmark to hold a window out.
    """
    told = {}
    for task in tasks:
        if not task.data:
            continue
        options = catalogue.shelf("benchmark")[task.benchmark].arguments.get("options") or {}
        try:
            own_text = options.get("corpus") == ""  # the benchmark trains on it, and holds windows of its own length out
            lost = survey(task.data, length=options.get("length", 0) if own_text else 0)
        except (DataError, OSError) as error:
            raise DataError(f"task `{task.id}` at {plan}:{task.data_line or task.line}: {error}; nothing was run") from None
        if lost:
            named = ", ".join(lost[:NAMED_IN_A_LINE]) + (", ..." if len(lost) > NAMED_IN_A_LINE else "")
            many = "1 file that is" if len(lost) == 1 else f"{len(lost)} files that are"
            told[task.data] = f"`{task.data}` is read without {many} not UTF-8 text: {named}"
    return list(told.values())


def corpus(source: str) -> Corpus:
    """The corpus called `source` (`bytes-stdlib`), or made of the text file or folder at that path.

    Documents with the same text up to white space are kept once. The side is decided by the hash of that text;
    validation documents most of whose telling lines stand in train are moved to train. A folder is split by files,
    a single file (or a folder of fewer than 50) by blocks of whole lines of about 4 KiB. Raises DataError.
    """
    import numpy as np

    lost: list[str] = []
    files = list(_documents(source, lost))
    unit, train, validation, moved = _split(files)
    arrays = [np.frombuffer(_joined(side), dtype=np.uint8) for side in (train, validation)]
    return Corpus(
        train=arrays[0],
        validation=arrays[1],
        facts={
            "corpus": source,
            "data_digest": _digest(files),
            "split_unit": unit,
            "files": len(files),
            "file_bytes": sum(len(content) for _, content in files),
            "files_not_text": len(lost),
            "not_text": lost[:NAMED],
            "documents_train": len(train),
            "documents_validation": len(validation),
            "documents_moved_to_train": moved,
            "bytes_train": len(arrays[0]),
            "bytes_validation": len(arrays[1]),
            **({"python": sys.version.split()[0]} if source == STDLIB else {}),
        },
    )


class _Split(NamedTuple):
    unit: str
    train: list[bytes]
    validation: list[bytes]
    moved: int


def _split(files: list[tuple[str, bytes]]) -> _Split:
    distinct = _distinct(content for _, content in files)
    unit = "file" if len(distinct) >= FEW_FILES else "block"
    if unit == "block":
        distinct = _distinct(block for _, content in files for block in _blocks(content))
    sides: tuple[list[bytes], list[bytes]] = ([], [])
    for key, content in distinct.items():
        sides[int.from_bytes(key[:8], "big") < VALIDATION_SHARE * 2**64].append(content)
    return _Split(unit, *_without_familiar(*sides))


def _joined(documents: list[bytes]) -> bytes:
    return b"\0".join(documents)


def _documents(source: str, lost: list[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """(relative name, content) of every readable text file, sorted by name; one that gzip has packed is read unpacked.

    Names of files that hold something else are added to `lost`.
    """
    if source == STDLIB:
        root = Path(sysconfig.get_path("stdlib"))
        names = [name for name in _names(root) if name.endswith(".py")]
    else:
        root = Path(source).expanduser()
        if root.is_file():
            names = [""]
        elif root.is_dir():
            names = _names(root)
        else:
            looked = "" if root.is_absolute() else f": there is no `{root.absolute()}`, a relative path counts from where you are"
            raise DataError(f"no corpus, file or folder `{source}`{looked}; give `{STDLIB}` or the path of a text file or folder")
    found = False
    for name in names:
        with open(os.path.join(root, name) if name else root, "rb") as file:
            raw = content = file.read()
        if str(root / name).endswith(".gz"):
            content = _unpacked(raw)
        if _is_text(content):
            found = True
            yield name, content
        elif raw and lost is not None:
            lost.append(name)
    if not found:
        raise DataError(f"no text in `{root.absolute()}`; files that are empty, hidden or not UTF-8 are left out")


def _names(root: Path) -> list[str]:
    """Relative names of the regular files under `root`, sorted; hidden ones and installed packages left out."""
    names = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in LEFT_OUT]
        inside = os.path.relpath(folder, root).replace(os.sep, "/")
        names += [name if inside == "." else f"{inside}/{name}" for name in files if not name.startswith(".")]
    return sorted(name for name in names if os.path.isfile(os.path.join(root, name)))


def _unpacked(content: bytes) -> bytes:
    """What gzip has packed; nothing where it is something else or broken."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return b""


def _is_text(content: bytes) -> bool:
    if not content or b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _distinct(contents: Iterable[bytes]) -> dict[bytes, bytes]:
    """Hash of the text up to white space -> first content that has it; blank ones are dropped."""
    found: dict[bytes, bytes] = {}
    for content in contents:
        if words := content.split():
            found.setdefault(sha256(b" ".join(words)).digest(), content)
    return found


def _blocks(content: bytes) -> Iterator[bytes]:
    """Whole lines of at least BLOCK_BYTES together; a line longer than four blocks is cut."""
    block = bytearray()
    for line in content.splitlines(keepends=True):
        for start in range(0, len(line), 4 * BLOCK_BYTES):
            block += line[start : start + 4 * BLOCK_BYTES]
            if len(block) >= BLOCK_BYTES:
                yield bytes(block)
                block.clear()
    if block:
        yield bytes(block)


def _without_familiar(train: list[bytes], validation: list[bytes]) -> tuple[list[bytes], list[bytes], int]:
    """Both sides after near-copies of train documents left validation, and how many did."""
    known = {line for content in train for line in _telling(content)}
    kept: list[bytes] = []
    familiar: list[bytes] = []
    for content in validation:
        lines = _telling(content)
        (familiar if lines and len(lines & known) > FAMILIAR * len(lines) else kept).append(content)
    return train + familiar, kept, len(familiar)


def _telling(content: bytes) -> set[bytes]:
    return {line for line in map(bytes.strip, content.splitlines()) if len(line) >= TELLING_LINE}
