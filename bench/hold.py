"""The exclusive hold on a ledger: at most one process works on it, and the others learn which one.

Both forms are freed by the kernel or the server the moment the holder dies, SIGKILL included.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

DEFAULT_LEDGER = "runs/ledger.db"
_LOCK_CLASS = 0x746F7563
"""First half of the advisory lock's key in PostgreSQL; the second is the table's oid."""
_kept: set[int] = set()
"""Descriptors that keep a hold as long as any process has them open."""


class LedgerFault(Exception):
    """The ledger cannot do what was asked: what, where, the mend, and what was left untouched."""

    def __init__(self, what: str, *, where: str, mend: str, untouched: str = "no event was written or changed") -> None:
        super().__init__(f"{what}: {where}\n  help: {mend}\n  note: {untouched}")
        self.what, self.where, self.mend, self.untouched = what, where, mend, untouched


class Held(LedgerFault):
    """Another process holds the ledger; `who` says which (pid, host, since, command)."""

    def __init__(self, who: Mapping[str, Any], *, where: str) -> None:
        told = f"process {who.get('pid', '?')} on `{who.get('host', '?')}` since {who.get('since', '?')}: `{who.get('command', '?')}`"
        super().__init__(
            f"the ledger is held by {told}",
            where=where,
            mend="wait for it to end, or stop it (Ctrl-C there), or give this run another `--ledger`; reading needs no hold",
        )
        self.who = dict(who)


def whoami() -> dict[str, Any]:
    """This process as a holder tells of itself."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "command": " ".join(sys.argv)[:200]}


@contextmanager
def hold_file(lock: Path) -> Iterator[None]:
    """Hold an advisory lock on the file `lock`, which is made if missing and never removed.

    Removing it would let two processes lock two different files of the same name.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise LedgerFault(
            f"the lock file cannot be opened ({error.strerror})", where=str(lock), mend="make its folder writable for this user"
        ) from error
    _kept.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(_holder(lock), where=str(lock)) from None
        _write(descriptor, json.dumps(whoami()))
        try:
            yield
        finally:
            _write(descriptor, "")
    finally:
        _kept.discard(descriptor)
        os.close(descriptor)


def hold_data(file: Path, opened: list[int]) -> int:
    """Hold the file `file` itself too, whatever name it has and whatever became of the lock file beside it; a descriptor for `let_go`.

    The descriptor goes to `opened` and stays open until SQLite has closed the file.
    """
    descriptor = os.open(file, os.O_RDONLY)
    opened.append(descriptor)
    _kept.add(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Held({"pid": _flocked_by(os.fstat(descriptor).st_ino)}, where=str(file)) from None
    return descriptor


def let_go(descriptor: int) -> None:
    """End what `hold_data` began, unless `close_data` has."""
    if descriptor in _kept:
        _kept.discard(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def close_data(opened: list[int]) -> None:
    """Close what `hold_data` opened; not before SQLite has closed the file, as that gives up the locks which SQLite has on it."""
    while opened:
        _kept.discard(opened[-1])
        os.close(opened.pop())


def _flocked_by(inode: int) -> str:
    """The process that Linux says has an advisory lock on the file; `?` where it does not say."""
    with suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
                return words[4]
    return "?"


@contextmanager
def hold_server(engine: Engine, *, where: str) -> Iterator[Connection]:
    """Hold PostgreSQL's advisory lock of the table `events`; yields the connection that holds it.

    Appends go through that connection: when the server loses it, and the lock with it, they fail
    instead of racing the next holder.
    """
    from sqlalchemy import text

    me = whoami()
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        descriptor = driver.fileno()
        connection.detach()
        name = f"touchstone {me['pid']}@{me['host']} {me['command']}"
        connection.execute(text("select set_config('application_name', :name, false)"), {"name": name})
        ours = {"lock": _LOCK_CLASS}
        got = connection.scalar(text("select pg_try_advisory_lock(:lock, 'events'::regclass::oid::int)"), ours)
        if not got:
            row = connection.execute(text(_SERVER_HOLDER), ours).first()
            raise Held(_server_holder(row.application_name, row.backend_start) if row else {}, where=where)
        connection.commit()
        _kept.add(descriptor)
        try:
            yield connection
        finally:
            _kept.discard(descriptor)


_SERVER_HOLDER = """
select application_name, backend_start from pg_locks join pg_stat_activity using (pid)
where locktype = 'advisory' and granted and classid::bigint = :lock and objid = 'events'::regclass::oid
  and pg_locks.database = (select oid from pg_database where datname = current_database())
"""


def _server_holder(name: str, since: datetime) -> dict[str, Any]:
    where, _, command = name.removeprefix("touchstone ").partition(" ")
    pid, _, host = where.partition("@")
    return {"pid": pid, "host": host, "since": since.astimezone(UTC).isoformat(timespec="seconds"), "command": command}


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _holder(lock: Path) -> dict[str, Any]:
    for _ in range(20):
        try:
            who: dict[str, Any] = json.loads(lock.read_text())
            return who
        except ValueError:
            time.sleep(0.01)  # the holder has the lock and is about to write who it is
    return {}


def _close_in_child() -> None:
    # A forked child shares the descriptor: were its copy left open, the holder's death would not free the hold.
    while _kept:
        os.close(_kept.pop())


os.register_at_fork(after_in_child=_close_in_child)
