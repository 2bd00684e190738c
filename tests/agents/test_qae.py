"""The decider `qae` tries what may meet the target, nominates what does, and needs no memory but the situation."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.candidates import untried
from agents.deciders.qae import Qae
from agents.search.race import Race
from agents.trials import SEEDS
from plan.decision import Candidate, Decision, Situation, Tried
from plan.nouns import Comparator, Plan, Request, Rule, RuleKind, Run, Search, State, Status, Target, Task, Threshold, Verdict
from tests.agents.duelling import copied_house, duelling
from tests.agents.duelling import plan as improvable
from tests.agents.loop import facts

CONFIG = {"d_model": 32, "heads": 2, "recipe": {"lr": 1e-6, "batch": 4}}
TARGET = Target(metric="val_bpb", comparator=Comparator.LE, threshold=Threshold(value=3.0), rule=Rule(kind=RuleKind.MEAN))
TASK = Task(
    id="a", title="", module="retnet", benchmark="bytes-stdlib-v1", targets=(TARGET,), config=CONFIG, improve=("tune",), trials=80
)


Score = Callable[[Candidate, int], float | None]


def measured(candidate: Candidate, seed: int, value: float | None) -> Run:
    request = Request(module=candidate.module, benchmark=TASK.benchmark, seed=seed, config=candidate.config)
    key = f"{abs(hash((repr(candidate), seed))):016x}"
    if value is None:
        return Run(key=key, request=request, status=Status.CRASHED)
    return Run(key=key, request=request, status=Status.OK, metrics={"val_bpb": value})


def situation(task: Task = TASK, *, left: int = 80, state: State = State.FAIL) -> Situation:
    own = Candidate(module=task.module, config=task.config)
    verdict = Verdict(task="a", target=TARGET, state=state, n=3, value=4.0, threshold=3.0, margin=-1 / 3)
    return Situation(
        plan=Plan(title="", tasks=(task,), path="", source="", digest=""),
        verdicts=(verdict,),
        runs={"a": tuple(measured(own, seed, 4.0) for seed in range(3))},
        seeds={"a": 3},
        champions={"a": own},
        trials_left={"a": left},
    )


def played(now: Situation, score: Score, *, rounds: int = 60) -> tuple[list[Decision], Situation]:
    """Decisions until a duel is asked for or nothing is, each carried out at once, by a decider that is new every time."""
    made: list[Decision] = []
    for _ in range(rounds):
        asked = Qae().ask(now)
        if not asked:
            break
        made += asked
        if asked[0].action.kind != "trial":
            break
        details = asked[0].action.details
        pairs = [(Candidate.of(one), seed) for seed in details["seeds"] for one in details["candidates"]]
        runs = tuple(measured(candidate, seed, score(candidate, seed)) for candidate, seed in pairs)
        now = replace(
            now,
            trials={"a": (*now.trials.get("a", ()), *runs)},
            trials_left={"a": now.trials_left["a"] - len(runs)},
            decisions=(*now.decisions, *asked),
        )
    return made, now


def rate(candidate: Candidate) -> float:
    return float(candidate.config.get("recipe", {}).get("lr", 1e-3))


def test_the_candidate_that_meets_the_target_is_nominated_after_two_successes() -> None:
    made, now = played(situation(), lambda candidate, seed: 2.5 if rate(candidate) >= 1e-3 else 3.9)
    assert made[-1].action.kind == "tune"
    assert rate(Candidate.of(made[-1].action.details)) >= 1e-3
    assert len(now.trials["a"]) <= 8
    assert "met `a::val_bpb` in 2 of 2 trials" in made[-1].why
    assert made[-1].expected > 0.9


def test_trials_have_the_seeds_of_trials_each_once_and_no_candidate_twice_in_a_wave() -> None:
    made, _ = played(situation(), lambda candidate, seed: 3.5 + random.Random(f"{candidate}{seed}").random())
    seeds = [seed for one in made if one.action.kind == "trial" for seed in one.action.details["seeds"]]
    assert seeds == list(range(SEEDS.start, SEEDS.start + len(seeds)))
    for one in made:
        names = [repr(candidate) for candidate in one.action.details.get("candidates", ())]
        assert len(set(names)) == len(names)


def test_one_lucky_success_is_not_enough() -> None:
    lucky: list[Candidate] = []

    def score(candidate: Candidate, seed: int) -> float:
        if not lucky:
            lucky.append(candidate)
            return 2.9
        return 3.9 if candidate in lucky else 3.5

    made, now = played(situation(), score)
    tried = [run for run in now.trials["a"] if run.request.config == lucky[0].config]
    assert len(tried) > 1
    assert made[-1].action.kind != "tune" or Candidate.of(made[-1].action.details) != lucky[0]


def test_where_none_meets_the_target_the_nearest_is_nominated_if_it_beats_the_champion() -> None:
    everything = untried(TASK, "tune", situation())
    best = everything[3]
    made, now = played(situation(left=200), lambda candidate, seed: 3.2 if candidate == best else 3.9)
    assert made[-1].action.kind == "tune"
    assert Candidate.of(made[-1].action.details) == best
    assert {repr(run.request.config) for run in now.trials["a"]} >= {repr(one.config) for one in everything}


def test_where_none_beats_the_champion_nothing_is_nominated() -> None:
    made, _ = played(situation(left=200), lambda candidate, seed: 4.5)
    assert {one.action.kind for one in made} == {"trial"}


def among(few: int, *, search: Search, left: int) -> tuple[Situation, tuple[Candidate, ...]]:
    """A situation in which all but `few` candidates have lost their duels before."""
    task = replace(TASK, search=search)
    now = situation(task, left=left)
    own = now.champions["a"]
    rest, lost = untried(task, "tune", now)[:few], untried(task, "tune", now)[few:]
    tried = tuple(Tried(decision=f"d{i}", kind="tune", task="a", candidate=one, champion=own) for i, one in enumerate(lost))
    return replace(now, tried=tried), rest


def now_and_then(rates: dict[int, float], candidates: tuple[Candidate, ...]) -> Score:
    """Meets the target at each candidate's rate, as its seed will have it."""
    return lambda one, seed: 2.9 if random.Random(f"{one}{seed}").random() < rates[candidates.index(one)] else 3.1


