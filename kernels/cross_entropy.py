"""Cross-entropy of a linear head over a large vocabulary, a chunk of tokens at a time: the logits of all tokens never exist at once.

nats = sum over tokens n of  logsumexp_v(x_n w_v) - x_n w_target(n)

Both gradients need the softmax of a chunk, which is at hand when its loss is computed; so with gradients to record they are made there, and the backward
pass only scales them. That is three matrix products, as in the plain form, which keeps logits, log-probabilities and their gradient for all tokens.

Shapes: N tokens, D width, V vocabulary, C tokens of a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from kernels.operators import operator, recorded
from kernels.precision import wide, wide_dtype
from kernels.tangents import no_tangents

IGNORED = -100
"""Target of a token that has no loss and gives no gradient."""
CHUNK = 1 << 22
"""Logits that exist at once, 16 MiB of float32: more leave the cache, fewer read the head's gradient too often."""
FEWEST = 64
"""Tokens of the shortest chunk, whatever the vocabulary."""
LARGE = 2048
"""Vocabulary from which `worthwhile` prefers chunks: below it the products of a chunk are too narrow to pay for the loop."""


def worthwhile(tokens: int, vocabulary: int) -> bool:
    """Whether the logits of so many tokens are better made in chunks."""
    return vocabulary >= LARGE and tokens * vocabulary > CHUNK


def plain_cross_entropy(x_ND: Tensor, weight_VD: Tensor, target_N: Tensor) -> Tensor:
    """The formula in torch: the sum in nats, in float32 at least; it keeps N x V logits three times. The reference."""
    logits_NV = F.linear(x_ND, weight_VD)
    return F.cross_entropy(wide(logits_NV), target_N, ignore_index=IGNORED, reduction="sum")


