"""Short causal convolution of each channel by itself, as in front of Mamba's state space.

`short_convolution` is the plain form. `causal_convolution` is the same, and `silu_convolution` the same followed by silu, as one operator
of `kernels/cpp/convolution.cpp` where there is a compiler: it needs no transposed copies and keeps nothing but its inputs.

Shapes: B batch, T tokens, E channels, W width, S = W - 1 + T tokens seen.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from kernels import native
from kernels.operators import operator
from kernels.paths import Path, PathUnavailable, choose, rows
from kernels.tangents import no_tangents


def short_convolution(seen_BSE: Tensor, weight_EW: Tensor, bias_E: Tensor | None) -> Tensor:
    """out_BTE: out[t] = bias + sum over i < W of weight[:, i] * seen[t + i].

    A single token is one product and one sum: the general routine's set-up costs several times that.
    Raises ValueError when no output is left to compute (T = 0).
    """
    W = weight_EW.shape[1]
    if seen_BSE.shape[1] < W:
        raise ValueError(f"a convolution of width {W} over {seen_BSE.shape[1]} tokens gives no output (T = 0); it needs {W}")
    if seen_BSE.shape[1] == W:
        out_BTE = (seen_BSE * weight_EW.T).sum(1, keepdim=True)
        return out_BTE if bias_E is None else out_BTE + bias_E
    return F.conv1d(seen_BSE.mT, weight_EW.unsqueeze(1), bias_E, groups=seen_BSE.shape[2]).mT


def silu_convolution(
    x_BTE: Tensor, before_BWE: Tensor, weight_EW: Tensor, bias_E: Tensor | None, *, path: Path = "auto"
) -> Tensor:
    """out_BTE = silu(short_convolution of x after the W - 1 tokens `before`); differentiable once, in every input.

    Raises ValueError where there is no token, PathUnavailable where `path` cannot run on these tensors.
    """
    return _either(x_BTE, before_BWE, weight_EW, bias_E, True, path)


def causal_convolution(
    x_BTE: Tensor, before_BWE: Tensor, weight_EW: Tensor, bias_E: Tensor | None, *, path: Path = "auto"
) -> Tensor:
    """The same without silu."""
    return _either(x_BTE, before_BWE, weight_EW, bias_E, False, path)


def _either(x_BTE: Tensor, before_BWE: Tensor, weight_EW: Tensor, bias_E: Tensor | None, silu: bool, path: Path) -> Tensor:
    if not x_BTE.shape[1]:
        raise ValueError("a convolution of no tokens (T = 0); hand over at least one")
    shape, (E, W) = x_BTE.shape, weight_EW.shape
    if shape[2] != E or before_BWE.shape != (shape[0], W - 1, E) or (bias_E is not None and bias_E.shape != (E,)):
        bias = "" if bias_E is None else f", bias {tuple(bias_E.shape)}"
        raise ValueError(f"x {tuple(shape)}, before {tuple(before_BWE.shape)}, weight {(E, W)}{bias} do not fit one another")
    one_dtype = len({t.dtype for t in (x_BTE, before_BWE, weight_EW, bias_E) if t is not None}) == 1
    if path == "auto" and (not one_dtype or x_BTE.shape[1] == 1 or torch.is_autocast_enabled(x_BTE.device.type)):
        path = "torch"
    if path == "compiled" and not one_dtype:
        raise PathUnavailable("path `compiled` cannot run: its inputs have several dtypes; `auto` takes the fastest that can")
    if choose(path, x_BTE, library="convolution") == "compiled":
        no_tangents("causal_convolution", x_BTE, before_BWE, weight_EW, bias_E)
        bias_E = weight_EW.new_zeros(weight_EW.shape[0]) if bias_E is None else bias_E
        out_BTE: Tensor = _operator(x_BTE, before_BWE, weight_EW.mT.contiguous(), bias_E, silu)
        return out_BTE
    out_BTE = short_convolution(torch.cat((before_BWE, x_BTE), dim=1), weight_EW, bias_E)
    return F.silu(out_BTE) if silu else out_BTE


class _Inputs(ctypes.Structure):
    """`struct Convolution` of convolution.cpp."""

    _fields_ = [(name, ctypes.c_long) for name in ("B", "T", "E", "W", "x_row", "silu")] + [
        (name, ctypes.c_void_p) for name in ("x", "before", "weight", "bias")
    ]


@functools.cache
def _function(name: str, pointers: int) -> Any:
    return native.function("convolution", name, *[ctypes.c_void_p] * (1 + pointers), ctypes.c_int)


def _call(name: str, x: Tensor, before: Tensor, weight_WE: Tensor, bias_E: Tensor, silu: bool, *arrays: Tensor) -> None:
    x, row = rows(x)
    given = (x, before.contiguous(), weight_WE.contiguous(), bias_E.contiguous())
    inputs = _Inputs(*x.shape, weight_WE.shape[0], row, int(silu), *(t.data_ptr() for t in given))
    _function(name, len(arrays))(ctypes.byref(inputs), *(t.data_ptr() for t in arrays), torch.get_num_threads())


@torch.library.custom_op("touchstone::silu_convolution", mutates_args=(), device_types="cpu")
def _compiled(x: Tensor, before: Tensor, weight_WE: Tensor, bias_E: Tensor, silu: bool) -> Tensor:
    out = x.new_empty(x.shape)
    _call("convolution_forward", x, before, weight_WE, bias_E, silu, out)
    return out


@_compiled.register_fake
def _empty(x: Tensor, before: Tensor, weight_WE: Tensor, bias_E: Tensor, silu: bool) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("touchstone::silu_convolution_backward", mutates_args=(), device_types="cpu")
def _compiled_backward(
    dout: Tensor, x: Tensor, before: Tensor, weight_WE: Tensor, bias_E: Tensor, silu: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, before, weight and bias."""
    dx, dbefore = x.new_empty(x.shape), x.new_empty(before.shape)
    dweight, dbias = x.new_empty(x.shape[0], *weight_WE.shape), x.new_empty(x.shape[0], x.shape[2])
    _call("convolution_backward", x, before, weight_WE, bias_E, silu, dout.contiguous(), dx, dbefore, dweight, dbias)
    return dx, dbefore, dweight.sum(0), dbias.sum(0)


@_compiled_backward.register_fake
def _empty_gradients(
    dout: Tensor, x: Tensor, before: Tensor, weight_WE: Tensor, bias_E: Tensor, silu: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(before.shape), x.new_empty(weight_WE.shape), x.new_empty(bias_E.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.silu = inputs
    ctx.save_for_backward(*tensors)


def _pull_back(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    return *_compiled_backward(dout, *ctx.saved_tensors, ctx.silu), None


_operator = operator(_compiled, _compiled_backward, remember=_remember, pull_back=_pull_back)


@register_flop_formula(torch.ops.touchstone.silu_convolution)
def _flops(x: torch.Size, before: torch.Size, weight_WE: torch.Size, *rest: Any, **options: Any) -> int:
    """A multiply-add as two, as torch counts a convolution forwards; backwards it counts a grouped one `groups` times too often."""
    return 2 * x.numel() * weight_WE[0]


@register_flop_formula(torch.ops.touchstone.silu_convolution_backward)
def _flops_backward(
    dout: torch.Size, x: torch.Size, before: torch.Size, weight_WE: torch.Size, *rest: Any, **options: Any
) -> int:
    return 4 * x.numel() * weight_WE[0]
