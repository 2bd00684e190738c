"""Policies for the refactor agent's environment, and episodes of them: what was done, what it brought, who stands at the end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agents.learning.replay import Grid, aims_of, own, replayed
from agents.learning.tabular import QTable, Step, Value, place, prior
from envs.changes import KINDS, State
from envs.refactor import Refactor
from plan.decision import Candidate
from plan.nouns import Task

Choice = Callable[[State, random.Random], str]
"""Which move a policy makes in a state."""
Space = Mapping[str, Sequence[Candidate]]


@dataclass(frozen=True, slots=True)
class Episode:
    """One task, worked on by one policy."""

    steps: tuple[Step, ...]
    champion: Candidate
    used: int
    """Measurements of candidates."""


def in_order(state: State, draw: random.Random) -> str:
    """Roll back what fell, else every config, then every implementation, then every module: the fixed order of the shelves."""
    return next(move for move in ("rollback", *KINDS, "stop") if move in state.moves)


def learnt(table: QTable, epsilon: float = 0.0) -> Choice:
    """What the table holds for best; with probability `epsilon` any move."""
    return lambda state, draw: table.select_action(state, epsilon=epsilon, draw=draw)[0]


def world(task: Task, grid: Grid, space: Space, *, draw: random.Random, trials: int) -> Refactor:
    """The environment of one task, answered from the grid."""
    return Refactor(
        replayed(grid, task, draw=draw), task=task.id, own=own(task), aims=aims_of(task), candidates=space, trials=trials
    )


def episode(env: Refactor, choose: Choice, draw: random.Random, *, learn: QTable | None = None) -> Episode:
    """One episode from its start to its end; a table given learns from every step."""
    env.reset()
    steps, done = [], False
    while not done:
        state = env.state
        move = choose(state, draw)
        _, reward, ended, spent, _ = env.step(np.int64(place(move)))
        done = ended or spent
        step = Step(state, move, float(reward), None if done else env.state)
        steps.append(step)
        if learn is not None:
            learn.update(step.state, step.move, step.reward, step.after)
    return Episode(tuple(steps), env.champion, env.used)


def trained(
    tasks: Iterable[Task],
    grid: Grid,
    spaces: Mapping[str, Space],
    *,
    seed: int,
    episodes: int = 60,
    epsilon: float = 0.3,
    trials: int,
    first: Value = prior,
) -> QTable:
    """A table that begins with `first` and has learnt from so many episodes of each of `tasks`."""
    table, draw, tasks = QTable(first=first), random.Random(f"train {seed}"), list(tasks)
    for _ in range(episodes):
        for task in tasks:
            env = world(task, grid, spaces[task.id], draw=draw, trials=trials)
            episode(env, learnt(table, epsilon), draw, learn=table)
    return table