def linear_cross_entropy(x_ND: Tensor, weight_VD: Tensor, target_N: Tensor, *, chunk: int = 0) -> Tensor:
    """Sum over tokens of the cross-entropy in nats between softmax(x weight') and the targets; IGNORED ones count nothing.

    `chunk`: tokens whose logits exist at once; 0: as many as make CHUNK logits, FEWEST at least. Peak memory is that of one chunk's logits and of the
    two gradients. The result and all sums over tokens are in float32 at least. Under autocast the products take its dtype, as `F.linear` does;
    float16, in which logits and sums overflow, is multiplied in float32.
    Raises ValueError for shapes that do not fit, IndexError for a target outside the vocabulary. It can be differentiated once.
    """
    (N, D), (V, _) = x_ND.shape, weight_VD.shape
    if weight_VD.shape[1] != D or target_N.shape != (N,):
        raise ValueError(
            "cross-entropy wants x (N, D), weight (V, D) and targets (N,); "
            f"got {[tuple(t.shape) for t in (x_ND, weight_VD, target_N)]}"
        )
    no_tangents("linear_cross_entropy", x_ND, weight_VD)
    device = x_ND.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x_ND, weight_VD = x_ND.to(dtype), weight_VD.to(dtype)
    if torch.float16 in (x_ND.dtype, weight_VD.dtype):
        x_ND, weight_VD = wide(x_ND), wide(weight_VD)
    wants_x, wants_weight = recorded(x_ND), recorded(weight_VD)
    nats: Tensor = _operator(x_ND, weight_VD, target_N, chunk or max(FEWEST, CHUNK // V), wants_x, wants_weight)[0]
    return nats


@torch.library.custom_op("touchstone::linear_cross_entropy", mutates_args=())
def _forward(
    x_ND: Tensor, weight_VD: Tensor, target_N: Tensor, chunk: int, wants_x: bool, wants_weight: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The sum in nats, and its gradients where they are wanted, else nothing."""
    V = len(weight_VD)
    outside = (target_N != IGNORED) & ((target_N < 0) | (target_N >= V))
    if outside.any():
        raise IndexError(
            f"target {int(target_N[outside][0])} is outside a vocabulary of {V}; only {IGNORED} stands for no target"
        )
    dtype = wide_dtype(x_ND)
    nats, grad_x_ND, grad_weight_VD = _empty(x_ND, weight_VD, target_N, chunk, wants_x, wants_weight)
    nats.zero_(), grad_weight_VD.zero_()
    room_CV = x_ND.new_empty(min(chunk, len(x_ND)), V)
    with torch.autocast(x_ND.device.type, enabled=False):
        for start in range(0, len(x_ND), chunk):
            x_CD, target_C = x_ND[start : start + chunk], target_N[start : start + chunk]
            e_CV = torch.mm(x_CD, weight_VD.T, out=room_CV[: len(x_CD)]).to(dtype)
            counted_C, at_C1 = target_C != IGNORED, target_C.clamp(min=0)[:, None]
            top_C1 = e_CV.amax(dim=1, keepdim=True)
            own_C1 = e_CV.gather(1, at_C1)
            e_CV.sub_(top_C1).exp_()
            sum_C1 = e_CV.sum(dim=1, keepdim=True)
            nats += torch.where(counted_C, (sum_C1.log() + top_C1 - own_C1)[:, 0], 0).sum()
            if not (wants_x or wants_weight):
                continue
            # softmax - onehot is (e - sum onehot) / sum; dividing the C x D side instead of C x V spares a pass over the logits
            share_C1 = torch.where(counted_C[:, None], 1 / sum_C1, 0)
            e_CV.scatter_add_(1, at_C1, -sum_C1)
            slope_CV = e_CV.to(x_ND.dtype)
            if wants_x:
                grad_x_ND[start : start + chunk] = torch.mm(slope_CV, weight_VD) * share_C1
            if wants_weight:
                shared_CD = (x_CD * share_C1).to(x_ND.dtype)
                if dtype == x_ND.dtype:
                    grad_weight_VD.addmm_(slope_CV.T, shared_CD)
                else:
                    grad_weight_VD += torch.mm(slope_CV.T, shared_CD)
    return nats, grad_x_ND, grad_weight_VD


@_forward.register_fake
def _empty(
    x_ND: Tensor, weight_VD: Tensor, target_N: Tensor, chunk: int, wants_x: bool, wants_weight: bool
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = wide_dtype(x_ND)
    grad_x_ND = x_ND.new_empty(x_ND.shape if wants_x else 0)
    return x_ND.new_empty((), dtype=dtype), grad_x_ND, weight_VD.new_empty(weight_VD.shape if wants_weight else 0, dtype=dtype)


@torch.library.custom_op("touchstone::linear_cross_entropy_backward", mutates_args=())
def _backward(grad: Tensor, grad_x_ND: Tensor, grad_weight_VD: Tensor) -> tuple[Tensor, Tensor]:
    """Both gradients, as large as is asked."""
    return grad_x_ND * grad.to(grad_x_ND.dtype), grad_weight_VD * grad


@_backward.register_fake
def _empty_gradients(grad: Tensor, grad_x_ND: Tensor, grad_weight_VD: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(grad_x_ND), torch.empty_like(grad_weight_VD)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.wants, ctx.dtype = inputs[4:], inputs[1].dtype
    ctx.set_materialize_grads(False)  # gradients of gradients are none, not zeros
    ctx.save_for_backward(*output[1:])


def _pull_back(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
    dx, dweight = _backward(grad, *ctx.saved_tensors)
    wants_x, wants_weight = ctx.wants
    return dx if wants_x else None, dweight.to(ctx.dtype) if wants_weight else None, None, None, None, None


_operator = operator(_forward, _backward, remember=_remember, pull_back=_pull_back)


@register_flop_formula(torch.ops.touchstone.linear_cross_entropy)
def _flops(
    x: torch.Size, weight: torch.Size, target: torch.Size, chunk: int, wants_x: bool, wants_weight: bool, *_: Any, **__: Any
) -> int:
    """The logits, and with them each gradient."""
    return 2 * x.numel() * weight[0] * (1 + wants_x + wants_weight)
