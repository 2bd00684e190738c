"""Counts the floating-point operations that torch really executes, attention on the CPU included.

`FlopCounterMode` counts matrix products, convolutions and attention, forward and backward, a multiply-add as two, and no elementwise work such as
a softmax. Causal attention counts the blocks that are computed, about half of all pairs in a long document; recurrences, scans, Fourier
transforms and the other operators of the house count by the formulas of `bench.kernel_flops`. Kernels outside torch's dispatcher are
invisible.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_backward_flop_count, sdpa_flop_count

from bench.kernel_flops import causal_pairs, formulas

_ATEN = torch.ops.aten


def count_flops(work: Callable[[], object]) -> int:
    """FLOPs of calling `work` once."""
    with FlopCounterMode(display=False, custom_mapping={**_CORRECTED, **formulas()}) as counter:
        work()
    return int(counter.get_total_flops())


def training_flops(step: Callable[[], torch.Tensor]) -> tuple[int, int]:
    """FLOPs of computing the loss that `step` returns, and of computing it and its gradients."""
    loss: list[torch.Tensor] = []
    forward = count_flops(lambda: loss.append(step()))
    return forward, forward + count_flops(lambda: torch.autograd.backward(loss))


def _forward(query: Any, key: Any, value: Any, dropout: float = 0.0, is_causal: bool = False, **_: Any) -> int:
    return _looked_at(sdpa_flop_count(query, key, value), query, key, is_causal)  # type: ignore[no-untyped-call]


def _backward(
    grad_out: Any, query: Any, key: Any, value: Any, out: Any, logsumexp: Any, dropout: float, is_causal: bool, **_: Any
) -> int:
    return _looked_at(sdpa_backward_flop_count(grad_out, query, key, value), query, key, is_causal)  # type: ignore[no-untyped-call]


def _looked_at(of_all_pairs: int, query: Any, key: Any, is_causal: bool) -> int:
    queries, keys = query[2], key[2]
    return of_all_pairs // (queries * keys) * causal_pairs(queries, keys) if is_causal else of_all_pairs


def _convolution_backward(grad_out: Any, x: Any, weight: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    """The gradients of the input and of the weight each take the forward pass's multiply-adds in another order."""
    _, _, _, _, transposed, _, _, wanted = rest
    return int(sum(wanted[:2]) * conv_flop_count(x, weight, grad_out, transposed))


def _of_vector(rows: Any, *rest: Any, **_: Any) -> int:
    """A matrix times a vector, or two vectors: two for each number of the first."""
    return 2 * int(torch.Size(rows).numel())


def _added_to_vector(added: Any, rows: Any, *_: Any, **__: Any) -> int:
    return _of_vector(rows)


def _distances(x: Any, y: Any, *_: Any, **__: Any) -> int:
    """A difference, its power and its sum for each number of each pair."""
    return 3 * int(torch.Size(x).numel()) * int(y[-2])


def _distances_backward(grad: Any, x: Any, y: Any, *_: Any, **__: Any) -> int:
    """For the gradient of one of the two."""
    return _distances(x, y)


def _trilinear(a: Any, b: Any, c: Any, added_a: Any, added_b: Any, added_c: Any, *_: Any, **__: Any) -> int:
    """Two products and a sum for each number of the shape that the three make together."""
    shapes = []
    for shape, added in ((a, added_a), (b, added_b), (c, added_c)):
        whole = list(shape)
        for place in added:
            whole.insert(place, 1)
        shapes.append(whole)
    return 3 * math.prod(np.broadcast_shapes(*shapes))


def _lstm_layer(x_TBI: Any, by_input: Any, by_state: Any, *_: Any, **__: Any) -> int:
    """The four gates of each step: their products with the input and with the state before."""
    steps = int(torch.Size(x_TBI[:-1]).numel())
    return 2 * steps * (int(torch.Size(by_input).numel()) + int(torch.Size(by_state).numel()))


def _lstm_layer_backward(x_TBI: Any, by_input: Any, by_state: Any, *_: Any, **__: Any) -> int:
    return 2 * _lstm_layer(x_TBI, by_input, by_state)


_CORRECTED = {
    _ATEN.mv: _of_vector,
    _ATEN.dot: _of_vector,
    _ATEN.vdot: _of_vector,
    _ATEN.addmv: _added_to_vector,
    _ATEN._cdist_forward: _distances,
    _ATEN._cdist_backward: _distances_backward,
    _ATEN._trilinear: _trilinear,
    _ATEN.mkldnn_rnn_layer: _lstm_layer,
    _ATEN.mkldnn_rnn_layer_backward: _lstm_layer_backward,
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _forward,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
    _ATEN.convolution_backward: _convolution_backward,
}
"""torch registers its CUDA attention kernels only: without its two, attention on the CPU would count as nothing. And it counts the
weight's gradient of a convolution in groups as if there were one, a depthwise one as many times too often as it has channels."""
