"""Verdicts that never change, kept beside the ledger: what merging two commits comes to, by their object ids."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench.misfit import misfit
from bench.pulls import Mergeable, Pair
from plan.wire import encode, rebuild

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of git: do these two commits merge, and do their sides' names fit? `since` is where each side began."""

    ours: str
    theirs: str
    ours_since: str
    theirs_since: str
    rules: str
    """Versions of git and of the analysis of names: another version may answer otherwise."""

    @property
    def key(self) -> str:
        """What the answer is known by."""
        return " ".join((self.rules, self.ours, self.theirs, self.ours_since, self.theirs_since))


class Cache:
    """A small SQLite file; `None` keeps nothing. It is rebuilt when damaged and done without when it cannot be written."""

    def __init__(self, file: Path | None) -> None:
        self.file = file

    def get(self, questions: Iterable[Question]) -> dict[Question, Pair]:
        """The answers that are known; sides are called `ours` and `theirs` in them."""
        found: dict[Question, Pair] = {}
        with self._open() as db:
            for one in dict.fromkeys(questions):
                if db is None:
                    break
                row = db.execute("select body from verdicts where key = ?", (one.key,)).fetchone()
                if row and (pair := _read(row[0])) is not None:
                    found[one] = pair
        return found

    def put(self, answers: Mapping[Question, Pair]) -> None:
        """Keep answers; an unknown is no verdict and is left out."""
        rows = [(one.key, encode(pair)) for one, pair in answers.items() if pair.mergeable is not Mergeable.UNKNOWN]
        with self._open() as db:
            if db and rows:
                db.executemany("insert or replace into verdicts values (?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """The database inside a transaction; None when it cannot be used, which costs time and nothing else."""
        db = self._connect()
        try:
            with db or nullcontext():
                yield db
        except sqlite3.OperationalError:
            pass  # locked, read-only or full: what is not kept is worked out again
        finally:
            if db:
                db.close()

    def _connect(self) -> sqlite3.Connection | None:
        for _ in range(2):
            if self.file is None:
                return None
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                db = sqlite3.connect(self.file, timeout=PATIENCE_S)
                db.execute("create table if not exists verdicts (key text primary key, body text not null) without rowid")
                return db
            except (sqlite3.OperationalError, OSError):
                return None
            except sqlite3.DatabaseError:  # no database, or a damaged one: it holds nothing that cannot be made again
                self.file.unlink(missing_ok=True)
        return None


def _read(body: str) -> Pair | None:
    try:
        value = json.loads(body)
    except (ValueError, TypeError):
        return None
    return None if misfit(Pair, value) else rebuild(Pair, value)
