"""What the refactor agent's learning is worth, on recorded measurements: `python -m agents.learning.proof [--seeds 10]`.

Every failing target of `plan/Improve.md` is worked on by each policy with the same number of measurements, under the rules of the loop. The agent
begins with a table learnt in the environment on all other modules' tasks and never saw the one it is judged on; `untrained` begins with the prior
of a fresh ledger. `random` tries any candidate of any kind, `fixed order` one after the other as the shelves have them. Who stands at the end is judged on seeds that no policy saw; the improvement is
of the margin to the threshold, a target that is met counting as 100 % however far it is beyond. Intervals are over policy seeds (Student's t, 95 %).
Then regret: a decision process is fitted to recorded episodes of all tasks, solved exactly, and every policy is valued in it exactly.
Ends with 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scipy import stats

from agents.deciders.refactor import Refactor
from agents.learning import replay
from agents.learning.episodes import episode, in_order, trained, world
from agents.learning.fitted import Fitted, Policy
from agents.learning.peers import FixedOrder, RandomSearch
from agents.learning.replay import Grid
from agents.learning.simulation import Simulation
from agents.learning.tabular import QTable, Step
from envs.changes import State
from plan import grammar
from plan.decision import Candidate, Decider
from plan.nouns import Plan, Task

AT_LEAST = 0.15
"""Mean improvement of the failing targets' margins that is claimed against doing nothing."""
TRIALS = (18, 24, 36)
"""Measurements per task, of which a first duel takes 12 or more; the claims are about their mean."""


def made_up(task: Task, grid: Grid, champion: Candidate) -> list[float]:
    """For each failing target of the task: the share of its margin that `champion` makes up, at most 1."""
    found = []
    for aim in replay.aims_of(task):
        before, after = grid.margin(task, replay.own(task), aim), grid.margin(task, champion, aim)
        if not all(aim.met(grid.run(task, replay.own(task), seed)) for seed in replay.VERDICTS):
            found.append((min(after, 0.0) - before) / abs(before))
    return found


def scores(plan: Plan, grid: Grid, tables: Mapping[str, QTable], *, seed: int, trials: int) -> dict[str, float]:
    """By policy: the mean over all failing targets, each task worked on with `trials` measurements, duels included."""
    found: dict[str, list[float]] = {"nothing": [0.0] * len(replay.failing(grid, plan))}
    for module, table in tables.items():
        tasks = tuple(task for task in plan.tasks if task.module == module)
        deciders: dict[str, Decider] = {
            "random": RandomSearch(seed, grid.untried),
            "fixed order": FixedOrder(grid.untried),
            "untrained": Refactor(grid.untried),
            "Q-learning": Refactor(grid.untried, first=table.value),
        }
        for name, decider in deciders.items():
            simulation = Simulation(replace(plan, tasks=tasks), grid, decider, seed=seed, trials=trials)
            simulation.run()
            for task in tasks:
                found.setdefault(name, []).extend(made_up(task, grid, simulation.work[task.id].chain[-1]))
    return {name: statistics.fmean(values) for name, values in found.items()}


def improvement_rows(plan: Plan, grid: Grid, *, seeds: int) -> bool:
    """Print how much of the failing margins each policy makes up; whether every claim holds."""
    spaces, sound = replay.spaces(plan), True
    tables = {}
    for module in dict.fromkeys(task.module for task in plan.tasks):
        others = [task for task in plan.tasks if task.module != module]
        tables[module] = trained(others, grid, spaces, seed=0, trials=12)
    many = len(replay.failing(grid, plan))
    print(f"{many} failing targets of {len(plan.tasks)} tasks, {seeds} seeds; recorded on {grid.about}")
    print("share of the failing margins made up, on seeds nobody saw; learnt on the other modules' tasks only")
    budgets = [[scores(plan, grid, tables, seed=seed, trials=trials) for seed in range(seeds)] for trials in TRIALS]
    for trials, runs in zip(TRIALS, budgets, strict=True):
        print(f"\n  {trials} measurements a task, duels included")
        for name in runs[0]:
            print(f"    {name:14} {_told([run[name] for run in runs])}")
    print("\n  gains of Q-learning, seed by seed, mean of these budgets")
    for other, least in (("nothing", AT_LEAST), ("random", 0.0), ("fixed order", 0.0)):
        gains = [statistics.fmean(runs[seed]["Q-learning"] - runs[seed][other] for runs in budgets) for seed in range(seeds)]
        sound &= _claim(f"more than {least:.0%} against {other}", gains, least)
    return sound


