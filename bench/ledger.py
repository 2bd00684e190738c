"""The ledger: an append-only table of everything that happened, from which all other state is folded.

An embedded SQLite file by default (`runs/ledger.db`), PostgreSQL by URL when several machines share
it. An append that returned has reached the disk: SQLite runs in WAL mode with `synchronous=FULL`, so
it survives SIGKILL and loss of power. Triggers refuse updates and deletes whoever tries them.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError

from bench.events import KINDS, Event
from bench.hold import Held, LedgerFault, close_data, hold_data, hold_file, hold_server, let_go
from plan.wire import encode

__all__ = ["Held", "Ledger", "LedgerFault"]

SCHEMA = 1
PATIENCE_MS = 10_000
"""How long an append waits for another program that is writing."""
_PAGE = 1000

_metadata = sa.MetaData()
_events = sa.Table(
    "events",
    _metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.UniqueConstraint("kind", "key", name="happens_once"),
)
_about = sa.Table("touchstone_ledger", _metadata, sa.Column("version", sa.Integer, primary_key=True))

_FORBID = {
    "sqlite": (
        "create trigger events_no_update before update on events begin select raise(abort, 'the ledger is append-only'); end",
        "create trigger events_no_delete before delete on events begin select raise(abort, 'the ledger is append-only'); end",
        # `insert or replace` deletes without firing the trigger above; an event that is there already stays as it is.
        """create trigger events_no_replace before insert on events
        when exists (select 1 from events where seq = new.seq or (kind = new.kind and key = new.key))
        begin select raise(ignore); end""",
    ),
    "postgresql": (
        """create or replace function events_append_only() returns trigger language plpgsql as
        $$ begin raise exception 'the ledger is append-only'; end $$""",
        """create trigger events_append_only before update or delete or truncate on events
        for each statement execute function events_append_only()""",
    ),
}


class Ledger:
    """Open it with `Ledger.open`; read freely, and work on it inside `with ledger.hold():`."""

    def __init__(self, engine: sa.Engine, *, where: str, file: Path | None) -> None:
        self._engine = engine
        self._file = file
        self._writer: sa.Connection | None = None
        self._handles: list[int] = []
        self.where = where
        """The file, or the URL without its password."""

    @classmethod
    def open(cls, place: str | Path, *, create: bool = True) -> Ledger:
        """The ledger at a file's path or a `sqlite:` / `postgresql:` URL; made if missing, unless `create` is off.

        Without `create`, one that lies where nothing may be written is read as it was when it was opened.
        Raises `LedgerFault` when it is no ledger, of another version, damaged, or out of reach.
        """
        url = _url(place)
        file = Path(url.database or "").expanduser().resolve() if url.get_backend_name() == "sqlite" else None
        if file is not None:
            _reachable(file, create=create)
            url = url.set(database=str(file)) if create or _writable(file) else _as_it_lies(file)
        where = str(file or url.render_as_string(hide_password=True))
        try:
            engine = sa.create_engine(url)
        except ModuleNotFoundError as error:
            raise LedgerFault(
                f"the driver `{error.name}` is not installed", where=where, mend="pip install 'touchstone-lab[postgres]'"
            ) from error
        if file is not None:
            sa.event.listen(engine, "connect", _prepare)
            sa.event.listen(engine, "begin", _begin)
        ledger = cls(engine, where=where, file=file)
        try:
            with _told(where):
                ledger._check(create=create)
        except BaseException:
            engine.dispose()
            raise
        return ledger

    def append(self, kind: str, key: str, noun: Any) -> bool:
        """Append one event; False, and nothing written, when (kind, key) is there already."""
        return self.append_all([(kind, key, noun)])[0]

    def append_all(self, events: Iterable[tuple[str, str, Any]]) -> list[bool]:
        """Append (kind, key, noun) events in one transaction: all reach the disk, or none does."""
        rows = []
        for kind, key, noun in events:
            if kind not in KINDS:
                raise ValueError(f"no event kind `{kind}`; the kinds are {', '.join(sorted(KINDS))}")
            rows.append({"at": time.time(), "kind": kind, "key": key, "body": encode(noun)})
        with _told(self.where, appending=True), self._transaction() as connection:
            return [connection.scalar(_insert(connection).returning(_events.c.seq), row) is not None for row in rows]

    def events(self, after: int = 0) -> Iterator[Event]:
        """All events with `seq` above `after`, in order. No read lock is kept between pages."""
        query = sa.select(_events).where(_events.c.seq > sa.bindparam("after")).order_by(_events.c.seq).limit(_PAGE)
        while True:
            with _told(self.where), self._engine.connect() as connection:
                rows = connection.execute(query, {"after": after}).all()
            for seq, at, kind, key, body in rows:
                yield Event(seq=seq, at=at, kind=kind, key=key, body=body)
            if len(rows) < _PAGE:
                return
            after = rows[-1].seq

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the ledger for this process alone; raises `Held`, which says who has it, when another does."""
        with ExitStack() as stack:
            if self._file is not None:
                if self._file.exists() and self._file.stat().st_nlink > 1:
                    mend = "remove one of the two names; a symbolic link does no harm"
                    raise LedgerFault(
                        "the file has a second name (a hard link), by which others could hold it too", where=self.where, mend=mend
                    )
                stack.enter_context(hold_file(self._file.with_name(self._file.name + ".lock")))
                if self._file.exists():
                    stack.callback(let_go, hold_data(self._file, self._handles))
            else:
                with _told(self.where):
                    self._writer = stack.enter_context(hold_server(self._engine, where=self.where))
            try:
                yield
            finally:
                self._writer = None

    def close(self) -> None:
        """Give back the connections; the ledger object is of no use afterwards."""
        self._engine.dispose()
        close_data(self._handles)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        if self._writer is not None:
            if self._writer.invalidated:  # it would connect anew, and write without the lock
                raise LedgerFault("the hold was lost with the server's connection", where=self.where, mend="run it again")
            with self._writer.begin():
                yield self._serial(self._writer)
        else:
            with self._engine.connect().execution_options(immediate=True) as connection, connection.begin():
                yield self._serial(connection)

    def _serial(self, connection: sa.Connection) -> sa.Connection:
        # A sequence hands out numbers before their rows are visible: without this a reader could skip one for good.
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("lock table events in share row exclusive mode"))
        return connection

    def _check(self, *, create: bool) -> None:
        with self._engine.connect() as connection:
            if self._file is not None:
                damage = connection.exec_driver_sql("pragma quick_check(1)").scalar()
                if damage != "ok":
                    raise _damaged(self.where, str(damage))
            version = _version(connection, self.where)
        if version not in (None, SCHEMA):
            mend = f"use the touchstone that wrote it, or give this one another `--ledger` (it reads version {SCHEMA})"
            raise LedgerFault(f"the ledger has version {version}", where=self.where, mend=mend)
        if version is None and not create:
            raise LedgerFault("there is no ledger here yet", where=self.where, mend="start one with `orchestrate run`")
        if create and self._file is not None:
            self._keep_a_log()
        if version is None:
            self._create()

    def _keep_a_log(self) -> None:
        # Written into the file's header for good, so only once it is known that the file is a ledger, or shall be one.
        connection = self._engine.raw_connection()
        try:
            connection.cursor().execute("pragma journal_mode=wal")
        finally:
            connection.close()

    def _create(self) -> None:
        with self._engine.connect().execution_options(immediate=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("select pg_advisory_xact_lock(hashtext('touchstone create'))"))
            if _version(connection, self.where) is not None:
                return
            _metadata.create_all(connection, checkfirst=False)
            for statement in _FORBID[connection.dialect.name]:
                connection.exec_driver_sql(statement)
            connection.execute(_about.insert(), {"version": SCHEMA})


