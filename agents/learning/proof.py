"""What the refactor agent's learning is worth, on recorded measurements: `python -m agents.learning.proof [--seeds 10]`.

Every failing target of `plan/Improve.md` is worked on by each policy with the same number of measurements, under the rules of the loop. `random` tries
any candidate of any kind, `fixed order` one after the other as the shelves have them. The agent begins with a table learnt in the environment on other
modules' tasks that share no recorded measurement with those it is judged on (to replace either module by a third is the same measurement); `untrained` begins with the hopes of a fresh ledger, as a user's does, and learns from this run
only. The same without hopes: every kind is as promising, and what is known was learnt.

Who stands at the end is judged on seeds that no policy saw; the improvement is of the margin to the threshold, a target that is met counting as 100 %
however far it is beyond. A seed is a mean of many runs of the plan, each of which draws the order of trial seeds and the pairs of duels, the same for
all policies. The policies were chosen on other seeds than those they are judged on. Intervals are over seeds (Student's t, 95 %): they tell what
chance does on these tasks, and not what other tasks would say, for which one interval over tasks is printed without a claim.
Then regret: a decision process is fitted to recorded episodes of all tasks, solved exactly, and every policy is valued in it exactly.
Ends with 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial

from agents.deciders.refactor import Refactor
from agents.learning import replay
from agents.learning.episodes import episode, in_order, world
from agents.learning.fitted import Fitted, Policy
from agents.learning.intervals import claim, told
from agents.learning.peers import FixedOrder, RandomSearch
from agents.learning.record import name_of
from agents.learning.replay import Grid
from agents.learning.schooling import Learnt, School
from agents.learning.simulation import Simulation
from agents.learning.tabular import QTable, Step, blank, prior
from envs.changes import State
from plan import grammar
from plan.decision import Candidate, Decider
from plan.nouns import Plan, Task

AT_LEAST = 0.15
"""Mean improvement of the failing targets' margins that is claimed against doing nothing."""
TRIALS = (18, 24, 36)
"""Measurements per task, of which a first duel takes 12 or more; the claims are about their mean."""
FIRST, RUNS = 1000, 2
"""The first seed that policies are judged on, and runs of the plan that one seed is the mean of."""
AGENT = "Q-learning"
Scores = Mapping[str, Sequence[float]]
"""By policy: the share of its margin made up, of each failing target."""


def made_up(task: Task, grid: Grid, champion: Candidate) -> list[float]:
    """For each failing target of the task: the share of its margin that `champion` makes up, at most 1."""
    found = []
    for aim in replay.aims_of(task):
        before, after = grid.margin(task, replay.own(task), aim), grid.margin(task, champion, aim)
        if not all(aim.met(grid.run(task, replay.own(task), seed)) for seed in replay.VERDICTS):
            found.append((min(after, 0.0) - before) / abs(before))
    return found


def policies(grid: Grid, hopeful: Learnt, plain: Learnt, *, seed: int) -> dict[str, Decider]:
    """By name; what was learnt on other tasks, from hopes and from none."""
    return {
        "random": RandomSearch(seed, grid.untried),
        "fixed order": FixedOrder(grid.untried),
        AGENT: Refactor(grid.untried, first=hopeful.table.value, lore=hopeful.lore),
        "  untrained": Refactor(grid.untried),
        "without hopes": Refactor(grid.untried, first=plain.table.value, lore=plain.lore),
        "  untrained, without": Refactor(grid.untried, first=blank),
    }


def scores(schools: Mapping[str, tuple[Learnt, Learnt]], place: tuple[int, int], *, runs: int) -> Scores:
    """One seed at one budget, `place`: each module's tasks worked on by every policy, mean of so many runs."""
    seed, trials = place
    plan, grid = _recorded()
    found: dict[str, list[float]] = {"nothing": [0.0] * len(replay.failing(grid, plan))}
    for module, (hopeful, plain) in schools.items():
        tasks = tuple(task for task in plan.tasks if task.module == module)
        totals: dict[str, list[float]] = {}
        for run in range(runs):
            for name, decider in policies(grid, hopeful, plain, seed=seed * runs + run).items():
                simulation = Simulation(replace(plan, tasks=tasks), grid, decider, seed=seed * runs + run, trials=trials)
                simulation.run()
                here = [one for task in tasks for one in made_up(task, grid, simulation.work[task.id].chain[-1])]
                totals[name] = [a + b for a, b in zip(totals.get(name, [0.0] * len(here)), here, strict=True)]
        for name, values in totals.items():
            found.setdefault(name, []).extend(value / runs for value in values)
    return found


