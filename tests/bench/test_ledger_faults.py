"""What a ledger says when it cannot be used: what, where, the mend, and that nothing was touched."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.events import Event, Stopped
from bench.ledger import Ledger, LedgerFault


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A ledger of 200 events that was closed in order."""
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.append_all([("stopped", str(n), {"reason": "x" * 500}) for n in range(200)])
    return tmp_path / "ledger.db"


def fault(place: str | Path, *, create: bool = True) -> LedgerFault:
    """The fault that opening `place` raises, after a look that the file is as it was."""
    path = Path(place)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LedgerFault) as caught:
        Ledger.open(place, create=create)
    assert before is None or path.read_bytes() == before
    for part in (caught.value.what, caught.value.where, "help: ", caught.value.mend, "note: ", caught.value.untouched):
        assert part in str(caught.value)
    return caught.value


@pytest.mark.parametrize("number", ["1e999", "-1e999", "Infinity", "NaN", "1" + "0" * 400 + ".0"])
def test_a_number_that_is_not_finite_is_a_fault_of_its_event(number: str) -> None:
    event = Event(seq=7, at=0.0, kind="stopped", key="s1", body=f'{{"reason":"finished","seconds":{number}}}')
    with pytest.raises(LedgerFault, match="event 7, kind `stopped`, key `s1`"):
        event.read(Stopped)