def test_a_plan_that_asks_for_the_best_gets_the_one_that_meets_the_target_most_often_and_pays_for_it() -> None:
    rates = {0: 0.6, 1: 0.3, 2: 1.0}
    for question in Search:
        now, candidates = among(3, search=question, left=400)
        made, after = played(now, now_and_then(rates, candidates), rounds=200)
        nominee = candidates.index(Candidate.of(made[-1].action.details))
        if question is Search.ANY:
            enough = len(after.trials["a"])
            assert "in 2 of 2 trials" in made[-1].why
        else:
            assert nominee == 2
            assert "the best at an error of 5 %" in made[-1].why
            assert len(after.trials["a"]) > 2 * enough


def test_the_best_is_settled_by_the_race_that_takes_each_candidates_outcomes_in_turn() -> None:
    """Two at a time and folded anew at every step, the decider ends where one race ends that is told every outcome at once."""
    now, candidates = among(3, search=Search.BEST, left=1000)
    score = now_and_then({0: 0.8, 1: 0.2, 2: 0.4}, candidates)
    made, after = played(now, score, rounds=400)
    outcomes = [
        [run.metrics["val_bpb"] < 3 for run in after.trials["a"] if run.request.config == one.config] for one in candidates
    ]
    race, turns = Race(3), [iter(one) for one in outcomes]
    while not race.answered:
        trial = race.ask()
        race.tell(trial, next(turns[trial.arm]))
    assert Candidate.of(made[-1].action.details) == candidates[race.chosen or 0]
    assert all(0 <= len(seen) - n <= 1 for seen, (_, n) in zip(outcomes, race.counts, strict=True)), "no more than one ahead"
    seeds = [seed for one in made if one.action.kind == "trial" for seed in one.action.details["seeds"]]
    assert seeds == list(range(SEEDS.start, SEEDS.start + len(seeds)))


