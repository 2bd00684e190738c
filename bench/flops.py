"""Counts the floating-point operations that torch really executes, attention on the CPU included.

`FlopCounterMode` counts matrix products, convolutions and attention, forward and backward, a multiply-add as two. It counts
causal attention in full, and no elementwise work: what a selective scan or a softmax does outside matrix products is not in the
number. Kernels outside torch's dispatcher are invisible to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_backward_flop_count, sdpa_flop_count

_ATEN = torch.ops.aten


def count_flops(work: Callable[[], object]) -> int:
    """FLOPs of calling `work` once."""
    with FlopCounterMode(display=False, custom_mapping=_CORRECTED) as counter:
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


def _convolution_backward(grad_out: Any, x: Any, weight: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    """The gradients of the input and of the weight each take the forward pass's multiply-adds in another order."""
    _, _, _, _, transposed, _, _, wanted = rest
    return int(sum(wanted[:2]) * conv_flop_count(x, weight, grad_out, transposed))


_CORRECTED = {
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _forward,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
    _ATEN.convolution_backward: _convolution_backward,
}
"""torch registers its CUDA attention kernels only: without the first two, attention on the CPU would count as nothing. And it counts the
weight's gradient of a convolution in groups as if there were one, a depthwise one as many times too often as it has channels."""
