"""The judge's rules, told on small runs; error rates are simulated in `test_false_verdicts.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from scipy import stats

from bench.judge import judge, tally
from plan.nouns import Comparator, Plan, Request, Rule, RuleKind, Run, Seeds, State, Status, Target, Task, Threshold, Verdict
from plan.wire import decode, encode

LOWER = Rule(kind=RuleKind.LOWER, level=0.95)
UPPER = Rule(kind=RuleKind.UPPER, level=0.95)
ANYTIME = Rule(kind=RuleKind.ANYTIME, level=0.95)


def wish(sign: str, value: float, rule: Rule | RuleKind, *, task: str | None = None, metric: str = "accuracy") -> Target:
    rule = rule if isinstance(rule, Rule) else Rule(kind=rule)
    return Target(metric=metric, comparator=Comparator(sign), threshold=Threshold(value=value, task=task), rule=rule)


def task(
    id: str, *targets: Target, first: int = 3, most: int | None = None, needs: tuple[str, ...] = (), gate: bool = True
) -> Task:
    seeds = Seeds(first=first, most=most or first)
    return Task(id=id, title=id, module=f"{id}-module", benchmark="b-v1", targets=targets, seeds=seeds, needs=needs, gate=gate)


def plan(*tasks: Task) -> Plan:
    return Plan(title="p", tasks=tasks, path="P.md", source="", digest="")


def run(seed: int, accuracy: float | None = None, *, status: Status = Status.OK, message: str = "", **metrics: float) -> Run:
    metrics = metrics if accuracy is None else {"accuracy": accuracy, **metrics}
    request = Request(module="m", benchmark="b-v1", seed=seed)
    return Run(key=f"{seed:08d}", request=request, status=status, metrics=metrics if status is Status.OK else {}, message=message)


def runs(*values: float) -> list[Run]:
    return [run(seed, value) for seed, value in enumerate(values)]


def one(target: Target, given: Sequence[Run], *, first: int = 3, most: int | None = None) -> Verdict:
    (verdict,) = judge(plan(task("a", target, first=first, most=most)), {"a": given})
    return verdict


def two(
    target: Target, ours: Sequence[Run], theirs: Sequence[Run], *, most: int | None = None, theirs_most: int | None = None
) -> Verdict:
    return judge(plan(task("a", target, most=most), task("b", most=theirs_most or most)), {"a": ours, "b": theirs})[0]


@pytest.mark.parametrize(
    ("values", "state"),
    [((0.95, 0.951, 0.952), State.PASS), ((0.85, 0.851, 0.852), State.FAIL), ((0.85, 0.92, 0.95), State.UNSURE)],
)
def test_an_interval_rule_passes_above_fails_below_and_is_unsure_across_the_threshold(
    values: tuple[float, ...], state: State
) -> None:
    verdict = one(wish(">=", 0.9, LOWER), runs(*values))
    low, high = stats.t.interval(0.9, 2, np.mean(values), stats.sem(values))
    assert (low >= 0.9, high < 0.9) == (state is State.PASS, state is State.FAIL)
    assert verdict.state is state
    assert verdict.error == (None if state is State.UNSURE else pytest.approx(0.05))
    assert (verdict.low, verdict.high) == pytest.approx(stats.t.interval(0.95, 2, np.mean(values), stats.sem(values)))
    assert verdict.value == pytest.approx(np.mean(values))
    assert verdict.margin == pytest.approx((np.mean(values) - 0.9) / 0.9)


def test_upper_is_lower_in_a_mirror() -> None:
    values = (1.02, 1.07, 1.0)
    for bar, expected in ((1.2, State.PASS), (1.05, State.UNSURE), (0.9, State.FAIL)):
        verdict = one(wish("<=", bar, UPPER), runs(*values))
        assert verdict.state is expected
        assert verdict.margin == pytest.approx((bar - np.mean(values)) / bar)
        assert one(wish(">=", -bar, LOWER), runs(*(-v for v in values))).state is expected


def test_registered_looks_widen_the_bound_so_that_buying_seeds_is_paid_for() -> None:
    values = (0.90, 0.91, 0.92)
    low = np.mean(values) - stats.t.ppf(0.95, 2) * stats.sem(values)
    low_paid = np.mean(values) - stats.t.ppf(1 - 0.05 / 3, 2) * stats.sem(values)
    bar = (low + low_paid) / 2
    assert one(wish(">=", bar, LOWER), runs(*values)).state is State.PASS
    assert one(wish(">=", bar, LOWER), runs(*values), most=8).state is State.UNSURE


def test_seeds_beyond_the_last_full_look_are_not_read() -> None:
    target, values = wish(">=", 0.9, LOWER), (0.95, 0.951, 0.952, 0.1)
    verdict = one(target, runs(*values), most=5)
    assert (verdict.n, verdict.state, verdict.values) == (3, State.PASS, values[:3])
    assert one(target, runs(*values, 0.95), most=5).n == 5
    assert one(wish(">=", 0.9, RuleKind.EVERY_SEED), runs(*values), most=5).state is State.PASS


def test_a_seed_that_is_still_running_holds_back_all_later_ones() -> None:
    waiting = one(wish(">=", 0.9, LOWER), [run(0, 0.95), run(2, 0.95), run(3, 0.951), run(4, 0.952)], most=5)
    assert (waiting.state, waiting.n, waiting.reason) == (State.WAITING, 1, "4 of 3 seeds measured; seed 1 is still missing")


def test_the_order_in_which_runs_arrive_changes_no_verdict() -> None:
    values = (0.95, 0.951, 0.9, 0.97, 0.93)
    for rule in (LOWER, RuleKind.EVERY_SEED, RuleKind.MEAN, ANYTIME):
        forward = one(wish(">=", 0.9, rule), runs(*values), most=5)
        assert one(wish(">=", 0.9, rule), runs(*values)[::-1], most=5) == forward


def test_too_few_seeds_wait_and_say_how_many_there_are() -> None:
    verdict = one(wish(">=", 0.9, RuleKind.MEAN), runs(0.95))
    assert (verdict.state, verdict.reason, verdict.value) == (State.WAITING, "1 of 3 seeds measured", None)


@pytest.mark.parametrize("status", [s for s in Status if s not in (Status.OK, Status.KILLED)])
def test_a_run_that_is_not_ok_fails_its_targets_and_is_never_a_number(status: Status) -> None:
    given = [*runs(0.95, 0.96), run(2, status=status, message="out of\nluck")]
    verdict = one(wish(">=", 0.1, RuleKind.EVERY_SEED), given)
    assert (verdict.state, verdict.value, verdict.values) == (State.FAIL, None, (0.95, 0.96))
    assert verdict.reason == f"seed 2: {status.value} (out of luck)"


def test_a_killed_run_is_not_there_yet_and_its_second_attempt_counts() -> None:
    given = [*runs(0.95, 0.96), run(2, status=Status.KILLED)]
    assert one(wish(">=", 0.1, RuleKind.EVERY_SEED), given).state is State.WAITING
    assert one(wish(">=", 0.1, RuleKind.EVERY_SEED), [*given, run(2, 0.97)]).values == (0.95, 0.96, 0.97)


def test_an_ok_run_without_the_metric_fails() -> None:
    verdict = one(wish(">=", 0.1, LOWER), [*runs(0.9, 0.9), run(2, loss=0.1)])
    assert (verdict.state, verdict.reason) == (State.FAIL, "seed 2 measured no `accuracy`, only `loss`")


def test_equal_seeds_make_a_point_and_claim_no_error_rate() -> None:
    for value, state in ((0.9, State.PASS), (0.8, State.FAIL)):
        verdict = one(wish(">=", 0.9, LOWER), runs(value, value, value))
        assert (verdict.state, verdict.error, verdict.low, verdict.high) == (state, None, value, value)
        assert "no variance" in verdict.reason


def test_one_seed_has_no_interval_and_an_interval_rule_stays_unsure() -> None:
    verdict = one(wish(">=", 0.9, LOWER), runs(0.95), first=1)
    assert (verdict.state, verdict.low, verdict.more_seeds) == (State.UNSURE, None, None)
    assert one(wish(">=", 0.9, RuleKind.MEAN), runs(0.95), first=1).state is State.PASS


def test_plain_rules_use_their_statistic_and_claim_no_error() -> None:
    values = (0.1, 0.9, 0.91, 0.92, 0.93)
    by_rule = {rule: one(wish(">=", 0.9, rule), runs(*values), first=5) for rule in
               (RuleKind.EVERY_SEED, RuleKind.MEAN, RuleKind.MEDIAN, RuleKind.IQM)}  # fmt: skip
    assert [v.state for v in by_rule.values()] == [State.FAIL, State.FAIL, State.PASS, State.PASS]
    expected = (0.1, np.mean(values), np.median(values), stats.trim_mean(values, 0.25))
    assert [v.value for v in by_rule.values()] == pytest.approx(expected)
    assert all(v.error is None and v.low is not None for v in by_rule.values())
    assert by_rule[RuleKind.EVERY_SEED].reason == "1 of 5 seeds misses it: seed 0"


def test_a_verdict_tells_what_its_interval_really_covers() -> None:
    """Fewer than six values have no 95 % interval of their median: both extremes lie on one side of it with 2 / 2^n."""
    for n, covered in ((2, 0.5), (3, 0.75), (5, 0.9375)):
        shown = one(wish(">=", 0.9, RuleKind.MEDIAN), runs(*np.linspace(0.9, 0.95, n)), first=n)
        assert (shown.low, shown.high, shown.confidence) == (pytest.approx(0.9), pytest.approx(0.95), pytest.approx(covered))
    assert one(wish(">=", 0.9, RuleKind.MEAN), runs(0.9, 0.91, 0.92)).confidence == 0.95
    assert one(wish(">=", 0.9, RuleKind.EVERY_SEED), runs(0.9, 0.91, 0.92)).confidence is None
    before = encode(shown).replace(f'"confidence":{shown.confidence},', "")
    assert decode(Verdict, before) == replace(shown, confidence=None), "records of before can be read"


def test_equality_holds_seed_by_seed_and_no_interval_can_show_it() -> None:
    assert one(wish("=", 0.5, RuleKind.EVERY_SEED), runs(0.5, 0.5, 0.5)).state is State.PASS
    missed = one(wish("=", 0.5, RuleKind.EVERY_SEED), runs(0.5, 0.5, 0.7))
    assert (missed.state, missed.value, missed.margin) == (State.FAIL, 0.7, pytest.approx(-0.4))
    for rule in (LOWER, ANYTIME, Rule(kind=RuleKind.P_VALUE, level=0.01, versus="a")):
        assert one(wish("=", 0.5, rule), runs(0.5, 0.49, 0.51)).state is State.UNSURE


def test_a_relative_threshold_is_judged_on_differences_of_the_same_seed() -> None:
    theirs = (0.50, 0.70, 0.90)
    ours = tuple(0.98 * value + gain for value, gain in zip(theirs, (0.010, 0.011, 0.012), strict=True))
    target = wish(">=", 0.98, LOWER, task="b")
    verdict = two(target, runs(*ours), runs(*theirs))
    assert stats.ttest_1samp([0.010, 0.011, 0.012], 0, alternative="greater").pvalue < 0.05 < stats.ttest_ind(
        ours, np.multiply(0.98, theirs), alternative="greater").pvalue  # fmt: skip
    assert (verdict.state, verdict.threshold, verdict.values) == (State.PASS, pytest.approx(0.98 * 0.7), ours)
    assert (verdict.low, verdict.high) == pytest.approx(stats.t.interval(0.95, 2, np.mean(ours), stats.sem(ours)))
    shuffled = two(target, runs(*ours), [run(seed, value) for seed, value in zip((2, 0, 1), theirs, strict=True)])
    assert shuffled.state is State.UNSURE


def test_every_seed_of_a_relative_threshold_shows_the_two_numbers_that_were_compared() -> None:
    theirs, ours = (1.0, 2.0, 3.0), (1.3, 2.3, 3.75)
    missed = two(wish(">=", 1.2, RuleKind.EVERY_SEED, task="b"), runs(*ours), runs(*theirs))
    assert (missed.state, missed.value, missed.threshold) == (State.FAIL, 2.3, pytest.approx(2.4))
    assert missed.margin == pytest.approx((2.3 - 2.4) / 2.4)
    held = two(wish(">=", 1.1, RuleKind.EVERY_SEED, task="b"), runs(*ours), runs(*theirs))
    assert (held.state, held.value, held.threshold) == (State.PASS, 2.3, pytest.approx(2.2))


@pytest.mark.parametrize("kind", [RuleKind.EVERY_SEED, RuleKind.MEAN, RuleKind.MEDIAN, RuleKind.IQM])
@pytest.mark.parametrize("sign", ["<=", ">="])
def test_the_margin_of_a_plain_rule_has_the_sign_of_its_verdict(kind: RuleKind, sign: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(50):
        theirs = rng.lognormal(0, 1, 5)
        verdict = two(wish(sign, 1.1, kind, task="b"), runs(*theirs * rng.lognormal(0.1, 0.1, 5)), runs(*theirs), most=5)
        assert verdict.margin is not None
        assert (verdict.margin > 0) == (verdict.state is State.PASS)


@pytest.mark.parametrize("kind", [RuleKind.EVERY_SEED, RuleKind.MEAN, RuleKind.MEDIAN, RuleKind.IQM, LOWER, UPPER])
@pytest.mark.parametrize("factor", ["3", "0.98", "1.1", "0.7"])
def test_a_value_that_is_the_threshold_in_decimal_is_equal_to_it(kind: Rule | RuleKind, factor: str) -> None:
    theirs = ["0.1", "1.7", "2.3", "0.29", "1.13"]
    ours = [float(Decimal(factor) * Decimal(value)) for value in theirs]
    assert any(value != float(factor) * float(other) for value, other in zip(ours, theirs, strict=True)), (
        "nothing is rounded here"
    )
    equal = {Comparator.LE, Comparator.GE} | ({Comparator.EQ} if not isinstance(kind, Rule) else set())
    for sign in equal | {Comparator.LT, Comparator.GT}:
        verdict = two(wish(sign, float(factor), kind, task="b"), runs(*ours), runs(*map(float, theirs)), most=5)
        assert verdict.state is (State.PASS if sign in equal else State.FAIL), sign


def test_a_mean_that_is_the_threshold_in_decimal_is_equal_to_it() -> None:
    assert one(wish(">=", 0.5, RuleKind.MEAN), runs(0.6, 0.7, 0.2)).state is State.PASS
    assert one(wish("<=", 0.3, RuleKind.MEAN), runs(0.2, 0.3, 0.4)).state is State.PASS


def test_a_difference_of_a_billionth_is_one() -> None:
    for gap, state in ((-1e-9, State.FAIL), (1e-9, State.PASS)):
        ours = [3 * value * (1 + gap) for value in (0.1, 1.7, 2.3)]
        assert two(wish(">=", 3, RuleKind.EVERY_SEED, task="b"), runs(*ours), runs(0.1, 1.7, 2.3)).state is state


def test_a_relative_threshold_waits_for_the_other_task_and_says_why() -> None:
    target = wish(">=", 0.98, LOWER, task="b")
    waiting = two(target, runs(0.9, 0.91, 0.92), runs(0.9))
    assert (waiting.state, waiting.reason) == (State.WAITING, "waits for `b`: 1 of 3 seeds measured")
    broken = two(target, runs(0.9, 0.91, 0.92), [run(0, status=Status.CRASHED, message="boom")])
    assert (broken.state, broken.reason) == (State.WAITING, "nothing to compare with: `b` seed 0: crashed (boom)")


def test_a_relative_threshold_may_name_another_metric() -> None:
    target = Target(metric="accuracy", comparator=Comparator.GT, threshold=Threshold(value=1, task="b", metric="chance"),
                    rule=Rule(kind=RuleKind.EVERY_SEED))  # fmt: skip
    assert two(target, runs(0.3, 0.3, 0.3), [run(seed, chance=0.25) for seed in range(3)]).state is State.PASS


def test_a_red_missing_or_crashed_gate_gives_no_verdict() -> None:
    target, given = wish(">=", 0.1, RuleKind.EVERY_SEED), {"a": runs(0.9, 0.9, 0.9)}
    tasks = plan(task("a", target))
    gates: list[tuple[Mapping[str, Run], str]] = [
        ({}, "the gate of `a-module` has not run yet"),
        ({"a": run(0, failures=2.0)}, "the gate of `a-module` at this task's config is red: 2 contract checks fail"),
        (
            {"a": replace(run(0, failures=1.0), facts={"failures": ["shapes: odd"]})},
            "the gate of `a-module` at this task's config is red: 1 contract check fails; shapes: odd",
        ),
        (
            {"a": run(0, status=Status.CRASHED, message="boom")},
            "the gate of `a-module` at this task's config is red: crashed boom",
        ),
    ]
    for gate, reason in gates:
        (verdict,) = judge(tasks, given, gates=gate)
        assert (verdict.state, verdict.reason, verdict.value) == (State.WAITING, reason, None)
    assert judge(tasks, given, gates={"a": run(0, failures=0.0)})[0].state is State.PASS
    assert judge(plan(task("a", target, gate=False)), given, gates={})[0].state is State.PASS


def test_a_task_whose_need_broke_waits_and_names_it() -> None:
    tasks = plan(task("a", wish(">=", 0.1, RuleKind.MEAN), needs=("b",)), task("b"))
    (verdict,) = judge(tasks, {"b": [run(0, status=Status.TIMED_OUT)]})
    assert (verdict.state, verdict.reason) == (State.WAITING, "needs `b`, whose seed 0 ended timed-out")
    assert judge(tasks, {})[0].reason == "needs `b`, which is not measured yet"
    assert judge(tasks, {"b": runs(0.5, 0.5, 0.5)})[0].reason == "0 of 3 seeds measured"


def test_an_unsure_target_says_how_many_more_seeds_it_takes() -> None:
    values = (0.88, 0.91, 0.95)
    verdict = one(wish(">=", 0.9, LOWER), runs(*values))
    assert verdict.more_seeds is not None
    n = 3 + verdict.more_seeds
    effect = (np.mean(values) - 0.9) / np.std(values, ddof=1)
    assert stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, effect * np.sqrt(n)) == pytest.approx(0.8, abs=0.03)
    tie = one(wish(">=", 0.9, LOWER), runs(0.88, 0.90, 0.92))
    assert (tie.state, tie.more_seeds) == (State.UNSURE, None)
    assert "not decidable" in tie.reason


def test_anytime_passes_and_fails_at_the_first_crossing_and_stays_there() -> None:
    passed = one(wish(">=", 0.5, ANYTIME), runs(*[1.0] * 12))
    assert (passed.state, passed.error) == (State.PASS, pytest.approx(0.05))
    assert passed.e_value is not None
    assert passed.e_value >= 20
    assert one(wish(">=", 0.5, ANYTIME), runs(*[1.0] * 12, *[0.0] * 12)).state is State.PASS
    assert one(wish(">=", 0.5, ANYTIME), runs(*[0.0] * 12)).state is State.FAIL
    assert one(wish("<=", 0.5, ANYTIME), runs(*[0.0] * 12)).state is State.PASS
    unsure = one(wish(">=", 0.5, ANYTIME), runs(1.0, 1.0, 1.0))
    assert (unsure.state, unsure.n) == (State.UNSURE, 3)
    assert unsure.more_seeds is not None


def test_anytime_of_a_relative_threshold_bets_on_paired_differences() -> None:
    theirs, ours = [0.2, 0.4, 0.3, 0.1] * 5, [0.8, 0.9, 0.7, 0.9] * 5
    assert two(wish(">=", 1.0, ANYTIME, task="b"), runs(*ours), runs(*theirs)).state is State.PASS
    assert two(wish(">=", 1.0, ANYTIME, task="b"), runs(*theirs), runs(*ours)).state is State.FAIL
    assert two(wish(">=", 1.0, ANYTIME, task="b"), runs(*ours), runs(*ours)).state is State.UNSURE


def test_anytime_refuses_values_that_are_not_bounded() -> None:
    verdict = one(wish("<=", 0.9, ANYTIME), runs(0.5, 1.7, 0.4))
    assert (verdict.state, verdict.e_value) == (State.UNSURE, None)
    assert "from 0 to 1" in verdict.reason


def p_rule(versus: str, level: float = 0.01) -> Rule:
    return Rule(kind=RuleKind.P_VALUE, level=level, versus=versus)


def test_p_rules_are_adjusted_by_holm_over_the_whole_plan() -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(1.0, 0.1, 5)
    gains = {"a": 0.05, "c": 0.03, "d": 0.0}
    seen = {id: base - gain + rng.normal(0, 0.004, 5) for id, gain in gains.items()}
    tasks = plan(task("b", first=5), *(task(id, wish("<", 1.0, p_rule("b"), task="b"), first=5) for id in gains))
    verdicts = judge(tasks, {id: runs(*values) for id, values in (seen | {"b": base}).items()})
    raw = [stats.ttest_rel(seen[id], base, alternative="less").pvalue for id in gains]
    first, second = sorted(raw)[:2]
    assert sorted(v.p_value for v in verdicts if v.p_value is not None)[:2] == pytest.approx(
        [3 * first, max(3 * first, 2 * second)]
    )
    assert [v.state for v in verdicts] == [State.PASS, State.PASS, State.UNSURE]
    (alone, *rest) = judge(tasks, {"a": runs(*seen["a"]), "b": runs(*base)})
    assert alone.p_value == pytest.approx(3 * raw[0])
    assert {v.state for v in rest} == {State.WAITING}


def test_a_p_rule_fails_when_the_opposite_is_shown() -> None:
    verdict = two(wish(">", 1.0, p_rule("b"), task="b"), runs(0.50, 0.601, 0.7), runs(0.60, 0.70, 0.80))
    assert (verdict.state, verdict.error) == (State.FAIL, 0.01)


def test_a_p_rule_with_an_absolute_threshold_asks_for_both() -> None:
    ours, theirs = runs(0.70, 0.801, 0.9), runs(0.60, 0.70, 0.80)
    assert two(wish(">=", 0.75, p_rule("b")), ours, theirs).state is State.PASS
    missed = two(wish(">=", 0.95, p_rule("b")), ours, theirs)
    assert (missed.state, missed.error) == (State.FAIL, None)


def test_a_rival_with_fewer_seeds_by_plan_is_compared_by_welch() -> None:
    target = wish(">", 1.0, p_rule("b", 0.05), task="b")
    ours, theirs = (0.90, 0.91, 0.92), (0.50, 0.52)
    tasks = plan(task("a", target), task("b", first=2))
    verdict = judge(tasks, {"a": runs(*ours), "b": runs(*theirs)})[0]
    assert verdict.p_value == pytest.approx(stats.ttest_ind(ours, theirs, equal_var=False, alternative="greater").pvalue)
    assert (verdict.state, verdict.reason[:5]) == (State.PASS, "Welch")


def test_a_p_rule_cannot_be_won_by_seeds_that_never_vary() -> None:
    verdict = two(wish("<", 1.0, p_rule("b"), task="b"), runs(1.0, 1.0, 1.0), runs(2.0, 2.0, 2.0))
    assert (verdict.state, verdict.p_value) == (State.UNSURE, 0.125)
    assert "every seed" in verdict.reason


def test_verdicts_come_in_the_order_of_the_plan_and_are_counted() -> None:
    tasks = plan(
        task("z", wish(">=", 0.5, RuleKind.MEAN), wish(">=", 1.0, p_rule("a"), task="a")), task("a", wish(">=", 0.9, RuleKind.MEAN), wish(">=", 0.6, LOWER)),
    )  # fmt: skip
    verdicts = judge(tasks, {"z": runs(0.6, 0.6, 0.7), "a": runs(0.5, 0.6, 0.8)})
    assert [(v.task, v.target.rule.kind.value) for v in verdicts] == [("z", "mean"), ("z", "p"), ("a", "mean"), ("a", "lower")]
    assert tally(verdicts) == {State.PASS: 1, State.FAIL: 1, State.UNSURE: 2, State.WAITING: 0}


def test_over_all_p_rules_of_a_plan_without_any_difference_errors_stay_below_the_level() -> None:
    rng, level, false = np.random.default_rng(9), 0.1, 0
    tasks = plan(task("b", first=5), *(task(id, wish(">", 1.0, p_rule("b", level), task="b"), first=5) for id in "acd"))
    for _ in range(300):
        verdicts = judge(tasks, {id: runs(*rng.normal(1, 0.1, 5)) for id in "abcd"})
        false += any(verdict.state is State.PASS for verdict in verdicts)
    assert false <= 300 * (level + 3 * np.sqrt(level * (1 - level) / 300))


def test_every_verdict_can_be_written_down() -> None:
    values = (1.0,) * 8 + (0.0,)
    for rule in (LOWER, ANYTIME, RuleKind.IQM, RuleKind.MEDIAN):
        verdict = one(wish(">=", 0.5, rule), runs(*values), first=9)
        assert decode(Verdict, encode(verdict)) == verdict
    broken = one(wish(">=", 0.5, LOWER), runs(0.5, float("nan"), 0.5))
    assert (broken.state, decode(Verdict, encode(broken))) == (State.FAIL, broken)