def regret_rows(plan: Plan, grid: Grid, *, episodes: int = 400, trials: int = 12) -> bool:
    """Print how far each policy is from the exact optimum of the fitted process; whether Q-learning has the least regret."""
    spaces, draw = replay.spaces(plan), random.Random("fit")
    steps: list[Step] = []
    starts: list[State] = []
    for _ in range(episodes):
        for task in plan.tasks:
            env = world(task, grid, spaces[task.id], draw=draw, trials=trials)
            found = episode(env, anything, draw).steps
            steps += found
            starts.append(found[0].state)
    process = Fitted(steps, starts)
    _, values = process.solve()
    table = taught(process, steps=60_000)
    policies: dict[str, Policy] = {
        "Q-learning": lambda state: {table.greedy(state, process.moves(state)): 1.0},
        "greedy": lambda state: {_greedy(process, state): 1.0},
        "untrained": lambda state: {QTable().greedy(state, process.moves(state)): 1.0},
        "fixed order": lambda state: {in_order(state, draw): 1.0},
        "random": lambda state: dict.fromkeys([m for m in state.moves if m != "stop"] or ["stop"], 1.0),
        "nothing": lambda state: {"stop": 1.0},
    }
    print(
        f"\nregret in the process fitted to {len(steps)} recorded steps ({len(process.states)} states): the exact optimum is worth {process.begun(values):.4f}"
    )
    regrets = {name: process.regret(policy) for name, policy in policies.items()}
    for name, regret in regrets.items():
        print(f"    {name:14} {regret:8.4f}  {regret / process.begun(values):6.1%} of it")
    holds = regrets["Q-learning"] <= min(regrets[name] for name in regrets if name != "Q-learning")
    print(f"    {'claimed: Q-learning has the least' + ('' if holds else '  DOES NOT HOLD')}")
    return holds


def taught(process: Fitted, *, steps: int, epsilon: float = 0.2, seed: int = 0) -> QTable:
    """A table that learnt by Q-learning from samples of the fitted process, from its starts, moves not seen there left out."""
    table, draw = QTable(gamma=process.gamma, rate=0.0, first=lambda state, move: 0.0), random.Random(f"teach {seed}")
    state: State | None = None
    for _ in range(steps):
        if state is None or state not in process.outcomes:
            state = draw.choices(list(process.starts), weights=list(process.starts.values()))[0]
        move, _ = table.select_action(state, process.moves(state), epsilon=epsilon, draw=draw)
        outcome = process.sample(state, move, draw)
        table.update(state, move, outcome.reward, outcome.after if outcome.after in process.outcomes else None)
        state = outcome.after
    return table


def anything(state: State, draw: random.Random) -> str:
    """Any possible move, stop less often than the others, so that every state is seen often enough to fit it."""
    moves = [move for move in state.moves if move != "stop"]
    return draw.choice(moves) if moves and draw.random() < 0.9 else "stop"


def _greedy(process: Fitted, state: State) -> str:
    def now(move: str) -> float:
        return sum(one.chance * one.reward for one in process.outcomes[state][move])

    return max(process.moves(state), key=now)


def _told(values: Sequence[float]) -> str:
    mean, half = statistics.fmean(values), _half(values)
    return f"{mean:7.1%}  95 % interval {mean - half:.1%} .. {mean + half:.1%}"


def _half(values: Sequence[float]) -> float:
    return (
        float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
        if len(values) > 1
        else math.inf
    )


def _claim(name: str, gains: Sequence[float], least: float) -> bool:
    """Whether the interval of the paired gains lies above `least`."""
    low = statistics.fmean(gains) - _half(gains)
    holds = low > least
    print(f"      claimed: {name:38} {_told(gains)}{'' if holds else '  DOES NOT HOLD'}")
    return holds


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 0 when every claim holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m agents.learning.proof", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, metavar="N")
    options = parser.parse_args(arguments)
    plan, grid = grammar.read(replay.PLAN), Grid.read()
    held = [improvement_rows(plan, grid, seeds=options.seeds), regret_rows(plan, grid)]
    print("\nevery claim holds" if all(held) else "\na claim does not hold")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
