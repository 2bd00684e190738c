"""A ledger with an event that somebody else wrote is told in one paragraph by every verb, and nothing is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.ledger import Ledger
from tests.agents.loop import Loop

RUN = ("run", "--plan", "Plan.md")
VERBS = (RUN, ("report",), ("runs",), ("why", "few"), (*RUN, "--dry-run"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """A ledger with a session, its plan and nothing measured."""
    loop = Loop(tmp_path_factory.mktemp("begun"))
    assert loop.run("--budget", "0s").returncode == 1
    return loop


@pytest.mark.parametrize(
    ("kind", "key", "body", "verbs"),
    [
        ("run", "abc#1", {"status": "ok"}, VERBS),
        ("wanted", "me/1", {"tasks": {"few": "abc"}}, VERBS[:2]),
    ],
)
def test_every_verb_names_the_event_and_the_mend(
    begun: Loop, tmp_path: Path, kind: str, key: str, body: object, verbs: tuple[tuple[str, ...], ...]
) -> None:
    shutil.copytree(begun.folder, tmp_path / "loop")
    loop = Loop(tmp_path / "loop")
    with Ledger.open(loop.folder / "runs/ledger.db") as ledger:
        assert ledger.append(kind, key, body)
        seq = [event.seq for event in ledger.events()][-1]
    for words in verbs:
        done = loop.call(*words)
        assert done.returncode == 4, done.stderr
        assert f"event {seq}, kind `{kind}`, key `{key}`" in done.stderr
        assert "--fresh" in done.stderr
        assert "Traceback" not in done.stderr + done.stdout
        assert "internal error" not in done.stderr
    with Ledger.open(loop.folder / "runs/ledger.db") as ledger:
        assert [event.seq for event in ledger.events()][-1] == seq
    if len(verbs) == len(VERBS):
        assert loop.run("--budget", "0s", "--fresh").returncode == 1
