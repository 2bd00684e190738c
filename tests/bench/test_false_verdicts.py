"""Point 5 of the loop's promises: false verdicts stay within the declared error, and the naive ways are caught.

The full table, 2,000 simulations each: `python -m bench.false_verdicts`, or `pytest -m slow tests/bench/test_false_verdicts.py`.
"""

from __future__ import annotations

import numpy as np
import pytest

from bench import false_verdicts
from bench.false_verdicts import bernoulli_rates, costs, main, paired_rates, schedule
from bench.judge import judge
from plan.nouns import Comparator, Plan, Request, Rule, RuleKind, Run, Seeds, State, Status, Target, Task, Threshold


def test_the_judge_keeps_its_error_where_naive_twins_lose_it() -> None:
    rates = [*bernoulli_rates(400, np.random.default_rng(1)), *paired_rates(400, np.random.default_rng(2))]
    claims = [rate.within for rate in rates]
    assert (claims.count(True), claims.count(False)) == (6, 8)
    assert [rate for rate in rates if not rate.holds] == []


def test_certainty_costs_less_than_twice_the_fewest_trials_possible() -> None:
    for cost in costs(400, np.random.default_rng(3), trials=1500):
        assert cost.bound < cost.trials < 2.1 * cost.bound
        assert cost.wrong + cost.undecided <= 0.05 * 400


def test_a_schedule_looks_at_every_completion_and_settles_the_longest_finished_prefix() -> None:
    seconds = np.random.default_rng(4).exponential(1.0, (20, 40)).round(3) + 0.001
    looks = schedule(seconds, workers=4, trials=36)
    for row, durations in enumerate(seconds):
        free, ends = [0.0] * 4, np.empty(40)
        for index, duration in enumerate(durations):
            start = min(free)
            free[free.index(start)] = ends[index] = start + duration
        now = np.sort(ends)[:36]
        assert ends[looks.finished[row]] == pytest.approx(now)
        whole = np.maximum.accumulate(ends)
        assert looks.settled[row].tolist() == [int((whole <= time + 1e-9).sum()) for time in now]


def _plan(rule: Rule, threshold: float, seeds: Seeds) -> Plan:
    target = Target(metric="m", comparator=Comparator.GE, threshold=Threshold(value=threshold), rule=rule)
    return Plan(
        title="p",
        path="P.md",
        source="",
        digest="",
        tasks=(Task(id="a", title="a", module="m", benchmark="b", targets=(target,), seeds=seeds),),
    )


def _runs(values: np.ndarray) -> dict[str, list[Run]]:
    return {"a": [
        Run(key=f"{seed:08d}", request=Request(module="m", benchmark="b", seed=seed), status=Status.OK, metrics={"m": float(value)})
        for seed, value in enumerate(values)
    ]}  # fmt: skip


def test_buying_seeds_at_registered_looks_keeps_the_judge_within_its_error() -> None:
    plan, rng = _plan(Rule(kind=RuleKind.LOWER, level=0.95), 0.0, Seeds(first=3, most=8)), np.random.default_rng(5)
    ends = {State.PASS: 0, State.FAIL: 0, State.UNSURE: 0}
    for _ in range(400):
        values = rng.normal(0, 1, 8)
        for look in (3, 5, 8):
            (verdict,) = judge(plan, _runs(values[:look]))
            if verdict.state is not State.UNSURE:
                break
        ends[verdict.state] += 1
    limit = 400 * (0.05 + 3 * np.sqrt(0.05 * 0.95 / 400))
    assert ends[State.PASS] <= limit
    assert ends[State.FAIL] <= limit


def test_the_judge_gives_the_verdicts_that_the_simulation_counts() -> None:
    plan, rng = _plan(Rule(kind=RuleKind.ANYTIME, level=0.95), 0.6, Seeds(first=1, most=60)), np.random.default_rng(6)
    for rate in (0.2, 0.6, 0.95):
        outcome = rng.random((6, 60)) < rate
        for row in outcome:
            stake = false_verdicts.eprocess.bernoulli(row.cumsum(), np.arange(1, 61), 0.6)
            decided = false_verdicts._decided(stake)
            (verdict,) = judge(plan, _runs(row))
            assert (verdict.state is not State.UNSURE) == bool(decided.any())
            if decided.any():
                at = decided.argmax()
                assert (verdict.state is State.PASS) == bool(stake.above[at] > stake.below[at])


def test_a_broken_claim_ends_with_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(false_verdicts, "NOISES", ())
    monkeypatch.setattr(false_verdicts, "POWER", ())
    monkeypatch.setattr(false_verdicts, "TRIALS", 2)
    monkeypatch.setattr(false_verdicts, "WORKERS", (1,))
    assert main(["--simulations", "20"]) == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out


@pytest.mark.slow
def test_the_full_table_holds() -> None:
    """`pytest -m slow tests/bench/test_false_verdicts.py`: about a minute."""
    assert main(["--simulations", "2000"]) == 0
