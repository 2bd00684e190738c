"""Refused decisions, interrupted rounds and changed plans let no promotion count that should not, and spend no share of the error twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agents.actions import ACTS, Place, Refused, refusal
from agents.champions import Champion, Terms, first_keys, own, seeds_of, terms_of
from agents.council import Council
from agents.deciders.qae import Qae
from agents.deciders.refactor import Refactor
from agents.events import Event
from agents.standing import Standing
from agents.worktree import Branches
from bench.events import Effect, Started, attempt_key
from bench.ledger import Ledger
from plan.decision import Action, Bout, Candidate, Decision, Opinion, Stance
from plan.grammar import parse
from plan.nouns import Cost, Request, Run, Status
from plan.wire import plain
from tests.agents.duelling import git

PLAN = """# Plan: two tasks of one kind

- **benchmark**: `flops-v1`
- **module**: `transformer`
- **seeds**: 2
- **gate**: off
- **improve**: tune
- **trials**: 60

## one: too wide

| metric       |    | threshold | rule       |
| ------------ | -- | --------: | ---------- |
| `parameters` | <= | 8000      | every seed |

```toml config
d_model = 16
heads = 2
```

## two: too wide as well

| metric       |    | threshold | rule       |
| ------------ | -- | --------: | ---------- |
| `parameters` | <= | 8000      | every seed |

```toml config
d_model = 16
heads = 4
```
"""
CONFIGS = {"one": {"d_model": 16, "heads": 2}, "two": {"d_model": 16, "heads": 4}}


@dataclass
class Scene:
    """A ledger in which both tasks were measured and fail."""

    ledger: Ledger
    folder: Path
    said: list[Event]
    numbers: Callable[[Request], dict[str, float]] = lambda request: {"parameters": 9000.0}

    def stand(self, text: str = PLAN, *, only: tuple[str, ...] = ()) -> Place:
        """As a session on this plan begins."""
        standing = Standing(parse(text), self.ledger, only=only)
        standing.refresh()
        for job in standing.jobs:
            begun = Started(tasks=job.tasks, request=job.request, identity=job.identity.parts)
            if self.ledger.append("started", attempt_key(job.key, 1), begun):
                run = Run(
                    key=job.key, request=job.request, status=Status.OK, metrics=self.numbers(job.request), cost=Cost(seconds=1.0)
                )
                self.ledger.append("run", attempt_key(job.key, 1), run)
        standing.refresh()
        standing.judge()
        return Place(ledger=self.ledger, standing=standing, work=self.folder / "work", _why="this test has no repository")

    def council(self, place: Place, *deciders: str) -> Council:
        """Which decides there."""
        found = Council(place.standing, self.ledger, work=place.work, watch=self.said.append, deciders=deciders)
        found.place = place
        return found

    def decide(self, place: Place, id: str, task: str = "one", **changes: Any) -> Decision:
        """A decision that every guard allows, written down."""
        evidence = tuple(run.id for run in place.standing.runs_by_task()[task])
        candidate = Candidate(module="transformer", config={**CONFIGS[task], "ffn_multiple": 1.0, **changes})
        decision = Decision(
            id=id, decider="x", action=Action(kind="tune", task=task, details=candidate.details), evidence=evidence, expected=0.0, expects="", why="",
        )  # fmt: skip
        self.ledger.append("decision", id, decision)
        place.standing.take_in()
        return decision

    def begin(self, place: Place, decision: Decision) -> int:
        """Its duel begins; the share it may spend."""
        ACTS["tune"].apply(decision, place)
        place.standing.refresh()
        terms = terms_of(place.standing.facts.cases[decision.id])
        assert terms is not None
        return terms.k

    def block(self, place: Place, decision: Decision) -> None:
        """It turns out that it cannot be carried out."""
        opinion = Opinion(guard="actions", decision=decision.id, stance=Stance.BLOCK, clause="c", why="w")
        self.ledger.append("opinion", f"{decision.id}/actions", opinion)
        place.standing.refresh()

    def win(self, place: Place, decision: Decision, *, champion: str = "") -> None:
        """It fights the champion that the decision `champion` made, and wins."""
        standing, task = place.standing, place.standing.plan.task(decision.action.task)
        other = own(task) if not champion else Champion(candidate=self.candidate(place, champion), decision=champion)
        k = standing.facts.next_duel
        challenger = Champion(candidate=Candidate.of(decision.action.details), decision=decision.id)
        keys = first_keys(other, challenger, task, k=k, identify=standing.identifier.identify)
        terms = Terms(k=k, champion=champion, keys=keys, metric="parameters", better="less", most=12)
        self.ledger.append("applied", decision.id, Effect(details=plain(terms)))
        self.ledger.append("duel", decision.id, Bout(answer="promote", why="it won"))
        standing.refresh()
        standing.judge()

    def candidate(self, place: Place, decision: str) -> Candidate:
        """That the decision names."""
        return Candidate.of(place.standing.facts.cases[decision].decision.action.details)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        yield Scene(ledger=ledger, folder=tmp_path, said=[])


def test_no_two_duels_ever_share_a_part_of_the_error_or_their_seeds_whoever_was_refused_between_them(scene: Scene) -> None:
    both = scene.stand()
    refused, other = scene.decide(both, "d1", "one"), scene.decide(both, "d2", "two")
    first = scene.begin(scene.stand(only=("two",)), other)
    both = scene.stand()
    scene.block(both, refused)
    second = scene.begin(both, scene.decide(both, "d3", "one", heads=4))
    assert first != second
    assert not {*zip(range(1000), seeds_of(first), strict=False)} & {*zip(range(1000), seeds_of(second), strict=False)}


def test_a_decision_that_was_refused_and_is_proposed_again_is_tried_once_nothing_stands_in_its_way(scene: Scene) -> None:
    place = scene.stand()
    decision = scene.decide(place, "d1")
    scene.block(place, decision)
    assert not place.standing.facts.cases["d1"].duel
    council = scene.council(place, "first-candidate")
    council.deciders = {"stubborn": Stubborn(decision)}
    council.decide()
    case = place.standing.facts.cases["d1"]
    assert [opinion.stance for opinion in case.opinions if opinion.guard == "actions"] == [Stance.ALLOW]
    place.standing.refresh()
    assert [duel.id for duel in place.standing.trials.duels] == ["d1"]


class Stubborn:
    """Proposes the same again and again."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision

    def ask(self, situation: object) -> list[Decision]:
        return [self.decision]

    def tell(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("improve", "named"), [("tune", Qae), ("tune, refactor", Refactor)])
