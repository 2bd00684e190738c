"""Causal attention in which each query reads only its `k_top` highest-scoring keys (Zhao et al. 2019, arXiv:1912.11637, eq. 6 to 8).

    scores = scale q k'        y = softmax(scores where among the k_top largest, -inf elsewhere) v

Of equal scores the earliest key counts as the larger. Where the path is `compiled` a score is the same bits whatever other queries are computed
beside it, so a selection does not depend on how a document is cut; in the other path scores that differ by rounding alone may. A query that sees
fewer keys than `k_top` reads all of them. `topk_sparse_attention` scores every key once and never holds a T x S matrix; its
backward pass works on the chosen keys alone, whose indices are kept (T x k_top int32) and whose scores are computed again. No gradient
flows through the choice. Its paths are `compiled` (`kernels/cpp/topk_attention.cpp`, one operator `touchstone::topk_attention`) and `torch`.

Shapes: B batch, H query heads, G key/value heads (G divides H), T queries, S keys, D head size; the queries are the last T of the S
positions, as in kernels/attention.py, so that one decoding step is T = 1. A NaN reaches its own and later queries only where the path is
`compiled`; in the other path one of v reaches earlier queries of its block.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from kernels import native
from kernels.operators import operator, recomputed
from kernels.paths import Path, choose
from kernels.precision import wide_dtype
from kernels.tangents import no_tangents

BLOCK = 1 << 20
"""Scores held at a time by the torch form."""
FEW = 8
"""Up to so many queries the keys are turned panel by panel when they are met, instead of all of them first."""


def topk_attention_loop(q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, *, k_top: int, scale: float | None = None) -> Tensor:
    """The formula, one query after the other: sort its scores, keep the first `k_top`; the reference."""
    scale = _checked(q_BHTD, k_BGSD, v_BGSD, k_top, scale)
    T, S, groups = q_BHTD.shape[2], k_BGSD.shape[2], q_BHTD.shape[1] // k_BGSD.shape[1]
    k_BHSD, v_BHSD = (x.repeat_interleave(groups, dim=1) for x in (k_BGSD, v_BGSD))
    outs = []
    for t, q_BHD in enumerate(q_BHTD.unbind(2)):
        seen = S - T + t + 1
        scores_BHS = scale * (k_BHSD[:, :, :seen] @ q_BHD[..., None]).squeeze(-1)
        best_BHk = scores_BHS.sort(dim=-1, descending=True, stable=True).indices[..., :k_top]
        weights_BHk = scores_BHS.gather(-1, best_BHk).softmax(-1)
        values_BHkD = v_BHSD.gather(2, best_BHk[..., None].expand(-1, -1, -1, v_BHSD.shape[-1]))
        outs.append((weights_BHk[..., None] * values_BHkD).sum(2))
    return torch.stack(outs, dim=2)


def topk_sparse_attention(
    q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, *, k_top: int, scale: float | None = None, path: Path = "auto"
) -> Tensor:
    """Attention of the last T of S positions to their `k_top` best keys up to their own, (B, H, T, D).

    `scale` defaults to D ** -0.5. Raises ValueError where `k_top` is not between 1 and S or shapes do not fit, and
    PathUnavailable where `path` cannot run on these tensors.
    """
    scale = _checked(q_BHTD, k_BGSD, v_BGSD, k_top, scale)
    dtype = q_BHTD.dtype
    wide = wide_dtype(q_BHTD, k_BGSD, v_BGSD)
    q, k, v = (t.to(wide) for t in (q_BHTD, k_BGSD, v_BGSD))
    if choose(path, q, library="topk_attention") == "compiled":
        no_tangents("topk_sparse_attention", q, k, v)
        y_BHTD: Tensor = _operator(q, k, v, k_top, scale)[0]
        return y_BHTD.to(dtype)
    with torch.autocast(q.device.type, enabled=False):
        return _by_blocks(q, k, v, k_top, scale).to(dtype)


def _checked(q: Tensor, k: Tensor, v: Tensor, k_top: int, scale: float | None) -> float:
    if q.ndim != 4 or k.shape != v.shape or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3] or q.shape[1] % k.shape[1]:
        shapes = [tuple(x.shape) for x in (q, k, v)]
        raise ValueError(f"top-k attention wants q (B, H, T, D) and k, v (B, G, S, D) with G dividing H; got {shapes}")
    if not 1 <= q.shape[2] <= k.shape[2]:
        raise ValueError(f"{q.shape[2]} causal queries cannot be the last of {k.shape[2]} positions; at least one, at most all")
    if not 1 <= k_top <= k.shape[2]:
        raise ValueError(f"`k_top` = {k_top} must lie between 1 and the number of keys, {k.shape[2]}")
    return q.shape[3] ** -0.5 if scale is None else scale


def _by_blocks(q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, k_top: int, scale: float) -> Tensor:
    """The torch path: some queries at a time, which the backward pass computes again."""
    (B, H, T, _), S = q_BHTD.shape, k_BGSD.shape[2]
    groups = H // k_BGSD.shape[1]
    k_BHSD, v_BHSD = (x.repeat_interleave(groups, dim=1) if groups > 1 else x for x in (k_BGSD, v_BGSD))
    outs, first = [], S - T
    for q_BHtD in torch.split(q_BHTD, max(1, BLOCK // (B * H * S)), dim=2):
        end = first + q_BHtD.shape[2]
        outs.append(recomputed(_block, q_BHtD, k_BHSD[:, :, :end], v_BHSD[:, :, :end], k_top, scale))
        first = end
    return torch.cat(outs, dim=2)


def _block(q_BHtD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor, k_top: int, scale: float) -> Tensor:
    t, S = q_BHtD.shape[2], k_BHSD.shape[2]
    later_tS = torch.ones(t, S, dtype=torch.bool, device=q_BHtD.device).triu(S - t + 1)
    scores_BHtS = (scale * (q_BHtD @ k_BHSD.mT)).nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
    scores_BHtS = scores_BHtS.masked_fill(later_tS, -math.inf)
    least_BHt1 = scores_BHtS.detach().topk(min(k_top, S), dim=-1).values[..., -1:]
    above, equal = scores_BHtS > least_BHt1, scores_BHtS == least_BHt1
    left_BHt1 = k_top - above.sum(-1, keepdim=True)
    return scores_BHtS.masked_fill(~(above | (equal & (equal.cumsum(-1) <= left_BHt1))), -math.inf).softmax(-1) @ v_BHSD


class _Sizes(ctypes.Structure):
    """`struct Sizes` of topk_attention.cpp."""

    _fields_ = [(name, ctypes.c_long) for name in ("B", "H", "G", "T", "S", "D", "k", "apart")] + [("scale", ctypes.c_float)]


class _Gradients(ctypes.Structure):
    """`struct Gradients` of topk_attention.cpp."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("dout", "out", "log_sum", "chosen", "dq", "dk", "dv")]


