"""Numbers are shown to people with four significant digits in the unit that fits, and read back as they were."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plan.units import SCALES, digits, in_base, show


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (333447168, "B", "318 MiB"), (512 * 2**20, "B", "512 MiB"), (0, "B", "0 B"), (1023, "B", "1_023 B"), (1024, "B", "1 KiB"),
        (1024**2 - 1, "B", "1 MiB"), (1.5 * 2**30, "B", "1.5 GiB"), (5 * 2**50, "B", "5_120 TiB"), (-2048, "B", "-2 KiB"),
        (0.0214, "s", "21.4 ms"), (18e-6, "s", "18 us"), (90.0, "s", "90 s"), (0.0, "s", "0 s"), (1e-12, "s", "0.001 ns"), (0.99996, "s", "1 s"),
        (0.981, "", "0.981"), (0.98123456, "", "0.9812"), (0.99999, "", "1"), (12345, "", "12_345"), (123456.7, "", "123_500"), (2.5e16, "", "2.5e16"),
        (3.2e-5, "", "3.2e-5"), (0.0, "", "0"), (1.1, "bpb", "1.1 bpb"), (1.8, "x", "1.8 x"), (3.2e9, "FLOP", "3.2 GFLOP"), (1512.34, "tokens/s", "1_512 tokens/s"),
        (math.nan, "s", "nan s"), (-math.inf, "", "-inf"),
    ],
)  # fmt: skip
def test_a_number_is_shown_in_the_unit_that_fits(value: float, unit: str, shown: str) -> None:
    assert show(value, unit) == shown


@given(st.floats(min_value=1e-9, max_value=1e15), st.sampled_from(["B", "s", "FLOP", "bpb", "x", ""]), st.sampled_from([1, -1]))
def test_what_is_shown_reads_back_to_four_digits(value: float, unit: str, sign: int) -> None:
    number, _, written = show(sign * value, unit).partition(" ")
    back = in_base(float(number), written, unit)
    assert back is not None
    assert math.isclose(back, sign * value, rel_tol=5.001e-4)


@given(st.floats(min_value=-1e308, max_value=1e308))
def test_digits_never_lose_more_than_the_fifth_one(value: float) -> None:
    assert math.isclose(float(digits(value)), value, rel_tol=5.001e-4, abs_tol=5e-324)


@given(st.integers(-(10**14), 10**14))
def test_a_whole_number_is_shown_in_full(value: int) -> None:
    assert int(digits(value)) == value


def test_scaling_is_exact_in_decimals() -> None:
    assert in_base(18, "ms", "s") == 0.018
    assert in_base(99.9, "%", "") == 0.999
    assert in_base(0.1, "us", "s") == 1e-7


def test_units_of_different_kinds_do_not_fit() -> None:
    kinds = {base: set(units) | ({base} if base else set()) for base, units in SCALES.items()}
    assert in_base(1, "ms", "B") is None
    assert in_base(1, "%", "bpb") is None
    assert in_base(1, "tokens/s", "s") is None
    assert kinds["B"].isdisjoint(kinds["s"] | kinds["FLOP"] | kinds["bpb"])
