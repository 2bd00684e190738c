"""Speed of a fast kernel as a ratio to its plain reference, forward and backward, once both are seen to agree.

The two are timed in turn on the same random inputs. A kernel that disagrees with its reference, in an output or a gradient, has no
speed: the measurement fails and names the tensors. The number belongs to the kernel, so a task names the module that runs on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.ceiling import reached
from bench.pairs import speedup
from bench.request import Bench
from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.attention import attention, last_path, plain_attention
from kernels.retention import retention_chunkwise, retention_parallel
from kernels.scan import selective_scan, selective_scan_loop
from plan.catalogue import benchmark

Kernel = Callable[..., Any]


@benchmark(
    "kernel-attention-8k-v1",
    metrics={"kernel_ratio": "x"},
    source="interleaved pairs: kernels.attention against its plain form, one head of 64",
    options={"kernel": "attention", "length": 8192, "batch": 1, "heads": 1, "width": 64, "pairs": 3},
    modules=("attention",),
    alone=True,
)
@benchmark(
    "kernel-retention-2k-v1",
    metrics={"kernel_ratio": "x"},
    source="interleaved pairs: chunkwise retention against its parallel form, four heads of 32 by 64",
    options={"kernel": "retention", "length": 2048, "batch": 1, "heads": 4, "width": 32, "pairs": 9},
    modules=("retnet",),
    alone=True,
)
@benchmark(
    "kernel-scan-1k-v1",
    metrics={"kernel_ratio": "x"},
    source="interleaved pairs: the selective scan against a loop over time, 256 channels of 16 states",
    options={"kernel": "scan", "length": 1024, "batch": 1, "heads": 256, "width": 16, "pairs": 9},
    modules=("mamba",),
    alone=True,
)
def measure(bench: Bench) -> dict[str, float]:
    """Speed of a fast kernel, as a ratio to its plain reference's."""
    options, device = bench.options, bench.request.device
    fast, plain, inputs = KERNELS[options["kernel"]](
        options["batch"], options["length"], options["heads"], options["width"], bench.request.seed
    )
    inputs = {name: tensor.to(device) for name, tensor in inputs.items()}

    def run(kernel: Kernel) -> dict[str, Tensor]:
        return outputs_and_gradients(kernel, inputs)

    assert_agrees(run(fast), run(plain), within=1e-4)
    measured = speedup(
        lambda: run(plain),
        lambda: run(fast),
        pairs=options["pairs"],
        device=device,
        progress=lambda done, total: bench.progress(done, total, {}),
    )
    bench.facts.update(
        interval_95=[measured.low, measured.high],
        pairs=options["pairs"],
        clock=measured.clock,
        threads=torch.get_num_threads(),
        attention_path=last_path(),
    )
    bench.facts.update(reached(lambda: run(fast), measured.seconds, device=device))
    bench.series["ratio"] = [(float(i), a / b) for i, (a, b) in enumerate(measured.pairs, start=1)]
    return {"kernel_ratio": measured.ratio}


def _attention(B: int, T: int, H: int, D: int, seed: int) -> tuple[Kernel, Kernel, dict[str, Tensor]]:
    draw = _normal(seed)
    return attention, plain_attention, {name: draw(B, H, T, D) for name in ("q_BHTD", "k_BGSD", "v_BGSD")}


def _retention(B: int, T: int, H: int, K: int, seed: int) -> tuple[Kernel, Kernel, dict[str, Tensor]]:
    draw = _normal(seed)
    inputs = {"q_BTHK": draw(B, T, H, K), "k_BTHK": draw(B, T, H, K), "v_BTHV": draw(B, T, H, 2 * K)}
    return retention_chunkwise, retention_parallel, {**inputs, "log_decay_H": -torch.exp2(-5.0 - torch.arange(H))}


def _scan(B: int, T: int, E: int, N: int, seed: int) -> tuple[Kernel, Kernel, dict[str, Tensor]]:
    draw = _normal(seed)
    inputs = {"x_BTE": draw(B, T, E), "dt_BTE": torch.nn.functional.softplus(draw(B, T, E) - 4.0)}
    inputs |= {"A_EN": -torch.arange(1.0, N + 1).repeat(E, 1), "B_BTN": draw(B, T, N), "C_BTN": draw(B, T, N)}
    return selective_scan, selective_scan_loop, {**inputs, "D_E": torch.ones(E)}


def _normal(seed: int) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


KERNELS = {"attention": _attention, "retention": _retention, "scan": _scan}
"""Name -> (fast, plain, inputs) for batch, length, heads or channels, width or states, seed."""
