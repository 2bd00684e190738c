"""What a decision turned out to be, and the guards' records: held against a count of its own over the raw events, and against scipy's test."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from bench.events import Effect, Session, Started, Wanted, attempt_key
from bench.fold import Facts, fold
from bench.ledger import Ledger
from bench.outcomes import Outcome, Outcomes, Question, Record, records
from bench.report import html, markdown
from bench.report import json as as_json
from bench.scoreboard import Scoreboard, scoreboard
from plan.decision import Action, Bout, Decision, Opinion, Say, Stance, Vote
from plan.nouns import Cost, Request, Run, Status
from tests.alignment.facts_of_a_task import PLAN

PAIRS = ((0.5, 0.6),) * 6


class Story:
    """A ledger that is written by hand, event by event."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "ledger.db"
        with Ledger.open(self.path) as ledger:
            ledger.append("session", "s", Session(path="P.md", text=PLAN, digest="x"))
            ledger.append("wanted", "s/1", Wanted(tasks={"a": ()}))

    def tell(self, kind: str, key: str, noun: Any) -> None:
        with Ledger.open(self.path) as ledger:
            assert ledger.append(kind, key, noun)

    def decide(
        self, id: str, *, kind: str = "tune", stances: dict[str, Stance] | None = None, config: Any = None, **more: Any
    ) -> None:
        details = {"module": "attention", "config": config if config is not None else {"heads": 2}, "patch": "", **more}
        action = Action(kind=kind, task="a", details=details)
        self.tell("decision", id, Decision(id=id, decider="x", action=action, evidence=(), expected=0, expects="", why="w"))
        for guard, stance in (stances or {"constitution": Stance.ALLOW}).items():
            self.tell("opinion", f"{id}/{guard}", Opinion(guard=guard, decision=id, stance=stance, clause="c", why="w"))

    def vote(self, id: str, say: Say, by: str = "ann", number: int = 1) -> None:
        self.tell("vote", f"{id}/{by}/{number}", Vote(decision=id, say=say, by=by))

    def duel(self, id: str, answer: str, *, runs: bool = True) -> None:
        self.tell("applied", id, Effect())
        bout = Bout(answer=answer, why=f"it was {answer}", metric="accuracy", better="more", runs=("r1", "r2") if runs else (), pairs=PAIRS if runs else ())  # fmt: skip
        self.tell("duel", id, bout)

    def rollback(self, id: str, of: str) -> None:
        self.decide(id, kind="rollback", decision=of)
        self.tell("applied", id, Effect(details={"decision": of}))

    def run(self, id: str, seed: int, *, config: Any, status: Status = Status.OK) -> None:
        request = Request(module="attention", benchmark="mqar-16x2-v64-v1", seed=seed, config=config)
        key = f"{abs(hash((id, seed, repr(config)))):064x}"[-64:]
        self.tell("started", attempt_key(key, 1), Started(tasks=(), request=request, decision=id))
        self.tell("run", attempt_key(key, 1), Run(key=key, request=request, status=status, cost=Cost(), message="by the clock"))

    @property
    def facts(self) -> Facts:
        with Ledger.open(self.path, create=False) as ledger:
            return fold(ledger.events())

    def outcome(self, id: str) -> Outcome:
        return Outcomes(self.facts).of(self.facts.cases[id])

    @property
    def board(self) -> Scoreboard:
        with Ledger.open(self.path, create=False) as ledger:
            return scoreboard(ledger)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def known(found: Outcome) -> tuple[bool | None, bool | None]:
    return found.sound, found.better


def test_what_nothing_has_decided_is_pending(story: Story) -> None:
    story.decide("d1")
    assert known(story.outcome("d1")) == (None, None)
    story.tell("applied", "d1", Effect())
    assert known(story.outcome("d1")) == (None, None)
    story.vote("d1", Say.COMMENT)
    assert known(story.outcome("d1")) == (None, None)


