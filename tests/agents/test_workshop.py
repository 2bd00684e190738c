"""Each ledger has a work folder of its own, and setting one aside leaves the other alone."""

from __future__ import annotations

from pathlib import Path

from agents.running import set_aside, workshop
from bench.ledger import Ledger


def test_ledgers_of_one_stem_do_not_share_a_work_folder(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "x.db") as first, Ledger.open(tmp_path / "x.sqlite") as second:
        assert workshop(first) == tmp_path / "x-work"
        assert workshop(second) == tmp_path / "x.sqlite-work"


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
