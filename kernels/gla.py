"""Linear attention whose memory fades by one factor per head, token and key channel: gated linear attention and RWKV-6.

    state_t = exp(g_t) * state_{t-1} + k_t' v_t        out_t = scale q_t state_t

with g_t along the keys (Yang et al. 2023, arXiv:2312.06635, eq. 3). With a `bonus` u the state is read before it fades, and the
token itself counts u times instead of once (RWKV-6: Peng et al. 2024, arXiv:2404.05892, eq. 19):

    out_t = scale q_t (state_{t-1} + (u * k_t)' v_t)

`gla_loop` is the formula. `gla` is the same map; its paths are `compiled` (kernels/cpp/gla.cpp, token by token with the state in
registers), `triton` (kernels/triton/gla.py) and `torch`, which is linear in T too: pairs of tokens within a chunk meet at the one boundary between blocks of 1, 2, 4, ...
tokens that separates them, each decayed up to it, so that every exponent is a sum of logs of its own: nothing is divided, subtracted or
lost, whatever the decays. Backward passes keep the inputs alone and compute the states again.

Shapes: B batch, T time, H heads, K key size, V value size; N chunks of C steps, X = B H N of them; h steps of half a block. `g` <= 0,
finite. State (B, H, K, V), in float32 at least like all sums; the output has the dtype of v. No steps at all (T = 0) are a ValueError.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator
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


def gla_loop(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    g_BTHK: Tensor,
    *,
    bonus_HK: Tensor | None = None,
    state: Tensor | None = None,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V), one step after the other; memory O(B T H K V) under autograd."""
    dtype = v_BTHV.dtype
    q_BTHK, k_BTHK, v_BTHV, g_BTHK, bonus_HK, state_BHKV = _alike(q_BTHK, k_BTHK, v_BTHV, g_BTHK, bonus_HK, state)
    outs = []
    with torch.autocast(q_BTHK.device.type, enabled=False):
        for q_BHK, k_BHK, v_BHV, g_BHK in zip(*(x.unbind(1) for x in (q_BTHK, k_BTHK, v_BTHV, g_BTHK)), strict=True):
            new_BHKV = k_BHK[..., None] * v_BHV[..., None, :]
            later_BHKV = g_BHK.exp()[..., None] * state_BHKV + new_BHKV
            read_BHKV = later_BHKV if bonus_HK is None else state_BHKV + bonus_HK[..., None] * new_BHKV
            outs.append((q_BHK[..., None, :] @ read_BHKV).squeeze(-2))
            state_BHKV = later_BHKV
    return (scale * torch.stack(outs, dim=1)).to(dtype), state_BHKV


