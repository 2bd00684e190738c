"""Reads an opinion conversation as Polis exports it: `comments.csv` (statements) and `participants-votes.csv` (who voted what).

Exports differ by year: newer ones carry `xid`, `is-meta`, `is-seed` and `group-informed-consensus`, older ones `datetime`; columns are found
by name and may stand in any order. What cannot be read is told with file, line and the mend; no row is skipped.
Format: compdemocracy.org/export. Shapes: P participants, S statements.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Votes = NDArray[np.float64]
"""(P, S): 1 agree, -1 disagree, 0 pass, nan not seen."""
Labels = NDArray[np.int64]
"""(P,): the group of each participant, -1 for none."""

STATEMENTS, MATRIX = "comments.csv", "participants-votes.csv"
_DECLARED = ("n-votes", "n-agree", "n-disagree")
_WORDS = {
    "agree": 1.0, "disagree": -1.0, "pass": 0.0, "skip": 0.0, "nan": np.nan, "null": np.nan, "": np.nan, "1": 1.0, "-1": -1.0, "0": 0.0,
}  # fmt: skip
_LARGEST = 1e12
"""Whole numbers beyond this count nothing."""
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")
"""Unicode's categories of what shows nothing, or steers what shows it: escapes, controls, direction marks, halves of a pair."""


class ExportFault(ValueError):
    """An export that cannot be read; the message says what, where and the mend. Nothing was used."""

    told = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One sentence that people voted on."""

    id: str
    text: str
    """Empty where the export has none: the audit names it, and it becomes no rule."""
    moderated: int = 0
    """1 accepted, -1 rejected, 0 not looked at."""
    agrees: int | None = None
    disagrees: int | None = None
    """As the export counts them; a few later or earlier votes than the matrix holds are usual."""
    consensus: float | None = None
    """Polis' own group-informed consensus, where the export has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Statements, participants and the votes between them."""

    name: str
    statements: tuple[Statement, ...]
    participants: tuple[str, ...]
    votes: Votes
    groups: Labels
    """Polis' own, -1 where it gave none."""
    declared: NDArray[np.int64] | None = None
    """(P, 3): votes, agreements and disagreements of each participant as the export counts them."""

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """(S,): statements that moderation let in; all that were not rejected where none was ever accepted."""
        states = np.array([s.moderated for s in self.statements], dtype=np.int64)
        return np.asarray(states == 1 if (states == 1).any() else states >= 0, dtype=np.bool_)


def read(folder: Path | str) -> Conversation:
    """The conversation in `folder`; ExportFault when a file is missing, malformed or contradicts the other."""
    folder = Path(folder)
    where = folder / MATRIX
    header, rows = _table(where)
    at = {name: i for i, name in enumerate(header)}
    if "participant" not in at:
        raise ExportFault(
            f"{where}:1: no column `participant` among {header[:8]}; export the votes matrix anew. nothing was read"
        )
    ids = [name for name in header if name.isdigit()]
    if not ids:
        raise ExportFault(
            f"{where}:1: no column is named by a statement's number; export the votes matrix anew. nothing was read"
        )
    people: dict[str, int] = {}
    votes, groups = np.full((len(rows), len(ids)), np.nan), np.full(len(rows), -1, dtype=np.int64)
    declared = np.zeros((len(rows), len(_DECLARED)), dtype=np.int64)
    counted = all(name in at for name in _DECLARED)
    columns = [at[name] for name in ids]
    for p, (line, row) in enumerate(rows):
        who = row[at["participant"]].strip()
        if who in people:
            raise ExportFault(
                f"{where}:{line}: participant `{who}` stands on line {people[who]} already; keep one. nothing was read"
            )
        people[who] = line
        for s, column in enumerate(columns):
            votes[p, s] = _vote(row[column], where, line, ids[s])
        if "group-id" in at and row[at["group-id"]].strip():
            groups[p] = _whole(row[at["group-id"]], where, line, "group-id")
        if counted:
            declared[p] = [_whole(row[at[name]], where, line, name) for name in _DECLARED]
    statements = _statements(folder / STATEMENTS)
    missing = [i for i in ids if i not in statements]
    if missing:
        raise ExportFault(
            f"{where}:1: statements {missing[:5]} are voted on and not in `{STATEMENTS}`; export both at the same time"
        )
    return Conversation(
        name=folder.name,
        statements=tuple(statements[i] for i in ids),
        participants=tuple(people),
        votes=votes,
        groups=groups,
        declared=declared if counted else None,
    )


