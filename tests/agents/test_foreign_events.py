"""A ledger with an event that somebody else wrote is told in one paragraph by every verb, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.ledger import Ledger
from tests.agents.loop import Loop


@pytest.mark.parametrize(
    ("kind", "key", "body"),
    [
        ("run", "abc#1", {"status": "ok"}),
        ("wanted", "me/1", {"tasks": {"few": "abc"}}),
    ],
)
def test_every_verb_names_the_event_and_the_mend(tmp_path: Path, kind: str, key: str, body: object) -> None:
    loop = Loop(tmp_path)
    assert loop.run("--budget", "0s").returncode == 1
    with Ledger.open(tmp_path / "runs/ledger.db") as ledger:
        assert ledger.append(kind, key, body)
        seq = [event.seq for event in ledger.events()][-1]
    for words in (
        ("run", "--plan", "Plan.md"),
        ("report",),
        ("runs",),
        ("why", "few"),
        ("run", "--plan", "Plan.md", "--dry-run"),
    ):
        done = loop.call(*words)
        assert done.returncode == 4, done.stderr
        assert f"event {seq}, kind `{kind}`, key `{key}`" in done.stderr
        assert "--fresh" in done.stderr
        assert "Traceback" not in done.stderr + done.stdout
        assert "internal error" not in done.stderr
    with Ledger.open(tmp_path / "runs/ledger.db") as ledger:
        assert [event.seq for event in ledger.events()][-1] == seq
    assert loop.run("--budget", "0s", "--fresh").returncode == 1