@pytest.mark.parametrize(("answer", "runs", "sound", "better"), [
    ("promote", True, True, True), ("reject", True, True, False), ("undecided", True, True, None), ("undecided", False, None, None),
    ("reject", False, False, False),
])  # fmt: skip
def test_a_duel_says_whether_it_was_better_and_a_red_gate_that_it_was_not_sound(
    story: Story, answer: str, runs: bool, sound: bool | None, better: bool | None
) -> None:
    story.decide("d1")
    story.duel("d1", answer, runs=runs)
    assert known(story.outcome("d1")) == (sound, better)


def test_a_promotion_that_is_rolled_back_was_neither_sound_nor_better(story: Story) -> None:
    story.decide("d1")
    story.duel("d1", "promote")
    story.rollback("d2", "d1")
    found = story.outcome("d1")
    assert known(found) == (False, False)
    assert "d2" in found.why


def test_a_forged_run_of_its_own_makes_it_unsound_and_one_of_its_champion_does_not(story: Story) -> None:
    story.decide("d1", config={"heads": 2})
    story.duel("d1", "reject")
    story.run("d1", 2000, config={"heads": 4}, status=Status.FORGED)
    assert story.outcome("d1").sound is True
    story.run("d1", 2000, config={"heads": 2}, status=Status.FORGED)
    found = story.outcome("d1")
    assert found.sound is False
    assert "by the clock" in found.why


def test_a_guard_is_held_to_votes_that_came_after_it_spoke_and_to_each_persons_last_word(story: Story) -> None:
    action = Action(kind="tune", task="a", details={"module": "attention", "config": {}})
    story.tell("decision", "d1", Decision(id="d1", decider="x", action=action, evidence=(), expected=0, expects="", why=""))
    story.vote("d1", Say.REJECT)
    story.tell("opinion", "d1/critic", Opinion(guard="critic", decision="d1", stance=Stance.BLOCK, clause="c", why="w"))
    assert known(story.outcome("d1")) == (False, False)
    assert blocks(story) == (0, 0, 1)
    story.vote("d1", Say.REJECT, "bob")
    assert blocks(story) == (1, 0, 0)
    story.vote("d1", Say.APPROVE, "bob", 2)
    assert blocks(story) == (0, 1, 0)
    assert known(story.outcome("d1")) == (None, None)


def blocks(story: Story) -> tuple[int, int, int]:
    """How the critic's one block is counted: right, wrong, pending."""
    (one,) = records(story.facts.cases.values(), story.facts)
    return one.right, one.wrong, one.pending


def test_an_allowance_of_what_is_none_of_its_business_counts_for_no_record(story: Story) -> None:
    story.decide("d1")
    opinion = Opinion(guard="learned", decision="d1", stance=Stance.ALLOW, clause="c", why="no rules", abstains=True)
    story.tell("opinion", "d1/learned", opinion)
    story.duel("d1", "promote")
    assert {one.guard for one in records(story.facts.cases.values(), story.facts)} == {"constitution"}


def test_a_trial_is_sound_once_all_it_asked_for_is_measured(story: Story) -> None:
    candidates = [{"module": "attention", "config": {"heads": n}, "patch": ""} for n in (2, 4)]
    story.decide("d1", kind="trial", candidates=candidates, seeds=[1000])
    story.tell("applied", "d1", Effect())
    story.run("d1", 1000, config={"heads": 2})
    assert story.outcome("d1").sound is None
    story.run("d1", 1000, config={"heads": 4})
    assert story.outcome("d1").sound is True


def told_at_random(story: Story, seed: int) -> None:
    """Forty decisions with opinions of three guards, and whatever may become of them."""
    draw = random.Random(seed)
    for n in range(40):
        id = f"d{n}"
        stances = {
            guard: draw.choice(list(Stance))
            for guard in draw.sample(["constitution", "critic", "collective"], k=draw.randint(1, 3))
        }
        story.decide(id, stances=stances)
        match draw.choice(["nothing", "vote", "duel", "rolled back"]):
            case "vote":
                story.vote(id, draw.choice(list(Say)))
            case "duel":
                story.duel(id, draw.choice(["promote", "reject", "undecided"]), runs=draw.random() < 0.7)
            case "rolled back":
                story.duel(id, "promote")
                story.rollback(f"{id}-back", id)


