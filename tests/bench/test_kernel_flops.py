"""FLOPs of the house's operators are those of their plain formulas, counted operation by operation as these run."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from bench.flops import count_flops, training_flops
from bench.kernel_flops import causal_pairs
from kernels import native
from kernels.fft_convolution import fft_convolution
from kernels.simple_gla import _backward_torch, _forward_torch, simple_gla
from tests.kernels.operations import OPERATIONS, Inputs, normal

PATHS = [
    "torch",
    pytest.param("compiled", marks=pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")),
]
aten = torch.ops.aten


class Arithmetic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every multiply, add and multiply-add that runs, elementwise ones too, on arrays of one shape."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shape: torch.Size = shape
        self.total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket
        if name in (aten.bmm, aten.mm):
            self.total += 2 * args[0].numel() * args[1].shape[-1]
        elif isinstance(out, Tensor) and out.shape == self.shape:
            self.total += out.numel() * {aten.mul: 1, aten.add: 1, aten.sub: 1, aten.addcmul: 2}.get(name, 0)
        return out


def as_it_runs(name: str, T: int) -> int:
    """Arithmetic of the plain loop on whole states, which is what a state and a token have to do with each other."""
    operation = OPERATIONS[name]
    x = operation.inputs(T)
    with torch.no_grad(), Arithmetic(x["state"].shape) as counted:
        operation.reference(**x, **operation.given(T))
    return int(counted.total)


def leaves(x: Inputs) -> Inputs:
    return {name: tensor.requires_grad_() for name, tensor in x.items()}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["gla", "selective_scan"])
def test_a_recurrence_counts_the_arithmetic_of_its_plain_loop_and_its_gradient_that_twice_and_the_states_again(
    name: str, path: str
) -> None:
    T, operation = 37, OPERATIONS[name]
    x = leaves(operation.inputs(T))
    forward, both = training_flops(lambda: operation.fast(**x, path=path)[0].sum())
    assert forward == as_it_runs(name, T)
    read = 2 * T * x["state"].numel()
    assert both - forward == 2 * forward + (forward - read)


@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("name", ["delta_rule by channel", "gated delta_rule", "dplr"])
def test_a_delta_rule_counts_the_arithmetic_of_its_plain_loop(name: str) -> None:
    T, operation = 37, OPERATIONS[name]
    x = operation.inputs(T)
    counted = count_flops(lambda: operation.fast(**x, path="compiled"))
    assert counted == as_it_runs(name, T)


@pytest.mark.parametrize("path", PATHS)
def test_a_chunked_recurrence_counts_the_products_of_its_chunks_but_those_above_the_diagonal(path: str) -> None:
    B, T, H, K, V, C = 2, 192, 3, 16, 24, 64
    q, k, v, g = (normal(B, T, H, size, seed=seed) for seed, size in enumerate((K, K, V, 1)))
    inputs = q, k, v, -g[..., 0].abs(), torch.zeros(B, H, K, V)
    above = B * H * (T // C) * C * (C - 1) // 2
    full = count_flops(lambda: _forward_torch(*inputs, 1.0)), count_flops(lambda: _backward_torch(v, inputs[4], *inputs, 1.0))
    given = [x.requires_grad_() for x in inputs[:4]]
    forward, both = training_flops(lambda: simple_gla(*given, path=path)[0].sum())  # type: ignore[arg-type]
    assert forward == full[0] - 2 * (K + V) * above
    running_sums = B * H * (T // C) * (2 * C**3 + 2 * 2 * C**2)  # as products with a triangle of ones: the gradient of the decay
    assert both - forward == full[1] - 2 * (3 * K + 2 * V) * above - running_sums


@pytest.mark.parametrize("path", PATHS)
def test_a_long_convolution_counts_its_transforms(path: str) -> None:
    """Two windows of 4 T would not be needed: one of 1024 holds 256 steps under a filter of as many, there and back."""
    B, T, D = 2, 256, 3
    u, taps = (normal(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(((B, T, D), (T, D))))
    forward, both = training_flops(lambda: fft_convolution(u, taps, path=path)[0].sum())  # type: ignore[arg-type]
    N = 512
    transform, product = 5 * N * math.log2(N) / 2, 3 * N
    assert forward == B * D * (2 * transform + product) + D * transform
    kept = 1 if path == "torch" else 0
    assert both - forward == B * D * ((3 - kept) * transform + 2 * product) + D * transform


@pytest.mark.parametrize("T", [20, 32, 33, 256, 800])
def test_causal_attention_counts_the_blocks_up_to_its_diagonal(T: int) -> None:
    q, k, v = (torch.randn(2, 3, T, 16, requires_grad=True) for _ in range(3))
    whole = training_flops(lambda: scaled_dot_product_attention(q, k, v).sum())
    causal = training_flops(lambda: scaled_dot_product_attention(q, k, v, is_causal=True).sum())
    pairs = causal_pairs(T, T)
    assert T * (T + 1) // 2 <= pairs <= T * T
    assert [one / T**2 * pairs for one in whole] == [pytest.approx(one) for one in causal]
    if T == 256:
        assert pairs == 64 * (64 + 128 + 192 + 256)
