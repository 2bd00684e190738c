"""The refactor agent's environment: Gymnasium's own contract, what a try costs and brings, and learners against the exact optimum."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="environments need Gymnasium")

from agents.learning.fitted import Fitted, Policy  # noqa: E402
from agents.learning.proof import taught  # noqa: E402
from agents.learning.tabular import QTable, Step, place  # noqa: E402
from envs.changes import COST, MISSED, Aim, State, reward, states  # noqa: E402
from plan import catalogue  # noqa: E402
from plan.decision import Action, Candidate  # noqa: E402
from plan.nouns import Comparator, Request, Run, Status  # noqa: E402

BITS = Aim(metric="bits", comparator=Comparator.LE, threshold=5.0)
SIZE = Aim(metric="size", comparator=Comparator.LE, threshold=100.0, asks="speed")
OWN = Candidate(module="own")
NUMBERS: Mapping[str, tuple[float, float]] = {
    "own": (8.0, 50.0),
    "better": (6.0, 50.0),
    "mended": (4.0, 50.0),
    "large": (4.0, 130.0),
    "worse": (9.0, 50.0),
}


def measured(action: Action) -> Run:
    """Every candidate always measures the same; one that is not known brings no number."""
    name = str(action.details["module"])
    request = Request(module=name, benchmark="b", seed=0)
    if name not in NUMBERS:
        return Run(key="0" * 64, request=request, status=Status.CRASHED)
    bits, size = NUMBERS[name]
    return Run(key="0" * 64, request=request, status=Status.OK, metrics={"bits": bits, "size": size})


def made(
    *, trials: int = 10, tune: str = "worse better mended", replace: str = "large", aims: tuple[Aim, ...] = (BITS, SIZE)
) -> gymnasium.Env:
    candidates = {
        "tune": [Candidate(module=name) for name in tune.split()],
        "replace": [Candidate(module=name) for name in replace.split()],
    }
    return catalogue.load("env", "refactor")(measured, task="a", own=OWN, aims=aims, candidates=candidates, trials=trials)


def did(env: gymnasium.Env, *moves: str) -> list[tuple[float, bool, bool]]:
    env.reset(seed=0)
    return [tuple(env.step(np.int64(place(move)))[1:4]) for move in moves]


def test_gymnasiums_checker_accepts_the_environment() -> None:
    from gymnasium.utils.env_checker import check_env

    check_env(made(), skip_render_check=True)


def test_a_try_costs_a_measurement_and_what_meets_the_target_twice_becomes_champion() -> None:
    env = made()
    worse, better, mended = did(env, "tune", "tune", "tune")
    assert worse == better == (pytest.approx(-COST), False, False)
    assert mended == (pytest.approx(MISSED + 3 / 5 - 2 * COST), True, False)
    assert (env.champion, env.used) == (Candidate(module="mended"), 4)


def test_stop_settles_for_the_nearest_and_leaves_the_champion_where_nothing_was_nearer() -> None:
    env = made()
    assert did(env, "tune", "tune", "stop")[2] == (pytest.approx((8.0 - 6.0) / 5), True, False)
    assert env.champion == Candidate(module="better")
    assert did(env, "tune", "stop")[1] == (0.0, True, False)
    assert env.champion == OWN


def test_what_wins_on_one_target_and_loses_more_on_another_is_not_made_champion() -> None:
    env = made(tune="large", aims=(Aim(metric="bits", comparator=Comparator.LE, threshold=7.9), SIZE))
    did(env, "tune")
    assert (env.champion, env.used) == (OWN, 1)


def test_a_champion_whose_verdict_is_worse_than_the_former_ones_is_taken_back_by_a_rollback() -> None:
    answers = iter([(8.0, 50.0), (4.0, 50.0), (4.0, 50.0), (8.9, 50.0)])

    def unlucky(action: Action) -> Run:
        bits, size = next(answers)
        return Run(
            key="0" * 64,
            request=Request(module="m", benchmark="b", seed=0),
            status=Status.OK,
            metrics={"bits": bits, "size": size},
        )

    env = catalogue.load("env", "refactor")(
        unlucky, task="a", own=OWN, aims=(BITS, SIZE), candidates={"tune": [Candidate(module="lucky"), OWN]}
    )
    env.reset(seed=0)
    _, cost, *_ = env.step(np.int64(place("tune")))
    assert cost == pytest.approx((8.0 - 8.9) / 5 - 2 * COST)
    assert "rollback" in env.state.moves
    _, back, *_ = env.step(np.int64(place("rollback")))
    assert (back, env.champion, env.state.fell) == (pytest.approx(0.9 / 5), OWN, "no")


def test_a_move_that_is_not_possible_costs_and_changes_nothing_and_trials_run_out() -> None:
    env = made(trials=2)
    first, second = did(env, "rollback", "refactor")
    assert first == (pytest.approx(-COST), False, False)
    assert second == (pytest.approx(-COST), False, True)


def test_a_candidate_without_a_number_falls_short_as_far_as_can_be() -> None:
    assert BITS.shortfall(measured(Action(kind="tune", task="a", details={"module": "unknown"}))) == 1.0


def test_states_can_be_read_back_from_their_words_and_no_two_share_an_index() -> None:
    every = list(states())
    assert [State.of(one.text) for one in every] == every
    assert len({one.index for one in every}) == len(every) == 4 * 2 * 3 * 2 * 27 * 2
    with pytest.raises(ValueError, match="one word each"):
        State.of("far away")


def chain(seed: int, *, size: int = 12) -> Fitted:
    """A small decision process with random outcomes, in which a long way may pay."""
    draw = random.Random(seed)
    some = draw.sample([one for one in states() if len(one.moves) > 2], size)
    steps = [
        Step(state, move, draw.choice([-0.1, 0.0, 0.1, 0.5]), draw.choice([*some, None, None]))
        for state in some
        for move in state.moves
        for _ in range(3)
    ]
    return Fitted(steps, some[:3])


@pytest.mark.parametrize("seed", range(3))
def test_the_exact_solution_is_what_plain_value_iteration_converges_to(seed: int) -> None:
    process = chain(seed)
    best, values = process.solve()
    iterated = dict.fromkeys(process.states, 0.0)
    for _ in range(600):
        iterated = {
            state: max(
                sum(one.chance * (one.reward + process.gamma * iterated.get(one.after, 0.0)) for one in outcomes)
                for outcomes in process.outcomes[state].values()
            )
            for state in process.states
        }
    assert values == pytest.approx([iterated[state] for state in process.states], abs=1e-9)
    assert process.regret(lambda state: {best[state]: 1.0}) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_no_policy_beats_the_exact_solution_and_its_value_is_that_of_many_episodes(seed: int) -> None:
    process, draw = chain(seed), random.Random(seed)
    policy: Policy = lambda state: dict.fromkeys(process.moves(state), 1.0)  # noqa: E731
    assert process.regret(policy) > 0
    total = 0.0
    for _ in range(3000):
        state, weight = draw.choices(list(process.starts), weights=list(process.starts.values()))[0], 1.0
        while state in process.outcomes and weight > 1e-3:
            outcome = process.sample(state, draw.choice(process.moves(state)), draw)
            total, weight, state = total + weight * outcome.reward, weight * process.gamma, outcome.after
    assert total / 3000 == pytest.approx(process.begun(process.value(policy)), abs=0.06)


@pytest.mark.parametrize("seed", range(3))
def test_q_learning_converges_to_the_exact_solution(seed: int) -> None:
    process = chain(seed, size=6)
    table = taught(process, steps=40_000, epsilon=0.5, seed=seed)
    worst = process.regret(lambda state: dict.fromkeys(process.moves(state), 1.0))
    assert process.regret(lambda state: {table.greedy(state, process.moves(state)): 1.0}) < 0.02 * worst


def test_exploration_draws_every_move_alike_and_as_often_as_epsilon_says() -> None:
    state = State("far", "quality", "untried", "plenty", "fresh", "fresh", "fresh")
    table, draw, n = QTable(), random.Random(1), 20_000
    found = [table.select_action(state, epsilon=0.3, draw=draw) for _ in range(n)]
    assert sum(drawn for _, drawn in found) / n == pytest.approx(0.3, abs=4 * (0.21 / n) ** 0.5)
    for move in state.moves:
        share = 0.3 / len(state.moves) + (0.7 if move == table.greedy(state) else 0.0)
        assert sum(one == move for one, _ in found) / n == pytest.approx(share, abs=4 * (share * (1 - share) / n) ** 0.5)


def test_a_reward_is_the_shortfall_that_went_net_of_what_it_took() -> None:
    assert reward(0.5, 0.1, measurements=3) == pytest.approx(0.4 - 3 * COST)