def counted(story: Story) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(right, wrong, pending) by guard and stance, from the events' JSON alone."""
    with Ledger.open(story.path, create=False) as ledger:
        events = [(event.kind, event.key, json.loads(event.body)) for event in ledger.events()]
    bouts = {key: body for kind, key, body in events if kind == "duel"}
    votes = {body["decision"]: body["say"] for kind, _, body in events if kind == "vote"}
    back = {
        body["action"]["details"]["decision"]
        for kind, _, body in events
        if kind == "decision" and body["action"]["kind"] == "rollback"
    }
    found: dict[tuple[str, str], list[int]] = {}
    for kind, _, body in events:
        if kind != "opinion":
            continue
        id, bout, vote = body["decision"], bouts.get(body["decision"]), votes.get(body["decision"])
        if body["guard"] == "critic":
            good = None
            if vote in ("approve", "reject"):
                good = vote == "approve"
            if bout and bout["answer"] != "undecided":
                good = bout["answer"] == "promote" and id not in back
        else:
            good = {"approve": True, "reject": False}.get(vote or "")
            if bout and bout["runs"]:
                good = id not in back
            if bout and not bout["runs"] and bout["answer"] == "reject":
                good = False
            if bout and not bout["runs"] and bout["answer"] == "promote":
                good = None
        place = 2 if good is None else 0 if (body["stance"] == "allow") == good else 1
        found.setdefault((body["guard"], body["stance"]), [0, 0, 0])[place] += 1
    return {key: (a, b, c) for key, (a, b, c) in found.items()}


@pytest.mark.parametrize("seed", range(3))
def test_the_records_are_what_a_count_over_the_raw_events_finds(story: Story, seed: int) -> None:
    told_at_random(story, seed)
    facts = story.facts
    found = {(one.guard, one.stance.value): (one.right, one.wrong, one.pending) for one in records(facts.cases.values(), facts)}
    assert found == counted(story)
    assert sum(pending for _, _, pending in found.values()) > 0


@pytest.mark.parametrize(("right", "wrong"), [(0, 0), (0, 4), (4, 0), (7, 2), (40, 60)])
def test_the_interval_is_that_of_an_exact_test(right: int, wrong: int) -> None:
    one = Record(guard="g", stance=Stance.ALLOW, question=Question.SOUND, right=right, wrong=wrong, pending=9)
    if right + wrong:
        exact = binomtest(right, right + wrong).proportion_ci(0.95, method="exact")
        assert one.interval == pytest.approx((exact.low, exact.high))
        assert one.share == right / (right + wrong)
    else:
        assert (one.interval, one.share) == ((0.0, 1.0), None)


def test_the_reports_show_every_record_with_its_interval_and_what_is_pending(story: Story) -> None:
    told_at_random(story, 1)
    board = story.board
    assert board.records
    told = {
        (one["guard"], one["stance"]): (one["right"], one["decided"], one["pending"])
        for one in as_json.document(board)["records"]
    }
    assert told == {(one.guard, one.stance.value): (one.right, one.decided, one.pending) for one in board.records}
    text = markdown.render(board)
    page = html.render(board)
    for one in board.records:
        low, high = one.interval
        row = next(line for line in text.splitlines() if line.startswith(f"| {one.guard} | {one.stance.value} |"))
        assert row.endswith(f"| {one.pending} |")
        if one.decided:
            assert f"{low:.0%} – {high:.0%}" in row
            assert f"{one.right} of {one.decided} right" in page
    bars = [
        tuple(map(float, found))
        for found in re.findall(r'class="record [a-z]+"><rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', page)
    ]
    drawn = [one for one in board.records if one.decided]
    assert len(bars) == len(drawn)
    for (left, width), one in zip(bars, drawn, strict=True):
        low, high = one.interval
        assert (left - 210) / 400 == pytest.approx(low, abs=0.001)
        assert width / 400 == pytest.approx(max(high - low, 1.5 / 400), abs=0.001)


def test_before_any_guard_has_spoken_there_is_no_chart(story: Story) -> None:
    assert story.board.records == ()
    assert "Records of the guards" not in html.render(story.board)
