"""The refactor agent's problem as a Gymnasium environment: pick the kind of change that is tried next on one failing task.

What a candidate measures comes from `evaluate`, be it a real measurement, a recorded one or a simulated one; see `agents.learning`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.changes import FEW, FIELDS, KINDS, MOVES, Aim, State, distance, reward, shortfall
from plan.catalogue import env
from plan.decision import Action, Candidate
from plan.nouns import Run

Evaluate = Callable[[Action], Run]
"""Measures the candidate that an action's details hold, on a seed of its own choice; asked twice for one action it measures twice."""


@env("refactor", source="Watkins and Dayan 1992 for the learner; the process is this house's own loop")
class Refactor(gymnasium.Env[NDArray[np.int64], np.int64]):
    """One episode is one failing task. A try costs one measurement, two where its first met the target; two make it champion.

    Observations are the places of `State`'s words, actions those of `MOVES`. A move that cannot be made here costs a measurement and changes
    nothing; `info["moves"]` lists the others. Terminated when every target is met or at `stop`; truncated when `trials` are used up, which
    settles for the nearest candidate as `stop` does.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (as Gymnasium declares it)

    def __init__(
        self,
        evaluate: Evaluate,
        *,
        task: str,
        own: Candidate,
        aims: Sequence[Aim],
        candidates: Mapping[str, Sequence[Candidate]],
        trials: int = 30,
    ) -> None:
        """`candidates` by kind, in the order in which they are tried; `trials`: measurements in all."""
        self.evaluate, self.task, self.own, self.aims = evaluate, task, own, tuple(aims)
        self.candidates, self.trials = candidates, trials
        self.observation_space = gymnasium.spaces.MultiDiscrete([len(words) for words in FIELDS.values()], dtype=np.int64)
        self.action_space = gymnasium.spaces.Discrete(len(MOVES))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        super().reset(seed=seed)
        self._used, self._trend, self._place = 0, "untried", dict.fromkeys(KINDS, 0)
        self._champion, self._run = self.own, self._verdict("own", self.own)
        self._former: tuple[Candidate, Run] | None = None
        self._nearest: tuple[Candidate, Run] | None = None
        return self._seen()

    def step(self, action: np.int64) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        move, before, used = MOVES[int(action)], self.gap, self._used
        if move not in self.state.moves:
            self._used += 1
        elif move == "rollback" and self._former is not None:
            (self._champion, self._run), self._former = self._former, None
        elif move in KINDS:
            self._try(move)
        done = move == "stop" or self.state.distance == "met"
        spent = not done and self._used >= self.trials
        if (move == "stop" or spent) and self._nearest and shortfall(self.aims, self._nearest[1]) < self.gap:
            self._champion, self._run = self._nearest
        observation, info = self._seen()
        return observation, reward(before, self.gap, measurements=self._used - used), done, spent, info

    @property
    def gap(self) -> float:
        """The champion's shortfall."""
        return shortfall(self.aims, self._run)

    @property
    def subject(self) -> Aim:
        """The target that a try is about: the first that the champion does not meet."""
        return next((aim for aim in self.aims if not aim.met(self._run)), self.aims[0])

    @property
    def champion(self) -> Candidate:
        """Who stands now."""
        return self._champion

    @property
    def used(self) -> int:
        """Measurements of candidates so far."""
        return self._used

    @property
    def state(self) -> State:
        """What a policy sees now."""
        tune, refactor, replace = (self._stock(kind) for kind in KINDS)
        left = "few" if self.trials - self._used <= FEW else "plenty"
        fell = "yes" if self._fell() else "no"
        return State(distance(self.gap), self.subject.asks, self._trend, left, tune, refactor, replace, fell)

    def _try(self, kind: str) -> None:
        candidate = self.candidates[kind][self._place[kind]]
        self._place[kind] += 1
        run, subject = self._measure(kind, candidate), self.subject
        best = min([self.gap, *([shortfall(self.aims, self._nearest[1])] if self._nearest else [])])
        self._trend = "nearer" if shortfall(self.aims, run) < best else "no-nearer"
        runs = [run]
        if subject.met(run) and shortfall(self.aims, run) < self.gap and self._used < self.trials:
            runs.append(self._measure(kind, candidate))
            if all(subject.met(one) for one in runs) and shortfall(self.aims, runs[1]) < self.gap:
                self._former = self._champion, self._run
                self._champion, self._run = candidate, self._verdict(kind, candidate)
                return
        if self._trend == "nearer":
            self._nearest = candidate, run

    def _verdict(self, kind: str, candidate: Candidate) -> Run:
        """A run of its own, on which nothing was chosen; the plan pays for verdicts, the trials do not."""
        run = self._measure(kind, candidate)
        self._used -= 1
        return run

    def _measure(self, kind: str, candidate: Candidate) -> Run:
        self._used += 1
        return self.evaluate(Action(kind=kind, task=self.task, details=candidate.details))

    def _stock(self, kind: str) -> str:
        if self._place[kind] >= len(self.candidates.get(kind, ())):
            return "none"
        return "tried" if self._place[kind] else "fresh"

    def _fell(self) -> bool:
        return self._former is not None and self.gap > shortfall(self.aims, self._former[1])

    def _seen(self) -> tuple[NDArray[np.int64], dict[str, Any]]:
        moves = self.state.moves
        return np.array(self.state.index, dtype=np.int64), {"state": self.state.text, "moves": moves}
