"""Tunes what misses its target: tries configs where a trial may show one that meets it, and nominates the one that does.

A candidate's success is a matter of chance: does a training on a fresh seed meet the target? Trials follow `agents.search`; which come next
is folded from the situation, so a search that was killed goes on where it was. A nomination is no promotion: the duel that follows has fresh
seeds, and its error is the one that counts. So where the plan asks whether *any* candidate meets the target, two successes out of two are
enough to nominate, where a search that had to be believed by itself (`QAEHyperparamSearch`) would go on. Where it asks for the *best*, the
search goes on until that is settled at an error of 5 %, or only the duel can still be paid.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agents.candidates import fallen, untried
from agents.trials import SEEDS, TRIAL
from plan.catalogue import decider
from plan.decision import Action, Candidate, Decision, Situation, told
from plan.nouns import Run, Search, State, Status, Task, Verdict

if TYPE_CHECKING:
    from agents.search.amplitude import Estimate, amplitude_estimate
    from agents.search.bayesian import amplitude_estimate_bayesian
    from agents.search.hyperparameters import Found, QAEHyperparamSearch

__all__ = ["Estimate", "Found", "QAEHyperparamSearch", "Qae", "amplitude_estimate", "amplitude_estimate_bayesian"]

_SEARCH = {
    "Estimate": "amplitude", "amplitude_estimate": "amplitude", "amplitude_estimate_bayesian": "bayesian",
    "Found": "hyperparameters", "QAEHyperparamSearch": "hyperparameters",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """What `agents.search` holds, loaded on use: this file is read in every run, numpy and scipy only where something is tuned."""
    if name not in _SEARCH:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(import_module(f"agents.search.{_SEARCH[name]}"), name)


WAVE = 2
"""Trials at once."""
ENOUGH = 0.9
"""Posterior probability of meeting the target more often than not at which a candidate is nominated: reached by two successes out of two."""
DUEL = 12
"""Measurements kept back for a duel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arm:
    """A candidate and what its trials showed: how far each was on the good side of the threshold, -inf without a number."""

    candidate: Candidate
    margins: tuple[float, ...]
    outcomes: tuple[bool, ...]
    """Whether each met the target, in the order of submission."""

    @property
    def met(self) -> int:
        """Trials that met the target."""
        return sum(self.outcomes)

    @property
    def rate(self) -> float:
        """Posterior mean of how often it meets the target."""
        return (self.met + 0.5) / (len(self.outcomes) + 1)

    @property
    def chance(self) -> float:
        """Posterior probability that it meets the target in more than half of its trainings."""
        from scipy import special

        return float(special.betaincc(self.met + 0.5, len(self.margins) - self.met + 0.5, 0.5))

    @property
    def mean(self) -> float:
        """Mean margin; -inf before the first trial."""
        return sum(self.margins) / len(self.margins) if self.margins else -math.inf


@decider(
    "qae",
    source="1-identification (Degenne and Koolen, NeurIPS 2019) with Thompson sampling; amplitude estimation is simulated only",
)
class Qae:
    """Asks for trials of other configs of a task that fails, for a duel once one of them meets the target, and for the way back
    where a champion so found meets fewer targets than the one before it."""

    def ask(self, situation: Situation) -> Sequence[Decision]:
        decisions = []
        for task in situation.plan.tasks:
            verdicts = [verdict for verdict in situation.verdicts if verdict.task == task.id]
            failing = [verdict for verdict in verdicts if verdict.state is State.FAIL and verdict.threshold is not None]
            left = situation.trials_left.get(task.id, 0)
            settled = all(verdict.state is not State.WAITING for verdict in verdicts)
            if task.improve != ("tune",):  # where more may be tried, `refactor` chooses
                continue
            if champion := fallen(task, situation):
                decisions.append(_rollback(task, champion, verdicts, situation))
            elif failing and settled and left:
                decision = self._next(task, failing[0], left, situation)
                decisions += [decision] if decision else []
        return decisions

    def tell(self, decision: Decision, before: Verdict, after: Verdict) -> None:
        """Nothing is kept: what was tried, and how it went, is folded from the situation."""

    def _next(self, task: Task, verdict: Verdict, left: int, situation: Situation) -> Decision | None:
        configs = untried(task, "tune", situation)
        if not configs:
            return None
        runs = situation.trials.get(task.id, ())
        arms = [_folded(candidate, verdict, runs) for candidate in configs]
        own = [margin for run in situation.runs.get(task.id, ()) if (margin := _margin(run, verdict)) > -math.inf]
        bar = sum(own) / len(own) if own else -math.inf
        hopeless = all(arm.margins for arm in arms) and not any(arm.met for arm in arms)
        if task.search is Search.BEST and len(arms) > 1 and not hopeless:
            following, best = _raced(arms)
            if following and left > DUEL + WAVE and (trial := _try(task, [following], verdict, situation, seeds=WAVE)):
                return trial
            if best.met:
                note = "not yet told apart from the others" if following else "the best at an error of 5 %"
                return _nominate(task, best, verdict, situation, note=f", {note}")
        likely = max(arms, key=lambda arm: (arm.chance if arm.met else 0.0, arm.mean))
        if likely.met and likely.chance >= ENOUGH:
            return _nominate(task, likely, verdict, situation)
        if left <= DUEL + WAVE or hopeless:
            nearest = max(arms, key=lambda arm: arm.mean)
            if nearest.mean <= bar:
                return None
            if len(nearest.margins) > 1 or left <= DUEL + WAVE:
                return _nominate(task, nearest, verdict, situation)
            return _try(task, [nearest], verdict, situation)
        return _try(task, _wave(arms, runs), verdict, situation)


