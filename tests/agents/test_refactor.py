"""The decider `refactor` learns which kind of change mends what fails, and its table is nothing but a fold of what is on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

pytest.importorskip("gymnasium", reason="the replayed loop names its environment")

from agents.candidates import untried
from agents.deciders.refactor import EPSILON, NOTE, Refactor, shares, steps
from agents.learning import replay
from agents.learning.lore import Lore, change
from agents.learning.replay import Grid
from agents.learning.simulation import Simulation
from agents.learning.view import measured_elsewhere, seen
from agents.trials import SEEDS, TRIAL
from alignment.checks.terms import NOTE as NOTES
from alignment.checks.terms import TERMS
from envs.changes import COST, State
from plan import grammar
from plan.decision import IMPROVING, Candidate, Decider, Decision, Situation
from plan.nouns import Plan

GRID = Grid.read()
PLAN = grammar.read(replay.PLAN)


def of(*tasks: str) -> Plan:
    return replace(PLAN, tasks=tuple(task for task in PLAN.tasks if task.id in tasks))


class Anew:
    """A decider that forgets everything between two questions, as one that is killed does."""

    def __init__(self) -> None:
        self.situations: list[Situation] = []
        self.answers: list[Sequence[Decision]] = []

    def ask(self, situation: Situation) -> Sequence[Decision]:
        self.situations.append(situation)
        self.answers.append(Refactor(GRID.untried).ask(situation))
        return self.answers[-1]

    def tell(self, *_: object) -> None:
        pass


def simulated(decider: Decider, *tasks: str, seed: int = 0, trials: int | None = None) -> Simulation:
    simulation = Simulation(of(*tasks), GRID, decider, seed=seed, trials=trials)
    simulation.run()
    return simulation


def test_a_resumed_agent_decides_as_one_that_was_never_interrupted_and_a_replay_is_the_same_bit_for_bit() -> None:
    tasks = ("short", "naive-scan", "overgrown")
    whole, anew = Refactor(GRID.untried), Anew()
    once, again = simulated(whole, *tasks), simulated(anew, *tasks)
    assert once.decisions == again.decisions
    assert len(once.decisions) > 9
    assert [Refactor(GRID.untried).ask(situation) for situation in anew.situations] == anew.answers


def test_the_table_is_the_fold_of_what_is_on_record() -> None:
    agent = Refactor(GRID.untried)
    simulation = simulated(agent, "blunt", "slow")
    situation = simulation.situation()
    views = {task.id: view for task in situation.plan.tasks if (view := seen(task, situation, GRID.untried))}
    folded = Refactor(GRID.untried)
    for step in steps(situation, views):
        folded.update(step.state, step.move, step.reward, step.after)
    agent.ask(situation)
    assert agent.table.values == folded.table.values
    assert any(step.reward > 0 and step.after is None for step in steps(situation, views))
    assert any(step.reward == pytest.approx(-COST) for step in steps(situation, views))


def test_nothing_is_tried_anew_that_fought_or_missed_its_target_and_trials_keep_to_their_seeds() -> None:
    simulation = simulated(Refactor(GRID.untried), *(task.id for task in PLAN.tasks), seed=3)
    for id, work in simulation.work.items():
        mine = [one for one in simulation.decisions if one.action.task == id]
        fights = [repr(Candidate.of(one.action.details)) for one in mine if one.action.kind in IMPROVING]
        trials = [
            Candidate.of(one)
            for decision in mine
            if decision.action.kind == TRIAL
            for one in decision.action.details["candidates"]
        ]
        assert len(fights) == len(set(fights))
        assert all(trials.count(candidate) <= 2 for candidate in trials)
        assert all(seed in SEEDS for one in mine if one.action.kind == TRIAL for seed in one.action.details["seeds"])
        assert work.first_pass is not None, id


def test_a_decision_names_its_evidence_and_the_value_that_its_table_gave_it() -> None:
    anew = Anew()
    simulated(anew, "naive-delta", "lean")
    chosen = [
        (situation, one)
        for situation, said in zip(anew.situations, anew.answers, strict=True)
        for one in said
        if "note" in one.action.details
    ]
    assert chosen
    for situation, decision in chosen:
        known = {run.id for runs in (situation.runs, situation.trials) for run in runs[decision.action.task]}
        assert known == set(decision.evidence)
        agent = Refactor(GRID.untried)
        agent.ask(situation)
        note = decision.action.details["note"]
        found = NOTE.search(note)
        assert found
        assert decision.expected == agent.table.value(State.of(found["state"]), note.rpartition(": ")[2])


def test_it_says_nothing_but_what_the_constitution_lets_an_action_of_its_kind_say() -> None:
    asked = [one for task in ("timid", "trim") for one in simulated(Refactor(GRID.untried), task).decisions]
    assert {one.action.kind for one in asked} >= {TRIAL, "tune", "replace", "rollback"}
    assert all(set(one.action.details) <= TERMS[one.action.kind] | {NOTES} for one in asked)


def test_what_is_drawn_follows_from_what_the_decision_rests_on_and_is_drawn_as_often_as_epsilon_says() -> None:
    agent, state, n = Refactor(), State("far", "speed", "untried", "plenty", "fresh", "fresh", "fresh"), 4000
    drawn = [agent.select_action(state, rests_on=str(number)) for number in range(n)]
    assert drawn == [agent.select_action(state, rests_on=str(number)) for number in range(n)]
    assert sum(was for _, was in drawn) / n == pytest.approx(EPSILON, abs=4 * (EPSILON * (1 - EPSILON) / n) ** 0.5)
    assert {move for move, was in drawn if not was} == {"refactor"}
    assert {move for move, was in drawn if was} == {"tune", "refactor", "replace"}


def test_what_brought_it_nearer_is_tried_further_before_anything_else_of_its_kind() -> None:
    simulation = simulated(Refactor(GRID.untried), "timid")
    rates = [
        Candidate.of(details).config.get("recipe", {}).get("lr", 0.004)
        for one in simulation.decisions
        if one.action.kind == TRIAL
        for details in one.action.details["candidates"]
        if Candidate.of(details).module == "transformer"
    ]
    assert simulation.work["timid"].first_pass is not None
    assert rates[-1] == 0.016
    assert len(rates) < 8


def modules_tried(simulation: Simulation) -> list[str]:
    trials = [one for one in simulation.decisions if one.action.kind == TRIAL]
    return [Candidate.of(details).module for one in trials for details in one.action.details["candidates"]]


def test_a_module_that_helped_another_task_is_tried_first_and_one_that_hurt_it_last() -> None:
    lore = Lore()
    for module, share in (("attention", -1.0), ("rwkv4", 1.0), ("delta_net", 0.0)):
        lore.learn(("val_bpb", "replace", module), share)
    untaught, taught = (simulated(Refactor(GRID.untried, lore=one), "lean") for one in (None, lore))
    assert modules_tried(untaught)[0] == "attention"
    assert modules_tried(taught)[0] == "rwkv4"
    assert "attention" not in modules_tried(taught)


def test_what_a_candidate_measured_for_one_task_is_known_to_another_on_the_same_terms_and_both_do_not_try_the_same_at_once() -> (
    None
):
    simulation = simulated(Refactor(GRID.untried), "lean", "trim")
    trials = [one for one in simulation.decisions if one.action.kind == TRIAL]
    first = {task: next(one for one in trials if one.action.task == task) for task in ("lean", "trim")}
    assert len({first[task].action.details["candidates"][0]["module"] for task in first}) == 2
    together = len(trials)
    assert together < sum(len([one for one in simulated(Refactor(GRID.untried), task).decisions if one.action.kind == TRIAL]) for task in first)  # fmt: skip
    known = measured_elsewhere(PLAN.task("lean"), simulation.situation())
    assert len(known) == len({repr(run.request.config) + run.request.module for run in simulation.work["trim"].trials})
    assert measured_elsewhere(replace(PLAN.task("lean"), data="other.txt"), simulation.situation()) == {}


def test_what_is_learnt_of_changes_is_folded_from_first_trials_and_their_shares_of_the_shortfall() -> None:
    agent = Refactor(GRID.untried)
    simulation = simulated(agent, "timid", "lean")
    situation = simulation.situation()
    views = {task.id: view for task in situation.plan.tasks if (view := seen(task, situation, GRID.untried))}
    found = list(shares(situation, views))
    tried = {(id, repr(run.request.module), repr(run.request.config)) for id, runs in situation.trials.items() for run in runs}
    assert len(found) == len(tried)
    assert ("val_bpb", "tune", "recipe.lr", "default") in {change for change, _ in found}
    met = [share for change, share in found if change == ("val_bpb", "tune", "recipe.lr", "x16")]
    assert met == [1.0]
    n, total = agent.learnt(situation, views)[1].seen["val_bpb", "replace"]
    replaced = [max(-1.0, min(1.0, share)) for change, share in found if change[1] == "replace"]
    assert n == len(replaced) > 0
    assert total == pytest.approx(sum(replaced))


def test_a_change_seen_once_is_believed_in_half_and_one_never_seen_is_as_its_kind() -> None:
    lore = Lore()
    for share in (0.0, 0.0, 0.0):
        lore.learn(("bits", "replace", "a"), share)
    lore.learn(("bits", "replace", "b"), 1.0)
    kind = 0.25
    assert lore.hope(("bits", "replace", "b")) == pytest.approx((1 + kind) / 2 - kind)
    assert lore.hope(("bits", "replace", "a")) == pytest.approx(kind / 4 - kind)
    assert lore.hope(("bits", "replace", "c")) == lore.hope(("size", "replace", "b")) == 0.0
    for _ in range(200):
        lore.learn(("bits", "replace", "b"), 1.0)
    assert lore.hope(("bits", "replace", "b")) == pytest.approx(3 / 204, abs=0.01)


def test_a_change_is_told_in_words_that_mean_the_same_on_another_task() -> None:
    own = Candidate(module="m", config={"path": "torch", "recipe": {"lr": 0.001}})
    told = {
        "x4": Candidate(module="m", config={"path": "torch", "recipe": {"lr": 0.00401}}),
        "default": Candidate(module="m", config={"path": "torch"}),
        "'auto'": Candidate(module="m", config={"path": "auto", "recipe": {"lr": 0.001}}),
    }
    for word, candidate in told.items():
        assert change("bits", "tune", own, candidate)[-1] == word
    assert change("bits", "replace", own, Candidate(module="n")) == ("bits", "replace", "n")


def test_a_task_whose_budget_a_duel_would_exceed_settles_or_stops() -> None:
    simulation = simulated(Refactor(GRID.untried), "short", trials=13)
    assert [one.action.kind for one in simulation.decisions] == ["stop"]


def test_tasks_that_allow_nothing_but_tuning_are_left_to_the_search_over_configs() -> None:
    plan = of("short")
    only = replace(plan, tasks=(replace(plan.tasks[0], improve=("tune",)),))
    assert Refactor().ask(Simulation(only, GRID, Refactor(), seed=0, trials=80).situation()) == []


def test_the_default_candidates_are_those_of_the_shelves() -> None:
    situation = Simulation(of("naive-scan"), GRID, Refactor(), seed=0, trials=80).situation()
    view = seen(situation.plan.tasks[0], situation)
    assert view is not None
    assert [arm.candidate for arm in view.arms if arm.kind == "refactor"] == list(untried(view.task, "refactor", situation))
