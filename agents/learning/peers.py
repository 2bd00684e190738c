"""Other ways to choose what is tried next, under the same rules: the same candidates, trials, duels and verdicts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agents.candidates import untried
from agents.deciders.refactor import Refactor
from agents.learning.lore import Lore
from agents.learning.tabular import QTable
from agents.learning.view import Arm, Untried, View, name_of
from envs.changes import KINDS, shortfall
from plan.decision import Situation
from plan.nouns import Run

if TYPE_CHECKING:
    import optuna


class RandomSearch(Refactor):
    """Tries any candidate that was not tried, all of all kinds alike."""

    def __init__(self, seed: int, untried: Untried = untried) -> None:
        super().__init__(untried)
        self.draw = random.Random(f"random search {seed}")

    def choose(self, view: View, situation: Situation) -> tuple[str, Arm | None, bool]:
        if view.state.fell == "yes":
            return "rollback", None, False
        waiting = [arm for arm in view.arms if not arm.asked]
        arm = self.draw.choice(waiting) if waiting else None
        return arm.kind if arm else "stop", arm, True


class FixedOrder(Refactor):
    """Tries one candidate after the other in the order of the shelves."""

    def choose(self, view: View, situation: Situation) -> tuple[str, Arm | None, bool]:
        if view.state.fell == "yes":
            return "rollback", None, False
        arm = next((arm for arm in view.arms if not arm.asked), None)
        return arm.kind if arm else "stop", arm, False


class Unlearning(Refactor):
    """The refactor agent that knows what it began with, whatever happens: what learning is compared with."""

    def learnt(self, situation: Situation, views: Mapping[str, View]) -> tuple[QTable, Lore]:
        return QTable(first=self.first), self.known

    def elsewhere(self, view: View, situation: Situation) -> dict[str, list[Run]]:
        return {}


class OptunaSearch(Refactor):
    """Asks Optuna's default sampler (TPE) for a kind and a candidate of it, and tells it the shortfall of the trial.

    What it proposes again although it was tried is answered from memory at no cost, which Optuna by itself would pay for: with its shortfall, or the
    largest there is where it fought and did not stay.
    """

    PATIENCE = 200
    """Proposals of what was tried already after which any other candidate is taken."""

    def __init__(self, seed: int, untried: Untried = untried) -> None:
        super().__init__(untried)
        self.seed, self.draw = seed, random.Random(f"optuna {seed}")
        self.studies: dict[str, optuna.Study] = {}
        self.spaces: dict[str, dict[str, list[str]]] = {}
        self.open: dict[str, tuple[optuna.trial.Trial, Arm]] = {}

    def choose(self, view: View, situation: Situation) -> tuple[str, Arm | None, bool]:
        import optuna

        if view.state.fell == "yes":
            return "rollback", None, False
        waiting = [arm for arm in view.arms if not arm.asked]
        if not waiting:
            return "stop", None, False
        name = f"{view.task.id} {situation.champions.get(view.task.id)!r}"
        by_name = {(arm.kind, name_of(arm.candidate)): arm for arm in view.arms}
        if name not in self.studies:
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            sampler = optuna.samplers.TPESampler(seed=self.seed)
            self.studies[name] = optuna.create_study(sampler=sampler)
            self.spaces[name] = {kind: [one for of, one in by_name if of == kind] for kind in KINDS}
        study, space = self.studies[name], {kind: names for kind, names in self.spaces[name].items() if names}
        self._answer(name, view)
        for _ in range(self.PATIENCE):
            trial = study.ask()
            kind = trial.suggest_categorical("kind", list(space))
            chosen = trial.suggest_categorical(f"candidate of {kind}", space[kind])
            arm = by_name.get((kind, chosen))
            if arm is not None and not arm.asked:
                self.open[name] = trial, arm
                return kind, arm, True
            study.tell(trial, _mean(view, arm) if arm else 1.0)
        arm = self.draw.choice(waiting)
        return arm.kind, arm, True

    def _answer(self, name: str, view: View) -> None:
        """Tell the trial that was asked for before."""
        trial, tried = self.open.pop(name, (None, None))
        if trial is not None and tried is not None:
            now = next((arm for arm in view.arms if arm.candidate == tried.candidate and arm.kind == tried.kind), None)
            self.studies[name].tell(trial, _mean(view, now) if now else 1.0)


def _mean(view: View, arm: Arm) -> float:
    return sum(shortfall(view.aims, run) for run in arm.runs) / len(arm.runs) if arm.runs else 1.0