def gla(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    g_BTHK: Tensor,
    *,
    bonus_HK: Tensor | None = None,
    state: Tensor | None = None,
    scale: float = 1.0,
    path: Path = "auto",
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V), differentiable once in every tensor; to other code it is one operator.

    Raises PathUnavailable when a `path` is asked for that cannot run here.
    """
    dtype = v_BTHV.dtype
    no_tangents("gla", q_BTHK, k_BTHK, v_BTHV, g_BTHK, bonus_HK, state)
    out_BTHV, last_BHKV = _operator(*_alike(q_BTHK, k_BTHK, v_BTHV, g_BTHK, bonus_HK, state), scale, path)
    return out_BTHV.to(dtype), last_BHKV


def _alike(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, bonus: Tensor | None, state: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor]:
    """All in the widest of their dtypes, float32 at least, and a state of zeros for none."""
    (B, T, H, K), V = q.shape, v.shape[-1]
    if not T:
        raise ValueError("no steps (T = 0); hand over at least one")
    if not q.shape == k.shape == g.shape or v.shape[:3] != (B, T, H) or (bonus is not None and bonus.shape != (H, K)):
        given = ", ".join(str(tuple(x.shape)) for x in (q, k, v, g, bonus) if x is not None)
        raise ValueError(
            f"q, k, v, g (and a bonus) of shapes {given} do not fit (B, T, H, K) twice, (B, T, H, V), (B, T, H, K), (H, K)"
        )
    if state is not None and state.shape != (B, H, K, V):
        raise ValueError(f"a state of shape {tuple(state.shape)} does not fit ({B}, {H}, {K}, {V})")
    dtype = wide_dtype(q, k, v, g, bonus, state)
    state = q.new_zeros(B, H, K, V) if state is None else state
    q, k, v, g, state = (x.to(dtype).contiguous() for x in (q, k, v, g, state))
    return q, k, v, g, None if bonus is None else bonus.to(dtype).contiguous(), state


@torch.library.custom_op("touchstone::gla", mutates_args=())
def _forward(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    g_BTHK: Tensor,
    bonus_HK: Tensor | None,
    state_BHKV: Tensor,
    scale: float,
    path: str,
) -> tuple[Tensor, Tensor]:
    inputs = (q_BTHK, k_BTHK, v_BTHV, g_BTHK, bonus_HK, state_BHKV)
    chosen = choose(path, v_BTHV, library="gla", triton=v_BTHV.dtype == torch.float32)  # type: ignore[arg-type]
    if chosen == "torch":
        return _forward_torch(*inputs, scale)
    if chosen == "triton":
        return importlib.import_module("kernels.triton.gla").forward(*inputs, scale)  # type: ignore[no-any-return]
    out_BTHV, last_BHKV = torch.empty_like(v_BTHV), torch.empty_like(state_BHKV)
    sizes = (*q_BTHK.shape, v_BTHV.shape[-1])
    native.function("gla", "gla_forward")(
        _addresses(*inputs),
        *map(ctypes.c_void_p, (out_BTHV.data_ptr(), last_BHKV.data_ptr())),
        *map(ctypes.c_long, sizes),
        ctypes.c_float(scale),
        torch.get_num_threads(),
    )
    return out_BTHV, last_BHKV


@torch.library.custom_op("touchstone::gla_backward", mutates_args=())
def _backward(
    out_grad_BTHV: Tensor,
    last_grad_BHKV: Tensor,
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    g_BTHK: Tensor,
    bonus_HK: Tensor | None,
    state_BHKV: Tensor,
    scale: float,
    path: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v, g, bonus (empty without one) and the first state."""
    inputs = (q_BTHK, k_BTHK, v_BTHV, g_BTHK, bonus_HK, state_BHKV)
    given = (out_grad_BTHV.contiguous(), last_grad_BHKV.contiguous())
    chosen = choose(path, v_BTHV, library="gla", triton=v_BTHV.dtype == torch.float32)  # type: ignore[arg-type]
    if chosen == "torch":
        return _backward_torch(given[0], given[1], *inputs, scale)
    if chosen == "triton":
        return importlib.import_module("kernels.triton.gla").backward(*given, *inputs, scale)  # type: ignore[no-any-return]
    B, _, H, K = q_BTHK.shape
    bonus_grad_BHK = q_BTHK.new_empty(*((0, H, K) if bonus_HK is None else (B, H, K)))
    dq, dk, dv, dg, dstate = (torch.empty_like(x) for x in (q_BTHK, k_BTHK, v_BTHV, g_BTHK, state_BHKV))
    sizes = (*q_BTHK.shape, v_BTHV.shape[-1])
    native.function("gla", "gla_backward")(
        _addresses(*inputs),
        *(ctypes.c_void_p(x.data_ptr()) for x in given),
        _addresses(dq, dk, dv, dg, bonus_grad_BHK, dstate),
        *map(ctypes.c_long, sizes),
        ctypes.c_float(scale),
        torch.get_num_threads(),
    )
    return dq, dk, dv, dg, q_BTHK.new_empty(0) if bonus_HK is None else bonus_grad_BHK.sum(0), dstate


def _addresses(*tensors: Tensor | None) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(None if x is None else x.data_ptr() for x in tensors))


