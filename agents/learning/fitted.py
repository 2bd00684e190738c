"""A decision process fitted to recorded steps, its exact solution by dynamic programming, and the exact value of any policy in it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from agents.learning.tabular import Step
from envs.changes import State

Policy = Callable[[State], Mapping[str, float]]
"""State -> probability of each move."""


def always(moves: Mapping[State, str]) -> Policy:
    """The policy that makes these moves."""
    return lambda state: {moves[state]: 1.0}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that a move may lead to; `after` is None where it ends there."""

    chance: float
    reward: float
    after: State | None


class Fitted:
    """How often each step was followed by which state, and what it brought on average."""

    def __init__(self, steps: Iterable[Step], starts: Iterable[State], *, gamma: float = 0.95) -> None:
        """`starts`: the first state of each recorded episode."""
        counts: dict[tuple[State, str], Counter[State | None]] = {}
        rewards: dict[tuple[State, str, State | None], list[float]] = {}
        for step in steps:
            counts.setdefault((step.state, step.move), Counter())[step.after] += 1
            rewards.setdefault((step.state, step.move, step.after), []).append(step.reward)
        self.gamma = gamma
        self.outcomes: dict[State, dict[str, tuple[Outcome, ...]]] = {}
        for (state, move), seen in counts.items():
            total = sum(seen.values())
            found = (
                Outcome(count / total, sum(rewards[state, move, after]) / len(rewards[state, move, after]), after)
                for after, count in seen.items()
            )
            self.outcomes.setdefault(state, {})[move] = tuple(found)
        begun = Counter(starts)
        self.starts = {state: count / sum(begun.values()) for state, count in begun.items()}
        self.states = tuple(self.outcomes)
        self._place = {state: place for place, state in enumerate(self.states)}

    def moves(self, state: State) -> tuple[str, ...]:
        """What was ever done there."""
        return tuple(self.outcomes.get(state, ()))

    def worth(self, state: State, move: str, values: np.ndarray) -> float:
        """What a move brings, when `values` is what follows is worth."""
        return sum(one.chance * (one.reward + self.gamma * self._of(one.after, values)) for one in self.outcomes[state][move])

    def solve(self, *, tolerance: float = 1e-12) -> tuple[dict[State, str], np.ndarray]:
        """The best move everywhere and what it is worth, by policy iteration: exact but for rounding."""
        best = {state: self.moves(state)[0] for state in self.states}
        while True:
            values = self.value(always(best))
            better = {}
            for state in self.states:
                worths = {move: self.worth(state, move, values) for move in self.moves(state)}
                top = max(worths, key=lambda move: worths[move])
                better[state] = top if worths[top] > worths[best[state]] + tolerance else best[state]
            if better == best:
                return best, values
            best = better

    def value(self, policy: Policy) -> np.ndarray:
        """What a policy is worth from each of `states`, by solving its linear equations."""
        size = len(self.states)
        passes, gains = np.zeros((size, size)), np.zeros(size)
        for place, state in enumerate(self.states):
            for move, share in self._possible(policy, state).items():
                for one in self.outcomes[state][move]:
                    gains[place] += share * one.chance * one.reward
                    if one.after in self._place:
                        passes[place, self._place[one.after]] += share * one.chance
        return np.asarray(np.linalg.solve(np.eye(size) - self.gamma * passes, gains))

    def begun(self, values: np.ndarray) -> float:
        """The mean of `values` over where episodes begin."""
        return sum(share * self._of(state, values) for state, share in self.starts.items())

    def regret(self, policy: Policy) -> float:
        """By how much the policy falls short of the best one, from where episodes begin; never below 0 but for rounding."""
        return self.begun(self.solve()[1]) - self.begun(self.value(policy))

    def sample(self, state: State, move: str, draw: random.Random) -> Outcome:
        """One outcome, drawn."""
        found = self.outcomes[state][move]
        return draw.choices(found, weights=[one.chance for one in found])[0]

    def _possible(self, policy: Policy, state: State) -> dict[str, float]:
        """The policy's shares of the moves that were ever made there; equal shares when it wants none of them."""
        known = {move: share for move, share in policy(state).items() if move in self.outcomes[state] and share > 0}
        total = sum(known.values())
        if not total:
            return dict.fromkeys(self.moves(state), 1 / len(self.moves(state)))
        return {move: share / total for move, share in known.items()}

    def _of(self, state: State | None, values: np.ndarray) -> float:
        return float(values[self._place[state]]) if state in self._place else 0.0