def test_who_was_killed_before_carrying_out_what_it_had_written_down_decides_the_same_again(
    scene: Scene, improve: str, named: type[Qae] | type[Refactor]
) -> None:
    """One counts the trials that were decided, the other draws by how many decisions there were; some ask what was tried."""
    place = scene.stand(PLAN.replace("improve**: tune", f"improve**: {improve}"))
    before = place.standing.situation()
    asked = list(named().ask(before))
    assert asked
    for decision in [*asked, scene.decide(place, "d0", "two")]:
        scene.ledger.append("decision", decision.id, decision)
    place.standing.refresh()
    after = place.standing.situation()
    assert (after.decisions, after.tried) == (before.decisions, before.tried)
    assert list(named().ask(after)) == asked


@pytest.mark.parametrize("change", [("- **improve**: tune\n- **trials**: 60\n", ""), ("improve**: tune", "improve**: refactor")])
def test_what_an_interrupted_round_left_over_is_not_carried_out_where_the_plan_allows_it_no_more(
    scene: Scene, change: tuple[str, str]
) -> None:
    place = scene.stand()
    first, left = scene.decide(place, "d1", "one"), scene.decide(place, "d2", "two")
    scene.begin(place, first)
    changed = scene.stand(PLAN.replace(*change))
    scene.council(changed, "first-candidate").decide()
    case = changed.standing.facts.cases[left.id]
    assert case.applied is None
    assert [opinion.stance for opinion in case.opinions] == [Stance.BLOCK]
    whole = scene.stand()
    assert whole.standing.facts.cases["d1"].applied


def test_what_an_interrupted_round_left_over_is_carried_out_but_never_beside_another_duel_of_its_task(scene: Scene) -> None:
    place = scene.stand()
    scene.decide(place, "d1", "two")
    scene.decide(place, "d2", "one")
    scene.decide(place, "d3", "one", heads=4)
    scene.begin(place, scene.decide(place, "d0", "one", ffn_multiple=2.0))
    council = scene.council(place, "first-candidate")
    council.deciders = {}
    while council.decide():
        place.standing.refresh()
    began = [id for id, case in place.standing.facts.cases.items() if case.applied]
    assert began == ["d1", "d0"]


