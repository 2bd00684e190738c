"""Does the loop improve a module by itself, and how soon? `python -m agents.learning.improves [--seeds 10]`, on recorded measurements.

The deciders that a user gets by default (beside them the same without what they learn in the run), random search and Optuna's default sampler choose
from the same candidates of `plan/Improve.md` under the same rules: a trial is one measurement of one candidate on one seed, two in a row that meet the target nominate it, a duel decides
(recorded are three seeds for trials and duels), and the verdict on the champion falls on two seeds that nobody saw. Counted are trials until every target of a task
passes; where one does not, all its trials count. Duels follow one rule for all, cost each policy about the same, and are counted apart; ratios are printed without and with
them, and only the first is claimed. Intervals are over seeds. Ends with 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product

from agents.deciders.refactor import Refactor
from agents.learning import replay
from agents.learning.intervals import claim, told
from agents.learning.peers import FixedOrder, OptunaSearch, RandomSearch, Unlearning
from agents.learning.replay import Grid
from agents.learning.simulation import Simulation, passes
from agents.learning.view import Untried
from plan import grammar
from plan.decision import Decider
from plan.nouns import Plan

PASSING, OF_PEERS = 0.8, 0.5
FIRST = 1000
"""The first seed; whatever was chosen of the agent was chosen on others."""
OURS, LESSER, PEERS = "refactor (default)", "  without learning", ("random search", "Optuna (TPE)")
DECIDERS: Mapping[str, Callable[[int, Untried], Decider]] = {
    OURS: lambda seed, untried: Refactor(untried),
    LESSER: lambda seed, untried: Unlearning(untried),
    "fixed order": lambda seed, untried: FixedOrder(untried),
    "random search": RandomSearch,
    "Optuna (TPE)": OptunaSearch,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of the plan by one decider."""

    passed: float
    """Share of the tasks that failed at first."""
    trials: int
    duels: int
    """Measurements of duels."""
    rolled_back: int
    """Promotions that their verdict took back."""


def outcome(plan: Plan, grid: Grid, decider: Decider, *, seed: int) -> Outcome:
    """What one decider makes of the plan."""
    simulation = Simulation(plan, grid, decider, seed=seed)
    failing = {task.id for task, _ in replay.failing(grid, plan)}
    simulation.run()
    work = [one for id, one in simulation.work.items() if id in failing]
    return Outcome(
        passed=len(failing.intersection(passes(simulation))) / len(failing),
        trials=sum(one.first_pass if one.first_pass is not None else len(one.trials) for one in work),
        duels=sum(one.pairs for one in work),
        rolled_back=sum(tried.rolled_back for one in work for tried in one.fought),
    )


def outcome_of(name: str, seed: int) -> Outcome:
    """The same by names, for a process of its own."""
    plan, grid = _recorded()
    return outcome(plan, grid, DECIDERS[name](seed, grid.untried), seed=seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 when every claim holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m agents.learning.improves", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, metavar="N")
    parser.add_argument("--first", type=int, default=FIRST, metavar="SEED")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    options = parser.parse_args(arguments)
    plan, grid = _recorded()
    failing = replay.failing(grid, plan)
    print(
        f"{len(failing)} failing targets of {len(plan.tasks)} tasks, as many measurements as the plan allows, {options.seeds} seeds; "
        f"recorded on {grid.about}\n"
    )
    print(f"    {'':20}{'failing tasks that pass':28}{'trials until they do':28}{'measurements of duels':28}rolled back")
    wanted = list(product(DECIDERS, range(options.first, options.first + options.seeds)))
    with ProcessPoolExecutor(options.workers) as pool:
        found = dict(zip(wanted, pool.map(outcome_of, *zip(*wanted, strict=True)), strict=True))
    by = {name: [found[name, seed] for seed in range(options.first, options.first + options.seeds)] for name in DECIDERS}
    for name, ones in by.items():
        print(
            f"    {name:20}{told([one.passed for one in ones], '{:.0%}'):28}{told([one.trials for one in ones], '{:.1f}'):28}"
            f"{told([one.duels for one in ones], '{:.1f}'):28}{told([one.rolled_back for one in ones], '{:.1f}')}"
        )
    ours = by[OURS]
    held = [claim("failing tasks that pass", [one.passed for one in ours], PASSING, form="{:.0%}")]
    for peer, most in (*((peer, OF_PEERS) for peer in PEERS), (LESSER, 1.0)):
        ratios = [one.trials / other.trials for one, other in zip(ours, by[peer], strict=True)]
        held.append(claim(f"trials over those of {peer.strip()}, seed by seed,", ratios, most, at_most=True, form="{:.2f}"))
    for peer in PEERS:
        ratios = [(one.trials + one.duels) / (other.trials + other.duels) for one, other in zip(ours, by[peer], strict=True)]
        print(f"    not claimed: the same with the measurements of duels, over {peer}: {told(ratios, '{:.2f}')}")
    print("\nevery claim holds" if all(held) else "\na claim does not hold")
    return 0 if all(held) else 1


@cache
def _recorded() -> tuple[Plan, Grid]:
    return grammar.read(replay.PLAN), Grid.read()


if __name__ == "__main__":
    sys.exit(main())
