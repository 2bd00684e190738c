"""The table of operations: each with its reference, its fast form and inputs that both take."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.agreement import outputs_and_gradients
from kernels.attention import attention, plain_attention
from kernels.convolution import causal_convolution, short_convolution, silu_convolution
from kernels.cross_entropy import linear_cross_entropy, plain_cross_entropy
from kernels.delta_rule import delta_rule, delta_rule_loop, dplr, dplr_loop
from kernels.experts import by_expert, experts, experts_loop
from kernels.fft_convolution import fft_convolution, fft_convolution_loop
from kernels.gla import gla, gla_loop
from kernels.quantised import dequantise, quantise, quantised_linear
from kernels.retention import retention_chunkwise, retention_recurrent
from kernels.rwkv4 import rwkv4, rwkv4_loop
from kernels.scan import selective_scan, selective_scan_loop
from kernels.simple_gla import simple_gla, simple_gla_loop
from kernels.topk_attention import topk_attention_loop, topk_sparse_attention

Inputs = dict[str, Tensor]
Form = Callable[..., Any]


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A reference, a fast form, and inputs of T steps that both take; sizes that no vector and no tile divides."""

    reference: Form
    fast: Form
    inputs: Callable[[int], Inputs]
    given: Callable[[int], dict[str, Any]] = lambda T: {}
    """What is no tensor to differentiate by."""
    decay: str = ""
    """The input that holds log decays."""
    paths: tuple[str, ...] = ("torch", "compiled")
    """`""`: it takes no `path`."""
    narrow: float | None = 4e-3
    """How near bfloat16 inputs come: half a unit in the last of 8 bits where all is computed in float32; None: in their own dtype."""
    backwards: tuple[str, ...] = ()
    """Paths in which a NaN reaches earlier outputs of its chunk, window or block too, as their docstrings say."""
    reference_of: Callable[[Form], Form] = lambda reference: reference
    fast_of: Callable[[Form], Form] = lambda fast: fast

    def plain(self, T: int, x: Inputs) -> Inputs:
        """Outputs and gradients of the reference, in float64."""
        return outputs_and_gradients(
            functools.partial(self.reference_of(self.reference), **self.given(T)), x, dtype=torch.float64
        )

    def found(self, T: int, x: Inputs, path: str) -> Inputs:
        """Outputs and gradients of a path."""
        chosen = {"path": path} if path else {}
        return outputs_and_gradients(functools.partial(self.fast_of(functools.partial(self.fast, **chosen)), **self.given(T)), x)


def scan_inputs(T: int) -> Inputs:
    x = {"x_BTE": normal(2, T, 5, seed=0), "B_BTN": normal(2, T, 3, seed=1), "C_BTN": normal(2, T, 3, seed=2)}
    x |= {"D_E": normal(5, seed=3), "state": normal(2, 5, 3, seed=4), "gate_BTE": normal(2, T, 5, seed=5)}
    return x | {"dt_BTE": 0.5 + uniform(2, T, 5, seed=6), "A_EN": -uniform(5, 3, seed=7)}


def linear(T: int, *, decays: tuple[int, ...] = (), name: str = "g", groups: int = 2, K: int = 5, V: int = 9) -> Inputs:
    letter = "G" if groups == 1 else "H"
    x = {
        f"q_BT{letter}K": normal(2, T, groups, K, seed=0),
        f"k_BT{letter}K": F.normalize(normal(2, T, groups, K, seed=1), dim=-1),
    }
    return x | {
        "v_BTHV": normal(2, T, 2, V, seed=2),
        name: -uniform(2, T, 2, *decays, seed=3),
        "state": normal(2, 2, K, V, seed=4),
    }


def retention_inputs(T: int) -> Inputs:
    x = linear(T)
    del x["g"]
    return x | {"log_decay_H": torch.tensor([-0.03, -0.5])}


def dplr_inputs(T: int) -> Inputs:
    direction = F.normalize(normal(2, T, 2, 5, seed=5), dim=-1)
    return linear(T, decays=(5,)) | {"a_BTHK": -direction, "b_BTHK": direction * uniform(2, T, 2, 5, seed=6)}


def rwkv4_inputs(T: int) -> Inputs:
    x = {
        "k_BTE": normal(2, T, 19, seed=0),
        "v_BTE": normal(2, T, 19, seed=1),
        "w_E": -uniform(19, seed=2),
        "u_E": normal(19, seed=3),
    }
    return x | {"average": normal(2, 19, seed=4), "weight": normal(2, 19, seed=5)}


def paired(form: Form) -> Form:
    """With the state of RWKV-4 as two inputs and two outputs."""

    def run(average: Tensor, weight: Tensor, **x: Any) -> tuple[Tensor, ...]:
        out, state = form(**x, state=(average, weight))
        return out, *state

    return run


def convolution_inputs(T: int) -> Inputs:
    x = {"x_BTE": normal(2, T, 19, seed=0), "before_BWE": normal(2, 3, 19, seed=1)}
    return x | {"weight_EW": normal(19, 4, seed=2), "bias_E": normal(19, seed=3)}


def after(before: Form) -> Callable[[Form], Form]:
    """The plain convolution over the tokens before and the new ones, then a function."""
    return lambda form: lambda x_BTE, before_BWE, **x: before(form(torch.cat((before_BWE, x_BTE), dim=1), **x))


