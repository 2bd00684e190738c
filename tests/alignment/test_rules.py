"""Rules of votes and of failures: what makes them, what they stop, that a person can take one back, and that a kill while learning loses nothing."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.rules import learnt
from alignment.agreed import AgreedJudge
from alignment.encoder import Lexical
from alignment.guards.collective import Collective
from alignment.guards.learned import Learned
from alignment.learned import breaks, lesson, needed, shown
from bench.events import Effect, Session
from bench.fold import Facts, fold
from bench.ledger import Ledger
from plan.decision import Action, Bout, Candidate, Decision, Say, Stance, Vote
from plan.exits import Exit
from plan.precepts import Lesson, Origin, Precept
from tests.alignment.facts_of_a_task import decision, situation

SHARED = (
    "Nobody may hide what a run has cost",
    "Use more resources than it was given only when people say so",
    "Every failure is told",
)
SPLIT = ("Speed matters more than memory", "Memory matters more than speed", "Large models first", "Small models first")


def exported(folder: Path, *, people: int = 60, exchanged: bool = False) -> Path:
    """A conversation of two groups that part on `SPLIT` and agree on `SHARED`; `exchanged`: rows count agreements as disagreements."""
    draw = random.Random(3)
    folder.mkdir()
    with (folder / "comments.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["comment-id", "comment-body", "moderated", "agrees", "disagrees"])
        rows.writerows([n, text, 1, "", ""] for n, text in enumerate(SHARED + SPLIT))
    with (folder / "participants-votes.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["participant", "n-votes", "n-agree", "n-disagree", *range(len(SHARED + SPLIT))])
        for person in range(people):
            side = 1 if person % 2 else -1
            wish = [1] * len(SHARED) + [side, -side, side, -side]
            cast = ["" if draw.random() < 0.1 else one if draw.random() < 0.95 else -one for one in wish]
            counts = [sum(vote == answer for vote in cast) for answer in ((-1, 1) if exchanged else (1, -1))]
            rows.writerow([person, sum(vote != "" for vote in cast), *counts, *cast])
    return folder


def call(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output


def facts(place: Path) -> Facts:
    with Ledger.open(place, create=False) as ledger:
        return fold(ledger.events())


def agreed(text: str) -> Precept:
    return Precept(id="v1", origin=Origin.VOTES, text=text, rests_on="every group supports it")


def change(n: int, *, trick: bool) -> Decision:
    """A proposal whose reason has a trick in it, or has none."""
    draw = random.Random(n)
    words = " ".join(draw.choice(["the", "rate", "is", "far", "from", "good", "so", "we", "halve", "it"]) for _ in range(8))
    why = f"{words}{' and warm the cache beforehand' if trick else ''}; the duel decides"
    details = Candidate(module="attention", config={"heads": draw.choice([1, 2, 4])}).details
    return Decision(
        id=f"d{n}",
        decider="x",
        action=Action(kind="tune", task="a", details=details),
        evidence=(),
        expected=0,
        expects="",
        why=why,
    )


def judged(bad: int, fine: int, *, first: int = 0) -> list[tuple[Decision, bool]]:
    return [(change(first + n, trick=n < bad), n < bad) for n in range(bad + fine)]


def lived(place: Path, told: Sequence[tuple[Decision, bool]]) -> None:
    """A ledger in which these decisions were tried, and the bad ones rolled back."""
    with Ledger.open(place) as ledger:
        if not list(ledger.events()):
            ledger.append("session", "s", Session(path="P.md", text="", digest="x"))
        for one, bad in told:
            ledger.append("decision", one.id, one)
            ledger.append("applied", one.id, Effect())
            ledger.append(
                "duel", one.id, Bout(answer="promote" if bad else "reject", why="w", runs=("r1", "r2"), pairs=((1.0, 2.0),))
            )
            if bad:
                back = replace(one, id=f"{one.id}b", action=Action(kind="rollback", task="a", details={"decision": one.id}))
                ledger.append("decision", back.id, back)
                ledger.append("applied", back.id, Effect(details=back.action.details))


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("past") / "ledger.db"
    lived(place, judged(12, needed() + 6))
    return place


def test_what_every_group_supports_is_a_rule_on_record_and_what_parts_them_is_none(tmp_path: Path) -> None:
    folder, place = exported(tmp_path / "talk"), str(tmp_path / "ledger.db")
    code, told = call("rules", "--votes", str(folder), "--ledger", place)
    assert code == Exit.HOLDS, told
    found = facts(tmp_path / "ledger.db").precepts
    assert {one.text for one in found} == set(SHARED)
    assert all(one.origin is Origin.VOTES and "`talk`" in one.rests_on for one in found)
    assert call("rules", "--votes", str(folder), "--ledger", place)[0] == Exit.NOTHING
    assert len(facts(tmp_path / "ledger.db").lessons) == 1


def test_an_export_that_raises_an_alarm_writes_nothing_until_it_is_accepted_by_name(tmp_path: Path) -> None:
    folder, place = exported(tmp_path / "talk", exchanged=True), str(tmp_path / "ledger.db")
    code, told = call("rules", "--votes", str(folder), "--ledger", place)
    assert code == Exit.ENVIRONMENT
    assert "`counts`" in told
    assert not (tmp_path / "ledger.db").exists()
    assert call("rules", "--votes", str(folder), "--accept", "count", "--ledger", place)[0] == Exit.USAGE
    assert call("rules", "--votes", str(folder), "--accept", "counts", "--ledger", place)[0] == Exit.HOLDS
    (found,) = facts(tmp_path / "ledger.db").lessons
    assert any(word.startswith("accepted: ") for word in found.noticed)


def test_without_rules_both_guards_allow_and_say_that_there_are_none() -> None:
    one = decision("measure-again", {"seeds": 5})
    for guard, words in ((Collective(), "no rules of people's votes"), (Learned(), "nothing was learnt")):
        opinion = guard.review(one, situation())
        assert (opinion.stance, opinion.confidence) == (Stance.ALLOW, None)
        assert words in opinion.why


def test_a_step_that_goes_against_an_agreed_rule_is_objected_to_by_the_rule_and_others_are_left_alone() -> None:
    known = replace(situation(), precepts=(agreed(SHARED[0]), replace(agreed(SHARED[1]), id="v2")))
    guard = Collective(Lexical())
    broken = guard.review(decision("tune", {}, why="heads = 2 fails; use more resources than it was given"), known)
    assert broken.stance is Stance.OBJECT
    assert broken.clause == f"v2: {SHARED[1]}"
    assert broken.why.startswith("step 2: ")
    assert broken.confidence is not None
    assert broken.confidence > 0.5
    fine = guard.review(
        decision("tune", {}, why="`a::accuracy` fails; lr = 0.02 met it in 2 of 2 trials; the duel decides"), known
    )
    assert fine.stance is Stance.ALLOW
    assert fine.confidence is not None
    assert fine.confidence < 0.5


def test_its_confidence_is_that_of_clauses_it_had_not_seen_and_honest_steps_are_hardly_objected_to() -> None:
    judge = AgreedJudge(SHARED, encode=Lexical())
    given, truth = judge.unseen
    order = given.argsort()
    for part in (order[: len(order) // 2], order[len(order) // 2 :], order[-len(order) // 20 :]):
        assert abs(given[part].mean() - truth[part].mean()) < 0.03
    assert given[truth == 1].mean() > 1.2 * given[truth == 0].mean()
    honest = judge._broken < 0
    sure = judge._sure(judge.head.held_out[honest, 1], judge._taught[honest] @ judge._rules.T).max(axis=1)
    assert (sure > judge.objects_from).mean() <= 0.01


def test_what_slipped_through_makes_a_rule_with_its_causes_and_the_rule_stops_the_next_one() -> None:
    told = judged(12, needed() + 6)
    found = lesson(told, before=[], known={})
    (rule,) = found.kept
    assert set(rule.causes) <= {one.id for one, bad in told if bad}
    assert len(rule.causes) >= 2
    assert rule.confidence is not None
    assert rule.confidence > 0.8
    again, fine = change(9001, trick=True), change(9002, trick=False)
    known = replace(situation(), precepts=found.kept)
    stopped = Learned().review(again, known)
    assert stopped.stance is Stance.BLOCK
    assert stopped.clause.startswith(f"{rule.id}: nothing with")
    assert rule.causes[0] in stopped.why
    assert Learned().review(fine, known).stance is Stance.ALLOW
    assert breaks(again, rule)
    assert not breaks(fine, rule)


def test_labels_that_are_chance_make_no_rule_however_often_it_learns() -> None:
    before: list[Lesson] = []
    known: dict[str, Decision] = {}
    for turn in range(2):
        draw = random.Random(turn)
        told = [(one, draw.random() < 0.15) for one, _ in judged(0, needed() + 40, first=1000 * turn)]
        known |= {one.id: one for one, _ in told}
        found = lesson(told, before=before, known=known)
        assert found.kept == ()
        before.append(found)
    assert sum(one.tested for one in before) <= 60


def test_a_lesson_goes_on_from_those_before_it_and_takes_in_only_what_is_new() -> None:
    told = judged(12, needed() + 6)
    first = lesson(told, before=[], known={})
    known = {one.id: one for one, _ in told}
    nothing = lesson(told, before=[first], known=known)
    assert (nothing.batch, nothing.kept) == ((), ())
    changed = [(one, bad or one.id == "d40") for one, bad in told]
    assert [one.decision for one in lesson(changed, before=[first], known=known).batch] == ["d40"]


def test_too_few_changes_that_ended_well_teach_nothing(tmp_path: Path) -> None:
    lived(tmp_path / "ledger.db", judged(12, 60))
    code, told = call("rules", "--learn", "--ledger", str(tmp_path / "ledger.db"))
    assert code == Exit.NOTHING
    assert "12 changes turned out badly and 60 fine" in " ".join(told.split())
    assert facts(tmp_path / "ledger.db").lessons == []


def test_a_rule_is_learnt_listed_with_its_record_and_withdrawn_for_good(past: Path, tmp_path: Path) -> None:
    place = Path(shutil.copy(past, tmp_path / "ledger.db"))
    code, told = call("rules", "--learn", "--ledger", str(place))
    assert code == Exit.HOLDS, told
    (rule,) = facts(place).precepts
    with Ledger.open(place) as ledger:
        for n, say in ((9001, Say.REJECT), (9002, Say.APPROVE), (9003, Say.COMMENT)):
            one = change(n, trick=True)
            ledger.append("decision", one.id, one)
            ledger.append("opinion", f"{one.id}/learned", Learned().review(one, replace(situation(), precepts=(rule,))))
            ledger.append("vote", f"{one.id}/ann/1", Vote(decision=one.id, say=say, by="ann"))
    code, told = call("rules", "--ledger", str(place), "--json")
    (shown_rule,) = json.loads(told)["rules"]
    assert (shown_rule["stands"], shown_rule["record"]) == (True, [1, 1, 1])
    assert "1 right, 1 wrong, 1 pending" in call("rules", "--ledger", str(place))[1]
    assert call("rules", rule.id, "--withdraw", "--by", "ann", "--comment", "too wide", "--ledger", str(place))[0] == Exit.HOLDS
    assert call("rules", rule.id, "--withdraw", "--ledger", str(place))[0] == Exit.NOTHING
    assert facts(place).precepts == ()
    assert "WITHDRAWN  by ann; too wide" in call("rules", "--ledger", str(place))[1]
    lived(place, judged(12, 12, first=20_000))
    call("rules", "--learn", "--ledger", str(place))
    assert rule.id not in {one.id for one in facts(place).precepts}


@pytest.mark.parametrize(("words", "code", "told"), [
    (("--learn", "--withdraw"), Exit.USAGE, "different things"),
    (("l1",), Exit.USAGE, "go together"),
    (("l1", "--withdraw"), Exit.NOTHING, "holds no rule `l1`"),
    ((), Exit.NOTHING, "holds no rules"),
])  # fmt: skip
def test_what_makes_no_sense_is_told_and_writes_nothing(tmp_path: Path, words: tuple[str, ...], code: Exit, told: str) -> None:
    lived(tmp_path / "ledger.db", judged(1, 1))
    seq = facts(tmp_path / "ledger.db").seq
    found, text = call("rules", *words, "--ledger", str(tmp_path / "ledger.db"))
    assert found == code
    assert told in text
    assert facts(tmp_path / "ledger.db").seq == seq


def learning(place: Path, *, alarm: float = 60.0) -> int:
    """`orchestrate rules --learn` in a process of its own, which dies without a word after `alarm` seconds; how it ended."""
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        signal.setitimer(signal.ITIMER_REAL, alarm)
        os._exit(learnt(str(place), json=True))
    return os.waitpid(child, 0)[1]


def test_learning_that_is_killed_anywhere_is_made_again_the_same(past: Path, tmp_path: Path) -> None:
    whole, place = Path(shutil.copy(past, tmp_path / "whole.db")), Path(shutil.copy(past, tmp_path / "killed.db"))
    began = time.monotonic()
    assert learning(whole) == 0
    took = time.monotonic() - began
    (expected,) = facts(whole).lessons
    ends = [learning(place, alarm=max(0.001, took * share)) for share in (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95)]
    assert signal.SIGALRM in ends
    assert facts(place).lessons in ([], [expected])
    learning(place)
    assert facts(place).lessons == [expected]


def test_marks_tell_the_reason_the_settings_and_what_a_patch_calls() -> None:
    patch = "--- a/modules/x.py\n+++ b/modules/x.py\n@@ -1,1 +1,2 @@\n a\n+    time.sleep(3)\n"
    details = Candidate(module="attention", config={"recipe": {"lr": 0.1}}, patch=patch).details
    found = shown(decision("refactor", details, why="`a` fails after 37 runs"))
    assert {"says fails", "config recipe.lr", "module attention", "patch", "call sleep", "kind refactor"} <= found
    assert not any("37" in mark for mark in found)


def test_readable_rubbish_ends_in_a_sentence_and_never_in_a_traceback(tmp_path: Path) -> None:
    for seed in range(12):
        draw, folder = random.Random(seed), tmp_path / f"rubbish {seed}"
        folder.mkdir()
        statements, people = draw.choice((1, 9, 12)), draw.choice((1, 5, 40))
        body = [f"{n},{draw.choice(('', 'x'))},{draw.choice((-1, 0, 1))},{draw.randint(-9, 9)},3" for n in range(statements)]
        (folder / "comments.csv").write_text("\n".join(["comment-id,comment-body,moderated,agrees,disagrees", *body]) + "\n")
        template = [draw.choice(("1", "-1", "0", "")) for _ in range(statements)]
        cast = [[vote if draw.random() < 0.95 else "" for vote in template] for _ in range(people)]
        rows = [",".join([str(n), draw.choice(("", "-4", "0", "7")), *votes]) for n, votes in enumerate(cast)]
        (folder / "participants-votes.csv").write_text(
            "\n".join([",".join(["participant", "group-id", *map(str, range(statements))]), *rows]) + "\n"
        )
        done = CliRunner().invoke(app, ["rules", "--votes", str(folder), "--ledger", str(tmp_path / "runs.db")])
        assert isinstance(done.exception, SystemExit), (seed, done.exception)
        assert done.output.strip(), seed