@_forward.register_fake
def _forward_fake(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, bonus: Tensor | None, state: Tensor, scale: float, path: str
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(v), torch.empty_like(state)


@_backward.register_fake
def _backward_fake(
    dout: Tensor,
    dlast: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    bonus: Tensor | None,
    state: Tensor,
    scale: float,
    path: str,
) -> tuple[Tensor, ...]:
    like = (q, k, v, g, q.new_empty(0) if bonus is None else bonus, state)
    return tuple(torch.empty_like(x) for x in like)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:6])
    ctx.settings = inputs[6:]


def _pull_back(ctx: Any, dout: Tensor, dlast: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors  # read once: under activation checkpointing a second reading raises
    dq, dk, dv, dg, dbonus, dstate = _backward(dout, dlast, *saved, *ctx.settings)
    return dq, dk, dv, dg, None if saved[4] is None else dbonus, dstate, None, None


_operator = operator(_forward, _backward, remember=_remember, pull_back=_pull_back)


class _Chunks:
    """The inputs as (B, N, H, C, ...), q scaled, with steps that change nothing at the end."""

    def __init__(
        self, q_BTHK: Tensor, k_BTHK: Tensor, v_BTHV: Tensor, g_BTHK: Tensor, bonus_HK: Tensor | None, scale: float
    ) -> None:
        self.steps, self.bonus_H1K = q_BTHK.shape[1], None if bonus_HK is None else bonus_HK[:, None]
        self.size = min(CHUNK, 1 << (self.steps - 1).bit_length())
        self.q, self.k, self.v, self.g = (split(x, self.size) for x in (q_BTHK * scale, k_BTHK, v_BTHV, g_BTHK))
        self.own_k = self.k if self.bonus_H1K is None else self.k * self.bonus_H1K

    def blocks(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For blocks of 1, 2, 4, ... C steps, (..., C / h, h, K), the log decay from the block's start to a step's reading, from its
        writing to the block's end, and (..., C / h, 1, K) over the whole block."""
        total = self.g.unsqueeze(-2)
        since, until = (total if self.bonus_H1K is None else torch.zeros_like(total)), torch.zeros_like(total)
        yield since, until, total
        while total.shape[-3] > 1:
            (since_1, since_2), (until_1, until_2), (total_1, total_2) = map(_halves, (since, until, total))
            since = torch.cat((since_1, since_2 + total_1), dim=-2)
            until = torch.cat((until_1 + total_2, until_2), dim=-2)
            total = total_1 + total_2
            yield since, until, total

    def by_blocks(self, x_BNHCX: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Views of the first and the second block of every pair of adjacent blocks of `size` steps."""
        return _halves(torch.unflatten(x_BNHCX, -2, (-1, size)))

    def collected(self, since_grad: Tensor, until_grad: Tensor) -> tuple[Tensor, Tensor]:
        """What gradients of `since` and `until` of a block, (..., h, K), bring to the g of its steps."""
        ones_hh = since_grad.new_ones(since_grad.shape[-2], since_grad.shape[-2])
        return ones_hh.triu(0 if self.bonus_H1K is None else 1) @ since_grad, ones_hh.tril(-1) @ until_grad


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """(..., blocks, steps, size) -> twice (..., blocks / 2, steps, size): those at even places and those at odd ones."""
    return x[..., 0::2, :, :], x[..., 1::2, :, :]


def _before(start_BHKV: Tensor, fade_BNHK1: Tensor, added_BNHKV: Tensor) -> tuple[Tensor, Tensor]:
    """The states before each chunk (B, N, H, K, V), and after the last."""
    states = [start_BHKV]
    for fade_BHK1, added_BHKV in zip(fade_BNHK1.unbind(1), added_BNHKV.unbind(1), strict=True):
        states.append(torch.addcmul(added_BHKV, fade_BHK1, states[-1]))
    last = states.pop()
    return torch.stack(states, dim=1), last


def _forward_torch(
    q_BTHK: Tensor, k_BTHK: Tensor, v_BTHV: Tensor, g_BTHK: Tensor, bonus_HK: Tensor | None, state_BHKV: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    with torch.autocast(q_BTHK.device.type, enabled=False):
        c = _Chunks(q_BTHK, k_BTHK, v_BTHV, g_BTHK, bonus_HK, scale)
        out = (c.q * c.own_k).sum(-1, keepdim=True) * c.v
        for since, until, total in c.blocks():
            if total.shape[-3] == 1:
                break
            size = since.shape[-2]
            reading = c.by_blocks(c.q, size)[1] * _halves(since)[1].exp()
            writing = c.by_blocks(c.k, size)[0] * _halves(until)[0].exp()
            c.by_blocks(out, size)[1].add_(reading @ writing.mT @ c.by_blocks(c.v, size)[0])
        since, until, total = (x.squeeze(-3) for x in (since, until, total))
        states, last = _before(state_BHKV, total.exp().mT, (c.k * until.exp()).mT @ c.v)
        return join(out.add_((c.q * since.exp()) @ states), c.steps), last


def _backward_torch(
    out_grad_BTHV: Tensor,
    last_grad_BHKV: Tensor,
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    g_BTHK: Tensor,
    bonus_HK: Tensor | None,
    state_BHKV: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    with torch.autocast(q_BTHK.device.type, enabled=False):
        c = _Chunks(q_BTHK, k_BTHK, v_BTHV, g_BTHK, bonus_HK, scale)
        do = split(out_grad_BTHV, c.size)
        worth = (do * c.v).sum(-1, keepdim=True)
        dq, dk, dg = worth * c.own_k, worth * c.q, torch.zeros_like(c.g)
        dv = (c.q * c.own_k).sum(-1, keepdim=True) * do
        dbonus = q_BTHK.new_empty(0)
        if c.bonus_H1K is not None:
            dbonus = (dk * c.k).sum((0, 1, 3))
            dk = dk.mul_(c.bonus_H1K)
        for since, until, total in c.blocks():
            if total.shape[-3] == 1:
                break
            size = since.shape[-2]
            read, write = _halves(since)[1].exp(), _halves(until)[0].exp()
            reading, writing = c.by_blocks(c.q, size)[1] * read, c.by_blocks(c.k, size)[0] * write
            do_2 = c.by_blocks(do, size)[1]
            flows = do_2 @ c.by_blocks(c.v, size)[0].mT
            c.by_blocks(dv, size)[0].add_((writing @ reading.mT) @ do_2)
            dreading, dwriting = flows @ writing, flows.mT @ reading
            c.by_blocks(dq, size)[1].addcmul_(dreading, read)
            c.by_blocks(dk, size)[0].addcmul_(dwriting, write)
            dg_2, dg_1 = c.collected(dreading.mul_(reading), dwriting.mul_(writing))
            c.by_blocks(dg, size)[1].add_(dg_2)
            c.by_blocks(dg, size)[0].add_(dg_1)
        read, write, whole = (x.squeeze(-3).exp() for x in (since, until, total))
        reading, writing = c.q * read, c.k * write
        states, _ = _before(state_BHKV, whole.mT, writing.mT @ c.v)
        grads, first_grad = _before(last_grad_BHKV, whole.mT.flip(1), (reading.mT @ do).flip(1))
        grads = grads.flip(1)  # of the state after each chunk
        dreading, dwriting = do @ states.mT, c.v @ grads.mT
        dv.add_(writing @ grads)
        dq.addcmul_(dreading, read)
        dk.addcmul_(dwriting, write)
        dg_read, dg_write = c.collected(dreading.mul_(reading), dwriting.mul_(writing))
        dg.add_(dg_read).add_(dg_write).add_((states * grads).sum(-1).unsqueeze(-2) * whole)
        dq, dk, dv, dg = (join(x, c.steps) for x in (dq, dk, dv, dg))
        return dq.mul_(scale), dk, dv, dg, dbonus, first_grad
