"""What an operation cannot do without over what the machine can do is its fraction; both are counted as worked out by hand."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch import Tensor

from bench.ceiling import Ceiling, Demand, measured_ceiling, reached
from bench.peer_speed import Contest, Reached, demanded, hold
from kernels import native

MIB = 1 << 20


def machine() -> Ceiling:
    """100 GFLOP/s bare, 80 in products; 40 GB/s from a MiB, 10 GB/s from 64."""
    return Ceiling(threads=1, bare=100e9, products={"square": 80e9}, bandwidths={MIB: 40e9, 64 * MIB: 10e9})


def test_what_computes_more_than_it_reads_is_told_as_a_fraction_of_the_highest_rate() -> None:
    reached = machine().of(Demand(flops=50_000_000_000, bytes=1_000_000_000, resident=64 * MIB), 2.0)
    assert reached is not None
    assert (reached.bound, reached.fraction) == ("multiply-adds", 0.25)
    assert (reached.flops_per_second, reached.bytes_per_second) == (25e9, 0.5e9)


@pytest.mark.parametrize(("resident", "fraction"), [(64 * MIB, 0.4), (33 * MIB, 0.4), (MIB, 0.1), (5000, 0.1)])
def test_what_reads_more_than_it_computes_is_measured_against_memory_of_its_own_size(resident: int, fraction: float) -> None:
    reached = machine().of(Demand(flops=10_000_000, bytes=4_000_000_000, resident=max(resident, MIB // 2)), 1.0)
    assert reached is not None
    assert reached.bound == "memory"
    assert reached.fraction == pytest.approx(fraction)


def test_without_a_compiler_the_best_product_is_the_ceiling() -> None:
    ceiling = Ceiling(threads=1, bare=None, products={"slow": 20e9, "fast": 80e9})
    reached = ceiling.of(Demand(flops=40_000_000_000, bytes=0, resident=0), 1.0)
    assert reached is not None
    assert reached.fraction == 0.5


def test_where_nothing_is_counted_no_fraction_is_told() -> None:
    assert machine().of(Demand(flops=0, bytes=200, resident=100), 1.0) is None


def linear() -> Contest:
    """A map of 8 rows from 16 to 32 numbers, with a bias that it reads three times; 64 bytes of its inputs it need not read."""
    bias_O = torch.zeros(32)
    return Contest(
        name="linear",
        ours=lambda x, w: x @ w + bias_O,
        peers={},
        inputs=lambda: {"x": torch.ones(8, 16), "w": torch.ones(16, 32)},
        reads=[(bias_O, 3)],
        spared=64,
    )


def test_a_linear_map_demands_what_its_shapes_say() -> None:
    contest, product, given, out, bias = linear(), 2 * 8 * 16 * 32, 4 * (8 * 16 + 16 * 32), 4 * 8 * 32, 4 * 32
    forward, training = (demanded(contest, direction, contest.inputs()) for direction in ("forward", "training"))
    assert forward == Demand(flops=product, bytes=given + out + 3 * bias - 64, resident=given + out + bias)
    # the product and those of both gradients; both inputs again and their gradients written, the gradient of the result read
    assert training.flops == 3 * product
    assert training.bytes == forward.bytes + 2 * given + 3 * bias + out


def test_a_race_tells_what_the_house_reached_in_each_direction() -> None:
    contest = linear()
    told = [row for row in hold(contest, rounds=1, ceiling=machine()) if isinstance(row, Reached)]
    assert [row.direction for row in told] == ["training", "forward"]
    for row in told:
        assert row.demand == demanded(contest, row.direction, contest.inputs())
        assert row.reached is None or row.reached.flops_per_second == pytest.approx(row.demand.flops / row.seconds)


def test_a_benchmark_records_the_rate_of_what_it_timed_over_torchs_best_product() -> None:
    a, b = torch.ones(64, 32), torch.ones(32, 16)
    facts, best = reached(lambda: a @ b, 0.5, device="cpu"), measured_ceiling(threads=torch.get_num_threads(), bare=False)
    assert facts["flops"] == 2 * 64 * 32 * 16
    assert facts["flops_per_second"] == 2 * facts["flops"]
    assert facts["fraction_of_products"] * max(best.products.values()) == pytest.approx(facts["flops_per_second"])
    assert reached(lambda: a + 1, 0.5, device="cpu") == {}  # no products


@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_reader_reads_every_number_as_often_as_it_is_paid_for(threads: int) -> None:
    numbers: Tensor = torch.arange(threads * 256, dtype=torch.float32)
    out, library = torch.empty(threads), native.library("ceiling")
    assert library is not None
    pointers = ctypes.c_void_p(out.data_ptr()), ctypes.c_void_p(numbers.data_ptr())
    library.ceiling_read(*pointers, ctypes.c_long(len(numbers)), ctypes.c_long(3), threads)
    assert out.sum() == 3 * numbers.sum()


@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
def test_the_multiply_adds_are_done_as_often_as_they_are_counted() -> None:
    library = native.library("ceiling")
    assert library is not None
    per_round = library.ceiling_per_round()
    for rounds in (0, 1, 100):
        out = torch.empty(2)
        library.ceiling_multiply_adds(ctypes.c_void_p(out.data_ptr()), ctypes.c_long(rounds), 2)
        x = (1.0 + torch.arange(12, dtype=torch.float64)).repeat_interleave(per_round // 12)
        for _ in range(rounds):
            x = x * 0.999 + 0.001
        torch.testing.assert_close(out, x.sum().float().expand(2), rtol=1e-5, atol=0)