def routes(T: int) -> dict[str, Any]:
    """Two experts of four per token, and none for the last."""
    first = torch.randint(3, (T,), generator=torch.Generator().manual_seed(0))
    order_M, load_E = by_expert(torch.stack((first, (first + 1) % 3), dim=1), 4)
    return {"token_M": order_M // 2, "load_E": load_E}


def experts_inputs(T: int) -> Inputs:
    x = {"x_ND": normal(T, 7, seed=0), "weight_M": normal(2 * T, seed=1)}
    return x | {"widen_EDH": normal(4, 7, 11, seed=2), "narrow_EFD": normal(4, 11, 7, seed=3)}


def attention_inputs(T: int) -> Inputs:
    return {"q_BHTD": normal(2, 4, T, 6, seed=0), **{f"{x}_BGSD": normal(2, 2, T + 5, 6, seed=1 + i) for i, x in enumerate("kv")}}


PACKED = quantise(normal(13, 70, seed=9))
TRITON = ("torch", "compiled", "triton")
OPERATIONS = {
    "selective_scan": Operation(
        reference=selective_scan_loop, fast=selective_scan, inputs=scan_inputs, decay="A_EN", paths=TRITON
    ),
    "gla": Operation(
        reference=gla_loop,
        fast=gla,
        inputs=functools.partial(linear, decays=(5,), name="g_BTHK"),
        decay="g_BTHK",
        paths=TRITON,
        backwards=("triton",),
    ),
    "gla with a bonus": Operation(
        reference=gla_loop,
        fast=gla,
        inputs=lambda T: linear(T, decays=(5,), name="g_BTHK") | {"bonus_HK": normal(2, 5, seed=5)},
        decay="g_BTHK",
        paths=TRITON,
        backwards=("triton",),
    ),
    "simple_gla": Operation(
        reference=simple_gla_loop,
        fast=simple_gla,
        inputs=functools.partial(linear, name="g_BTH", groups=1),
        decay="g_BTH",
        paths=TRITON,
        backwards=("torch", "triton"),
    ),
    "retention": Operation(
        reference=retention_recurrent,
        fast=retention_chunkwise,
        inputs=retention_inputs,
        decay="log_decay_H",
        paths=TRITON,
        backwards=("torch", "triton"),
    ),
    "gated delta_rule": Operation(
        reference=delta_rule_loop,
        fast=delta_rule,
        inputs=lambda T: linear(T) | {"beta_BTH": 2 * uniform(2, T, 2, seed=5)},
        decay="g",
        paths=TRITON,
        backwards=("torch", "triton"),
    ),
    "delta_rule by channel": Operation(
        reference=delta_rule_loop,
        fast=delta_rule,
        inputs=lambda T: linear(T, decays=(5,)) | {"beta_BTH": 2 * uniform(2, T, 2, seed=5)},
        decay="g",
        paths=TRITON,
        backwards=("torch", "triton"),
    ),
    "dplr": Operation(reference=dplr_loop, fast=dplr, inputs=dplr_inputs, decay="g", paths=TRITON, backwards=("torch", "triton")),
    "rwkv4": Operation(reference=rwkv4_loop, fast=rwkv4, inputs=rwkv4_inputs, decay="w_E", reference_of=paired, fast_of=paired),
    "fft_convolution": Operation(
        reference=fft_convolution_loop,
        fast=fft_convolution,
        inputs=lambda T: {"u_BTD": normal(2, T, 19, seed=0), "taps": normal(70, 19, seed=1), "state": normal(2, 69, 19, seed=2)},
        reference_of=lambda form: lambda taps, **x: form(taps_LD=taps, **x),
        backwards=("torch", "compiled"),
    ),
    "causal_convolution": Operation(
        reference=short_convolution,
        fast=causal_convolution,
        inputs=convolution_inputs,
        reference_of=after(lambda y: y),
        narrow=None,
    ),
    "silu_convolution": Operation(
        reference=short_convolution, fast=silu_convolution, inputs=convolution_inputs, reference_of=after(F.silu), narrow=None
    ),
    "experts": Operation(reference=experts_loop, fast=experts, inputs=experts_inputs, given=routes),
    "topk_sparse_attention": Operation(
        reference=topk_attention_loop,
        fast=topk_sparse_attention,
        inputs=attention_inputs,
        given=lambda T: {"k_top": 5},
        backwards=("torch",),
    ),
    "attention": Operation(
        reference=plain_attention, fast=attention, inputs=attention_inputs, paths=("",), narrow=None, backwards=("",)
    ),
    "attention with a window": Operation(
        reference=plain_attention,
        fast=attention,
        inputs=attention_inputs,
        given=lambda T: {"window": 7},
        paths=("",),
        narrow=None,
        backwards=("",),
    ),
    "quantised_linear": Operation(
        reference=dequantise,
        fast=quantised_linear,
        inputs=lambda T: {"x": normal(T, 70, seed=0)},
        reference_of=lambda form: lambda x: F.linear(x, form(PACKED, columns=70).to(x.dtype)),
        fast_of=lambda form: lambda x: form(x, PACKED),
    ),
    "linear_cross_entropy": Operation(
        reference=plain_cross_entropy,
        fast=linear_cross_entropy,
        inputs=lambda T: {"x_ND": normal(T, 7, seed=0), "weight_VD": normal(31, 7, seed=1)},
        given=lambda T: {"target_N": torch.arange(T) % 31},
        paths=("",),
        narrow=None,
    ),
}
