"""Each ledger has a work folder of its own, and setting one aside leaves the other alone."""

from __future__ import annotations

from pathlib import Path

from agents.reading import report_path
from agents.running import set_aside, workshop
from bench.ledger import Ledger


def test_ledgers_of_one_stem_do_not_share_a_work_folder(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "x.db") as first, Ledger.open(tmp_path / "x.sqlite") as second:
        assert workshop(first) == tmp_path / "x-work"
        assert workshop(second) == tmp_path / "x.sqlite.work"


def test_no_two_ledgers_in_one_folder_share_a_work_folder_or_a_report(tmp_path: Path) -> None:
    places = set()
    names = ("x", "x.db", "x.db.db", "x-work", "x-work.db", "x.y", "x.y.db", "x.sqlite", "ledger.db", "ledger")
    for name in names:
        with Ledger.open(tmp_path / name) as ledger:
            places |= {workshop(ledger), report_path(ledger)}
    assert len(places) == 2 * len(names)


def test_a_ledger_set_aside_keeps_its_work_and_the_place_is_free(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "x.db") as ledger:
        ledger.append("stopped", "one", {"reason": "finished"})
        (workshop(ledger) / "abc").mkdir(parents=True)
        aside = set_aside(ledger)
    assert not (tmp_path / "x.db").exists()
    assert not (tmp_path / "x-work").exists()
    assert (tmp_path / f"{aside.stem}-work" / "abc").is_dir()
    with Ledger.open(aside, create=False) as kept:
        assert [event.key for event in kept.events()] == ["one"]