@pytest.mark.parametrize(
    ("change", "stands"),
    [
        (lambda text: text.replace("8000 ", "7000 ", 1), True),
        (lambda text: text.replace("| `parameters` | <= | 8000 ", "| `parameters` | >= | 8000 ", 1), False),
        (lambda text: text.replace("| `parameters` | <= | 8000 ", "| `train_flops` | <= | 8000 ", 1), False),
    ],
)  # fmt: skip
def test_a_champion_stands_only_while_the_plan_asks_for_what_it_was_better_at(
    scene: Scene, change: Callable[[str], str], stands: bool
) -> None:
    place = scene.stand()
    scene.win(place, scene.decide(place, "d1"))
    assert place.standing.reigns["one"].champion.decision == "d1"
    changed = change(PLAN)
    assert changed != PLAN
    assert scene.stand(changed).standing.reigns["one"].champion.decision == ("d1" if stands else "")
    assert scene.stand().standing.reigns["one"].champion.decision == "d1"


def test_champions_follow_each_other_in_the_order_of_their_victories_and_none_gets_the_share_of_another(scene: Scene) -> None:
    place = scene.stand()
    later, sooner = scene.decide(place, "d1"), scene.decide(place, "d2", heads=4)
    scene.win(place, sooner)
    assert place.standing.facts.verdict_share("one", "d2") == 1 / 2
    scene.win(place, later, champion="d2")
    assert [champion.decision for champion in place.standing.reigns["one"].chain] == ["", "d2", "d1"]
    assert [place.standing.facts.verdict_share("one", id) for id in ("d2", "d1")] == [1 / 2, 1 / 6]


def test_a_champion_that_costs_another_target_is_taken_back_also_where_nothing_but_tuning_is_allowed(scene: Scene) -> None:
    """It won on the target that fails, fails it still, and misses the other one now."""
    two = PLAN.replace(
        "| `parameters` | <= | 8000      | every seed |",
        "| `parameters` | <= | 8000 | every seed |\n| `train_flops` | >= | 100 | mean |",
        1,
    )
    scene.numbers = lambda request: (
        {"parameters": 8500.0, "train_flops": 50.0}
        if "ffn_multiple" in request.config
        else {"parameters": 9000.0, "train_flops": 100.0}
    )
    place = scene.stand(two)
    scene.win(place, scene.decide(place, "d1"))
    assert all(one.action.task != "one" for one in Qae().ask(place.standing.situation())), "its runs are not in yet"
    now = scene.stand(two).standing.situation()
    (asked,) = [one for one in Qae().ask(now) if one.action.task == "one"]
    assert (asked.action.kind, asked.action.details) == ("rollback", {"decision": "d1"})
    assert refusal(asked, now, place) is None


def test_nothing_is_tried_where_the_seeds_of_verdicts_reach_those_of_trials_and_duels(scene: Scene) -> None:
    place = scene.stand()
    decision = scene.decide(place, "d1")
    assert refusal(decision, place.standing.situation(), place) is None
    wide = Standing(parse(PLAN.replace("- **seeds**: 2", "- **seeds**: 2, up to 1001")), scene.ledger)
    wide.refresh()
    wide.judge()
    said = refusal(decision, wide.situation(), Place(ledger=scene.ledger, standing=wide, work=place.work, _why="none here"))
    assert said is not None
    assert "seeds reach beyond 999" in said.why


def test_a_candidate_that_cannot_be_read_leaves_no_branch(scene: Scene, tmp_path: Path) -> None:
    house = tmp_path / "house"
    for package in ("modules", "kernels"):
        (house / package).mkdir(parents=True)
        (house / package / "__init__.py").write_text("")
    git(house, "init", "--quiet", "--initial-branch=main")
    git(house, "add", ".")
    git(house, "-c", "user.name=Somebody", "-c", "user.email=some@body", "commit", "--quiet", "-m", "The house")
    place = scene.stand()
    place._branches, place._why = Branches(place.work, house=house), None
    decision = scene.decide(place, "d1")
    strange = Action(kind="tune", task="one", details={**decision.action.details, "module": "no-such-module"})
    unreadable = Decision(id="d2", decider="x", action=strange, evidence=(), expected=0.0, expects="", why="")
    scene.ledger.append("decision", "d2", unreadable)
    place.standing.refresh()
    place.standing.judge()
    with pytest.raises(Refused, match="cannot be read"):
        ACTS["tune"].apply(unreadable, place)
    assert git(house, "branch", "--list", "touchstone-*/**") == ""
    ACTS["tune"].apply(decision, place)
    assert git(house, "branch", "--list", "touchstone-*/**").strip().endswith("/one/d1")