@functools.cache
def _function(name: str) -> Any:
    pointers = {"topk_forward": 8, "topk_backward": 5}[name]
    return native.function("topk_attention", name, *[ctypes.c_void_p] * pointers, ctypes.c_int)


def _sizes(q: Tensor, k: Tensor, k_top: int, scale: float, *, apart: int | None = None) -> _Sizes:
    """`apart`: floats from one head's keys to the next's, where other keys lie between them."""
    B, G, S, D = k.shape
    return _Sizes(B, q.shape[1], G, q.shape[2], S, D, k_top, S * D if apart is None else apart, scale)


def _apart(k: Tensor, v: Tensor) -> int | None:
    """The same for both, if they are the beginnings of longer ones, as those of a cache with room are; copying it costs more than reading it."""
    B, G, _, D = k.shape
    of_head = k.stride(1) if G > 1 else k.stride(0)
    regular = k.stride()[2:] == (D, 1) and (B == 1 or k.stride(0) == G * of_head)
    return of_head if regular and k.stride() == v.stride() else None


@torch.library.custom_op("touchstone::topk_attention", mutates_args=(), device_types="cpu")
def _compiled(q: Tensor, k: Tensor, v: Tensor, k_top: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """y, the log of each query's sum of exponentials, and the indices of its keys, -1 where it has fewer."""
    q, apart = q.contiguous(), _apart(k, v)
    if apart is None:
        k, v = k.contiguous(), v.contiguous()
    y, log_sum, chosen = _empty(q, k, v, k_top, scale)
    turned = q.new_empty(*k.shape[:2], k.shape[3], k.shape[2] + 32) if q.shape[2] > FEW else None
    given = (q, k, v, turned, y, log_sum, chosen)
    pointers = (None if t is None else t.data_ptr() for t in given)
    sizes = _sizes(q, k, k_top, scale, apart=apart)
    _function("topk_forward")(ctypes.byref(sizes), *pointers, torch.get_num_threads())
    return y, log_sum, chosen


@_compiled.register_fake
def _empty(q: Tensor, k: Tensor, v: Tensor, k_top: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    rows = q.shape[:3]
    return q.new_empty(q.shape), q.new_empty(rows), q.new_empty(*rows, k_top, dtype=torch.int32)


@torch.library.custom_op("touchstone::topk_attention_backward", mutates_args=(), device_types="cpu")
def _compiled_backward(
    dy: Tensor, y: Tensor, log_sum: Tensor, chosen: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v, by the chosen keys alone."""
    dy, q, k, v = (t.contiguous() for t in (dy, q, k, v))
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    given = _Gradients(*(t.data_ptr() for t in (dy, y, log_sum, chosen, dq, dk, dv)))
    sizes = _sizes(q, k, chosen.shape[-1], scale)
    inputs = (t.data_ptr() for t in (q, k, v))
    _function("topk_backward")(ctypes.byref(sizes), *inputs, ctypes.byref(given), torch.get_num_threads())
    return dq, dk, dv


@_compiled_backward.register_fake
def _empty_gradients(
    dy: Tensor, y: Tensor, log_sum: Tensor, chosen: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    q, k, v, _, ctx.scale = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1], output[2])
    ctx.save_for_backward(*output, q, k, v)


def _pull_back(ctx: Any, dy: Tensor | None, *_: object) -> tuple[Tensor | None, ...]:
    if dy is None:
        return None, None, None, None, None
    return *_compiled_backward(dy, *ctx.saved_tensors, ctx.scale), None, None


_operator = operator(_compiled, _compiled_backward, remember=_remember, pull_back=_pull_back)


@register_flop_formula([torch.ops.touchstone.topk_attention])
def _flops(q: torch.Size, k: torch.Size, v: torch.Size, k_top: int, *rest: Any, **options: Any) -> int:
    """Every score, and the chosen values."""
    return 2 * math.prod(q) * (k[2] + k_top)


@register_flop_formula([torch.ops.touchstone.topk_attention_backward])
def _flops_backward(dy: torch.Size, y: torch.Size, log_sum: torch.Size, chosen: torch.Size, *rest: Any, **options: Any) -> int:
    return 10 * math.prod(dy) * chosen[3]
