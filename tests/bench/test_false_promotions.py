"""The proof of the promotion rule, scaled down: real trainings for the noise, a few hundred simulated runs. In full: `python -m bench.false_promotions --full`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench import trained_equals
from bench.false_promotions import DROPPING, IMPROVEMENT, POWER, improved, power, simulated_rates
from bench.false_verdicts import Rate
from bench.promotion import Answer, Floats, Pair, duel, limit, share
from bench.trained_equals import (
    ALONE,
    COMPLETION,
    ERROR,
    LR,
    SUBMISSION,
    Kept,
    Trained,
    completed,
    promoted,
    rates_alone,
    run_on_trainings,
    train_once,
)


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A few candidates on real trainings."""
    return run_on_trainings(2, measure=train_once, say=lambda line: None)


@pytest.fixture(scope="module")
def many() -> Trained:
    """Two hundred candidates whose numbers are drawn instead of trained."""
    rng = np.random.default_rng(3)
    drawn: dict[int, float] = {}
    return run_on_trainings(200, measure=lambda stream: drawn.setdefault(stream, rng.normal(6, 0.1)), say=lambda line: None)


@pytest.fixture(scope="module")
def scores(trained: Trained) -> Floats:
    """Noise with the spread of the real trainings, as many numbers as a simulation wants."""
    drawn: Floats = np.random.default_rng(0).normal(trained.scores.mean(), trained.scores.std(ddof=1), 2000)
    return drawn


@pytest.fixture(scope="module")
def rates(scores: Floats) -> list[Rate]:
    return list(simulated_rates(scores, np.random.default_rng(1), runs=200, candidates=8))


def test_equals_trained_anew_are_redraws_and_none_is_promoted(trained: Trained) -> None:
    assert len(set(trained.scores.tolist())) == len(trained.scores) >= 2 * 2 * ALONE
    assert 0.003 < trained.scores.std() / trained.scores.mean() < 0.05
    assert trained.count(Answer.PROMOTE) == 0
    assert train_once(5) == train_once(5) != train_once(6)


def test_runs_of_equals_promote_any_no_more_often_than_declared_with_any_number_of_workers(rates: list[Rate]) -> None:
    ours = [rate for rate in rates if rate.method == SUBMISSION]
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


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_measurements_end_in_the_order_in_which_a_clock_that_ticks_sees_them_end(workers: int) -> None:
    ticks = np.random.default_rng(workers).permutation(np.arange(1, 2000))[:20].tolist()
    queue, running, ended = list(range(20)), dict[int, int](), list[int]()
    for now in range(sum(ticks) + 1):
        ended += [place for place, end in running.items() if end == now]
        running = {place: end for place, end in running.items() if end > now}
        while queue and len(running) < workers:
            place = queue.pop(0)
            running[place] = now + ticks[place]
    assert list(completed(ticks, workers=workers)) == ended


def test_each_equal_with_the_whole_error_to_itself_is_promoted_within_it_whoever_finishes_sooner(many: Trained) -> None:
    rates = list(rates_alone(many, np.random.default_rng(4)))
    ours = [rate.false for rate in rates if rate.method == SUBMISSION]
    assert len(ours) == 6
    assert len(set(ours)) == 1
    assert 0 < ours[0] <= ERROR * 200
    habit = {rate.world: rate.false / rate.of for rate in rates if rate.method == COMPLETION}
    assert habit["good ones finish sooner, 16 workers"] > 2 * ERROR
    assert many.count(Answer.PROMOTE) == 0
    assert 0.4 < many.kept / 200 < 0.6


def test_a_true_improvement_is_measured_on_pairs_that_no_duel_has_chosen() -> None:
    rng = np.random.default_rng(5)
    seen = improved(60, measure=lambda stream, lr: rng.normal(6, 0.05) * (1 if lr == LR else 1.0 / 0.95))
    assert seen.better == pytest.approx(0.05, abs=0.003)
    assert seen.found.false >= POWER * seen.found.of
    assert not improved(4, measure=lambda stream, lr: 1.0 if lr == LR else 1.2).holds


def test_a_proof_that_was_stopped_trains_nothing_twice_and_takes_no_number_of_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kept" / "trainings.jsonl"
    first = Kept(file)
    score = first(7)
    assert (first.trained, first(7)) == (1, score)
    file.write_text(file.read_text() + '\n["cut of')
    again = Kept(file)
    assert (again.found, again(7), again.trained) == (1, score, 0)
    again(8)
    assert Kept(file).found == 2
    monkeypatch.setattr(trained_equals, "LENGTH", 16)
    assert Kept(file).found == 0


def completions(won: list[float], *, workers: int, rng: np.random.Generator) -> Iterator[list[Pair | None]]:
    """What is known after each completion when good pairs finish ten times sooner; None for what is still measured."""
    known: list[Pair | None] = [None] * len(won)
    for index in completed([rng.exponential() / (10 if gain > 0 else 1) for gain in won], workers=workers):
        known[index] = (won[index], 0.0)
        yield list(known)


@pytest.mark.parametrize("workers", [1, 4, 16])
def test_the_answer_does_not_depend_on_workers_or_on_who_finishes_first(workers: int) -> None:
    rng = np.random.default_rng(workers)
    error = share(1, 0.05)
    most = limit(error)
    for row in rng.normal(0.8, 1, (12, most)):
        found = None
        for known in completions(row.tolist(), workers=workers, rng=rng):
            found = duel(known, better="less", error=error)
            if found.ended:
                break
        assert found is not None
        assert found == duel([(gain, 0.0) for gain in row.tolist()], better="less", error=error)
        assert (found.answer is Answer.PROMOTE) == bool(promoted(row[None], error=error, most=most)[0])
