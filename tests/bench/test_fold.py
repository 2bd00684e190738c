"""Facts are a pure fold of the ledger; here against a reference that replays the story by hand."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.attempts import Spending
from bench.events import Abandoned, Acknowledged, Effect, Event, Session, Started, Stopped, Wanted, attempt_key
from bench.fingerprint import Code
from bench.fold import Facts, fold, settled
from bench.ledger import Ledger, LedgerFault
from plan.decision import Action, Decision, Opinion, Stance
from plan.nouns import Cost, Request, Run, Status
from plan.wire import encode

REQUEST = Request(module="m", benchmark="b", seed=0)


class Story:
    """Events as a ledger would number them."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def tell(self, kind: str, key: str, noun: Any) -> Story:
        self.events.append(Event(seq=2 * len(self.events) + 1, at=0.0, kind=kind, key=key, body=encode(noun)))
        return self

    def start(self, key: str, attempt: int = 1, tasks: tuple[str, ...] = ("t",)) -> Story:
        return self.tell("started", attempt_key(key, attempt), Started(tasks=tasks, request=REQUEST))

    def end(self, key: str, attempt: int = 1, status: Status = Status.OK, seconds: float = 1.0) -> Story:
        run = Run(key=key, request=REQUEST, status=status, cost=Cost(seconds=seconds), attempt=attempt, metrics={"x": seconds})
        return self.tell("run", attempt_key(key, attempt), run)

    def abandon(self, key: str, attempt: int = 1, seconds: float = 1.0) -> Story:
        return self.tell("abandoned", attempt_key(key, attempt), Abandoned(seconds=seconds))

    def decide(
        self, id: str, seeds: int, *, task: str = "t", evidence: tuple[str, ...] = (), kind: str = "measure-again"
    ) -> Story:
        action = Action(kind=kind, task=task, details={"seeds": seeds})
        decision = Decision(id=id, decider="d", action=action, evidence=evidence, expected=0.5, expects="x", why="unsure")
        return self.tell("decision", id, decision)

    def apply(self, id: str) -> Story:
        return self.tell("applied", id, Effect())

    def undo(self, id: str) -> Story:
        return self.tell("undone", id, Effect())

    @property
    def facts(self) -> Facts:
        return fold(self.events)


def order(runs: tuple[Run, ...]) -> list[str]:
    return [run.key for run in runs]


def test_runs_come_in_submission_order_whatever_order_they_ended_in() -> None:
    for ending in itertools.permutations("abcd"):
        story = Story()
        for key in "abcd":
            story.start(key)
        for key in ending:
            story.end(key)
        assert order(story.facts.runs_for("dcab")) == list("abcd")
        assert list(story.facts.runs) == list("abcd")


def test_what_may_stop_at_any_moment_reads_no_further_than_the_first_run_without_a_result() -> None:
    facts = Story().start("a").start("b").start("c").end("c").end("a").facts
    assert order(facts.runs_for("abc")) == ["a", "c"]
    assert order(settled("abc", facts.runs)) == ["a"]
    assert order(settled("ab", Story().start("a").start("b").end("b").facts.runs)) == []


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.KILLED])
def test_a_result_of_any_status_but_killed_stands(status: Status) -> None:
    facts = Story().start("a").end("a", status=status).facts
    assert facts.done("a")
    assert facts.runs_for(["a"])[0].status is status


def test_a_killed_run_is_not_done_and_keeps_its_place_when_started_again() -> None:
    story = Story().start("a").start("b").end("b").end("a", status=Status.KILLED, seconds=3)
    assert not story.facts.done("a")
    assert story.facts.run("a") is None
    assert story.facts.next_attempt("a") == 2
    story.start("a", 2).end("a", 2, seconds=5)
    assert order(story.facts.runs_for("ab")) == ["a", "b"]
    assert story.facts.runs_for("a")[0].attempt == 2


def test_an_attempt_whose_orchestrator_died_is_open_until_it_is_charged() -> None:
    story = Story().start("a").start("b").end("b").start("c")
    assert [(a.key, a.number) for a in story.facts.open_attempts] == [("a", 1), ("c", 1)]
    story.abandon("a", seconds=7)
    assert [a.key for a in story.facts.open_attempts] == ["c"]
    assert not story.facts.done("a")
    assert story.facts.spent_for("a") == Spending(seconds=7, runs=0)


def test_however_often_a_measurement_is_killed_its_seconds_add_up_and_it_counts_once() -> None:
    story = Story().start("a").end("a", status=Status.KILLED, seconds=2).start("a", 2).abandon("a", 2, seconds=3)
    assert story.facts.spent == Spending(seconds=5, runs=0)
    story.start("a", 3)
    assert story.facts.spent == Spending(seconds=5, runs=1)
    story.end("a", 3, seconds=4)
    assert story.facts.spent == Spending(seconds=9, runs=1)
    story.start("a", 4).end("a", 4, status=Status.CRASHED, seconds=1)
    assert story.facts.spent == Spending(seconds=10, runs=2)


