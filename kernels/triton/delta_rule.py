"""The delta rule family for GPUs: one program per batch and head walks its chunks with the state on the chip.

The map, the shapes and the reference are in kernels/delta_rule.py. Tested with Triton's interpreter alone: it has not yet run on a GPU,
so no block size or number of warps here was ever tuned. What the steps of a chunk see of the state, U, solves (1 - sees_b) U = sees_k V + a state:
the inverse is made row by row, since powers of the matrix would outgrow it. A step sees before the state fades, which is what the step
before it would read, so in pairs of steps its row stands one place earlier.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.triton.gla import (
    CHUNK,
    at_head,
    column,
    decays,
    load_rows,
    next_step,
    product,
    row,
    since,
    sizes,
    store_rows,
    triangle,
)


@triton.jit
def _load(q, k, v, a, b, g, first, at, at_k, at_v, T, H, K, V, X):
    """The rows of a chunk; one decay for all keys is repeated."""
    q_CK, k_CK = load_rows(q, first, at, at_k, T, H, K), load_rows(k, first, at, at_k, T, H, K)
    a_CK, b_CK = load_rows(a, first, at, at_k, T, H, K), load_rows(b, first, at, at_k, T, H, K)
    g_CK = load_rows(g, first, at, tl.minimum(at_k, X - 1), T, H, X)
    return q_CK, k_CK, load_rows(v, first, at, at_v, T, H, V), a_CK, b_CK, g_CK


@triton.jit
def _scores(q, a, k, b, high, low, step, C: tl.constexpr):
    """What q reads, and what a sees, of what is written under each k and each b: four of (C, C)."""
    shape: tl.constexpr = (C, C)
    q_k, q_b, a_k, a_b = (
        tl.zeros(shape, tl.float32),
        tl.zeros(shape, tl.float32),
        tl.zeros(shape, tl.float32),
        tl.zeros(shape, tl.float32),
    )
    next_a = product(next_step(step), a)
    for j in range(C):
        fade, here = since(high, low, step, j), step[None, :] == j
        by_k, by_b = fade * row(k, step, j)[None, :], fade * row(b, step, j)[None, :]
        q_k, q_b = tl.where(here, tl.sum(q * by_k, 1)[:, None], q_k), tl.where(here, tl.sum(q * by_b, 1)[:, None], q_b)
        a_k, a_b = tl.where(here, tl.sum(next_a * by_k, 1)[:, None], a_k), tl.where(here, tl.sum(next_a * by_b, 1)[:, None], a_b)
    back = tl.trans(next_step(step))
    return q_k, q_b, product(back, a_k), product(back, a_b)


@triton.jit
def _inverse(below, step, C: tl.constexpr):
    """(1 - below)^-1 of a matrix that is zero on and above its diagonal."""
    inverse = tl.where(step[:, None] == step[None, :], 1.0, 0.0)
    for i in range(1, C):
        added = tl.sum(row(below, step, i)[:, None] * inverse, 0)
        inverse += tl.where(step[:, None] == i, added[None, :], 0.0)
    return inverse


@triton.jit
def _forward(
    q, k, v, a, b, g, state, out, last, states, T, H: tl.constexpr, K: tl.constexpr, V: tl.constexpr, X: tl.constexpr,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr,
):  # fmt: skip
    unit, _, first, step, at_k, at_v, place, real = at_head(T, H, K, V, C, BK, BV)
    memory = tl.load(state + unit * K * V + place, mask=real, other=0.0)
    chunks = tl.cdiv(T, C)
    for n in range(chunks):
        at = n * C + step
        tl.store(states + (unit * chunks + n) * K * V + place, memory, mask=real)
        q_CK, k_CK, v_CV, a_CK, b_CK, g_CK = _load(q, k, v, a, b, g, first, at, at_k, at_v, T, H, K, V, X)
        high, low, later, earlier, left, whole = decays(g_CK)
        q_k, q_b, a_k, a_b = _scores(q_CK, a_CK, k_CK, b_CK, high, low, step, C)
        u_CV = product(_inverse(a_b, step, C), product(a_k, v_CV) + product(a_CK * earlier, memory))
        out_CV = product(q_k, v_CV) + product(q_b, u_CV) + product(q_CK * later, memory)
        store_rows(out, out_CV, first, at, at_v, T, H, V)
        memory = whole[:, None] * memory + product(tl.trans(k_CK * left), v_CV) + product(tl.trans(b_CK * left), u_CV)
    tl.store(last + unit * K * V + place, memory, mask=real)


@triton.jit
def _backward(
    q, k, v, a, b, g, states, dout, dlast, dq, dk, dv, da, db, dg, dstate, T, H: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    X: tl.constexpr, C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr,
):  # fmt: skip
    unit, _, first, step, at_k, at_v, place, real = at_head(T, H, K, V, C, BK, BV)
    after = tl.load(dlast + unit * K * V + place, mask=real, other=0.0)
    chunks = tl.cdiv(T, C)
    for back in range(chunks):
        n = chunks - 1 - back
        at = n * C + step
        q_CK, k_CK, v_CV, a_CK, b_CK, g_CK = _load(q, k, v, a, b, g, first, at, at_k, at_v, T, H, K, V, X)
        do_CV = load_rows(dout, first, at, at_v, T, H, V)
        before = tl.load(states + (unit * chunks + n) * K * V + place, mask=real, other=0.0)
        high, low, later, earlier, left, whole = decays(g_CK)
        q_k, q_b, a_k, a_b = _scores(q_CK, a_CK, k_CK, b_CK, high, low, step, C)
        inverse = _inverse(a_b, step, C)
        u_CV = product(inverse, product(a_k, v_CV) + product(a_CK * earlier, before))
        du_CV = product(tl.trans(inverse), product(tl.trans(q_b), do_CV) + product(b_CK * left, after))  # of what U is made of

        shift = next_step(step)
        next_a, next_du = product(shift, a_CK), product(shift, du_CV)
        dq_k, dq_b = product(do_CV, tl.trans(v_CV)), product(do_CV, tl.trans(u_CV))
        da_k, da_b = product(next_du, tl.trans(v_CV)), product(next_du, tl.trans(u_CV))
        dq_CK, dnext, dg_CK = tl.zeros((C, BK), tl.float32), tl.zeros((C, BK), tl.float32), tl.zeros((C, BK), tl.float32)
        dk_CK, db_CK = tl.zeros((C, BK), tl.float32), tl.zeros((C, BK), tl.float32)
        for j in range(C):
            fade, here = since(high, low, step, j), step[:, None] == j
            key, other = row(k_CK, step, j)[None, :], row(b_CK, step, j)[None, :]
            by_q_k, by_q_b = column(dq_k, step, j)[:, None], column(dq_b, step, j)[:, None]
            by_a_k, by_a_b = column(da_k, step, j)[:, None], column(da_b, step, j)[:, None]
            of_q, of_a = fade * (by_q_k * key + by_q_b * other), fade * (by_a_k * key + by_a_b * other)
            dq_CK += of_q
            dnext += of_a
            dk_CK = tl.where(here, tl.sum(fade * (by_q_k * q_CK + by_a_k * next_a), 0)[None, :], dk_CK)
            db_CK = tl.where(here, tl.sum(fade * (by_q_b * q_CK + by_a_b * next_a), 0)[None, :], db_CK)
            dg_CK += tl.where(step[:, None] > j, product(triangle(step, 0), of_q * q_CK + of_a * next_a), 0.0)

        q_state, a_state = product(do_CV, tl.trans(before)) * later, product(du_CV, tl.trans(before)) * earlier
        k_state, b_state = product(v_CV, tl.trans(after)) * left, product(u_CV, tl.trans(after)) * left
        dg_CK += product(triangle(step, 0), q_state * q_CK) + product(triangle(step, 1), a_state * a_CK)
        dg_CK += product(tl.trans(triangle(step, 1)), k_state * k_CK + b_state * b_CK)
        dg_CK += (whole * tl.sum(before * after, 1))[None, :]
        store_rows(dq, dq_CK + q_state, first, at, at_k, T, H, K)
        store_rows(da, product(tl.trans(shift), dnext) + a_state, first, at, at_k, T, H, K)
        store_rows(dk, dk_CK + k_state, first, at, at_k, T, H, K)
        store_rows(db, db_CK + b_state, first, at, at_k, T, H, K)
        store_rows(dg, dg_CK, first, at, at_k, T, H, K)
        dv_CV = product(tl.trans(q_k), do_CV) + product(tl.trans(a_k), du_CV) + product(k_CK * left, after)
        store_rows(dv, dv_CV, first, at, at_v, T, H, V)
        after = whole[:, None] * after + product(tl.trans(q_CK * later), do_CV) + product(tl.trans(a_CK * earlier), du_CV)
    tl.store(dstate + unit * K * V + place, after, mask=real)


class _Dplr(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v, a, b, g, state = (x.contiguous() for x in inputs)
        programs, constants = sizes(q, v)
        out, last = torch.empty_like(v), torch.empty_like(state)
        states = v.new_empty(programs, triton.cdiv(q.shape[1], CHUNK), *state.shape[2:])
        _forward[(programs,)](q, k, v, a, b, g, state, out, last, states, X=g.shape[-1], **constants)
        ctx.save_for_backward(q, k, v, a, b, g, states)
        return out, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor, dlast: Tensor) -> tuple[Tensor, ...]:
        q, k, v, a, b, g, states = ctx.saved_tensors
        programs, constants = sizes(q, v)
        found = [torch.empty_like(x) for x in (q, k, v, a, b, q, dlast)]
        given = (q, k, v, a, b, g, states, dout.contiguous(), dlast.contiguous())
        _backward[(programs,)](*given, *found, X=g.shape[-1], **constants)
        *others, dg_BTHK, dstate = found
        return *others, dg_BTHK.sum(-1, keepdim=True) if g.shape[-1] < q.shape[-1] else dg_BTHK, dstate


def dplr(q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, g: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V) of float32 tensors; g (B, T, H, K) or (B, T, H, 1)."""
    result: tuple[Tensor, Tensor] = _Dplr.apply(q, k, v, a, b, g, state)  # type: ignore[no-untyped-call]
    return result
