"""How fast the kernels are against their plain references, in the same process: `python -m bench.kernel_speed`.

Both forms run in interleaved pairs, in random order within a pair, on the same inputs; the ratio is that of the pairs'
medians of CPU time, its interval a bootstrap over pairs. Before anything is timed the two must agree.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.attention import attention, plain_attention
from kernels.retention import retention_chunkwise, retention_parallel, retention_recurrent
from kernels.scan import selective_scan, selective_scan_loop

Kernel = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A fast form, what it is measured against, and the inputs of both."""

    name: str
    fast: Kernel
    plain: Kernel
    inputs: Callable[[], dict[str, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times faster: plain seconds over fast seconds, with a 95 % bootstrap interval over `n` pairs."""

    value: float
    low: float
    high: float
    n: int
    seconds: float
    """Median of the fast form."""


def compare(fast: Callable[[], object], plain: Callable[[], object], *, pairs: int, seed: int = 0) -> Ratio:
    """Time both in `pairs` interleaved pairs of CPU time, after one warm-up each."""
    fast(), plain()
    order, times = random.Random(seed), []
    for _ in range(pairs):
        both = {}
        for form in order.sample((fast, plain), 2):
            start = time.process_time()
            form()
            both[form is fast] = time.process_time() - start
        times.append((both[True], both[False]))

    def ratio(sample: list[tuple[float, float]]) -> float:
        return median(p for _, p in sample) / median(f for f, _ in sample)

    draws = sorted(ratio(order.choices(times, k=pairs)) for _ in range(1000))
    return Ratio(value=ratio(times), low=draws[25], high=draws[974], n=pairs, seconds=median(f for f, _ in times))


def _forward(kernel: Kernel, inputs: Mapping[str, Tensor]) -> Callable[[], object]:
    def run() -> object:
        with torch.no_grad():
            return kernel(**inputs)

    return run


def _training(kernel: Kernel, inputs: Mapping[str, Tensor]) -> Callable[[], object]:
    leaves = {name: x.detach().requires_grad_() for name, x in inputs.items()}
    result = kernel(**leaves)
    direction = torch.randn_like(result[0] if isinstance(result, tuple) else result)

    def run() -> object:
        result = kernel(**leaves)
        out = result[0] if isinstance(result, tuple) else result
        return torch.autograd.grad(out, list(leaves.values()), direction)

    return run


def _attention_inputs(T: int) -> Callable[[], dict[str, Tensor]]:
    return lambda: {name: torch.randn(4, 4, T, 64) for name in ("q_BHTD", "k_BGSD", "v_BGSD")}


def _retention_inputs(T: int) -> Callable[[], dict[str, Tensor]]:
    def make() -> dict[str, Tensor]:
        q, k, v = (torch.randn(4, T, 4, 64) for _ in range(3))
        return {"q_BTHK": q, "k_BTHK": k, "v_BTHV": v, "log_decay_H": torch.log1p(-(2.0 ** -(5.0 + torch.arange(4))))}

    return make


def _scan_inputs(B: int, T: int, E: int, N: int = 16) -> Callable[[], dict[str, Tensor]]:
    def make() -> dict[str, Tensor]:
        x, dt = torch.randn(B, T, E), 0.001 + 0.1 * torch.rand(B, T, E)
        A = -torch.arange(1.0, N + 1).repeat(E, 1)
        return {
            "x_BTE": x,
            "dt_BTE": dt,
            "A_EN": A,
            "B_BTN": torch.randn(B, T, N),
            "C_BTN": torch.randn(B, T, N),
            "D_E": torch.ones(E),
        }

    return make


PAIRS = [
    Pair(name="attention vs plain, T=512", fast=attention, plain=plain_attention, inputs=_attention_inputs(512)),
    *(
        Pair(name=f"retention {a} vs {b}, T={T}", fast=forms[a], plain=forms[b], inputs=_retention_inputs(T))
        for forms in [{"chunkwise": retention_chunkwise, "parallel": retention_parallel, "recurrent": retention_recurrent}]
        for T in (512, 2048)
        for a, b in (("chunkwise", "parallel"), ("chunkwise", "recurrent"))
    ),
    *(
        Pair(
            name=f"scan vs loop, B={B} T={T} E={E}", fast=selective_scan, plain=selective_scan_loop, inputs=_scan_inputs(B, T, E)
        )
        for B, T, E in ((8, 256, 128), (32, 256, 128), (8, 512, 256), (4, 2048, 512))
    ),
]


def main() -> None:
    """Print one row per pair: forward, and forward with backward."""
    parser = argparse.ArgumentParser(description="speed of the kernels against their plain references")
    parser.add_argument("--pairs", type=int, default=7, help="interleaved pairs per figure")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of the names to measure")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{'times faster, 95 % interval':38} {'forward':>26} {'forward + backward':>26}   n={arguments.pairs}", flush=True)
    for pair in PAIRS:
        if arguments.only not in pair.name:
            continue
        torch.manual_seed(0)
        inputs = pair.inputs()
        assert_agrees(outputs_and_gradients(pair.fast, inputs), outputs_and_gradients(pair.plain, inputs), within=1e-4)
        forward = compare(_forward(pair.fast, inputs), _forward(pair.plain, inputs), pairs=arguments.pairs)
        training = compare(_training(pair.fast, inputs), _training(pair.plain, inputs), pairs=arguments.pairs)
        cells = (f"{r.value:6.2f} [{r.low:5.2f}, {r.high:5.2f}] {1e3 * r.seconds:5.0f} ms" for r in (forward, training))
        print(f"{pair.name:38} " + " ".join(f"{cell:>26}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
