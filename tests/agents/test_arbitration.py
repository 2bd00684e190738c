"""The critic puts proposed changes in order and does nothing else; the order is a fact of the ledger that `why` finds again, to the bit.

A loop that was killed with an order and nothing else on record: `python -m pytest -m slow tests/agents/test_arbitration.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from agents.arbitration import arranged, has_record, key_of, ranked, replayed
from agents.cli import app
from alignment.critic import Critic
from alignment.guards.critic import CriticGuard
from bench.events import Event
from bench.fold import Facts, fold
from bench.ledger import Ledger
from plan.decision import Action, Bout, Candidate, Decision, Opinion, Say, Situation, Stance, Tried, Vote
from plan.ranking import Contender, Ranking
from tests.agents.duelling import copied_house, duelling, git
from tests.agents.loop import Loop, facts
from tests.alignment.facts_of_a_task import situation

OWN = Candidate(module="attention", config={"heads": 4, "recipe": {"lr": 0.01}})


def change(id: str, *, lr: float | None = None, heads: int = 4, kind: str = "tune") -> Decision:
    details = {"module": "attention", "config": {"heads": heads, "recipe": {"lr": lr or 0.01}}, "patch": ""}
    return Decision(
        id=id, decider="x", action=Action(kind=kind, task="a", details=details), evidence=(), expected=0, expects="", why=""
    )


def lived(n: int, **more: object) -> Situation:
    """Slower rates were better and more heads worse, `n` times in all."""
    decisions = [change(f"p{k}", lr=0.01 / (k + 2)) if k % 2 else change(f"p{k}", heads=8 + k) for k in range(n)]
    tried = tuple(
        Tried(
            decision=one.id, kind="tune", task="a", candidate=Candidate.of(one.action.details), champion=OWN,
            bout=Bout(answer="undecided", why="", metric="accuracy", better="more", runs=("r1",), pairs=((0.5, 0.6 if k % 2 else 0.4),) * 4),
        )
        for k, one in enumerate(decisions)
    )  # fmt: skip
    given = {"decisions": tuple(decisions), "tried": tried, "champions": {"a": OWN}}
    return replace(situation(), **{**given, **more})  # type: ignore[arg-type]


HEADS, RATE = change("d1", heads=9), change("d2", lr=0.001)


def test_without_a_record_of_the_critic_the_deciders_order_stands() -> None:
    for n in range(5):
        assert ranked([HEADS, RATE], lived(n), {}, CriticGuard()) is None
    assert not has_record(Critic())
    assert ranked([HEADS], lived(12), {}, CriticGuard()) is None


def test_what_the_outcomes_speak_for_is_tried_first_and_a_vote_can_turn_it() -> None:
    found = ranked([HEADS, RATE], lived(8), {"a": ""}, CriticGuard())
    assert found is not None
    assert found.order == ("d2", "d1")
    first, second = found.contenders
    assert first.value > second.value
    assert found.outcomes == tuple(f"p{k}" for k in range(8))
    votes = {"d1": (Vote(decision="d1", say=Say.APPROVE, by="ann"),)}
    past = {f"p{k}": (Vote(decision=f"p{k}", say=Say.APPROVE if k % 2 else Say.REJECT, by="ann"),) for k in range(8)}
    swayed = ranked([HEADS, RATE], lived(8, votes={**votes, **past}), {"a": ""}, CriticGuard())
    assert swayed is not None
    by_id = {one.decision.id: one for one in (*found.contenders, *swayed.contenders)}
    assert by_id["d1"].people > 0.7
    assert by_id["d1"].value > second.value


def test_what_an_objection_is_worth_is_learnt_from_outcomes() -> None:
    """The same two kinds of change, better and worse by chance; those objected to were all worse."""
    object_to = {
        f"p{k}": (Opinion(guard="collective", decision=f"p{k}", stance=Stance.OBJECT, clause="c", why="w"),)
        for k in range(0, 24, 2)
    }
    plain = [change(f"p{k}", lr=0.02) for k in range(24)]
    past = lived(24)
    tried = tuple(replace(one, candidate=Candidate.of(plain[0].action.details)) for one in past.tried)
    asked = [change("d1", lr=0.02), change("d2", lr=0.02)]
    said = {**object_to, "d1": (Opinion(guard="collective", decision="d1", stance=Stance.OBJECT, clause="c", why="w"),)}
    found = ranked(asked, replace(past, decisions=tuple(plain), tried=tried, opinions=said), {"a": ""}, CriticGuard())
    assert found is not None
    values = {one.decision.id: one.critic for one in found.contenders}
    assert values["d1"] < 0.3 < 0.6 < values["d2"]
    assert {one.decision.id: one.objections for one in found.contenders} == {"d1": ("collective",), "d2": ()}


def test_one_place_in_ten_goes_by_chance_and_the_same_facts_draw_the_same() -> None:
    past, guard = lived(12), CriticGuard()
    rounds = [[replace(HEADS, id=f"a{n}"), replace(RATE, id=f"b{n}")] for n in range(60)]
    rankings = [one for asked in rounds if (one := ranked(asked, past, {}, guard)) is not None]
    assert len(rankings) == 60
    assert 1 <= sum(one.contenders[0].drawn for one in rankings) <= 15
    turned = [one for one in rankings if one.order[0].startswith("a")]
    assert turned
    assert all(one.contenders[0].drawn for one in turned)
    assert ranked(rounds[7], past, {}, CriticGuard()) == rankings[7]


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_arranging_moves_contenders_among_their_places_and_touches_nothing_else(order: list[int], others: set[int]) -> None:
    asked = [change(f"d{n}", kind="trial" if n in others else "tune") for n in range(6)]
    chosen = [asked[n] for n in order if n not in others]
    contenders = tuple(
        Contender(decision=one, champion="", objections=(), value=0.0, people=0.5, critic=0.5, weight=1.0, drawn=False)
        for one in chosen
    )
    ids = tuple(one.id for one in asked if one.action.kind == "tune")
    found = arranged(asked, Ranking(contenders=contenders, asked=ids, outcomes=(), epsilon=0.1))
    assert sorted(one.id for one in found) == sorted(one.id for one in asked)
    assert all(found[n] is asked[n] for n in others)
    assert [one for one in found if one.action.kind == "tune"] == chosen


PLAN = """# Plan: too many parameters, twice