def _margin(run: Run, verdict: Verdict) -> float:
    """How far a run is on the good side of the threshold; -inf when it has no number. A target of `=` counts the distance."""
    value = run.metrics.get(verdict.target.metric) if run.status is Status.OK else None
    if value is None or verdict.threshold is None:
        return -math.inf
    comparator = verdict.target.comparator
    if comparator == "=":
        return -abs(value - verdict.threshold)
    return (value - verdict.threshold) * (1 if comparator.wants_more else -1)


def _folded(candidate: Candidate, verdict: Verdict, runs: Sequence[Run]) -> _Arm:
    mine = [run for run in runs if (run.request.module, run.request.config) == (candidate.module, candidate.config)]
    outcomes = tuple(
        run.status is Status.OK
        and verdict.threshold is not None
        and verdict.target.metric in run.metrics
        and verdict.target.comparator.holds(run.metrics[verdict.target.metric], verdict.threshold)
        for run in mine
    )
    return _Arm(candidate=candidate, margins=tuple(_margin(run, verdict) for run in mine), outcomes=outcomes)


def _raced(arms: Sequence[_Arm]) -> tuple[_Arm | None, _Arm]:
    """Whose outcome the race for the best lacks, None when it is settled; and the best by now.

    The race draws a candidate and takes that one's next outcome. Since it depends on nothing else, it may be run anew each time, other
    candidates in it or not, and outcomes that were measured ahead wait for their turn.
    """
    from agents.search.race import Race

    race, taken = Race(len(arms)), [0] * len(arms)
    while not race.answered:
        trial = race.ask()
        arm, turn = arms[trial.arm], taken[trial.arm]
        if turn == len(arm.outcomes):
            return arm, max(arms, key=lambda arm: (arm.rate if arm.met else 0.0, arm.mean))
        race.tell(trial, arm.outcomes[turn])
        taken[trial.arm] += 1
    return None, arms[race.chosen or 0]


def _wave(arms: Sequence[_Arm], runs: Sequence[Run]) -> list[_Arm]:
    """The next candidates to try: never the same twice in a wave. What is equally promising is tried in the order of the list."""
    import numpy as np

    from agents.search.thresholds import Clears

    chosen: list[_Arm] = []
    while len(chosen) < min(WAVE, len(arms)):
        rest = [arm for arm in arms if arm not in chosen]
        search = Clears(len(rest), target=0.5)
        search.successes[0], search.trials[0] = [arm.met for arm in rest], [len(arm.margins) for arm in rest]
        chosen.append(rest[int(search.choose(np.random.default_rng([len(runs), len(chosen)]))[0])])
    return chosen


def _try(task: Task, arms: Sequence[_Arm], verdict: Verdict, situation: Situation, *, seeds: int = 1) -> Decision | None:
    made = [one.action for one in situation.decisions if one.action.kind == TRIAL and one.action.task == task.id]
    first = SEEDS.start + sum(len(action.details["seeds"]) for action in made)
    fresh = list(range(first, min(first + seeds, SEEDS.stop)))
    if not fresh:
        return None
    champion = situation.champions.get(task.id) or Candidate(module=task.module, config=task.config)
    names = " and ".join(told(champion, arm.candidate) for arm in arms)
    details = {"candidates": [arm.candidate.details for arm in arms], "seeds": fresh}
    return _decision(
        Action(kind=TRIAL, task=task.id, details=details),
        situation,
        expected=1 - math.prod(1 - arm.rate for arm in arms) ** len(fresh),
        expects="probability that one of these trials meets the target",
        why=f"`{verdict.id}` fails; {names}: to be tried on seed {' and '.join(str(seed) for seed in fresh)}",
    )


def _nominate(task: Task, arm: _Arm, verdict: Verdict, situation: Situation, *, note: str = "") -> Decision:
    champion = situation.champions.get(task.id) or Candidate(module=task.module, config=task.config)
    n, total = len(arm.margins), len(situation.trials.get(task.id, ()))
    better = f"met `{verdict.id}` in {arm.met} of {n} trials" if arm.met else f"came nearest to `{verdict.id}`, mean of {n}"
    return _decision(
        Action(kind="tune", task=task.id, details=arm.candidate.details),
        situation,
        expected=arm.chance,
        expects="probability that it meets the target in more than half of its trainings",
        why=f"{told(champion, arm.candidate)} {better}{note}, {total} trials of all candidates together; the duel decides",
    )


def _rollback(task: Task, champion: str, verdicts: Sequence[Verdict], situation: Situation) -> Decision:
    missed = ", ".join(f"`{verdict.id}`" for verdict in verdicts if verdict.state is not State.PASS)
    return _decision(
        Action(kind="rollback", task=task.id, details={"decision": champion}),
        situation,
        expected=1.0,
        expects="probability that the champion before it meets more targets",
        why=f"the champion that {champion} made misses {missed}, and with that more targets than the one before it",
    )


def _decision(action: Action, situation: Situation, *, expected: float, expects: str, why: str) -> Decision:
    runs = (*situation.runs.get(action.task, ()), *situation.trials.get(action.task, ()))
    evidence = tuple(dict.fromkeys(run.id for run in runs))
    digest = hashlib.sha256("\n".join(("qae", action.kind, action.task, repr(action.details), *evidence)).encode()).hexdigest()
    return Decision(
        id="d" + digest[:8], decider="qae", action=action, evidence=evidence, expected=expected, expects=expects, why=why
    )  # fmt: skip
