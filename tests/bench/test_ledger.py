"""The ledger keeps what it acknowledged, once, in order, and for one worker at a time; on SQLite and PostgreSQL alike."""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import postgres
import pytest
import sqlalchemy as sa

from bench.events import Stopped
from bench.ledger import Held, Ledger, LedgerFault
from plan.nouns import Request, Run, Status


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty ledger may be made."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    return postgres.schema(request.getfixturevalue("cluster"), "t" + uuid.uuid4().hex)


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process that runs `code`; its output is read line by line."""
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@contextmanager
def held_soon(ledger: Ledger) -> Iterator[None]:
    """The hold, as soon as the kernel or the server has noticed that its last holder is gone."""
    with ExitStack() as stack:
        for _ in range(200):
            try:
                stack.enter_context(ledger.hold())
                break
            except Held:
                time.sleep(0.05)
        else:
            pytest.fail("the hold of the dead was not freed")
        yield


def keys(place: str) -> list[str]:
    with Ledger.open(place, create=False) as ledger:
        return [event.key for event in ledger.events()]


def test_a_noun_comes_back_as_it_was_appended(place: str) -> None:
    run = Run(
        key="k",
        request=Request(module="m", benchmark="b", seed=1),
        status=Status.OK,
        metrics={"é": 0.1},
        facts={"a": [1, "\u2028'"]},
    )
    with Ledger.open(place) as ledger:
        ledger.append("run", "k#1", run)
    with Ledger.open(place, create=False) as ledger:
        (event,) = ledger.events()
    assert (event.kind, event.key) == ("run", "k#1")
    assert event.read(Run) == run


def test_what_may_happen_once_is_appended_once_and_the_first_word_stands(place: str) -> None:
    with Ledger.open(place) as ledger:
        assert ledger.append("stopped", "a", Stopped(reason="first"))
        assert not ledger.append("stopped", "a", Stopped(reason="second"))
        assert ledger.append("applied", "a", {"details": {}})
        assert ledger.append_all([("stopped", "b", {}), ("stopped", "a", {}), ("stopped", "b", {})]) == [True, False, False]
        events = list(ledger.events())
    assert [(e.kind, e.key) for e in events] == [("stopped", "a"), ("applied", "a"), ("stopped", "b")]
    assert events[0].read(Stopped).reason == "first"


def test_a_batch_with_one_bad_noun_appends_nothing(place: str) -> None:
    with Ledger.open(place) as ledger:
        with pytest.raises(TypeError, match="no stable form"):
            ledger.append_all([("stopped", "a", {}), ("stopped", "b", object())])
        with pytest.raises(ValueError, match="no event kind `gossip`"):
            ledger.append_all([("stopped", "a", {}), ("gossip", "b", {})])
        assert list(ledger.events()) == []


def test_pages_of_events_join_without_a_gap_while_appends_go_on(place: str) -> None:
    with Ledger.open(place) as ledger, Ledger.open(place) as other:
        ledger.append_all([("stopped", str(i), {}) for i in range(2500)])
        found = []
        for event in other.events():
            found.append(event.key)
            if len(found) == 1500:
                ledger.append("stopped", "late", {})
        assert found == [str(i) for i in range(2500)] + ["late"]
        half = list(other.events())[1249].seq
        assert [e.key for e in other.events(after=half)] == found[1250:]


@pytest.mark.parametrize("statement", [
    "update events set body = '{}'",
    "delete from events",
    "insert or replace into events (seq, at, kind, key, body) values (1, 0, 'stopped', 'a', 'forged')",
    "insert or replace into events (at, kind, key, body) values (0, 'stopped', 'a', 'forged')",
])  # fmt: skip
def test_sqlite_itself_refuses_to_change_the_past(statement: str, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.append("stopped", "a", Stopped(reason="true"))
        before = list(ledger.events())
        refused = nullcontext() if "insert" in statement else pytest.raises(sqlite3.IntegrityError, match="append-only")
        with refused, sqlite3.connect(tmp_path / "ledger.db") as stranger:
            stranger.execute(statement)
        assert list(ledger.events()) == before


@pytest.mark.parametrize("statement", ["update events set body = '{}'", "delete from events", "truncate events"])
def test_postgresql_itself_refuses_to_change_the_past(statement: str, cluster: str) -> None:
    place = postgres.schema(cluster, "t" + uuid.uuid4().hex)
    with Ledger.open(place) as ledger:
        ledger.append("stopped", "a", {})
        engine = sa.create_engine(place.replace("postgresql:", "postgresql+psycopg:"))
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as stranger:
            stranger.execute(sa.text(statement))
        engine.dispose()
        assert len(list(ledger.events())) == 1


APPEND_FOR_EVER = """
import itertools, sys
from bench.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
with ledger.hold():
    for n in itertools.count():
        if ledger.append("stopped", sys.argv[2] + str(n), {"reason": "x" * (n % 7000)}):
            print(n, flush=True)
"""


def test_every_acknowledged_append_survives_sigkill_and_the_hold_is_free_again(place: str) -> None:
    chance = random.Random(0)
    for life in "abc":
        process = python(APPEND_FOR_EVER, place, life)
        acknowledged = [said(process) for _ in range(chance.randrange(1, 40))]
        process.kill()
        acknowledged += process.communicate()[0].split()
        with Ledger.open(place) as heir, held_soon(heir):
            pass
        kept = [key[1:] for key in keys(place) if key[0] == life]
        assert acknowledged == [str(n) for n in range(len(acknowledged))]
        assert kept[: len(acknowledged)] == acknowledged
        assert len(kept) <= len(acknowledged) + 1


def test_of_many_processes_that_open_a_new_ledger_and_append_the_same_each_append_wins_once(place: str) -> None:
    code = """