def unrelated(module: str, plan: Plan, grid: Grid) -> list[Task]:
    """Tasks of other modules of whose candidates none was measured for a task of `module` too."""
    spaces = replay.spaces(plan, grid)
    measured = {
        task.id: {name_of(task, candidate) for kind in spaces[task.id].values() for candidate in kind} for task in plan.tasks
    }
    own = set[str]().union(*(measured[task.id] for task in plan.tasks if task.module == module))
    return [task for task in plan.tasks if task.module != module and not measured[task.id] & own]


def improvement_rows(*, seeds: int, runs: int, first: int, workers: int) -> bool:
    """Print how much of the failing margins each policy makes up; whether every claim holds."""
    plan, grid = _recorded()
    school, schools = School(plan, grid), {}
    for module in dict.fromkeys(task.module for task in plan.tasks):
        others = unrelated(module, plan, grid)
        schools[module] = school.learnt_on(others, first=prior), school.learnt_on(others, first=blank)
    many = len(replay.failing(grid, plan))
    print(f"{many} failing targets of {len(plan.tasks)} tasks, {seeds} seeds of {runs} runs each; recorded on {grid.about}")
    print("share of the failing margins made up, learnt on other modules' tasks that share no measurement with it")
    places = [(seed, trials) for trials in TRIALS for seed in range(first, first + seeds)]
    with ProcessPoolExecutor(workers) as pool:
        found = dict(zip(places, pool.map(partial(scores, schools, runs=runs), places), strict=True))
    names = list(found[places[0]])
    for trials in TRIALS:
        print(f"\n  {trials} measurements a task, duels included")
        for name in names:
            print(f"    {name:22} {told([statistics.fmean(found[seed, trials][name]) for seed in range(first, first + seeds)])}")
    mean = {
        (name, seed): [statistics.fmean(column) for column in zip(*(found[seed, trials][name] for trials in TRIALS), strict=True)]
        for name in names
        for seed in range(first, first + seeds)
    }
    print("\n  gains seed by seed, mean of these budgets")

    def gains(one: str, other: str) -> tuple[list[float], list[float]]:
        """By seed and by target."""
        apart = [[a - b for a, b in zip(mean[one, seed], mean[other, seed], strict=True)] for seed in range(first, first + seeds)]
        return [statistics.fmean(row) for row in apart], [statistics.fmean(column) for column in zip(*apart, strict=True)]

    sound = True
    for other, least in (("nothing", AT_LEAST), ("random", 0.0), ("fixed order", 0.0)):
        by_seed, by_target = gains(AGENT, other)
        sound &= claim(f"against {other},", by_seed, least)
        print(f"      over targets instead of seeds, no claim: {told(by_target)}")
    for one, other in ((AGENT, "  untrained"), ("without hopes", "  untrained, without")):
        by_seed, by_target = gains(one, other)
        print(f"    {one.strip()} over {other.strip()}, no claim: {told(by_seed)}; over targets {told(by_target)}")
    return sound


def regret_rows(plan: Plan, grid: Grid, *, episodes: int = 400, trials: int = 12) -> bool:
    """Print how far each policy is from the exact optimum of the fitted process; whether Q-learning has the least regret."""
    spaces, draw = replay.spaces(plan, grid), random.Random("fit")
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


@cache
def _recorded() -> tuple[Plan, Grid]:
    return grammar.read(replay.PLAN), Grid.read()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 0 when every claim holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m agents.learning.proof", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, metavar="N")
    parser.add_argument("--first", type=int, default=FIRST, metavar="SEED")
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help="of the plan, whose mean is one seed")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    options = parser.parse_args(arguments)
    held = [
        improvement_rows(seeds=options.seeds, runs=options.runs, first=options.first, workers=options.workers),
        regret_rows(*_recorded()),
    ]
    print("\nevery claim holds" if all(held) else "\na claim does not hold")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
