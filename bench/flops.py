"""Counts the floating-point operations that torch really executes, attention on the CPU included.

`FlopCounterMode` counts matrix products, convolutions and attention, forward and backward, a multiply-add as two. It counts
causal attention in full, and no elementwise work: what a selective scan or a softmax does outside matrix products is not in the
number. Kernels outside torch's dispatcher are invisible to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

_ATEN = torch.ops.aten


def count_flops(work: Callable[[], object]) -> int:
    """FLOPs of calling `work` once."""
    with FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter:
        work()
    return int(counter.get_total_flops())


def training_flops(step: Callable[[], torch.Tensor]) -> tuple[int, int]:
    """FLOPs of computing the loss that `step` returns, and of computing it and its gradients."""
    loss: list[torch.Tensor] = []
    forward = count_flops(lambda: loss.append(step()))
    return forward, forward + count_flops(lambda: torch.autograd.backward(loss))


def _forward(query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _backward(grad_out: Any, query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    return int(sdpa_backward_flop_count(grad_out, query, key, value))  # type: ignore[no-untyped-call]


_CPU_ATTENTION = {
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _forward,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
}
"""torch registers its CUDA attention kernels only; without these two, attention on the CPU would count as nothing."""
