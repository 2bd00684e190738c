"""The proof of the promotion rule, scaled down: real trainings for the noise, a few hundred simulated runs. In full: `python -m bench.false_promotions --full`."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
import pytest

from bench.false_promotions import (
    COMPLETION,
    DROPPING,
    IMPROVEMENT,
    POWER,
    Trained,
    power,
    promoted,
    run_on_trainings,
    simulated_rates,
    train_once,
)
from bench.false_verdicts import Rate
from bench.promotion import Answer, Floats, Pair, duel, fewest, share


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A few candidates on real trainings."""
    return run_on_trainings(2, measure=train_once, say=lambda line: None)


@pytest.fixture(scope="module")
def scores(trained: Trained) -> Floats:
    """Noise with the spread of the real trainings, as many numbers as a simulation wants."""
    drawn: Floats = np.random.default_rng(0).normal(trained.scores.mean(), trained.scores.std(ddof=1), 2000)
    return drawn


@pytest.fixture(scope="module")
def rates(scores: Floats) -> list[Rate]:
    return list(simulated_rates(scores, np.random.default_rng(1), runs=200, candidates=8))


def test_equals_trained_anew_are_redraws_and_none_is_promoted(trained: Trained) -> None:
    assert len(set(trained.scores.tolist())) == len(trained.scores)
    assert 0.003 < trained.scores.std() / trained.scores.mean() < 0.05
    assert trained.count(Answer.PROMOTE) == 0
    assert train_once(5) == train_once(5) != train_once(6)


def test_runs_of_equals_promote_any_no_more_often_than_declared_with_any_number_of_workers(rates: list[Rate]) -> None:
    ours = [rate for rate in rates if rate.method == "submission order"]
    assert len(ours) == 9
    assert all(rate.within for rate in ours)
    assert all(rate.holds for rate in ours)


def test_folding_as_they_complete_and_dropping_failures_are_caught(rates: list[Rate]) -> None:
    caught = [rate for rate in rates if rate.within is False]
    assert {rate.method for rate in caught} == {COMPLETION, DROPPING}
    assert all(rate.holds for rate in caught)
    assert max(rate.false / rate.of for rate in caught if rate.method == COMPLETION) > 0.5


def test_a_true_improvement_of_five_per_cent_is_found_in_nine_of_ten_duels(scores: Floats) -> None:
    rows = [row for row in power(scores, np.random.default_rng(2), duels=400) if row.spread == 0.02]
    assert all(row.promoted >= POWER for row in rows if row.improvement >= IMPROVEMENT)
    assert [row.pairs for row in rows if row.improvement == IMPROVEMENT] == sorted(
        row.pairs for row in rows if row.improvement == IMPROVEMENT
    )
    assert all(row.promoted < 0.5 for row in rows if row.improvement == 0.01)


def completions(won: list[float], *, workers: int, rng: np.random.Generator) -> Iterator[list[Pair | None]]:
    """What is known after each completion when good pairs finish ten times sooner; None for what is still measured."""
    durations = [rng.exponential() / (10 if gain > 0 else 1) for gain in won]
    running = [(durations[i], i) for i in range(min(workers, len(won)))]
    heapq.heapify(running)
    known: list[Pair | None] = [None] * len(won)
    following = len(running)
    while running:
        now, index = heapq.heappop(running)
        known[index] = (won[index], 0.0)
        if following < len(won):
            heapq.heappush(running, (now + durations[following], following))
            following += 1
        yield list(known)


@pytest.mark.parametrize("workers", [1, 4, 16])
def test_the_answer_does_not_depend_on_workers_or_on_who_finishes_first(workers: int) -> None:
    rng = np.random.default_rng(workers)
    error = share(1, 0.05)
    most = 2 * fewest(error)
    for row in rng.normal(0.8, 1, (12, most)):
        found = None
        for known in completions(row.tolist(), workers=workers, rng=rng):
            found = duel(known, better="less", error=error)
            if found.ended:
                break
        assert found is not None
        assert found == duel([(gain, 0.0) for gain in row.tolist()], better="less", error=error)
        assert (found.answer is Answer.PROMOTE) == bool(promoted(row[None], error=error, most=most)[0])
