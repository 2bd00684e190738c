"""The promotion rule against independent references: every sign pattern enumerated, plain loops, and coin flips stopped at the best moment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.promotion import BETS, FUTILE, Answer, Duel, Floats, Pair, bounds, duel, evidence, fewest, gains, share

SIZES = ((1.0,) * 9, (1, 2, 3, 4, 5, 6, 7, 8, 9), (1e-9, 1, 1e9, 1, 1, 2, 0.5, 3, 1), (0, 1, 0, 2, 5, 0, 1, 1, 1))
SHIFTS = (0.0, 0.3, 2.5, 40.0)


def by_hand(gains: Sequence[float]) -> float:
    """E after all gains, by loops over the definition: one plus an odd function of each scaled gain."""
    total = 0.0
    for bet, part in BETS:
        stake, seen = part, list[float]()
        for gain in gains:
            if math.isinf(gain):
                r = math.copysign(math.sqrt(len(seen) + 1), gain)
            else:
                seen.append(gain)
                scale = math.sqrt(sum(g * g for g in seen) / len(seen))
                r = gain / scale if scale else 0.0
            stake *= 1 + math.tanh(bet * r)
        total += stake
    return total


def signed(sizes: Sequence[float]) -> Floats:
    """Every sign pattern of these sizes: what a symmetric distribution gives with equal probability."""
    found: Floats = np.array(list(itertools.product((1.0, -1.0), repeat=len(sizes)))) * np.array(sizes)
    return found


def wins(n: int, *, by: float = 0.05) -> list[tuple[float, float]]:
    return [(2.5 + 0.01 * i, (2.5 + 0.01 * i) * (1 - by)) for i in range(n)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("shift", SHIFTS)
def test_the_stake_is_fair_when_gains_are_symmetric_and_shrinks_when_they_lie_lower(
    sizes: tuple[float, ...], shift: float
) -> None:
    expected = np.exp(evidence(signed(sizes) - shift)).mean(axis=0)
    if shift == 0:
        np.testing.assert_allclose(expected, 1, rtol=1e-9)
    else:
        assert (np.diff(expected, prepend=1.0) <= 1e-12).all()
        assert expected[-1] < 1


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("error", [0.3, 0.1, 0.025])
def test_whoever_stops_at_the_best_moment_of_every_sign_pattern_is_wrong_no_more_often_than_declared(
    sizes: tuple[float, ...], error: float
) -> None:
    assert (evidence(signed(sizes)).max(axis=1) >= -math.log(error)).mean() <= error
    promoted = 0
    for row in signed(sizes[:7]):
        pairs = [(1e3 + gain, 1e3) for gain in row.tolist()]
        promoted += duel(pairs, better="less", error=error, most=7).answer is Answer.PROMOTE
    assert promoted / 2**7 <= error


@given(
    st.lists(
        st.one_of(st.integers(-50, 50).map(float), st.sampled_from([1e-9, 1e9, math.inf, -math.inf])), min_size=1, max_size=12
    )
)
@settings(max_examples=40, deadline=None)
def test_evidence_is_the_product_of_fair_bets_that_the_definition_says(values: list[float]) -> None:
    found = np.exp(evidence(values))
    for n in range(1, len(values) + 1):
        assert found[n - 1] == pytest.approx(by_hand(values[:n]), rel=1e-6, abs=1e-12)


MEASURED = st.floats(-100, 100).map(lambda value: round(value, 6))
"""Numbers that a change of unit does not push below the smallest that a float can hold."""


@given(st.lists(MEASURED, min_size=2, max_size=14), st.floats(0.01, 1000))
@settings(max_examples=50, deadline=None)
def test_evidence_knows_no_unit(values: list[float], unit: float) -> None:
    np.testing.assert_allclose(evidence(np.array(values) * unit), evidence(values), rtol=1e-6, atol=1e-6)


def test_a_clear_improvement_is_promoted_on_the_fewest_pairs_that_can_tell() -> None:
    for k, floor in ((1, 6), (3, 9), (10, 12)):
        error = share(k, 0.05)
        found = duel(wins(40), better="less", error=error)
        assert found.answer is Answer.PROMOTE
        assert found.ended
        assert found.n == fewest(error) == floor
        assert found.e_value >= 1 / error > 2 ** (found.n - 2)
        assert found.low is not None
        assert found.low > 0
        assert found.mean == pytest.approx(0.05 * 2.525, rel=0.05)


def test_the_other_direction_mirrors_it() -> None:
    pairs = wins(12)
    less, more = (duel(pairs, better=way, error=0.025) for way in ("less", "more"))
    assert less.answer is Answer.PROMOTE
    assert more.answer is not Answer.PROMOTE
    turned = [(challenger, champion) for champion, challenger in pairs]
    assert duel(turned, better="more", error=0.025) == less


def test_a_challenger_that_loses_every_pair_is_rejected_before_the_limit() -> None:
    losses: list[Pair] = [(b, a) for a, b in wins(12)]
    found = duel(losses, better="less", error=0.025, most=30)
    assert found.answer is Answer.REJECT
    assert found.ended
    assert found.n == fewest(FUTILE) < 6


def test_the_champion_under_another_name_bit_for_bit_is_never_promoted() -> None:
    pairs = [(2.0 + i, 2.0 + i) for i in range(12)]
    found = duel(pairs, better="less", error=0.025, most=12)
    assert found.answer is Answer.UNDECIDED
    assert found.ended
    assert found.e_value == 1.0
    assert found.n < 12
    assert "the same" in found.reason
    rounded = [(a, a * (1 + 2e-16)) for a, _ in pairs]
    assert duel(rounded, better="more", error=0.025, most=12).answer is Answer.UNDECIDED


@pytest.mark.parametrize("broken", [None, math.nan, math.inf, -math.inf, True])
def test_a_challenger_without_a_number_where_the_champion_has_one_loses_that_pair(broken: float | None) -> None:
    won, lost = wins(7), (2.5, broken)
    assert duel(won, better="less", error=0.025).answer is Answer.PROMOTE
    for place in range(6):
        beaten = [*won[:place], lost, *won[place:]][:7]
        found = duel(beaten, better="less", error=0.025, most=7)
        assert found.answer is not Answer.PROMOTE
        assert found.mean is None
        assert found.e_value < duel(won[:7], better="less", error=0.001, most=7).e_value / 10
    assert duel([lost] * 6, better="less", error=0.025, most=30).answer is Answer.REJECT


def test_a_failure_weighs_the_same_on_either_side_and_on_both_says_nothing() -> None:
    np.testing.assert_array_equal(
        gains([(None, 1.0), (1.0, None), (None, None), (2.0, 1.5)], better="less"), [math.inf, -math.inf, 0.0, 0.5]
    )
    rows = np.array(list(itertools.product((math.inf, -math.inf), (1.0, -1.0), (math.inf, -math.inf), (3.0, -3.0))))
    np.testing.assert_allclose(np.exp(evidence(rows)).mean(axis=0), 1, rtol=1e-12)


def test_a_pair_that_is_still_measured_holds_up_those_after_it() -> None:
    won = wins(8)
    waiting = [*won[:3], None, *won[3:]]
    assert duel(waiting, better="less", error=0.025) == duel(won[:3], better="less", error=0.025)
    assert duel([None, *won], better="less", error=0.025).n == 0


def test_pairs_after_the_decision_are_not_read() -> None:
    losses: list[Pair] = [(1.0, 99.0)] * 6
    assert duel([*wins(6), *losses], better="less", error=0.025) == duel(wins(6), better="less", error=0.025)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=10), st.integers(1, 10))
@settings(max_examples=40, deadline=None)
def test_folding_pair_by_pair_ends_once_and_stays(pairs: list[Pair], most: int) -> None:
    found = [duel(pairs[:n], better="less", error=0.2, most=most) for n in range(len(pairs) + 1)]
    ended = [one for one in found if one.ended]
    assert all(one == ended[0] for one in ended)
    assert all(one.answer is Answer.UNDECIDED for one in found if not one.ended)
    assert all(one.n <= most for one in found)


def test_a_duel_that_no_wins_can_save_ends_at_once() -> None:
    pairs = [*wins(2), *((b, a) for a, b in wins(2))]
    found = duel(pairs, better="less", error=0.025, most=8)
    assert found.answer is Answer.UNDECIDED
    assert found.ended
    assert found.n <= 4
    assert "could not" in found.reason
    best = duel([*pairs[: found.n], *wins(8)], better="less", error=0.025, most=8)
    assert best == found
    assert duel(wins(3), better="less", error=0.0001, most=8).ended


def test_what_is_not_worth_having_is_rejected_sooner_than_by_waiting() -> None:
    rng = np.random.default_rng(1)
    pairs = [(2.5 * (1 + a), 2.5 * (1 + b)) for a, b in rng.normal(0, 0.005, (20, 2)).tolist()]
    patient = duel(pairs, better="less", error=0.025, most=20)
    choosy = duel(pairs, better="less", error=0.025, worth=0.125, most=20)
    assert choosy.answer is Answer.REJECT
    assert choosy.n < patient.n
    assert "better by 0.125" in choosy.reason


def test_a_margin_asks_for_more_than_better() -> None:
    pairs = wins(12, by=0.01)
    assert duel(pairs, better="less", error=0.025).answer is Answer.PROMOTE
    assert duel(pairs, better="less", error=0.025, margin=0.1, most=30).answer is Answer.REJECT
    assert duel([(a, a * 1.001) for a, _ in pairs], better="less", error=0.025, margin=-0.1).answer is Answer.PROMOTE


def test_all_shares_together_spend_the_error() -> None:
    shares = [share(k, 0.05) for k in range(1, 100_000)]
    assert shares[0] == 0.025
    assert 0.05 * (1 - 1e-4) < sum(shares) < 0.05
    with pytest.raises(ValueError, match="from 1"):
        share(0, 0.05)


@pytest.mark.parametrize("draw", ["normal", "cauchy", "coin"])
def test_the_interval_covers_the_middle_at_the_worst_moment(draw: str) -> None:
    rng, error, centre = np.random.default_rng(3), 0.1, 0.7
    noise = {
        "normal": rng.normal(size=(40, 9)),
        "cauchy": rng.standard_cauchy((40, 9)),
        "coin": rng.choice([-1.0, 1.0], (40, 9)),
    }
    missed = 0
    for row in centre + noise[draw]:
        ends = [bounds(row[:n], error=error)[0] for n in range(4, 10)]
        missed += any(low is not None and low > centre + 1e-9 for low in ends)
    assert missed <= error * 40 + 3 * math.sqrt(40 * error * (1 - error))
    assert bounds([1.0, 2.0, 3.0], error=0.1) == (None, None)


@given(st.lists(st.integers(-50, 200).map(lambda i: i / 10), min_size=5, max_size=12))
@settings(max_examples=40, deadline=None)
def test_the_interval_excludes_the_margin_exactly_when_the_challenger_is_promoted(values: list[float]) -> None:
    found: Duel = duel([(gain, 0.0) for gain in values], better="less", error=0.1, most=12)
    if found.answer is Answer.PROMOTE:
        assert found.low is not None
        assert found.low >= -1e-3
    elif found.low is not None and found.n:
        assert found.low <= 1e-3
