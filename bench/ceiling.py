"""What this machine can do at most, measured in the same run as what is told as a fraction of it.

Two ceilings stand over every operation: multiply-adds, whose FLOP/s are measured bare (numbers that stay in registers) and in torch's
float32 matrix products of the sizes that occur, and reading memory, whose bytes/s are measured on as much memory as the operation has,
since what fits a cache is read several times faster than what does not. A `Demand` that asks for F FLOPs and Y bytes cannot take
less than max(F / rate, Y / bandwidth) seconds; that over the seconds it took is its fraction, and the larger of the two is its bound
(the roofline of Williams et al. 2009). A fraction counts what has to be done, not what an implementation does besides.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from bench.flops import count_flops
from kernels import native

SIZES = ((1, 8192, 256, 1024), (1, 1024, 256, 1024), (1, 1024, 1024, 1024), (256, 64, 64, 64))
"""Of products (N, A, B) (N, B, C): a layer's feed-forward, an expert's block, a square, chunks of a recurrence."""
SMALL = 1 << 16
"""Bytes."""
BRIEF = 0.02
"""Seconds that one timed piece takes at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What an operation cannot do without."""

    flops: int
    """Floating-point operations, a multiply-add as two; 0: not counted."""
    bytes: int
    """Bytes read or written at least: inputs and results once, and what its gradients need; 0: not counted."""
    resident: int
    """Bytes of memory that these are, which decides the cache they come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fraction:
    """How near to the ceiling an operation comes."""

    flops_per_second: float
    bytes_per_second: float
    bound: str
    """`multiply-adds` or `memory`: which of the two takes longer at its ceiling."""
    fraction: float
    """Of that ceiling."""

    def __str__(self) -> str:
        return (
            f"{self.fraction:.0%} of the ceiling of {self.bound}: "
            f"{self.flops_per_second / 1e9:.3g} GFLOP/s, {self.bytes_per_second / 1e9:.3g} GB/s"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """Of this process's threads, by the clock that operations are timed with."""

    threads: int
    bare: float | None
    """FLOP/s of multiply-adds in registers; None without a compiler."""
    products: Mapping[str, float]
    """FLOP/s of torch's float32 products, by their sizes."""
    bandwidths: dict[int, float] = field(default_factory=dict)
    """Bytes/s that are read from so many bytes; a size is measured when it is asked for."""

    @property
    def flops_per_second(self) -> float:
        """The highest rate seen."""
        return max(*self.products.values(), self.bare or 0.0)

    def bytes_per_second(self, resident: int) -> float:
        """Read again and again from `resident` bytes, rounded up to a power of two between 1 MiB and 512 MiB."""
        room = 2 ** min(29, max(20, math.ceil(math.log2(max(1, resident)))))
        if room not in self.bandwidths:
            self.bandwidths[room] = _bandwidth(room)
        return self.bandwidths[room]

    def of(self, demand: Demand, seconds: float) -> Fraction | None:
        """None where no FLOPs are counted and all memory fits the first cache: what takes the time is something else."""
        if not demand.flops and demand.resident < SMALL:
            return None
        least = {"multiply-adds": demand.flops / self.flops_per_second}
        least["memory"] = demand.bytes / self.bytes_per_second(demand.resident) if demand.bytes else 0.0
        bound = max(least, key=lambda name: least[name])
        rates = {"flops_per_second": demand.flops / seconds, "bytes_per_second": demand.bytes / seconds}
        return Fraction(**rates, bound=bound, fraction=least[bound] / seconds)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"ceiling of {self.threads} thread{'s' if self.threads > 1 else ''}:"]
        if self.bare is not None:
            lines.append(f"  {self.bare / 1e9:6.1f} GFLOP/s  bare multiply-adds")
        lines += [f"  {rate / 1e9:6.1f} GFLOP/s  torch, float32, {name}" for name, rate in self.products.items()]
        lines += [f"  {rate / 1e9:6.1f} GB/s     read from {room >> 20} MiB" for room, rate in sorted(self.bandwidths.items())]
        return "\n".join(lines)


@cache
def measured_ceiling(*, threads: int, bare: bool = True) -> Ceiling:
    """Of `threads` threads, which torch has to be set to; takes a second. `bare`: with the C++ measurements, not torch's alone."""
    products = {" x ".join(map(str, shape[shape[0] == 1 :])): _product_rate(*shape) for shape in SIZES}
    return Ceiling(threads=threads, bare=_bare(threads) if bare else None, products=products)


def reached(work: Callable[[], object], seconds: float, *, device: str) -> dict[str, float]:
    """Facts for a benchmark that times `work`: its FLOPs, and their rate as a fraction of torch's best float32 products; none on a GPU.

    What moves memory or takes exponentials has a small fraction by its nature. Calls `work` once more.
    """
    if device != "cpu" or not (flops := count_flops(work)):
        return {}
    most = measured_ceiling(threads=torch.get_num_threads(), bare=False).flops_per_second
    return {"flops": flops, "flops_per_second": flops / seconds, "fraction_of_products": flops / seconds / most}


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes of all."""
    return sum(t.numel() * t.element_size() for t in tensors)


def clock() -> Callable[[], float]:
    """One thread is timed by the CPU seconds of the process, which a busy machine stretches less than the wall clock's."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def _rate(work: Callable[[], object], amount: float) -> float:
    """`amount` of one call over the least seconds of a call, as a ceiling is what nothing disturbed; five rounds of BRIEF at least."""
    now, calls, rates = clock(), 1, list[float]()
    work()
    while len(rates) < 5:
        began = now()
        for _ in range(calls):
            work()
        took = now() - began
        if took < BRIEF:
            calls = max(2 * calls, int(1.2 * calls * BRIEF / max(took, 1e-6)))
        else:
            rates.append(calls * amount / took)
    return max(rates)


def _product_rate(N: int, A: int, B: int, C: int) -> float:
    a_NAB, b_NBC, out_NAC = torch.rand(N, A, B), torch.rand(N, B, C), torch.empty(N, A, C)
    multiply = torch.bmm if N > 1 else lambda a, b, out: torch.mm(a[0], b[0], out=out[0])
    with torch.no_grad():
        return _rate(lambda: multiply(a_NAB, b_NBC, out=out_NAC), 2.0 * N * A * B * C)


def _bare(threads: int) -> float | None:
    if (loaded := native.library("ceiling")) is None:
        return None
    rounds, out = 1 << 18, torch.empty(threads)
    run = native.function("ceiling", "ceiling_multiply_adds", ctypes.c_void_p, ctypes.c_long, ctypes.c_int)
    return _rate(lambda: run(out.data_ptr(), rounds, threads), 2.0 * loaded.ceiling_per_round() * rounds * threads)


def _bandwidth(room: int) -> float:
    from_N, threads = torch.ones(room // 4), torch.get_num_threads()
    if native.library("ceiling") is None:
        return _rate(from_N.sum, float(room))
    out, passes = torch.empty(threads), max(1, (1 << 25) // room)
    types = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_int)
    run = native.function("ceiling", "ceiling_read", *types)
    return _rate(lambda: run(out.data_ptr(), from_N.data_ptr(), len(from_N), passes, threads), float(room * passes))