- **benchmark**: `flops-v1`
- **module**: `transformer`
- **seeds**: 1
- **gate**: off
- **improve**: tune
- **trials**: 1

## first: a feed-forward far too wide

| metric       |    | threshold | rule       |
| ------------ | -- | --------: | ---------- |
| `parameters` | <= | 8000      | every seed |

```toml config
d_model = 16
heads = 2
ffn_multiple = 16.0

[decoder]
layers = 1
```

## second: another one

| metric       |    | threshold | rule       |
| ------------ | -- | --------: | ---------- |
| `parameters` | <= | 8000      | every seed |

```toml config
d_model = 16
heads = 4
ffn_multiple = 16.0

[decoder]
layers = 1
```
"""
DECIDER = '''"""Proposes one change of each task at once, that of the first task first."""

from plan.catalogue import decider
from plan.decision import Action, Candidate, Decision


@decider("pair", baseline=True)
class Pair:
    def ask(self, situation):
        if any(one.decider == "pair" and one.id in ("d0000001", "d0000002") for one in situation.decisions) and len(
            [one for one in situation.decisions if one.id in ("d0000001", "d0000002")]
        ) == 2:
            return []
        for id, task, name, value in (("d0000001", "first", "heads", 8), ("d0000002", "second", "ffn_multiple", 2.0)):
            plan = situation.plan.task(task)
            details = Candidate(module=plan.module, config={**plan.config, name: value}).details
            evidence = tuple(run.id for run in situation.runs[task])
            action = Action(kind="tune", task=task, details=details)
            yield Decision(id=id, decider="pair", action=action, evidence=evidence, expected=0.0, expects="", why=f"{name} = {value}")

    def tell(self, decision, before, after):
        pass
'''
PAST = '''"""Duels that ended before: a narrower feed-forward was better, other numbers of heads were worse."""

import sys

from agents.champions import Champion, Terms, first_keys, own
from bench.events import Effect
from bench.identity import Identifier
from bench.ledger import Ledger
from plan.decision import Action, Bout, Candidate, Decision
from plan.grammar import read
from plan.wire import plain
from pathlib import Path

plan, identify, k = read(Path("Plan.md")), Identifier().identify, 0
with Ledger.open("runs/ledger.db") as ledger:
    for task in plan.tasks:
        for name, values, good in (("ffn_multiple", (1.0, 3.0, 4.0), True), ("heads", (1, 16), False)):
            for value in values:
                k += 1
                candidate = Candidate(module=task.module, config={**task.config, name: value})
                id = f"dpast{k:03d}"
                action = Action(kind="tune", task=task.id, details=candidate.details)
                ledger.append("decision", id, Decision(id=id, decider="pair", action=action, evidence=(), expected=0, expects="", why=name))
                keys = first_keys(own(task), Champion(candidate=candidate, decision=id), task, k=k, identify=identify)
                terms = Terms(k=k, champion="", keys=keys, metric="parameters", better="less", about=None, most=12, branch="", commit="", tree="")
                ledger.append("applied", id, Effect(details=plain(terms)))
                pairs = ((9000.0, 8000.0 if good else 9500.0),) * 4
                bout = Bout(answer="undecided", why="", metric="parameters", better="less", runs=("r1", "r2"), pairs=pairs, error=0.01)
                ledger.append("duel", id, bout)
'''


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """A house whose critic has a record, in which two changes were proposed at once."""
    base = tmp_path_factory.mktemp("arbitration")
    house = copied_house(base / "house")
    (house / "agents/deciders/pair.py").write_text(DECIDER)
    git(house, "add", ".")
    git(house, "-c", "user.name=Somebody", "-c", "user.email=some@body", "commit", "--quiet", "-m", "A decider")
    made = duelling(base / "work", house, PLAN)
    del made.environment["PYTHONDONTWRITEBYTECODE"]  # nothing here looks at the copy's files
    (made.folder / "runs").mkdir()
    subprocess.run([sys.executable, "-c", PAST], cwd=made.folder, env=made.environment, check=True)
    done = made.run("--decider", "pair")
    assert done.returncode == 1, done.stderr
    return made


def events(loop: Loop) -> list[Event]:
    with Ledger.open(loop.folder / "runs/ledger.db") as ledger:
        return list(ledger.events())


def call(loop: Loop, *words: str) -> str:
    """What a verb that reads the loop's ledger says."""
    done = CliRunner().invoke(app, [*words, "--ledger", str(loop.folder / "runs/ledger.db")])
    assert done.exit_code == 0, done.output
    return done.output