import sys
from bench.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
print(sum(ledger.append("stopped", str(n), {"reason": sys.argv[2]}) for n in range(40)))
"""
    racers = [python(code, place, str(n)) for n in range(3)]
    wins = [int(said(racer)) for racer in racers]
    assert [racer.wait() for racer in racers] == [0] * 3
    assert sum(wins) == 40
    assert sorted(keys(place), key=int) == [str(n) for n in range(40)]


HOLD = """
import os, subprocess, sys, time
from bench.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
with ledger.hold():
    if sys.argv[2:] == ["with children"]:
        forked = os.fork()
        if not forked:
            os.close(1)
            time.sleep(60)
        started = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, close_fds=False).pid
        print(forked, started, flush=True)
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_holder_is_told_who_the_first_is_and_reading_needs_no_hold(place: str) -> None:
    Ledger.open(place).close()
    process = python(HOLD, place)
    assert said(process) == "held"
    with Ledger.open(place) as ledger:
        assert list(ledger.events()) == []
        with pytest.raises(Held) as held, ledger.hold():
            pass
    process.kill()
    process.communicate()
    assert held.value.who["pid"] in (process.pid, str(process.pid))
    for part in (f"process {process.pid}", socket.gethostname()[:20], "since 20", "-c", "--ledger", "reading needs no hold"):
        assert part in str(held.value)


def test_a_hold_ends_with_its_holder_even_when_its_children_live_on(place: str) -> None:
    process = python(HOLD, place, "with children")
    children = [int(pid) for pid in said(process).split()]
    assert said(process) == "held"
    try:
        process.kill()
        process.communicate()
        with Ledger.open(place) as ledger, held_soon(ledger):
            assert ledger.append("stopped", "next", {})
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


def test_two_ledgers_of_one_process_exclude_each_other_and_a_hold_can_be_taken_again(place: str) -> None:
    with Ledger.open(place) as one, Ledger.open(place) as two:
        with one.hold():
            with pytest.raises(Held), two.hold():
                pass
            assert one.append("stopped", "inside", {})
        with two.hold():
            assert two.append("stopped", "other", {})
        with one.hold():
            assert not one.append("stopped", "other", {})


def test_a_ledger_with_two_names_cannot_be_held_and_one_behind_a_symbolic_link_can(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "one.db") as ledger:
        (tmp_path / "two.db").hardlink_to(tmp_path / "one.db")
        with pytest.raises(LedgerFault, match="a second name"), ledger.hold():
            pass
        (tmp_path / "two.db").unlink()
        (tmp_path / "two.db").symlink_to(tmp_path / "one.db")
        with ledger.hold(), Ledger.open(tmp_path / "two.db") as other, pytest.raises(Held), other.hold():
            pass


def test_a_ledger_whose_lock_file_was_removed_is_still_held(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "one.db") as ledger, ledger.hold():
        (tmp_path / "one.db.lock").unlink()
        with Ledger.open(tmp_path / "one.db") as other, pytest.raises(Held, match=f"process {os.getpid()}"), other.hold():
            pass
        assert ledger.append("stopped", "s", Stopped(reason="end", seconds=1.0))
    with Ledger.open(tmp_path / "one.db") as again, again.hold():
        pass


def test_two_ledgers_on_one_server_do_not_exclude_each_other(cluster: str) -> None:
    places = [postgres.schema(cluster, "t" + uuid.uuid4().hex) for _ in range(2)]
    with Ledger.open(places[0]) as one, Ledger.open(places[1]) as two, one.hold(), two.hold():
        one.append("stopped", "a", {})
    assert [keys(place) for place in places] == [["a"], []]


def test_who_has_lost_the_hold_on_the_server_cannot_append_any_more(cluster: str) -> None:
    place = postgres.schema(cluster, "t" + uuid.uuid4().hex)
    engine = sa.create_engine(place.replace("postgresql:", "postgresql+psycopg:"))
    with Ledger.open(place) as ledger, Ledger.open(place) as heir, ledger.hold():
        ledger.append("stopped", "before", {})
        with engine.begin() as admin:
            admin.execute(sa.text("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted"))
        with held_soon(heir):
            for fault in ("the server does not answer", "the hold was lost"):
                with pytest.raises(LedgerFault, match=fault):
                    ledger.append("stopped", "after", {})
        assert [event.key for event in heir.events()] == ["before"]
    engine.dispose()


def test_a_user_who_may_not_create_tables_is_told_so(cluster: str) -> None:
    engine = sa.create_engine(cluster.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as admin:
        admin.execute(sa.text("create role guest login"))
    engine.dispose()
    with pytest.raises(LedgerFault, match=r"the server refuses \(permission denied for schema"):
        Ledger.open(cluster.replace("tester", "guest"))


def test_opening_a_ledger_and_identifying_a_run_import_no_torch() -> None:
    code = "import sys, bench.ledger, bench.fold, bench.identity; print('torch' in sys.modules)"
    assert said(python(code)) == "False"
