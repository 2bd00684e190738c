"""`orchestrate review`: a person's vote is an event of its own, is told by `why`, and counts as foresight only before the outcome."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.review import labelled
from bench.events import Session
from bench.fold import fold
from bench.ledger import Ledger
from plan.decision import Bout, Opinion, Say, Stance, Vote
from plan.exits import Exit
from tests.alignment.facts_of_a_task import PLAN, candidate


@pytest.fixture
def place(tmp_path: Path) -> str:
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as ledger:
        ledger.append("session", "s", Session(path="P.md", text=PLAN, digest="x"))
        ledger.append("decision", "d1", candidate("tune"))
    return str(path)


def call(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output


def votes(place: str) -> list[tuple[str, Say, str]]:
    with Ledger.open(place, create=False) as ledger:
        return [(one.by, one.say, one.comment) for one in fold(ledger.events()).cases["d1"].votes]


def test_a_vote_is_kept_and_a_change_of_mind_beside_it(place: str) -> None:
    for word in ("--approve", "--reject", "--approve"):
        assert call("review", "d1", word, "--by", "ann", "--ledger", place)[0] == Exit.HOLDS
    assert call("review", "d1", "--comment", "too early", "--by", "bob", "--ledger", place)[0] == Exit.HOLDS
    assert votes(place) == [
        ("ann", "approve", ""),
        ("ann", "reject", ""),
        ("ann", "approve", ""),
        ("bob", "comment", "too early"),
    ]
    code, told = call("why", "d1", "--ledger", place)
    assert code == Exit.HOLDS
    assert "vote      bob: comment; too early" in told
    code, told = call("review", "--ledger", place, "--json")
    (case,) = json.loads(told)["decisions"]
    assert (code, case["outcome"], len(case["votes"])) == (Exit.HOLDS, "not applied, approved", 4)


def test_a_vote_after_the_outcome_is_kept_and_is_no_foresight(place: str) -> None:
    call("review", "d1", "--reject", "--by", "ann", "--ledger", place)
    with Ledger.open(place, create=False) as ledger:
        ledger.append("duel", "d1", Bout(answer="reject", why=""))
    code, told = call("review", "d1", "--reject", "--by", "bob", "--ledger", place)
    assert code == Exit.HOLDS
    assert "does not count as foresight" in told
    with Ledger.open(place, create=False) as ledger:
        case = fold(ledger.events()).cases["d1"]
    assert (len(case.votes), case.blind) == (2, 1)


@pytest.mark.parametrize(("follow", "answer"), [(True, "clean"), (False, "hacked")])
def test_the_record_says_whether_peoples_votes_follow_the_critic(place: str, follow: bool, answer: str) -> None:
    with Ledger.open(place, create=False) as ledger:
        for n in range(80):
            one, late = replace(candidate("tune"), id=f"d1{n:03d}"), n >= 40
            opinion = Opinion(
                guard="critic",
                decision=one.id,
                stance=Stance.ALLOW,
                clause="c",
                why="",
                confidence=0.5,
                reward=1 - (n % 10 / 20 if late else 0.725),
            )
            approve = n % 10 < (8 if late and follow else 3)
            ledger.append("decision", one.id, one)
            ledger.append(
                "vote", f"{one.id}/early/1", Vote(decision=one.id, say=Say.REJECT if approve else Say.APPROVE, by="early")
            )
            ledger.append("opinion", f"{one.id}/critic", opinion)
            ledger.append("vote", f"{one.id}/ann/1", Vote(decision=one.id, say=Say.APPROVE if approve else Say.REJECT, by="ann"))
    code, told = call("review", "--ledger", place)
    assert code == Exit.HOLDS
    assert (
        f"hacking: {answer}; the critic promises +0.500 from the earlier to the later half, people say {'0.500' if follow else '0.000'}"
        in told
    )
    record = json.loads(call("review", "--ledger", place, "--json")[1])["record"]["hacking"]
    assert (record["answer"], record["delivered"]["n"]) == (answer, 80)


def test_what_the_critic_said_before_a_rejection_is_what_the_rejection_is_held_against(place: str) -> None:
    def says(stance: Stance, reward: float | None) -> Opinion:
        return Opinion(guard="critic", decision="d1", stance=stance, clause="c", why="", reward=reward)

    with Ledger.open(place, create=False) as ledger:
        ledger.append("opinion", "d1/critic", says(Stance.ALLOW, 0.8))
        ledger.append("vote", "d1/ann/1", Vote(decision="d1", say=Say.REJECT, by="ann"))
        ledger.append("vote", "d1/ann/2", Vote(decision="d1", say=Say.REJECT, by="Ann "))
        ledger.append("opinion", "d1/critic#2", says(Stance.BLOCK, None))
        facts = fold(ledger.events())
    assert labelled(facts) == [(0.8, 0.0)]
    assert facts.cases["d1"].heard["critic"] == 2


def test_too_few_votes_say_nothing_of_hacking(place: str) -> None:
    assert (
        "hacking: unsure; people voted on 0 changes after the critic had its say, and it takes 40 to tell"
        in call("review", "--ledger", place)[1]
    )


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("d1",), Exit.USAGE, "nothing was written"),
        (("d1", "--approve", "--reject"), Exit.USAGE, "two different votes"),
        (("d2", "--approve"), Exit.NOTHING, "holds no decision `d2`"),
        (("d1", "--approve", "--by", "a/b"), Exit.USAGE, "no name"),
    ],
)
def test_what_cannot_be_a_vote_is_told_and_writes_nothing(place: str, words: tuple[str, ...], code: Exit, told: str) -> None:
    found, text = call("review", *words, "--ledger", place)
    assert found == code
    assert told in text
    assert votes(place) == []


def test_reviewing_reads_without_a_model_library(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert call("review", "--ledger", place)[0] == Exit.HOLDS