def the_ranking(found: Facts) -> tuple[int, Ranking]:
    (one,) = found.rankings.values()
    return one


def test_in_the_loop_the_better_bet_is_decided_first_though_it_was_proposed_last(loop: Loop) -> None:
    known = facts(loop)
    _, ranking = the_ranking(known)
    assert ranking.asked == ("d0000001", "d0000002")
    assert ranking.order == ("d0000002", "d0000001")
    assert not any(one.drawn for one in ranking.contenders)
    assert ranking.outcomes == tuple(f"dpast{k:03d}" for k in range(1, 11))
    assert [id for id in known.cases if id.startswith("d0000")] == ["d0000002", "d0000001"]
    terms = {id: known.cases[id].applied for id in ranking.order}
    assert [effect.details["k"] for effect in terms.values() if effect is not None] == [11, 12]


def test_why_finds_the_order_again_to_the_bit_and_notices_a_changed_one(loop: Loop) -> None:
    said = call(loop, "why", "d0000001")
    assert "placed    2. of 2 by its value" in said
    assert "found again: the same order and values, bit for bit" in said
    (told,) = json.loads(call(loop, "why", "d0000001", "--json"))["decisions"]
    assert told["ranked"][0]["differs"] == ""
    seq, ranking = the_ranking(facts(loop))
    before = fold(event for event in events(loop) if event.seq < seq)
    assert replayed(ranking, before) == ""
    first, second = ranking.contenders
    assert "the order is" in replayed(replace(ranking, contenders=(second, first)), before)
    assert "values differ" in replayed(replace(ranking, contenders=(replace(first, value=first.value + 0.01), second)), before)


@pytest.mark.slow
def test_an_order_that_was_found_before_a_kill_stands_and_is_written_once(loop: Loop, tmp_path: Path) -> None:
    seq, ranking = the_ranking(facts(loop))
    turned = replace(ranking, contenders=ranking.contenders[::-1])
    again = Loop(tmp_path / "work", plan=PLAN)
    again.environment = loop.environment
    (again.folder / "runs").mkdir()
    copied(events(loop), again.folder / "runs/ledger.db", seq, turned)
    done = again.run("--decider", "pair")
    assert done.returncode == 1, done.stderr
    known = facts(again)
    assert the_ranking(known)[1] == turned
    assert [id for id in known.cases if id.startswith("d0000")] == ["d0000001", "d0000002"]


def copied(all_of: Sequence[Event], place: Path, until: int, ranking: Ranking) -> None:
    """The ledger up to event `until`, at which `ranking` stands."""
    with Ledger.open(place) as ledger:
        for event in all_of:
            if event.seq < until:
                ledger.append(event.kind, event.key, event.plain())
        ledger.append("ranked", key_of(ranking.asked, ranking.outcomes), ranking)


def test_the_reports_tell_how_much_weight_people_had_in_it(loop: Loop) -> None:
    _, ranking = the_ranking(facts(loop))
    weight = ranking.contenders[-1].weight
    sentence = f"The critic put 2 changes in order in 1 round, 0 of them by chance; people's weight in it was {weight:.2f} to {weight:.2f}, last {weight:.2f}"
    assert sentence in call(loop, "report", "--format", "html", "--out", "-").replace("&#x27;", "'")
    (told,) = json.loads(call(loop, "report", "--format", "json", "--out", "-"))["rankings"]
    assert [one["decision"] for one in told["contenders"]] == list(ranking.order)
    assert [one["value"] for one in told["contenders"]] == [one.value for one in ranking.contenders]