def test_a_run_that_serves_two_tasks_is_charged_once() -> None:
    facts = Story().start("a", tasks=("t", "u")).end("a", seconds=4).start("b", tasks=("u",)).end("b", seconds=1).facts
    assert facts.spent == Spending(seconds=5, runs=2)
    assert facts.spent_for(["a", "a", "unknown"]) == Spending(seconds=4, runs=1)


def test_seeds_are_granted_by_decisions_that_were_applied_and_not_undone() -> None:
    story = Story().decide("d1", 5)
    assert story.facts.granted("t") is None
    assert story.apply("d1").facts.granted("t") == 5
    assert story.decide("d2", 8).apply("d2").facts.granted("t") == 8
    assert story.facts.granted("other") is None
    assert story.undo("d2").facts.granted("t") == 5
    assert story.decide("d3", 99, kind="something-else").apply("d3").facts.granted("t") == 5


def test_a_grant_earned_by_other_code_does_not_count_among_the_runs_of_this_code() -> None:
    old, new = "a" * 64, "b" * 64
    facts = Story().decide("d1", 9, evidence=("r" + old[:8],)).apply("d1").facts
    assert facts.granted("t") == 9
    assert facts.granted("t", among=[old, new]) == 9
    assert facts.granted("t", among=[new]) is None


def test_a_decision_is_told_with_its_opinions_and_what_became_of_it() -> None:
    story = Story().decide("d1", 5).decide("d2", 6)
    for guard, stance in (("one", Stance.ALLOW), ("two", Stance.BLOCK)):
        story.tell("opinion", f"d1/{guard}", Opinion(guard=guard, decision="d1", stance=stance, clause="c", why="w"))
    facts = story.apply("d2").undo("d2").facts
    assert [d.id for d in facts.decisions] == ["d1", "d2"]
    assert [(o.guard, o.stance) for o in facts.cases["d1"].opinions] == [("one", Stance.ALLOW), ("two", Stance.BLOCK)]
    assert not facts.cases["d1"].stands
    assert facts.cases["d2"].applied == Effect()
    assert not facts.cases["d2"].stands


def test_sessions_stops_code_and_what_is_wanted_are_kept() -> None:
    story = Story().tell("session", "s1", Session(path="p", text="old", digest="1")).start("a")
    story.tell("stopped", "s1", Stopped(reason="done", seconds=3)).tell(
        "session", "s2", Session(path="p", text="new", digest="2")
    )
    story.tell("code", "c", Code(digest="c", files={"f.py": {"s": "1"}}, packages=("torch",)))
    story.tell("wanted", "s2/5", Wanted(tasks={"t": ("a", "b")})).start("b")
    facts = story.facts
    assert facts.session is not None
    assert facts.session.text == "new"
    assert set(facts.sessions) - set(facts.stops) == {"s2"}
    assert facts.code["c"] == Code(digest="c", files={"f.py": {"s": "1"}}, packages=("torch",))
    assert facts.wanted.tasks == {"t": ("a", "b")}
    assert [facts.attempts[key][0].session for key in "ab"] == ["s1", "s2"]


def test_an_event_out_of_order_or_of_an_attempt_never_started_is_refused() -> None:
    story = Story().start("a")
    facts = story.facts
    with pytest.raises(ValueError, match="folded in order, once"):
        facts.advance(story.events[0])
    with pytest.raises(LedgerFault, match="never started"):
        Story().end("a").facts  # noqa: B018


def everything(facts: Facts) -> None:
    """Ask for all that a reader may ask for."""
    for attempts in facts.attempts.values():
        for attempt in attempts:
            list(attempt.tasks), dict(attempt.identity), attempt.request.seed + 1, attempt.limits.seconds + 1
    assert facts.spent.seconds >= 0
    for run in facts.runs.values():
        assert sum(run.metrics.values()) == sum(run.metrics.values())
    facts.granted("t")


WHOLE = {
    "session": ("s", Session(path="p", text="t", digest="d", machine={"python": "3.11"})),
    "code": ("c", Code(digest="c", files={"f.py": {"s": "1"}}, packages=("torch",))),
    "wanted": ("s/1", Wanted(tasks={"t": ("a", "b")}, gates={"t": "g"})),
    "started": ("a#2", Started(tasks=("t",), request=REQUEST)),
    "run": ("a#1", Run(key="a", request=REQUEST, status=Status.OK, metrics={"x": 1.0}, series={"y": ((0.0, 1.0),)})),
    "abandoned": ("a#1", Abandoned(seconds=1.0)),
    "decision": (
        "e",
        Decision(id="e", decider="d", action=Action(kind="k", task="t"), evidence=("r1",), expected=1.0, expects="x", why="w"),
    ),
    "opinion": ("d/g", Opinion(guard="g", decision="d", stance=Stance.ALLOW, clause="c", why="w")),
    "applied": ("d", Effect(details={"seeds": 5})),
    "undone": ("d", Effect()),
    "stopped": ("s", Stopped(reason="finished")),
    "acknowledged": ("o/n", Acknowledged(old="o", new="n", shifts=("less",))),
}
"""An event of every kind that fits on `before`."""


