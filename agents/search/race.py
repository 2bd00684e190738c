"""One search as it happens: which trial comes next, and what the finished ones show, folded in the order of submission.

A trial is known by its index. Its randomness comes from the search's seed and that index, so a trial that was asked for is asked
for again in the same way once the same results are folded; results that come back early wait for those before them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.search.bandit import BestArm
from agents.search.certificate import Certificate, certify
from agents.search.thresholds import Clears
from bench import eprocess

TIE_SHARE = 0.1
"""Share of the error that pays for calling arms indistinguishable, where an epsilon is given."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What to try: the index of the trial, the arm, and the chances it was drawn by."""

    index: int
    arm: int
    chances: tuple[float, ...] = ()


class Race:
    """Trials asked for and told; `answered` once the problem is settled."""

    def __init__(
        self,
        arms: int,
        *,
        target: float | None = None,
        error: float = 0.05,
        epsilon: float = 0.0,
        seed: int = 0,
    ) -> None:
        """`target`: a rate to clear; None asks which arm is best, with ties called at `epsilon`."""
        self.target, self.error, self.epsilon, self.seed = target, error, epsilon, seed
        main = error * (1 - TIE_SHARE) if epsilon > 0 else error
        self.best = BestArm(arms, error=main) if target is None and arms > 1 else None
        self.clears = Clears(arms, target=target, error=error) if target is not None else None
        self.arms, self.asked, self.folded = arms, 0, 0
        self._waiting: dict[int, tuple[Trial, bool]] = {}
        self._tied: tuple[int, ...] = ()

    def ask(self) -> Trial:
        """The next trial, given what is folded by now."""
        index, self.asked = self.asked, self.asked + 1
        rng = np.random.default_rng([self.seed, index])
        if self.clears is not None:
            return Trial(index, int(self.clears.choose(rng)[0]))
        if self.best is None:
            return Trial(index, 0)
        chances = self.best.chances()
        return Trial(index, int(self.best.draw(rng.random(1), chances)[0]), tuple(chances[0].tolist()))

    def tell(self, trial: Trial, success: bool) -> None:
        """One result; it counts once every trial before it is told."""
        self._waiting[trial.index] = (trial, success)
        self.asked = max(self.asked, trial.index + 1)
        while self.folded in self._waiting:
            following, outcome = self._waiting.pop(self.folded)
            self._fold(following, outcome)
            self.folded += 1

    def _fold(self, trial: Trial, success: bool) -> None:
        arm, outcome = np.array([trial.arm]), np.array([success])
        if self.clears is not None:
            self.clears.fold(arm, outcome)
        elif self.best is not None:
            self.best.fold(arm, outcome, np.array([trial.chances]))
            if self.epsilon > 0 and not self._tied and self.folded % 16 == 15:
                self._tied = self._within(self.epsilon)

    @property
    def answered(self) -> bool:
        """Whether the problem is settled at the stated error."""
        if self.clears is not None:
            return bool(self.clears.decided()[0])
        return self.best is None or bool(self.best.decided()[0]) or bool(self._tied)

    @property
    def counts(self) -> tuple[tuple[int, int], ...]:
        """(successes, trials) per arm."""
        state = self.clears or self.best
        if state is None:
            return ((0, 0),)
        return tuple((int(k), int(n)) for k, n in zip(state.successes[0], state.trials[0], strict=True))

    @property
    def chosen(self) -> int | None:
        """The arm to go on with: the one found, or the likeliest by now; None where all miss the target."""
        if self.clears is not None:
            if self.clears.missed.all():
                return None
            shown = self.clears.cleared[0]
            return int(
                np.where(shown, np.inf, self.clears.log_evidence()[0][0]).argmax() if shown.any() else self._means().argmax()
            )
        return 0 if self.best is None else int(self.best.leader()[0])

    @property
    def tied(self) -> tuple[int, ...]:
        """Arms that none is shown to beat, the chosen one first, where the question is the best arm; one arm: it is the best."""
        if self.best is None or self.chosen is None:
            return ()
        rest = self._tied or tuple(int(arm) for arm in np.flatnonzero(self.best.alive[0]))
        return (self.chosen, *(arm for arm in rest if arm != self.chosen))

    def _means(self) -> NDArray[np.float64]:
        return np.array([(k + 0.5) / (n + 1) for k, n in self.counts])

    def _within(self, epsilon: float) -> tuple[int, ...]:
        """The arms still in the race if all their rates are shown to lie within `epsilon` of each other."""
        assert self.best is not None
        alive = tuple(int(arm) for arm in np.flatnonzero(self.best.alive[0]))
        return alive if self.spread(alive) <= epsilon else ()

    def spread(self, arms: tuple[int, ...]) -> float:
        """How far apart the rates of `arms` can be, at the share of the error kept for ties, whenever one looks."""
        ends = []
        for arm in arms:
            k, n = self.counts[arm]
            if not n:
                return 1.0
            values = np.repeat([1.0, 0.0], [k, n - k])
            ends.append(eprocess.confidence_bounds(values, error=self.error * TIE_SHARE / self.arms))
        return max(high for _, high in ends) - min(low for low, _ in ends)

    def certificate(self, names: tuple[str, ...], *, explored: int = 0) -> Certificate:
        """What was found, at which cost; `names` are the arms', `explored` what was spent before to find them."""
        return certify(
            self.counts,
            answer=self._answer(names),
            settled=self.answered,
            error=self.error,
            target=self.target,
            explored=explored,
            tie=bool(self._tied),
        )

    def _answer(self, names: tuple[str, ...]) -> str:
        chosen = self.chosen
        if self.clears is not None:
            if chosen is None:
                return f"no candidate succeeds in more than {self.target:g} of its trials"
            shown = self.clears.cleared[0, chosen]
            return f"{names[chosen]} {'succeeds' if shown else 'may succeed, which is not settled,'} in more than {self.target:g} of its trials"
        if len(self.tied) <= 1:
            return f"{names[chosen or 0]} is the best" if self.best is not None else f"{names[0]} is the only candidate"
        among = ", ".join(names[arm] for arm in self.tied)
        if self._tied:
            return f"indistinguishable within {self.epsilon:g}: {among}"
        apart = self.spread(self.tied)
        return f"not settled: {names[self.tied[0]]} leads, not told apart from it: {', '.join(names[arm] for arm in self.tied[1:])} (rates at most {apart:.2g} apart)"
