"""Searches and estimates simulated by the hundred, for `agents.search.proof` and the tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.search.amplitude import Estimate, amplitude_estimate
from agents.search.bandit import Allocation, BestArm
from agents.search.bayesian import amplitude_estimate_bayesian
from agents.search.certificate import kl
from agents.search.race import Race, Trial
from agents.search.thresholds import Clears

ERROR = 0.05
MOST = 100_000
"""Trials after which simulated equal shares and threshold tests count as broken."""
PATIENCE = 12_000
"""Trials after which a simulated race counts as never settled: where the best arm was put out and two equal ones are left, none settles it."""
NEVER = 1e-300
"""An error so small that no arm is put out of a race."""
Floats = NDArray[np.float64]
Arms = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Trials of many searches of one instance, and what they answered."""

    spent: Floats
    answers: Arms
    """The arm named best or clear; -1: none clears; -2: not settled within `PATIENCE`."""

    @property
    def settled(self) -> Floats:
        """Trials of the searches that were settled."""
        return np.asarray(self.spent[self.answers != -2])

    @property
    def mean(self) -> float:
        """Mean trials of the settled ones."""
        return float(self.settled.mean())

    @property
    def margin(self) -> float:
        """Half the 95 % interval of the mean."""
        return float(1.96 * self.settled.std(ddof=1) / math.sqrt(len(self.settled)))

    def wrong(self, right: Sequence[int]) -> int:
        """Answers other than `right`, those never given among them."""
        return int((~np.isin(self.answers, right)).sum())


def race(rates: Sequence[float], *, runs: int, seed: int, allocation: Allocation = "top-two", error: float = ERROR) -> Cost:
    """Best-arm searches, all at once."""
    state, rng, mu = (
        BestArm(len(rates), error=error, allocation=allocation, replicas=runs),
        np.random.default_rng(seed),
        np.array(rates),
    )

    def step() -> None:
        chances = state.chances()
        arm = state.draw(rng.random(len(chances)), chances)
        state.fold(arm, rng.random(len(arm)) < mu[arm], chances)

    most = PATIENCE if allocation == "top-two" else MOST
    return _until(state.decided, state, step, lambda done: np.where(done, state.alive.argmax(axis=1), 0), runs, patience=most)


Threshold = Callable[[Floats, int], Floats]
"""Trials so far and the number of arms -> evidence at which a generalised likelihood ratio stops."""


def race_by_ratio(rates: Sequence[float], *, runs: int, seed: int, threshold: Threshold) -> Cost:
    """Searches with this search's allocation that stop by Chernoff's rule, as `equal_shares` does, in place of its own."""
    state, rng, mu = BestArm(len(rates), error=NEVER, replicas=runs), np.random.default_rng(seed), np.array(rates)
    trials = 0

    def step() -> None:
        nonlocal trials
        chances, trials = state.chances(), trials + 1
        arm = state.draw(rng.random(len(chances)), chances)
        state.fold(arm, rng.random(len(arm)) < mu[arm], chances)

    def done() -> NDArray[np.bool_]:
        return np.asarray(least_ratio(state.successes, state.trials) >= threshold(np.array(float(trials)), len(rates)))

    return _until(done, state, step, lambda _: _means(state).argmax(axis=1), runs, patience=PATIENCE)


def least_ratio(successes: Floats, trials: Floats) -> Floats:
    """(R,) the generalised likelihood ratio, in nats, of the arm of the highest mean against the one that is hardest to tell from it."""
    row, mean = np.arange(len(trials)), successes / np.maximum(trials, 1)
    best = mean.argmax(axis=1)
    middle = (successes + successes[row, best][:, None]) / np.maximum(trials + trials[row, best][:, None], 1)
    with np.errstate(invalid="ignore"):  # no trials yet
        ratio = trials[row, best][:, None] * kl(mean[row, best][:, None], middle) + trials * kl(mean, middle)
    ratio[row, best] = np.inf
    return np.asarray(np.where(trials.min(axis=1) > 0, ratio.min(axis=1), 0.0))


def proven_threshold(trials: Floats, arms: int) -> Floats:
    """Evidence at which the generalised likelihood ratio stops with a proven error (Garivier and Kaufmann 2016)."""
    return np.asarray(np.log(2 * trials * (arms - 1) / ERROR))


def usual_threshold(trials: Floats, arms: int) -> Floats:
    """The smaller one of their experiments, with a union over the arms: without proof."""
    return np.asarray(np.log((arms - 1) * (1 + np.log(trials)) / ERROR))


