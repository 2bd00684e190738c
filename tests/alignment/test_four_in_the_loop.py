"""All four systems in one real loop: their opinions, with clause and confidence, are in the ledger, in `why`, in `review` and in every report."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from agents.cli import app
from bench.ledger import Ledger
from plan.decision import Stance
from plan.precepts import Lesson, Origin, Precept, Withdrawal
from tests.agents.duelling import WIDE, copied_house, duelling
from tests.agents.duelling import plan as text_of
from tests.agents.loop import Loop, facts

AGREED = Precept(
    id="v0000001", origin=Origin.VOTES, text="The next one in the fixed order is left out",
    rests_on="every opinion group of `talk` supports it, the least one at 0.90 [0.80, 0.95]; nobody voted against it",
)  # fmt: skip
LEARNT = Precept(
    id="l0000001", origin=Origin.FAILURES, text="nothing with `config ffn_multiple` and `kind tune`", rests_on="caught 9 of 9 held-out violations",
    causes=("d00000aa", "d00000bb"), marks=("config ffn_multiple", "kind tune"), confidence=0.91,
)  # fmt: skip
TAKEN_BACK = Precept(id="l0000002", origin=Origin.FAILURES, text="nothing with `kind tune`", rests_on="", marks=("kind tune",))
SYSTEMS = ("collective", "deliberative", "learned", "critic")


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """A task that fails, a decider that proposes what stands next, and three rules on record, one of them withdrawn."""
    base = tmp_path_factory.mktemp("four")
    made = duelling(base / "work", copied_house(base / "house"), text_of(improve="tune", trials=1, config=WIDE))
    del made.environment["PYTHONDONTWRITEBYTECODE"]  # nothing here looks at the copy's files
    place = made.folder / "runs/ledger.db"
    place.parent.mkdir()
    with Ledger.open(place) as ledger:
        ledger.append("lesson", "votes/x", Lesson(origin=Origin.VOTES, kept=(AGREED,), source="talk"))
        ledger.append("lesson", "failures/1", Lesson(origin=Origin.FAILURES, kept=(LEARNT, TAKEN_BACK), tested=2))
        ledger.append("withdrawn", TAKEN_BACK.id, Withdrawal(precept=TAKEN_BACK.id, by="ann"))
    done = made.run("--decider", "first-candidate")
    assert done.returncode == 1, done.stderr
    return made


def call(loop: Loop, *words: str) -> str:
    """What a verb that reads the loop's ledger says."""
    done = CliRunner().invoke(app, [*words, "--ledger", str(loop.folder / "runs/ledger.db")])
    assert done.exit_code == 0, done.output
    return done.output


def report(loop: Loop, format: str) -> str:
    return call(loop, "report", "--timeless", "--format", format, "--out", "-")


def test_each_of_the_four_has_an_opinion_with_its_clause_on_every_decision_in_the_ledger(loop: Loop) -> None:
    stopped, tried = list(facts(loop).cases.values())[:2]
    for case in (stopped, tried):
        assert set(SYSTEMS) <= {one.guard for one in case.opinions}
        assert all(one.clause and one.why for one in case.opinions)
        assert case.opinions[-1].guard == "critic"
    said = {one.guard: one for one in stopped.opinions}
    assert said["collective"].stance is Stance.OBJECT
    assert said["collective"].clause == f"{AGREED.id}: {AGREED.text}"
    assert said["collective"].confidence is not None
    assert 0.5 < said["collective"].confidence < 1
    assert (said["learned"].stance, said["learned"].confidence) == (Stance.BLOCK, LEARNT.confidence)
    assert said["learned"].clause == f"{LEARNT.id}: {LEARNT.text}"
    assert said["critic"].confidence == pytest.approx(0.5)
    assert stopped.applied is None
    assert {one.guard: one.stance for one in tried.opinions}["learned"] is Stance.ALLOW
    assert tried.applied is not None


def test_why_tells_each_opinion_with_its_clause_and_confidence(loop: Loop) -> None:
    id = next(iter(facts(loop).cases))
    told = call(loop, "why", id)
    assert f"guard     learned: block (confidence 0.91); {LEARNT.id}: {LEARNT.text}; as d00000aa, d00000bb did" in told
    assert re.search(rf"guard     collective: object \(confidence 0\.\d\d\); {AGREED.id}: {re.escape(AGREED.text)}", told)
    assert all(f"guard     {name}: " in told for name in SYSTEMS)
    (plain,) = json.loads(call(loop, "why", id, "--json"))["decisions"]
    assert {one["guard"]: one["confidence"] for one in plain["opinions"]}["learned"] == 0.91


def test_every_report_has_the_opinions_and_each_ones_record_with_what_is_pending(loop: Loop) -> None:
    board = json.loads(report(loop, "json"))
    found = {(one["guard"], one["stance"]): one for one in board["records"]}
    assert {guard for guard, _ in found} >= {*SYSTEMS} - {"critic"}
    assert "critic" not in {guard for guard, _ in found}  # nothing was measured yet, so it abstains
    assert (found["learned", "block"]["pending"], found["learned", "block"]["decided"]) == (1, 0)
    page, text = report(loop, "html"), report(loop, "md")
    assert 'id="Records-of-the-guards"' in page
    assert "none decided, 1 pending" in page
    assert f"learned (confidence 0.91), {LEARNT.id}: nothing with" in page
    assert "  - learned block \\(confidence 0.91\\), l0000001: nothing with" in text
    assert "| learned | block | soundness | 0 | 0 | – | – | 1 |" in text


def test_a_persons_vote_on_what_was_blocked_decides_who_was_right(loop: Loop) -> None:
    id = next(iter(facts(loop).cases))
    call(loop, "review", id, "--reject", "--by", "ann")
    found = {(one["guard"], one["stance"]): one for one in json.loads(report(loop, "json"))["records"]}
    assert (found["learned", "block"]["right"], found["learned", "block"]["pending"]) == (1, 0)
    assert found["collective", "object"]["right"] >= 1
    assert found["deliberative", "allow"]["wrong"] >= 1
    told = call(loop, "rules")
    assert "opinions   1 right, 0 wrong, 0 pending" in told
    assert "WITHDRAWN  by ann" in told
