"""Tabular Q-learning over the states of `envs.changes`: a table of values that begins with a prior and is corrected by what happened."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from envs.changes import COST, MOVES, State

Value = Callable[[State, str], float]

GAP = {"met": 0.0, "near": 0.22, "middle": 0.3, "far": 0.6}
"""A shortfall that each distance may stand for."""
WORTH: Mapping[tuple[str, str], float] = {
    ("quality", "tune"): 0.6, ("quality", "refactor"): 0.0, ("quality", "replace"): 0.4,
    ("speed", "tune"): 0.2, ("speed", "refactor"): 0.9, ("speed", "replace"): 0.5,
}  # fmt: skip
"""Share of the shortfall that a kind of change is hoped to close: more than it does on average, so that each is tried before it is given up.

Another implementation of the same function learns the same, so nothing is hoped of it where quality is asked for. The first configs of `tune`
put what was set by hand back to the shelf's own values, which is the cheapest mend of a mistake."""
AGAIN = 0.7
"""Of that, what is hoped of a kind whose first candidates did not do."""


def prior(state: State, move: str) -> float:
    """What is hoped of a move before anything was learnt, net of cost."""
    gap = GAP[state.distance]
    if move == "stop":
        return 0.0
    if move == "rollback":
        return gap
    worth = WORTH[state.asks, move] * (AGAIN if getattr(state, move) == "tried" else 1.0)
    return gap * worth - 2 * COST


def blank(state: State, move: str) -> float:
    """What is hoped by whoever was told nothing: every kind of change may close half of the gap."""
    gap = GAP[state.distance]
    return 0.0 if move == "stop" else gap if move == "rollback" else gap / 2 - 2 * COST


@dataclass(slots=True, kw_only=True)
class QTable:
    """Values of moves; `gamma` is what the next step counts, `rate` how much of a surprise is learnt at least."""

    first: Value = prior
    gamma: float = 0.95
    rate: float = 0.1
    values: dict[tuple[State, str], float] = field(default_factory=dict)
    visits: dict[tuple[State, str], int] = field(default_factory=dict)

    def value(self, state: State, move: str) -> float:
        """What the move is worth here, as far as is known."""
        return self.values.get((state, move), self.first(state, move))

    def greedy(self, state: State, moves: Sequence[str] | None = None) -> str:
        """The best of the possible moves; of equals the first."""
        return max(moves if moves is not None else state.moves, key=lambda move: self.value(state, move))

    def select_action(
        self,
        state: State,
        moves: Sequence[str] | None = None,
        *,
        epsilon: float = 0.0,
        draw: random.Random | None = None,
        final: bool = True,
    ) -> tuple[str, bool]:
        """Epsilon-greedy: with probability `epsilon` any possible move, else the best; and whether it was drawn. Not `final`: `stop` is not drawn."""
        moves = tuple(moves if moves is not None else state.moves)
        drawn = moves if final else tuple(move for move in moves if move != "stop")
        if drawn and epsilon and draw is not None and draw.random() < epsilon:
            return draw.choice(drawn), True
        return self.greedy(state, moves), False

    def update(self, state: State, move: str, reward: float, after: State | None) -> None:
        """Learn from one step; `after` is None where it was the last."""
        key = state, move
        ahead = max((self.value(after, other) for other in after.moves), default=0.0) if after is not None else 0.0
        count = self.visits[key] = self.visits.get(key, 0) + 1
        now = self.value(state, move)
        self.values[key] = now + max(self.rate, 1 / (1 + count)) * (reward + self.gamma * ahead - now)


@dataclass(frozen=True, slots=True)
class Step:
    """One move and what came of it."""

    state: State
    move: str
    reward: float
    after: State | None


def folded(steps: Iterable[Step], table: QTable | None = None) -> QTable:
    """The table after these steps, in their order."""
    table = table if table is not None else QTable()
    for step in steps:
        table.update(step.state, step.move, step.reward, step.after)
    return table


def place(move: str) -> int:
    """A move's number in the environment."""
    return MOVES.index(move)
