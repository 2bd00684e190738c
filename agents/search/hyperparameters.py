"""`QAEHyperparamSearch(evaluate, space).search(num_samples=500)`: hyper-parameters whose success is a matter of chance.

The name stands for quantum amplitude estimation: a candidate's success rate is an amplitude, and `agents.search.amplitude` says what
a quantum computer would pay to estimate it. Here every evaluation is a real one, and what makes the search cheap is classical: trials
go where they may change the answer, and it ends as soon as the answer is settled at the stated error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from agents.search.certificate import Certificate
from agents.search.exploration import explore
from agents.search.race import Race, Trial
from agents.search.spaces import Config, Space, finite

Evaluate = Callable[..., bool]
"""`evaluate(config, seed) -> bool`, or `evaluate(config)`: did the candidate succeed this time? Every trial has a seed of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How a search ended."""

    best: Config | None
    """The config to go on with; None where every candidate is shown to miss the target."""
    settled: bool
    """Whether the answer holds at the stated error; False when the samples ran out first."""
    tied: tuple[Config, ...]
    """Configs that are not told apart, `best` first, where the question was which is best."""
    spent: int
    """Evaluations started in all, exploration and unread ones included."""
    candidates: tuple[Config, ...]
    certificate: Certificate


class QAEHyperparamSearch:
    """Finds the config that succeeds most often, or one that succeeds in more than `target` of its trials."""

    def __init__(
        self,
        evaluate: Evaluate,
        space: Space,
        *,
        target: float | None = None,
        error: float = 0.05,
        epsilon: float = 0.0,
        seed: int = 0,
        finalists: int = 8,
        storage: str | None = None,
        study: str = "touchstone",
    ) -> None:
        """`target`: a rate to clear; None asks which is best, with ties called at `epsilon`. `storage`, `study`: where Optuna keeps its trials."""
        self._space, self._candidates = space, finite(space)
        if self._candidates is not None and not self._candidates:
            raise ValueError("the space is empty; nothing was tried")
        self._evaluate = _with_seed(evaluate)
        self._target, self._error, self._epsilon, self._seed = target, error, epsilon, seed
        self._finalists, self._storage, self._study = finalists, storage, study

    def search(
        self,
        *,
        num_samples: int = 1000,
        early_stop: bool = True,
        max_workers: int = 1,
        tell: Callable[[str], None] = print,
    ) -> Found:
        """Spend at most `num_samples` evaluations, `max_workers` at a time; `early_stop`: end once settled. Ends by telling its certificate.

        Results count in the order in which they were started, however they finish. What `evaluate` raises ends the search.
        """
        if num_samples < 1 or max_workers < 1:
            raise ValueError(f"`num_samples` and `max_workers` must be at least 1, not {num_samples} and {max_workers}")
        with ThreadPoolExecutor(max_workers) as pool:
            candidates, explored = self._enter(num_samples, pool, max_workers)
            race = Race(
                len(candidates),
                target=self._target,
                error=self._error,
                epsilon=self._epsilon,
                seed=self._seed,
            )
            raced = self._run(race, candidates, num_samples - explored, early_stop, pool, max_workers)
        certificate = race.certificate(tuple(_name(config) for config in candidates), explored=explored)
        tell(certificate.text)
        chosen = race.chosen
        return Found(
            best=None if chosen is None else candidates[chosen],
            settled=race.answered,
            tied=tuple(candidates[arm] for arm in race.tied),
            spent=explored + raced,
            candidates=candidates,
            certificate=certificate,
        )

    def _enter(self, num_samples: int, pool: Executor, workers: int) -> tuple[tuple[Config, ...], int]:
        """The candidates of the race, and what it cost to find them: nothing in a finite space, else half of the samples."""
        if self._candidates is not None:
            return self._candidates, 0
        tries = max(1, min(5, num_samples // 40))
        candidates, spent = explore(
            self._space,
            self._evaluate,
            trials=max(num_samples // 2, tries),
            tries=tries,
            finalists=self._finalists,
            first_seed=num_samples,
            pool=pool,
            workers=workers,
            seed=self._seed,
            storage=self._storage,
            name=self._study,
        )
        return candidates, spent

    def _run(
        self, race: Race, candidates: tuple[Config, ...], samples: int, early_stop: bool, pool: Executor, workers: int
    ) -> int:
        running: dict[Future[bool], Trial] = {}
        started = 0
        while True:
            while len(running) < workers and started < samples and not (early_stop and race.answered):
                trial = race.ask()
                running[pool.submit(self._evaluate, candidates[trial.arm], trial.index)] = trial
                started += 1
            if not running:
                return started
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                race.tell(running.pop(future), future.result())


def _with_seed(evaluate: Evaluate) -> Callable[[Config, int], bool]:
    """`evaluate` of a config and a seed, its answer checked."""
    takes = [p for p in inspect.signature(evaluate).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    seeded = len(takes) > 1

    def ask(config: Config, seed: int) -> bool:
        answer: Any = evaluate(config, seed) if seeded else evaluate(config)
        if answer not in (0, 1):
            raise ValueError(
                f"`evaluate` must say whether {_name(config)} succeeded (True or False), not {answer!r}; the search ended"
            )
        return bool(answer)

    return ask


def _name(config: Config) -> str:
    if not isinstance(config, Mapping):
        return str(config)
    return (
        " ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in config.items())
        or "the default"
    )
