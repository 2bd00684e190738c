"""What an agent may have learnt before it meets a task: values of moves from episodes in the environment, lore from other runs of the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.deciders.refactor import shares
from agents.learning import replay
from agents.learning.episodes import trained
from agents.learning.lore import Change, Lore
from agents.learning.peers import RandomSearch
from agents.learning.replay import Grid
from agents.learning.simulation import Simulation
from agents.learning.tabular import QTable, Value
from agents.learning.view import seen
from plan.nouns import Plan, Task

TRIALS, RUNS = 40, 3
"""Measurements a task, and runs of the plan, from which lore is learnt."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What was learnt on some tasks."""

    table: QTable
    lore: Lore


class School:
    """What the tasks of a plan teach, each by itself."""

    def __init__(self, plan: Plan, grid: Grid, *, seed: int = 0) -> None:
        self.plan, self.grid, self.seed = plan, grid, seed
        self.shares = {task.id: [one for run in range(RUNS) for one in self._tried(task, seed + run)] for task in plan.tasks}

    def learnt_on(self, tasks: Sequence[Task], *, first: Value) -> Learnt:
        """From these tasks alone, with a table that begins with `first`."""
        spaces = replay.spaces(self.plan, self.grid)
        table = trained(tasks, self.grid, spaces, seed=self.seed, trials=12, first=first)
        lore = Lore()
        for task in tasks:
            for change, share in self.shares[task.id]:
                lore.learn(change, share)
        return Learnt(table, lore)

    def _tried(self, task: Task, seed: int) -> list[tuple[Change, float]]:
        """What a run of the loop teaches in which every try is drawn, so that nothing is left out."""
        agent = RandomSearch(seed, self.grid.untried)
        simulation = Simulation(replace(self.plan, tasks=(task,)), self.grid, agent, seed=seed, trials=TRIALS)
        simulation.run()
        situation = simulation.situation()
        views = {one.id: view for one in situation.plan.tasks if (view := seen(one, situation, self.grid.untried))}
        return list(shares(situation, views))