def test_a_text_file_is_no_ledger_and_stays_as_it_is(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes\n" * 200)
    assert fault(notes).what.startswith("this file is no ledger")
    assert notes.read_text() == "my notes\n" * 200


def test_a_folder_is_no_ledger_and_the_mend_names_a_file_in_it(tmp_path: Path) -> None:
    assert str(tmp_path / "ledger.db") in fault(tmp_path).mend


def test_reading_a_ledger_that_is_not_there_makes_none(tmp_path: Path) -> None:
    assert "there is no ledger here yet" in fault(tmp_path / "deep" / "ledger.db", create=False).what
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_of_another_version_is_refused(file: Path) -> None:
    with sqlite3.connect(file) as stranger:
        stranger.execute("update touchstone_ledger set version = 99")
    stranger.close()
    told = fault(file)
    assert told.what == "the ledger has version 99"
    assert "it reads version 1" in told.mend


def test_a_table_called_events_of_another_program_is_refused_but_other_tables_are_welcome(tmp_path: Path) -> None:
    for name, table in (("theirs.db", "events"), ("studies.db", "studies")):
        with sqlite3.connect(tmp_path / name) as stranger:
            stranger.execute(f"create table {table} (id integer primary key)")
        stranger.close()
    with pytest.raises(LedgerFault, match="belongs to another program"):
        Ledger.open(tmp_path / "theirs.db")
    with Ledger.open(tmp_path / "studies.db") as ledger:
        assert ledger.append("stopped", "a", {})


def test_a_file_of_another_program_is_read_without_a_change_to_it(tmp_path: Path) -> None:
    """Which journal SQLite keeps stands in the file's header: a look that sets it has changed a stranger's database."""
    for name, table in (("theirs.db", "events"), ("studies.db", "studies"), ("other.db", "touchstone_ledger")):
        with sqlite3.connect(tmp_path / name) as stranger:
            stranger.execute(f"create table {table} (version integer primary key)")
            stranger.execute(f"insert into {table} values (99)")
        stranger.close()
        fault(tmp_path / name, create=False)
    (tmp_path / "empty.db").touch()
    fault(tmp_path / "empty.db", create=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db", "other.db", "studies.db", "theirs.db"]
    for name in ("theirs.db", "other.db"):
        fault(tmp_path / name)


def test_a_truncated_ledger_is_told_as_damaged_with_the_way_to_save_it(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)
    told = fault(file)
    assert told.what.startswith("the ledger is damaged")
    assert ".recover" in told.mend
    assert told.untouched == "the file was left as it is"


def test_overwritten_pages_are_told_as_damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[3 * 4096 : 5 * 4096] = b"\x5a" * (2 * 4096)
    file.write_bytes(content)
    assert fault(file).what.startswith("the ledger is damaged")


def test_a_torn_write_ahead_log_loses_only_what_was_not_acknowledged(tmp_path: Path) -> None:
    """Whatever the log is cut to, what is read is a prefix of what was appended, and appending goes on."""
    live = tmp_path / "live.db"
    with Ledger.open(live) as ledger:
        for n in range(12):
            ledger.append("stopped", str(n), {"reason": "x" * 300})
        log = live.with_name("live.db-wal").read_bytes()
        base = live.read_bytes()
    for number, size in enumerate([0, 31, 32, len(log) // 3, len(log) // 2, len(log) - 4097, len(log) - 1, len(log)]):
        copy = tmp_path / f"copy{number}.db"
        copy.write_bytes(base)
        copy.with_name(copy.name + "-wal").write_bytes(log[:size])
        with Ledger.open(copy) as ledger:
            kept = [event.key for event in ledger.events()]
            assert kept == [str(n) for n in range(len(kept))]
            assert ledger.append("stopped", "next", {})
    assert kept == [str(n) for n in range(12)]


def run_as(code: str, *arguments: str, prefix: tuple[str, ...] = (), **options: object) -> str:
    command = [*prefix, sys.executable, "-c", "from bench.ledger import *\n" + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(ask: Callable[[], str]) -> list[str]:
    """The lines that `ask` says as a user who may write nothing of ours."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        if os.geteuid() == 0:  # nothing is forbidden to root
            nobody = pwd.getpwnam("nobody")
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
        try:
            os.write(writing, ask().encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading) as told:
        return told.read().splitlines()


def test_a_folder_without_the_right_to_write_is_told(open_folder: Path, file: Path) -> None:
    Ledger.open(file).close()  # every import is done before the child may not read them any more
    open_folder.chmod(0o555)

    def ask() -> str:
        told = []
        for place in (open_folder / "ledger.db", open_folder / "deep" / "ledger.db"):
            try:
                Ledger.open(place)
            except BaseException as error:
                told.append(f"{type(error).__name__}: {error}".partition("\n")[0])
        return "\n".join(told)

    first, second = as_nobody(ask)
    assert first.startswith("LedgerFault: the ledger cannot be opened")
    assert second.startswith("LedgerFault: its folder cannot be made")


def test_a_ledger_that_may_not_be_written_can_be_read(open_folder: Path, file: Path) -> None:
    """SQLite opens a file that keeps a log only where it may put two more beside it; a strange name must not become a query."""
    place = open_folder / "a ledger?mode=rw#100%.db"
    shutil.copy(file, place)
    place.chmod(0o444)
    open_folder.chmod(0o555)

    def ask() -> str:
        told = []
        with Ledger.open(place, create=False) as ledger:
            told.append(str(len(list(ledger.events()))))
            try:
                ledger.append("stopped", "now", {})
            except LedgerFault as fault:
                told.append(fault.what)
        try:
            Ledger.open(place)
        except LedgerFault as fault:
            told.append(fault.what)
        return "\n".join(told)

    Ledger.open(file).close()
    events, append, opened = as_nobody(ask)
    assert events == "200"
    assert append.startswith("the ledger cannot be written here")
    assert opened.startswith("the ledger cannot be")
    assert [path.name for path in open_folder.iterdir()] == [place.name]


def test_a_full_disk_is_told_and_what_was_acknowledged_before_stays(open_folder: Path) -> None:
    code = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
kept = 0
with Ledger.open(folder / "ledger.db") as ledger:
    try:
        while True:
            ledger.append_all([("stopped", f"{kept}/{n}", {"reason": "x" * 9000}) for n in range(3)])
            kept += 1
    except LedgerFault as fault:
        print(fault.what, "|", fault.untouched)
with Ledger.open(folder / "ledger.db", create=False) as ledger:
    print(kept, len(list(ledger.events())))
(folder / "ballast").unlink()
with Ledger.open(folder / "ledger.db") as ledger:
    print(ledger.append("stopped", "afterwards", {}))
"""
    mount = 'mount -t tmpfs -o size=600k none "$0" && head -c 200000 /dev/zero > "$0/ballast" && exec "$@" "$0"'
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(open_folder))
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    told, counts, afterwards = run_as(code, prefix=prefix).splitlines()
    assert told.startswith("the disk is full (")
    assert told.endswith("| this event was not written; what came before is kept")
    kept, found = map(int, counts.split())
    assert kept >= 3
    assert found == 3 * kept
    assert afterwards == "True"


@pytest.mark.parametrize("place", ["mysql://host/base", "sqlite://", "http://example.org/ledger.db", "nonsense://"])
def test_a_url_that_names_no_ledger_is_refused_with_the_forms_that_do(place: str) -> None:
    told = fault(place)
    assert told.what == "not a place for a ledger"
    assert "postgresql://USER@HOST/DATABASE" in told.mend


def test_a_missing_driver_is_told_with_its_extra_and_no_password_is_shown() -> None:
    code = """
import sys
sys.modules["psycopg"] = None
try:
    Ledger.open("postgresql://me:secret@localhost/base")
except LedgerFault as fault:
    print(str(fault).replace("\\n", " "))
"""
    told = run_as(code)
    assert "pip install 'touchstone-lab[postgres]'" in told
    assert "secret" not in told


def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra `postgres`)")
    assert fault(f"postgresql:///base?host={tmp_path}").what.startswith("the server does not answer")


def test_another_program_that_keeps_the_file_locked_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger.open(file) as ledger:
        browser = sqlite3.connect(file, isolation_level=None)
        browser.execute("begin immediate")
        monkeypatch.setattr("bench.ledger.PATIENCE_MS", 50)
        with (
            Ledger.open(file) as impatient,
            pytest.raises(LedgerFault, match="another program keeps the ledger locked") as caught,
        ):
            impatient.append("stopped", "now", {})
        assert caught.value.untouched == "this event was not written; what came before is kept"
        browser.execute("rollback")
        browser.close()
        assert ledger.append("stopped", "now", {})