def _insert(connection: sa.Connection) -> sa.Insert:
    if connection.dialect.name == "sqlite":
        return sqlite.insert(_events).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql  # with its drivers' modules: a twentieth of what a session imports

    return postgresql.insert(_events).on_conflict_do_nothing()


def _version(connection: sa.Connection, where: str) -> int | None:
    tables = sa.inspect(connection).get_table_names()
    if _about.name in tables:
        return connection.scalar(sa.select(_about.c.version))
    if _events.name in tables:
        raise LedgerFault("its table `events` belongs to another program", where=where, mend="give another `--ledger`")
    return None


def _url(place: str | Path) -> sa.URL:
    if "://" not in str(place):
        return sa.URL.create("sqlite", database=str(place))
    try:
        url = sa.make_url(str(place))
    except ArgumentError:
        url = sa.URL.create("?")
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg") or (
        url.drivername == "sqlite" and url.database in (None, "", ":memory:")
    ):
        mend = "give a file's path, `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`"
        raise LedgerFault("not a place for a ledger", where=str(place).partition("://")[0] + "://...", mend=mend)
    return url


def _reachable(file: Path, *, create: bool) -> None:
    if file.is_dir():
        raise LedgerFault("a folder is no ledger", where=str(file), mend=f"name a file in it, e.g. `{file / 'ledger.db'}`")
    if file.exists():
        return
    if not create:
        raise LedgerFault(
            "there is no ledger here yet", where=str(file), mend="start one with `orchestrate run`, or mend the path"
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerFault(
            f"its folder cannot be made ({error.strerror})", where=str(file), mend="give another `--ledger`"
        ) from error


def _writable(file: Path) -> bool:
    """Whether SQLite can keep its files beside it, or has to: what stands in a log is read by the way of the log only."""
    log = file.with_name(file.name + "-wal")
    return all(os.access(place, os.W_OK) for place in (file, file.parent)) or (log.exists() and log.stat().st_size > 0)


def _as_it_lies(file: Path) -> sa.URL:
    return sa.URL.create("sqlite", database=f"file:{quote(str(file))}", query={"mode": "ro", "immutable": "1", "uri": "true"})


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says, not where the driver guesses
    for pragma in (f"busy_timeout={PATIENCE_MS}", "synchronous=full"):
        connection.execute(f"pragma {pragma}")


def _begin(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("begin immediate" if immediate else "begin")


def _damaged(where: str, detail: str) -> LedgerFault:
    mend = f"keep a copy, then save what can be read: `sqlite3 {where} .recover | sqlite3 mended.db`, or start another `--ledger`"
    return LedgerFault(f"the ledger is damaged ({detail})", where=where, mend=mend, untouched="the file was left as it is")


_MENDS = {
    "SQLITE_NOTADB": ("this file is no ledger", "give the path of a ledger, or of a file that does not exist yet"),
    "SQLITE_READONLY": ("the ledger cannot be written here", "make the file and its folder writable for this user"),
    "SQLITE_CANTOPEN": ("the ledger cannot be opened", "make the file and its folder readable and writable for this user"),
    "SQLITE_PERM": ("the ledger cannot be opened", "make the file and its folder readable and writable for this user"),
    "SQLITE_FULL": ("the disk is full", "free some space and run the same command again"),
    "SQLITE_IOERR": ("the disk refused", "look at the disk's space, quota and health, then run the same command again"),
    "SQLITE_BUSY": ("another program keeps the ledger locked", "end it (a database browser?) and run the same command again"),
}
"""What SQLite's primary result codes mean to a user, and the mend."""


@contextmanager
def _told(where: str, *, appending: bool = False) -> Iterator[None]:
    untouched = "this event was not written; what came before is kept" if appending else "no event was written or changed"
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        name = "_".join(str(getattr(cause, "sqlite_errorname", "")).split("_")[:2])
        if name == "SQLITE_CORRUPT":
            raise _damaged(where, str(cause)) from error
        if name in _MENDS:
            what, mend = _MENDS[name]
            raise LedgerFault(f"{what} ({cause})", where=where, mend=mend, untouched=untouched) from error
        if isinstance(cause, sqlite3.Error):
            raise
        detail = str(cause).strip().splitlines()[0]
        if isinstance(error, sa.exc.OperationalError):
            mend = "see that the server runs and that the URL's host, user and database are right"
            raise LedgerFault(f"the server does not answer ({detail})", where=where, mend=mend) from error
        mend = "let this user create tables in its schema and insert into them"
        raise LedgerFault(f"the server refuses ({detail})", where=where, mend=mend) from error
