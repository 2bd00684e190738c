"""What a session says of what it tries: only what is true by then, why nothing is tried, and what a plan would have to say."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from agents.council import Council, OutOfTime
from agents.deciders.qae import Qae
from agents.display import PLAIN_MARKS, narrate
from agents.events import Decided, Event, Noted
from agents.orchestrator import Options, Orchestrator
from agents.promote import in_a_plan
from bench.fold import fold
from bench.ledger import Ledger
from bench.report import wording
from plan.decision import Action, Candidate, Decision
from plan.grammar import parse
from plan.nouns import Request, Run, Status
from tests.agents.test_error_kept import PLAN, Scene, Stubborn


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        yield Scene(ledger=ledger, folder=tmp_path, said=[])


def council(scene: Scene, text: str = PLAN) -> Council:
    """One that asks nobody but guards that are not there."""
    made = scene.council(scene.stand(text), "qae")
    made.guards = {}
    return made


def noted(scene: Scene) -> list[str]:
    return [event.text for event in scene.said if isinstance(event, Noted)]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("- **trials**: 5", r"`(- \*\*trials\*\*: \d+)`"),
        ("- **budget**: 7 runs", r"`(- \*\*budget\*\*: \d+ runs)`"),
        ("- **budget**: 20 s", r"`(- \*\*budget\*\*: \d+ s)`"),
    ],
)
def test_a_task_that_cannot_pay_a_try_says_so_and_what_it_names_pays_one(scene: Scene, lines: str, named: str) -> None:
    poor = PLAN.replace("- **trials**: 60", lines)
    council(scene, poor).tell_untried()
    first, second = noted(scene)
    assert first.startswith("nothing was tried on `one` (tune): ")
    assert second.startswith("nothing was tried on `two` (tune): ")
    assert not Qae().ask(scene.stand(poor).standing.situation())
    mend = re.search(named, first)
    assert mend, first
    mended = poor.replace(lines, mend[1])
    scene.said.clear()
    council(scene, mended).tell_untried()
    assert [text for text in noted(scene) if "room" in text] == []
    assert {decision.action.task for decision in Qae().ask(scene.stand(mended).standing.situation())} == {"one", "two"}


def test_a_task_of_which_every_target_holds_says_nothing_of_tries(scene: Scene) -> None:
    scene.numbers = lambda request: {"parameters": 7000.0}
    council(scene, PLAN.replace("- **trials**: 60", "- **trials**: 1")).tell_untried()
    assert noted(scene) == []


def test_a_change_is_told_when_its_duel_has_begun_and_not_before(scene: Scene) -> None:
    made = council(scene)
    wish = scene.decide(made.place, "d1")
    seen = []

    def watch(event: Event) -> None:
        if isinstance(event, Decided):
            seen.append((event, fold(scene.ledger.events()).cases["d1"].applied))

    made.watch, made.deciders = watch, {"stubborn": Stubborn(wish)}
    made.decide()
    ((event, applied),) = seen
    assert event.applied
    assert applied is not None
    assert list(narrate(event, PLAIN_MARKS))[-1] == "    its duel begins; the champion stands until it is beaten"


def test_what_cannot_be_carried_out_is_told_as_not_applied_with_the_reason(scene: Scene) -> None:
    scene.numbers = lambda request: {"parameters": 7000.0}
    made = council(scene)
    made.deciders = {"stubborn": Stubborn(scene.decide(made.place, "d1"))}
    made.decide()
    (event,) = [event for event in scene.said if isinstance(event, Decided)]
    *_, why, became = narrate(event, PLAIN_MARKS)
    assert not event.applied
    assert "no target of `one` fails or is unsure" in why
    assert became == "    not applied"


def test_a_trial_is_not_told_as_a_change() -> None:
    trial = Decision(
        id="d1",
        decider="qae",
        action=Action(kind="trial", task="one", details={}),
        evidence=(),
        expected=0.0,
        expects="",
        why="why",
    )
    told = list(narrate(Decided(decision=trial, opinions=(), applied=True), PLAIN_MARKS))
    assert told == ["decision d1 by qae: why", "    its trial begins; nothing is changed by it"]


def test_where_time_ends_between_deciding_and_acting_nothing_is_done_and_the_next_session_decides_the_same(scene: Scene) -> None:
    late = council(scene)
    with pytest.raises(OutOfTime):
        late.decide(in_time=lambda: False)
    assert all(case.applied is None for case in late.standing.facts.cases.values())
    again = council(scene)
    again.decide()
    applied = {id for id, case in again.standing.facts.cases.items() if case.applied}
    assert applied == {decision.id for decision in Qae().ask(late.standing.situation())}


def test_what_was_done_before_the_first_measurement_comes_out_of_the_budget(tmp_path: Path) -> None:
    plan = "# Plan: one number\n\n## size: of an attention\n\n- **module**: `attention`\n- **benchmark**: `flops-v1`\n- **gate**: off\n"
    plan += "\n| metric | | threshold | rule |\n| --- | --- | --- | --- |\n| `parameters` | > | 1 | every seed |\n"
    options = Options(workers=1, budget=60.0, since=time.monotonic() - 61)
    with Ledger.open(tmp_path / "ledger.db") as ledger, ledger.hold():
        loop = Orchestrator(parse(plan), ledger, work=tmp_path / "work", options=options, watch=lambda event: None)
        (verdict,) = anyio.run(loop.run)
        facts = fold(ledger.events())
    assert verdict.state == "waiting"
    assert not facts.attempts
    assert [stop.reason for stop in facts.stops.values()] == ["budget of 60 s spent"]


def test_a_champion_is_told_in_words_that_a_plan_takes() -> None:
    champion = Candidate(
        module="retnet", config={"d_model": 64, "rotary_base": 1e4, "decoder": {"tie": True}, "recipe": {"lr": 2e-3}}
    )
    table = "| metric | | threshold | rule |\n| --- | --- | --- | --- |\n| `accuracy` | > | 0.5 | every seed |"
    text = "\n".join(
        ["# Plan: kept", "", "## one: it", "", "- **benchmark**: `mqar-64x4-v1`", *in_a_plan(champion), "", table, ""]
    )
    (task,) = parse(text).tasks
    assert (task.module, dict(task.config)) == (champion.module, champion.config)


def test_a_message_that_ends_the_log_is_told_once() -> None:
    log = 'Traceback\n  File "m.py", line 3\nValueError: no\n  such thing\n'
    run = Run(
        key="k" * 64,
        request=Request(module="m", benchmark="b-v1", seed=0),
        status=Status.CRASHED,
        message="ValueError: no\n  such thing",
        log_tail=log,
    )
    assert wording.log_lines(run) == ["Traceback", '  File "m.py", line 3']


def test_what_an_action_asks_for_is_told_by_paths_and_nothing_of_it_is_lost() -> None:
    config = {"d_model": 16, "recipe": {"batch": 8, "lr": 0.004}, "rope_base": 2e4, "settings": {"attention": {"heads": 4}}}
    asked = {
        "candidates": [{"module": "hybrid", "config": config, "patch": ""}, {"module": "retnet", "config": {}}],
        "seeds": [7, 8],
    }
    assert list(wording.details(asked)) == [
        (
            "candidate 1",
            "module hybrid, d_model 16, rope_base 20000.0, recipe.batch 8, recipe.lr 0.004, settings.attention.heads 4",
        ),
        ("candidate 2", "module retnet"),
        ("seeds", "7, 8"),
    ]
    assert list(wording.details({"seeds": 0, "patch": "-a\n+b", "note": ""})) == [("patch", "-a\n+b"), ("seeds", "0")]
