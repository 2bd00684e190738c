"""Linear attention whose memory fades by one factor per head and token: retention, Mamba-2's SSD and simple gated linear attention.

    state_t = exp(g_t) state_{t-1} + k_t' v_t        out_t = scale q_t state_t

A constant g is retention (Sun et al. 2023, arXiv:2307.08621, eq. 6), g = dt A with v = dt x is SSD (Dao & Gu 2024, arXiv:2405.21060,
section 6), a learned gate is GLA's scalar case (Yang et al. 2023, arXiv:2312.06635), and g = 0 is linear attention (Katharopoulos
et al. 2020, arXiv:2006.16236). `simple_gla_loop` is the formula. `simple_gla` is the same map chunk by chunk, linear in T: matrix products
inside a chunk, and only the states between chunks one after the other. Its backward pass keeps the inputs alone and
computes the states again.

Shapes: B batch, T time, H heads, G groups of heads that share q and k (G divides H), K key size, V value size; N chunks of C steps.
`g` <= 0, finite. A decay over several steps is one exponential of a difference of sums, so nothing is divided by a vanishing product,
and the gradient of g is a sum over the paths through a step, so none is lost beside a large one. The state is (B, H, K, V), in
float32 at least; the sums are too, whatever q, k and v are, and the output has the dtype of v. No steps at all (T = 0) are a ValueError.
A NaN reaches its own and later steps only where the path is `compiled`; in the matrix products of the others, the whole chunk.
"""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

import torch
from torch import Tensor

from kernels import native
from kernels.chunks import join, split
from kernels.operators import operator
from kernels.paths import Path, choose
from kernels.precision import wide_dtype
from kernels.tangents import no_tangents

CHUNK = 64
PART_FLOATS = 1 << 18
"""Size of one temporary array of the torch form (1 MiB in float32); the backward pass uses about twenty."""


def simple_gla_loop(
    q_BTGK: Tensor, k_BTGK: Tensor, v_BTHV: Tensor, g_BTH: Tensor, *, state: Tensor | None = None, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V), one step after the other; memory O(B T H K V) under autograd."""
    dtype = v_BTHV.dtype
    q_BTGK, k_BTGK, v_BTHV, g_BTH, state_BHKV = _alike(q_BTGK, k_BTGK, v_BTHV, g_BTH, state)
    heads = v_BTHV.shape[2] // q_BTGK.shape[2]
    q_BTHK, k_BTHK = (x.repeat_interleave(heads, dim=2) for x in (q_BTGK, k_BTGK))
    outs = []
    with torch.autocast(q_BTGK.device.type, enabled=False):
        for q_BHK, k_BHK, v_BHV, g_BH in zip(*(x.unbind(1) for x in (q_BTHK, k_BTHK, v_BTHV, g_BTH)), strict=True):
            state_BHKV = g_BH.exp()[..., None, None] * state_BHKV + k_BHK[..., :, None] * v_BHV[..., None, :]
            outs.append((q_BHK[..., None, :] @ state_BHKV).squeeze(-2))
    return (scale * torch.stack(outs, dim=1)).to(dtype), state_BHKV


def simple_gla(
    q_BTGK: Tensor,
    k_BTGK: Tensor,
    v_BTHV: Tensor,
    g_BTH: Tensor,
    *,
    state: Tensor | None = None,
    scale: float = 1.0,
    path: Path = "auto",
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V), differentiable once in every tensor; to other code it is one operator.

    Raises PathUnavailable when a `path` is asked for that cannot run here.
    """
    dtype = v_BTHV.dtype
    no_tangents("simple_gla", q_BTGK, k_BTGK, v_BTHV, g_BTH, state)
    out_BTHV, last_BHKV = _operator(*_alike(q_BTGK, k_BTGK, v_BTHV, g_BTH, state), scale, path)
    return out_BTHV.to(dtype), last_BHKV


