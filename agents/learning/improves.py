"""Does the loop improve a module by itself, and how soon? `python -m agents.learning.improves [--seeds 10]`, on recorded measurements.

The deciders that a user gets by default, random search and Optuna's default sampler choose from the same candidates of `plan/Improve.md` under the
same rules: a trial is one measurement of one candidate on one seed, two in a row that meet the target nominate it, a duel on other seeds decides,
and the verdict on the champion falls on seeds that nobody saw. Counted are trials until every target of a task passes; where one does not,
all its trials count. Duels follow one rule for all and are counted apart. Ends with 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from agents.deciders.refactor import Refactor, Untried
from agents.learning import replay
from agents.learning.peers import FixedOrder, OptunaSearch, RandomSearch
from agents.learning.replay import Grid
from agents.learning.simulation import Simulation, passes
from plan import grammar
from plan.decision import Decider
from plan.nouns import Plan

PASSING, OF_PEERS = 0.8, 0.5
DECIDERS: Mapping[str, Callable[[int, Untried], Decider]] = {
    "refactor (default)": lambda seed, untried: Refactor(untried),
    "fixed order": lambda seed, untried: FixedOrder(untried),
    "random search": RandomSearch,
    "Optuna (TPE)": OptunaSearch,
}
OURS, PEERS = "refactor (default)", ("random search", "Optuna (TPE)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of the plan by one decider."""

    passed: float
    """Share of the tasks that failed at first."""
    trials: int
    duels: int
    """Measurements of duels."""


def outcome(plan: Plan, grid: Grid, decider: Decider, *, seed: int, trials: int) -> Outcome:
    """What one decider makes of the plan."""
    simulation = Simulation(plan, grid, decider, seed=seed, trials=trials)
    failing = {task.id for task, _ in replay.failing(grid, plan)}
    simulation.run()
    work = [one for id, one in simulation.work.items() if id in failing]
    counted = sum(one.first_pass if one.first_pass is not None else len(one.trials) for one in work)
    return Outcome(len(failing.intersection(passes(simulation))) / len(failing), counted, sum(one.pairs for one in work))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 when every claim holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m agents.learning.improves", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, metavar="N")
    options = parser.parse_args(arguments)
    plan, grid = grammar.read(replay.PLAN), Grid.read()
    trials = max(task.trials or 0 for task in plan.tasks)
    many = len(replay.failing(grid, plan))
    print(
        f"{many} failing targets of {len(plan.tasks)} tasks, {trials} measurements a task, {options.seeds} seeds; recorded on {grid.about}\n"
    )
    print(f"    {'':20}  failing tasks that pass     trials until they do         measurements of duels")
    found: dict[str, list[Outcome]] = {}
    for name, make in DECIDERS.items():
        found[name] = [outcome(plan, grid, make(seed, grid.untried), seed=seed, trials=trials) for seed in range(options.seeds)]
        passed = _told([one.passed for one in found[name]], "{:.0%}")
        print(
            f"    {name:20}  {passed:26}  {_told([one.trials for one in found[name]]):27}  {_told([one.duels for one in found[name]])}"
        )
    ours = found[OURS]
    held = [_claim("failing tasks that pass", statistics.fmean(one.passed for one in ours), PASSING, at_most=False)]
    for peer in PEERS:
        ratio = sum(one.trials for one in ours) / sum(one.trials for one in found[peer])
        held.append(_claim(f"trials over those of {peer}", ratio, OF_PEERS, at_most=True))
    print("\nevery claim holds" if all(held) else "\na claim does not hold")
    return 0 if all(held) else 1


def _told(values: Sequence[float], form: str = "{:.1f}") -> str:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return form.format(mean)
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{form.format(mean)} ({form.format(mean - half)} .. {form.format(mean + half)})"


def _claim(name: str, value: float, limit: float, *, at_most: bool) -> bool:
    holds = value <= limit if at_most else value >= limit
    print(f"    claimed: {name} {'<=' if at_most else '>='} {limit:g}: {value:.2f}{'' if holds else '  DOES NOT HOLD'}")
    return holds


if __name__ == "__main__":
    sys.exit(main())