def _statements(where: Path) -> dict[str, Statement]:
    """By id."""
    header, rows = _table(where)
    at = {name: i for i, name in enumerate(header)}
    for name in ("comment-id", "comment-body"):
        if name not in at:
            raise ExportFault(f"{where}:1: no column `{name}` among {header}; export the comments anew. nothing was read")
    found: dict[str, Statement] = {}

    for line, row in rows:

        def whole(name: str, row: Sequence[str] = row, line: int = line) -> int | None:
            text = row[at[name]].strip() if name in at else ""
            return _whole(text, where, line, name) if text else None

        key = row[at["comment-id"]].strip()
        if key in found:
            raise ExportFault(f"{where}:{line}: statement `{key}` stands there twice; keep one. nothing was read")
        share = row[at["group-informed-consensus"]].strip() if "group-informed-consensus" in at else ""
        found[key] = Statement(
            id=key,
            text=_text(row[at["comment-body"]]),
            moderated=whole("moderated") or 0,
            agrees=whole("agrees"),
            disagrees=whole("disagrees"),
            consensus=_number(share, where, line, "group-informed-consensus") if share else None,
        )
    return found


def _table(where: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header and the rows with the line each ends on; every row has as many cells as the header."""
    if not where.is_file():
        raise ExportFault(
            f"{where}: there is no such file; an export has `{STATEMENTS}` and `{MATRIX}` in one folder. nothing was read"
        )
    try:
        lines = list(_records(where))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ExportFault(f"{where}: not readable as UTF-8 CSV ({error}); export it anew. nothing was read") from error
    if len(lines) < 2:
        raise ExportFault(f"{where}: has no rows below its header; export it anew. nothing was read")
    (_, header), *rows = lines
    header = [name.strip().lower() for name in header]
    double = sorted({name for name in header if header.count(name) > 1})
    if double:
        raise ExportFault(f"{where}:1: columns {double[:5]} stand there twice; keep one of each. nothing was read")
    for line, row in rows:
        if len(row) != len(header):
            raise ExportFault(
                f"{where}:{line}: {len(row)} cells where the header has {len(header)}; quote commas. nothing was read"
            )
    return header, rows


def _records(where: Path) -> Iterator[tuple[int, list[str]]]:
    with where.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        for row in reader:
            if row:
                yield reader.line_num, row


def _text(text: str) -> str:
    """A statement as one line of what can be seen; strangers wrote it, and it will be printed."""
    return " ".join(_seen(" ".join(text.split())).split())


def _seen(text: str) -> str:
    return "".join(sign for sign in text if unicodedata.category(sign) not in _UNSEEN or sign in "\u200c\u200d")


def _vote(text: str, where: Path, line: int, statement: str) -> float:
    if text in _WORDS:
        return _WORDS[text]
    word = text.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    value = _number(word, where, line, statement)
    if value not in (-1.0, 0.0, 1.0):
        raise ExportFault(
            f"{where}:{line}: `{_seen(text)[:40]}` on statement {statement} is no vote; votes are 1, -1, 0 or empty. nothing was read"
        )
    return value


def _whole(text: str, where: Path, line: int, column: str) -> int:
    value = _number(text, where, line, column)
    if not abs(value) < _LARGEST or value != int(value):
        raise ExportFault(
            f"{where}:{line}: `{text[:40]}` in `{column}` is no whole number that counts; export it anew. nothing was read"
        )
    return int(value)


def _number(text: str, where: Path, line: int, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ExportFault(f"{where}:{line}: `{_seen(text)[:40]}` in `{column}` is no number; export it anew. nothing was read")
    return value
