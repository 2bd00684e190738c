"""Continuous and conditional spaces: Optuna proposes and prunes, its best proposals are the bandit's finalists.

What Optuna saw of a finalist is not counted again: it was chosen on those numbers, so the bandit tries it on fresh seeds.
The study lives in any storage that Optuna knows, such as the URL of the ledger's database, and goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

from agents.search.spaces import Config, Space, suggest

if TYPE_CHECKING:
    import optuna

_CONFIG, _SUCCESSES, _TRIES = "config", "successes", "tries"


def explore(
    space: Space,
    evaluate: Callable[[Config, int], bool],
    *,
    trials: int,
    tries: int,
    finalists: int,
    first_seed: int,
    pool: Executor,
    workers: int,
    seed: int,
    storage: str | None = None,
    name: str = "touchstone",
) -> tuple[tuple[Config, ...], int]:
    """The best proposals by posterior mean, and the evaluations spent on all.

    Each proposal is tried on up to `tries` seeds; Optuna's median pruner ends a poor one early. Proposals are told in the order they were
    made, on the seeds from `first_seed` on. Stops before `trials` evaluations could be exceeded; those of an earlier session in `storage` count.
    """
    import optuna

    study = optuna.create_study(
        storage=storage,
        study_name=name,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8),
    )
    for stale in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(stale.number, state=optuna.trial.TrialState.FAIL)
    spent = sum(trial.user_attrs.get(_TRIES, 0) for trial in study.get_trials(deepcopy=False))
    while spent + tries <= trials:
        wave = [study.ask() for _ in range(min(workers, (trials - spent) // tries))]
        running: list[tuple[optuna.Trial, Future[int]]] = []
        for trial in wave:
            config = suggest(space, trial)
            trial.set_user_attr(_CONFIG, json.dumps(config))
            seeds = range(first_seed + trial.number * tries, first_seed + (trial.number + 1) * tries)
            running.append((trial, pool.submit(_try, trial, config, evaluate, seeds)))
        for trial, future in running:
            used = future.result()
            spent += used
            done = used == tries
            state = optuna.trial.TrialState.COMPLETE if done else optuna.trial.TrialState.PRUNED
            study.tell(trial, (trial.user_attrs[_SUCCESSES] + 0.5) / (used + 1) if done else None, state=state)
    return _best(study, finalists), spent


def _try(trial: optuna.Trial, config: Config, evaluate: Callable[[Config, int], bool], seeds: range) -> int:
    """Evaluations used."""
    successes = 0
    for used, seed in enumerate(seeds, start=1):
        successes += evaluate(config, seed)
        trial.report((successes + 0.5) / (used + 1), used)
        trial.set_user_attr(_SUCCESSES, successes)
        trial.set_user_attr(_TRIES, used)
        if used < len(seeds) and trial.should_prune():
            break
    return used


def _best(study: optuna.Study, finalists: int) -> tuple[Config, ...]:
    """Different configs of the highest posterior mean, all their tries pooled."""
    pooled: dict[str, tuple[int, int]] = {}
    for trial in study.get_trials(deepcopy=False):
        if _TRIES in trial.user_attrs:
            k, n = pooled.get(trial.user_attrs[_CONFIG], (0, 0))
            pooled[trial.user_attrs[_CONFIG]] = (k + trial.user_attrs[_SUCCESSES], n + trial.user_attrs[_TRIES])
    ranked = sorted(pooled, key=lambda config: -(pooled[config][0] + 0.5) / (pooled[config][1] + 1))
    return tuple(json.loads(config) for config in ranked[:finalists])