def equal_shares(rates: Sequence[float], *, runs: int, seed: int, threshold: Threshold) -> Cost:
    """Best-arm searches that try every arm in turn, and stop by Chernoff's rule: a generalised likelihood ratio above `threshold`.

    Looks after every round. With n trials of each arm the ratio of the best to another arm, n (kl(p, m) + kl(q, m)), m = (p + q) / 2,
    is least for the second best.
    """
    arms, rounds, rng = len(rates), 256, np.random.default_rng(seed)
    spent, answers, row = np.zeros(runs), np.zeros(runs, dtype=np.int64), np.arange(runs)
    before = np.zeros((runs, 1, arms))
    for first in range(0, MOST // arms, rounds):
        n = first + np.arange(1.0, rounds + 1)
        successes = before + (rng.random((len(row), rounds, arms)) < np.array(rates)).cumsum(axis=1)
        pair = np.sort(successes, axis=2)[..., -2:] / n[:, None]
        evidence = n * kl(pair, pair.mean(axis=2, keepdims=True)).sum(axis=2)
        over = evidence >= threshold(n * arms, arms)
        done, look = over.any(axis=1), over.argmax(axis=1)
        spent[row[done]] = n[look[done]] * arms
        answers[row[done]] = successes[done, look[done]].argmax(axis=1)
        before, row = successes[~done, -1:], row[~done]
        if not len(row):
            return Cost(spent=spent, answers=answers)
    raise RuntimeError(f"{len(row)} of {runs} searches are not decided after {MOST} trials")


def ask_whether_any_clears(rates: Sequence[float], *, target: float, runs: int, seed: int, uniform: bool = False) -> Cost:
    """Searches for a candidate above `target`, all at once."""
    state, rng, mu = (
        Clears(len(rates), target=target, error=ERROR, replicas=runs, uniform=uniform),
        np.random.default_rng(seed),
        np.array(rates),
    )

    def step() -> None:
        arm = state.choose(rng)
        state.fold(arm, rng.random(len(arm)) < mu[arm])

    return _until(
        state.decided, state, step, lambda done: np.where(state.cleared.any(axis=1), state.cleared.argmax(axis=1), -1), runs
    )


def _means(state: BestArm) -> Floats:
    return np.asarray(state.successes / np.maximum(state.trials, 1))


def _until(
    decided: Callable[[], NDArray[np.bool_]],
    state: BestArm | Clears,
    step: Callable[[], None],
    answer: Callable[[NDArray[np.bool_]], Arms],
    runs: int,
    *,
    patience: int = MOST,
) -> Cost:
    spent, answers, row = np.full(runs, float(patience)), np.full(runs, -2, dtype=np.int64), np.arange(runs)
    for trial in range(1, patience + 1):
        step()
        done = decided()
        if done.any():
            spent[row[done]], answers[row[done]] = trial, answer(done)[done]
            state.keep(~done)
            row = row[~done]
            if not len(row):
                break
    return Cost(spent=spent, answers=answers)


def delayed(
    rates: Sequence[float],
    *,
    workers: int,
    runs: int,
    seed: int,
    target: float | None = None,
    in_order: bool = True,
    most: int = 200,
) -> int:
    """How many of `runs` searches tell equal arms apart, or say that none clears `target`, within `most` trials: both wrong where the rates say so.

    Failures come back ten times faster than successes. `in_order=False` folds results as they come back: the mistake not to make.
    """
    rng, settled = np.random.default_rng(seed), 0
    for run in range(runs):
        search, now, done = Race(len(rates), target=target, seed=seed + run), 0.0, 0
        running: list[tuple[float, Trial, bool]] = []
        while done < most and not search.answered:
            while len(running) < workers:
                trial = search.ask()
                success = bool(rng.random() < rates[trial.arm])
                running.append((now + rng.exponential() * (10 if success else 1), trial, success))
            running.sort(key=lambda one: one[0])
            now, trial, success = running.pop(0)
            search.tell(trial if in_order else Trial(done, trial.arm, trial.chances), success)
            done += 1
        settled += search.answered and (target is None or search.chosen is None)
    return settled


def named_best(rates: Sequence[float], *, trials: int, runs: int, seed: int) -> NDArray[np.bool_]:
    """(runs,) whether the likeliest arm after `trials` is the best."""
    state, rng, mu = BestArm(len(rates), error=1e-12, replicas=runs), np.random.default_rng(seed), np.array(rates)
    for _ in range(trials):
        chances = state.chances()
        arm = state.draw(rng.random(runs), chances)
        state.fold(arm, rng.random(runs) < mu[arm], chances)
    return np.asarray(state.leader() == mu.argmax())


def optuna_names_best(rates: Sequence[float], *, trials: int, seed: int) -> tuple[bool, bool]:
    """Whether Optuna's default sampler ends with the best candidate: by its `best_params`, and by each candidate's pooled mean."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng, counts = np.random.default_rng(seed), np.zeros((2, len(rates)))
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(trials):
        trial = study.ask()
        arm = trial.suggest_categorical("candidate", list(range(len(rates))))
        success = rng.random() < rates[arm]
        study.tell(trial, float(success))
        counts[:, arm] += success, 1
    best = int(np.argmax(rates))
    return study.best_params["candidate"] == best, int(((counts[0] + 0.5) / (counts[1] + 1)).argmax()) == best


def estimates(method: str, amplitudes: Floats, *, epsilon: float, seed: int) -> list[Estimate]:
    """One estimate per amplitude."""
    if method == "bayesian":
        return [
            amplitude_estimate_bayesian(float(a), epsilon=epsilon, error=ERROR, seed=seed + i) for i, a in enumerate(amplitudes)
        ]
    return [
        amplitude_estimate(float(a), method=method, epsilon=epsilon, error=ERROR, seed=seed + i) for i, a in enumerate(amplitudes)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How RMSE x queries changes from coarse to fine: flat for Heisenberg-limited estimators, as sqrt(queries) for plain sampling."""

    method: str
    products: tuple[float, ...]
    queries: tuple[float, ...]

    @property
    def slope(self) -> float:
        """Exponent of RMSE x queries in queries: 0 flat, 1/2 for plain sampling."""
        return float(np.polyfit(np.log(self.queries), np.log(self.products), 1)[0])


def scaling(method: str, epsilons: Sequence[float], *, runs: int, seed: int) -> Scaling:
    """RMSE x mean queries at each epsilon, over amplitudes between 0.05 and 0.95."""
    amplitudes = np.random.default_rng(seed).uniform(0.05, 0.95, runs)
    products, queries = [], []
    for epsilon in epsilons:
        found = estimates(method, amplitudes, epsilon=epsilon, seed=seed)
        mean = float(np.mean([one.queries for one in found]))
        rmse = math.sqrt(float(np.mean([(one.value - a) ** 2 for one, a in zip(found, amplitudes, strict=True)])))
        products.append(rmse * mean)
        queries.append(mean)
    return Scaling(method=method, products=tuple(products), queries=tuple(queries))