def _alike(
    q_BTGK: Tensor, k_BTGK: Tensor, v_BTHV: Tensor, g_BTH: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """All in the widest of their dtypes, float32 at least, and a state of zeros for none."""
    (B, T, G, K), (H, V) = q_BTGK.shape, v_BTHV.shape[2:]
    if not T:
        raise ValueError("no steps (T = 0); hand over at least one")
    if H % G or k_BTGK.shape != q_BTGK.shape or v_BTHV.shape[:2] != (B, T) or g_BTH.shape != (B, T, H):
        given = ", ".join(str(tuple(x.shape)) for x in (q_BTGK, k_BTGK, v_BTHV, g_BTH))
        raise ValueError(f"q, k, v, g of shapes {given} do not fit (B, T, G, K) twice, (B, T, H, V), (B, T, H) with G dividing H")
    dtype = wide_dtype(q_BTGK, k_BTGK, v_BTHV, g_BTH, state)
    if state is None:
        state = q_BTGK.new_zeros(B, H, K, V)
    elif state.shape != (B, H, K, V):
        raise ValueError(f"a state of shape {tuple(state.shape)} does not fit ({B}, {H}, {K}, {V})")
    q, k, v, g, state = (x.to(dtype).contiguous() for x in (q_BTGK, k_BTGK, v_BTHV, g_BTH, state))
    return q, k, v, g, state


@torch.library.custom_op("touchstone::simple_gla", mutates_args=())
def _forward(
    q_BTGK: Tensor, k_BTGK: Tensor, v_BTHV: Tensor, g_BTH: Tensor, state_BHKV: Tensor, scale: float, path: str
) -> tuple[Tensor, Tensor]:
    inputs = (q_BTGK, k_BTGK, v_BTHV, g_BTH, state_BHKV)
    chosen = choose(path, v_BTHV, library="simple_gla", triton=v_BTHV.dtype == torch.float32)  # type: ignore[arg-type]
    if chosen == "torch":
        return _forward_torch(*inputs, scale)
    if chosen == "triton":
        return importlib.import_module("kernels.triton.simple_gla").forward(*inputs, scale)  # type: ignore[no-any-return]
    out_BTHV, last_BHKV = torch.empty_like(v_BTHV), torch.empty_like(state_BHKV)
    _call("simple_gla_forward", inputs, (out_BTHV, last_BHKV), scale)
    return out_BTHV, last_BHKV


@torch.library.custom_op("touchstone::simple_gla_backward", mutates_args=())
def _backward(
    out_grad_BTHV: Tensor,
    last_grad_BHKV: Tensor,
    q_BTGK: Tensor,
    k_BTGK: Tensor,
    v_BTHV: Tensor,
    g_BTH: Tensor,
    state_BHKV: Tensor,
    scale: float,
    path: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    inputs = (q_BTGK, k_BTGK, v_BTHV, g_BTH, state_BHKV)
    given = (out_grad_BTHV.contiguous(), last_grad_BHKV.contiguous())
    (B, T, G, K), H = q_BTGK.shape, v_BTHV.shape[2]
    chosen = choose(path, v_BTHV, library="simple_gla", triton=v_BTHV.dtype == torch.float32)  # type: ignore[arg-type]
    if chosen == "torch":
        dq_BTHK, dk_BTHK, *others = _backward_torch(*given, *inputs, scale)
    elif chosen == "triton":
        form = importlib.import_module("kernels.triton.simple_gla").backward
        dq_BTHK, dk_BTHK, *others = form(*given, *inputs, scale)
    else:
        dq_BTHK, dk_BTHK = q_BTGK.new_empty(B, T, H, K), q_BTGK.new_empty(B, T, H, K)
        others = [torch.empty_like(x) for x in (v_BTHV, g_BTH, state_BHKV)]
        _call("simple_gla_backward", (*inputs, *given), (dq_BTHK, dk_BTHK, *others), scale)
    if G < H:
        dq_BTHK, dk_BTHK = (x.view(B, T, G, H // G, K).sum(3) for x in (dq_BTHK, dk_BTHK))
    return dq_BTHK, dk_BTHK, others[0], others[1], others[2]


@_forward.register_fake
def _forward_fake(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor, scale: float, path: str) -> tuple[Tensor, Tensor]:
    return torch.empty_like(v), torch.empty_like(state)


@_backward.register_fake
def _backward_fake(
    dout: Tensor, dlast: Tensor, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor, scale: float, path: str
) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(x) for x in (q, k, v, g, state))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.settings = inputs[5:]


def _pull_back(ctx: Any, dout: Tensor, dlast: Tensor) -> tuple[Tensor | None, ...]:
    return *_backward(dout, dlast, *ctx.saved_tensors, *ctx.settings), None, None


_operator = operator(_forward, _backward, remember=_remember, pull_back=_pull_back)


def _call(name: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], scale: float) -> None:
    """Run a function of kernels/cpp/simple_gla.cpp."""
    (B, T, G, K), (H, V) = inputs[0].shape, inputs[2].shape[2:]
    addresses = (ctypes.c_void_p(x.data_ptr()) for x in (*inputs, *outputs))
    sizes = map(ctypes.c_long, (B, T, H, G, K, V))
    native.function("simple_gla", name)(*addresses, *sizes, ctypes.c_float(scale), torch.get_num_threads())


class _Chunks:
    """The inputs as (B, N, H, C, ...) with steps that change nothing at the end, their decays, and the state before each chunk."""

    def __init__(self, inputs: tuple[Tensor, ...], part: slice, state_BHKV: Tensor, scale: float) -> None:
        q_BTGK, k_BTGK, v_BTHV, g_BTH = (x[:, part] for x in inputs)
        self.steps, self.heads, self.scale = *g_BTH.shape[1:], scale
        self.size = min(CHUNK, self.steps)
        self.q, self.k, self.v = self.split(q_BTGK), self.split(k_BTGK), self.split(v_BTHV)
        sums_BNHC = self.split(g_BTH[..., None])[..., 0].double().cumsum(-1)  # a difference of two sums is exact where it matters
        self.sums = sums_BNHC
        self.since_start = sums_BNHC[..., None].exp().mul_(scale).to(g_BTH.dtype)
        self.until_end = (sums_BNHC[..., -1:] - sums_BNHC)[..., None].exp().to(g_BTH.dtype)
        self.whole = sums_BNHC[..., -1:, None].exp().to(g_BTH.dtype)
        self.k_left = self.k * self.until_end
        added_BNHKV = self.k_left.mT @ self.v
        before = [state_BHKV]
        for whole_BH11, added_BHKV in zip(self.whole.unbind(1), added_BNHKV.unbind(1), strict=True):
            before.append(torch.addcmul(added_BHKV, whole_BH11, before[-1]))
        self.last = before.pop()
        self.states = torch.stack(before, dim=1)

    def between(self) -> Tensor:
        """Decays times `scale` from the step of the column to that of the row, (B, N, H, C, C)."""
        logs_BNHCC = (self.sums[..., :, None] - self.sums[..., None, :]).to(self.q.dtype)
        return logs_BNHCC.exp_().tril_().mul_(self.scale)

    def split(self, x_BTGX: Tensor) -> Tensor:
        """With as many heads as there are, (B, N, H, C, X)."""
        x_BNGCX, heads = split(x_BTGX, self.size), self.heads // x_BTGX.shape[2]
        return x_BNGCX if heads == 1 else x_BNGCX.repeat_interleave(heads, dim=2)


def _parts(q_BTGK: Tensor, v_BTHV: Tensor) -> list[slice]:
    """The sequence in parts whose temporary arrays stay in the cache: growth beyond it costs more than linear time."""
    (B, T, _, K), (H, V) = q_BTGK.shape, v_BTHV.shape[2:]
    size = max(1, PART_FLOATS // (B * H * max(CHUNK, K, V) * CHUNK)) * CHUNK
    return [slice(start, min(T, start + size)) for start in range(0, T, size)]


def _forward_torch(
    q_BTGK: Tensor, k_BTGK: Tensor, v_BTHV: Tensor, g_BTH: Tensor, state_BHKV: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    inputs, outs = (q_BTGK, k_BTGK, v_BTHV, g_BTH), []
    with torch.autocast(q_BTGK.device.type, enabled=False):
        for part in _parts(q_BTGK, v_BTHV):
            c = _Chunks(inputs, part, state_BHKV, scale)
            within_BNHCV = (c.q @ c.k.mT).mul_(c.between()) @ c.v
            outs.append(join(within_BNHCV.addcmul_(c.q @ c.states, c.since_start), c.steps))
            state_BHKV = c.last
    return torch.cat(outs, dim=1), state_BHKV


def _backward_torch(
    out_grad_BTHV: Tensor,
    last_grad_BHKV: Tensor,
    q_BTGK: Tensor,
    k_BTGK: Tensor,
    v_BTHV: Tensor,
    g_BTH: Tensor,
    state_BHKV: Tensor,
    scale: float,
) -> list[Tensor]:
    inputs, parts = (q_BTGK, k_BTGK, v_BTHV, g_BTH), _parts(q_BTGK, v_BTHV)
    states, found = [state_BHKV], []
    with torch.autocast(q_BTGK.device.type, enabled=False):
        for part in parts[:-1]:
            states.append(_Chunks(inputs, part, states[-1], scale).last)
        for part in reversed(parts):
            c = _Chunks(inputs, part, states.pop(), scale)
            *gradients, last_grad_BHKV = _part_backward(c, out_grad_BTHV[:, part], last_grad_BHKV)
            found.append(gradients)
    return [*(torch.cat(each[::-1], dim=1) for each in zip(*found, strict=True)), last_grad_BHKV]


def _part_backward(c: _Chunks, out_grad_BTHV: Tensor, last_grad_BHKV: Tensor) -> tuple[Tensor, ...]:
    """Gradients of q, k (per head), v, g and the state before.

    That of g sums the worth of every path from an earlier step to a later one: inside the chunk, into it, out of it, through it.
    """
    do_BNHCV = c.split(out_grad_BTHV)
    added_BNHKV = (c.q * c.since_start).mT @ do_BNHCV
    after = [last_grad_BHKV]
    for whole_BH11, added_BHKV in zip(c.whole.unbind(1)[::-1], added_BNHKV.unbind(1)[::-1], strict=True):
        after.append(torch.addcmul(added_BHKV, whole_BH11, after[-1]))
    first_grad_BHKV = after.pop()
    grads_BNHKV = torch.stack(after[::-1], dim=1)

    between_BNHCC, scores_BNHCC = c.between(), c.q @ c.k.mT
    flows_BNHCC = (do_BNHCV @ c.v.mT).mul_(between_BNHCC)
    from_state_BNHCK = (do_BNHCV @ c.states.mT).mul_(c.since_start)
    to_state_BNHCK = (c.v @ grads_BNHKV.mT).mul_(c.until_end)
    dq_BNHCK = (flows_BNHCC @ c.k).add_(from_state_BNHCK)
    dk_BNHCK = (flows_BNHCC.mT @ c.q).add_(to_state_BNHCK)
    worth_BNHCC = flows_BNHCC.mul_(scores_BNHCC)
    dv_BNHCV = (scores_BNHCC.mul_(between_BNHCC).mT @ do_BNHCV).add_(c.k_left @ grads_BNHKV)

    lower_CC = torch.ones(c.size, c.size, dtype=c.q.dtype, device=c.q.device).tril()
    inside_BNHC = (lower_CC.mT @ worth_BNHCC).mul_(lower_CC.tril(-1)).sum(-1)
    entering_BNHC = from_state_BNHCK.mul_(c.q).sum(-1) @ lower_CC
    leaving_BNHC = to_state_BNHCK.mul_(c.k).sum(-1) @ lower_CC.tril(-1).mT
    through_BNH1 = (c.states * grads_BNHKV).sum((-2, -1)).mul_(c.whole[..., 0, 0])[..., None]
    dg_BNHC = inside_BNHC + entering_BNHC + leaving_BNHC + through_BNH1
    dq_BTHK, dk_BTHK, dv_BTHV, dg_BTH1 = (join(x, c.steps) for x in (dq_BNHCK, dk_BNHCK, dv_BNHCV, dg_BNHC[..., None]))
    return dq_BTHK, dk_BTHK, dv_BTHV, dg_BTH1[..., 0], first_grad_BHKV