def test_where_the_best_cannot_be_told_in_time_the_one_that_met_most_often_is_nominated_and_the_duel_can_be_paid() -> None:
    now, candidates = among(3, search=Search.BEST, left=40)
    made, after = played(now, now_and_then({0: 0.5, 1: 0.6, 2: 0.55}, candidates))
    assert "not yet told apart from the others" in made[-1].why
    assert after.trials_left["a"] >= 12
    nominee = candidates.index(Candidate.of(made[-1].action.details))
    runs = [[run.metrics["val_bpb"] < 3 for run in after.trials["a"] if run.request.config == one.config] for one in candidates]
    rates = [(sum(one) + 0.5) / (len(one) + 1) for one in runs]
    assert rates[nominee] == max(rates)


def test_the_best_of_none_that_meets_the_target_is_the_nearest() -> None:
    now, candidates = among(3, search=Search.BEST, left=200)
    made, _ = played(now, lambda one, seed: 3.2 if one == candidates[1] else 3.9)
    assert Candidate.of(made[-1].action.details) == candidates[1]


def test_a_candidate_that_breaks_is_worse_than_any_number() -> None:
    made, _ = played(situation(left=200), lambda candidate, seed: None)
    assert {one.action.kind for one in made} == {"trial"}


def test_what_is_left_suffices_for_the_duel_of_what_is_nominated() -> None:
    made, now = played(situation(left=20), lambda candidate, seed: 3.5)
    assert made[-1].action.kind == "tune"
    assert now.trials_left["a"] >= 12


@pytest.mark.parametrize(
    "now",
    [
        situation(replace(TASK, improve=("replace",))),
        situation(replace(TASK, improve=())),
        situation(left=0),
        situation(state=State.PASS),
        situation(state=State.UNSURE),
        situation(state=State.WAITING),
    ],
    ids=["tuning not asked for", "nothing may be tried", "nothing left", "passes", "unsure", "waits"],
)
def test_nothing_is_asked_for_where_there_is_nothing_to_tune(now: Situation) -> None:
    assert Qae().ask(now) == []


def test_a_decision_is_the_same_word_for_word_from_the_same_situation() -> None:
    _, now = played(situation(), lambda candidate, seed: 3.5, rounds=5)
    assert Qae().ask(now) == Qae().ask(now)
    assert Qae().ask(now)[0].id != Qae().ask(situation())[0].id


def test_every_decision_names_all_runs_it_rests_on() -> None:
    made, now = played(situation(), lambda candidate, seed: 3.5, rounds=4)
    assert set(Qae().ask(now)[0].evidence) == {run.id for run in (*now.runs["a"], *now.trials["a"])}
    assert len({one.id for one in made}) == len(made)


@pytest.mark.slow
def test_the_loop_tunes_a_module_that_misses_its_target(tmp_path: Path) -> None:
    """The real loop: trials, a nomination, a duel, and the target holds in the end. `python -m pytest -m slow tests/agents/test_qae.py`, 35 CPU-seconds."""
    loop = duelling(tmp_path, copied_house(tmp_path / "house"), improvable(improve="tune", trials=60))
    done = loop.run("--decider", "qae", "--decider", "more-seeds")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    cases = [case for case in facts(loop).cases.values() if case.decision.decider == "qae"]
    kinds = [case.decision.action.kind for case in cases]
    assert kinds[0] == "trial"
    assert kinds.count("tune") >= 1
    assert any(case.promoted for case in cases)


def test_the_search_is_loaded_only_where_something_is_tuned() -> None:
    code = (
        "import sys, agents.deciders.qae as qae\n"
        "before = [name for name in sys.modules if name.startswith('agents.search.')]\n"
        "qae.QAEHyperparamSearch\n"
        "print(before, 'agents.search.race' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    assert said == "[] True\n"