def before() -> Story:
    return Story().start("a").decide("d", 5)


def broken(value: Any) -> list[Any]:
    """`value` with one thing after another wrong or missing, at every depth."""
    if isinstance(value, dict):
        parts = [{k: v for k, v in value.items() if k != name} for name in value]
        parts += [{**value, name: wrong} for name, old in value.items() for wrong in (*broken(old), None)]
        return [*parts, [], "text", 7]
    if isinstance(value, list):
        return [{}, "text", 7, None, *([wrong, *value[1:]] for old in value[:1] for wrong in broken(old))]
    return [{}, [], "text", 7, True, float("nan"), 10**400]


@pytest.mark.parametrize("kind", WHOLE)
def test_an_event_of_somebody_else_is_a_fault_that_names_it_or_does_no_harm(kind: str) -> None:
    key, noun = WHOLE[kind]
    sound = before().tell(kind, key, noun)
    everything(sound.facts)
    seq, body, faults = sound.events[-1].seq, json.loads(sound.events[-1].body), 0
    for text in ["", "{", "null", *map(json.dumps, broken(body))]:
        story = before()
        story.events.append(Event(seq=seq, at=0.0, kind=kind, key=key, body=text))
        with suppress(LedgerFault):
            everything(story.facts)
            continue
        with pytest.raises(LedgerFault, match=rf"event {seq}, kind `{kind}`, key `{key}`(?s:.*)--fresh"):
            everything(story.facts)
        faults += 1
    assert faults >= 8


@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind in ("started", "run", "abandoned") for key in ("", "a", "a#", "#1", "a#x")]
)
def test_an_event_under_a_key_that_is_none_is_a_fault(kind: str, key: str) -> None:
    with pytest.raises(LedgerFault, match="its key is not"):
        before().tell(kind, key, WHOLE[kind][1]).facts  # noqa: B018


def test_an_event_about_a_decision_that_was_never_made_is_a_fault() -> None:
    for kind, key in (("applied", "nobody"), ("undone", "nobody"), ("opinion", "nobody/g")):
        noun = Opinion(guard="g", decision="nobody", stance=Stance.ALLOW, clause="c", why="w") if kind == "opinion" else Effect()
        with pytest.raises(LedgerFault, match="no decision `nobody`"):
            before().tell(kind, key, noun).facts  # noqa: B018


def test_a_result_of_another_run_than_its_key_says_is_a_fault() -> None:
    with pytest.raises(LedgerFault, match="it is of the run b"):
        Story().start("a").tell("run", "a#1", Run(key="b", request=REQUEST, status=Status.OK)).facts.run("a")


def test_a_timed_out_run_has_no_result_while_more_time_is_to_come() -> None:
    story = Story().start("a").end("a", status=Status.TIMED_OUT)
    assert story.facts.done("a")
    story.tell("wanted", "s/1", Wanted(tasks={"t": ("a",)}, again=("a",)))
    assert story.facts.run("a") is None
    assert story.facts.runs_for("a") == ()
    assert story.facts.runs["a"].status is Status.TIMED_OUT
    assert story.start("a", 2).end("a", 2).facts.done("a")


MOVES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["ok", "crashed", "killed", "abandon"]), st.integers(0, 9)), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(moves=MOVES, cut=st.integers(0, 60))
def test_any_story_folds_to_what_replaying_it_by_hand_gives_also_when_cut_anywhere(
    moves: list[tuple[str, str, int]], cut: int
) -> None:
    """A move starts a key, or ends its open attempt; the reference keeps four plain dictionaries."""
    story, state, seconds, count, first = Story(), {}, 0, 0, []
    attempts: dict[str, int] = {}
    for key, how, cost in moves:
        if state.get(key) != "open":
            attempts[key] = attempts.get(key, 0) + 1
            story.start(key, attempts[key])
            state[key], count = "open", count + 1
            first += [key] if key not in first else []
        else:
            if how == "abandon":
                story.abandon(key, attempts[key], seconds=cost)
            else:
                story.end(key, attempts[key], status=Status(how), seconds=cost)
            state[key], seconds = how, seconds + cost
            count -= how in ("killed", "abandon")
    facts = story.facts
    assert facts.spent == Spending(seconds=seconds, runs=count)
    assert order(facts.runs_for("abc")) == [key for key in first if state[key] in ("ok", "crashed")]
    assert {a.key for a in facts.open_attempts} == {key for key in state if state[key] == "open"}
    resumed = fold(story.events[:cut])
    for event in story.events[cut:]:
        resumed.advance(event)
    assert (resumed.runs, resumed.spent, resumed.seq) == (facts.runs, facts.spent, facts.seq)


def test_the_fold_of_a_ledger_is_the_fold_of_what_was_appended(tmp_path: Path) -> None:
    story = Story().start("a").start("b").end("b", seconds=2).end("a").decide("d", 5).apply("d")
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.append_all([(e.kind, e.key, e.plain()) for e in story.events])
        facts = fold(ledger.events())
    assert facts.runs == story.facts.runs
    assert (facts.spent, facts.granted("t")) == (story.facts.spent, 5)
