"""A guard that fails over a decision in a real loop: the decision is blocked, the error is on record, and the session goes on to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.encoder import installed
from bench.ledger import Ledger
from plan.decision import Stance
from tests.agents.duelling import WIDE, copied_house, duelling
from tests.agents.duelling import plan as text_of
from tests.agents.loop import Loop, facts

GUARD = '''"""Fails over whatever asks for a change."""

import sys

from plan.catalogue import guard
from plan.decision import Opinion, Stance


@guard("{name}", clause="{name} holds")
class Failing:
    def review(self, decision, situation):
        if decision.action.kind == "tune":
            {fails}
        return Opinion(guard="{name}", decision=decision.id, stance=Stance.ALLOW, clause="{name} holds", why="no change")
'''
FAILS = {"exits": "sys.exit('no more')", "raises": "raise RuntimeError('rub\\x1bbish ' + 'x' * 100_000)"}


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """A task that fails, a decider that proposes changes, and two guards that fail over every change."""
    base: Path = tmp_path_factory.mktemp("failing")
    house = copied_house(base / "house")
    for name, fails in FAILS.items():
        (house / f"alignment/guards/{name}.py").write_text(GUARD.format(name=name, fails=fails))
    made = duelling(base / "work", house, text_of(improve="tune", trials=1, config=WIDE))
    del made.environment["PYTHONDONTWRITEBYTECODE"]  # nothing here looks at the copy's files
    return made


def test_a_guard_that_fails_blocks_with_the_error_as_its_reason_and_the_session_lives(loop: Loop) -> None:
    done = loop.run("--decider", "first-candidate")
    assert done.returncode == 1, done.stderr
    if not installed():
        assert done.stderr.count("reasons are read by the lexical fallback") == 1
    cases = facts(loop).cases.values()
    assert cases
    for case in cases:
        said = {one.guard: one for one in case.opinions}
        assert case.applied is None
        assert {said[name].stance for name in FAILS} == {Stance.BLOCK}
        assert said["exits"].clause == "exits holds"
        assert said["exits"].why == "`exits` could not judge it: SystemExit: no more"
        assert said["raises"].why.startswith("`raises` could not judge it: RuntimeError: rub bish xxx")
        assert len(said["raises"].why) < 400
        assert said["critic"].stance is Stance.ALLOW


def test_a_session_that_goes_on_adds_no_opinion(loop: Loop) -> None:
    before = opinions(loop)
    assert len(before) > len(FAILS)
    done = loop.run("--decider", "first-candidate")
    assert done.returncode == 1, done.stderr
    assert opinions(loop) == before


def opinions(loop: Loop) -> list[str]:
    """The keys of all opinions on record."""
    with Ledger.open(loop.folder / "runs/ledger.db") as ledger:
        return [event.key for event in ledger.events() if event.kind == "opinion"]
