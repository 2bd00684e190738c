"""Vector-decay linear attention for GPUs: one program per batch and head walks its chunks with the state on the chip.

The map, the shapes and the reference are in kernels/gla.py. Tested with Triton's interpreter alone: it has not yet run on a GPU,
so no block size or number of warps here was ever tuned. Within a chunk every pair of steps has a decay per key channel, which no matrix
product knows, so they are met key by key; chunks are short, and everything between them is products. With a bonus a step reads before the
state fades, which is what the step before it would read: its row stands one place earlier.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 16


@triton.jit
def at_head(T, H: tl.constexpr, K: tl.constexpr, V: tl.constexpr, C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr):
    """This program's number, its head and that head's first step, counted in heads; the steps of a chunk, the keys and values in blocks,
    where the state's numbers stand, and which of them there are."""
    unit = tl.program_id(0).to(tl.int64)
    step, at_k, at_v = tl.arange(0, C), tl.arange(0, BK), tl.arange(0, BV)
    place = at_k[:, None] * V + at_v[None, :]
    real = (at_k[:, None] < K) & (at_v[None, :] < V)
    return unit, unit % H, unit // H * T * H + unit % H, step, at_k, at_v, place, real


@triton.jit
def load_rows(x, first, at, column, T, H, X):
    """Steps `at` of one head of a tensor (B, T, H, X), zeros after the last; `first`: its step 0, counted in heads."""
    inside = (at[:, None] < T) & (column[None, :] < X)
    return tl.load(x + (first + at[:, None] * H) * X + column[None, :], mask=inside, other=0.0)


@triton.jit
def store_rows(x, rows, first, at, column, T, H, X):
    """The other way round."""
    inside = (at[:, None] < T) & (column[None, :] < X)
    tl.store(x + (first + at[:, None] * H) * X + column[None, :], rows, mask=inside)


@triton.jit
def decays(g_CK):
    """Sums of logs up to each step, as two floats whose differences are exact where it matters; the decays since the chunk's start up to
    each step and up to the one before, and from each step to the end (C, K); that of the whole chunk (K)."""
    wide = g_CK.to(tl.float64)
    sums, total = tl.cumsum(wide, 0), tl.sum(wide, 0)
    high = sums.to(tl.float32)
    low = (sums - high.to(tl.float64)).to(tl.float32)
    earlier, left = tl.exp((sums - wide).to(tl.float32)), tl.exp((total[None, :] - sums).to(tl.float32))
    return high, low, tl.exp(high), earlier, left, tl.exp(total.to(tl.float32))


@triton.jit
def row(x, step, j):
    """Row j of (C, X)."""
    return tl.sum(tl.where(step[:, None] == j, x, 0.0), 0)


@triton.jit
def column(x, step, j):
    """Column j of (C, C)."""
    return tl.sum(tl.where(step[None, :] == j, x, 0.0), 1)


@triton.jit
def since(high, low, step, j):
    """Decays from step j to each step, (C, K), zero before j."""
    log = (high - row(high, step, j)[None, :]) + (low - row(low, step, j)[None, :])
    return tl.where(step[:, None] >= j, tl.exp(tl.minimum(log, 0.0)), 0.0)


@triton.jit
def product(a, b):
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def triangle(step, gap):
    """(C, C): 1 where the column is `gap` or more steps after the row."""
    return tl.where(step[None, :] >= step[:, None] + gap, 1.0, 0.0)


@triton.jit
def next_step(step):
    """(C, C): times rows of steps, each step's successor; transposed, its predecessor."""
    return tl.where(step[None, :] == step[:, None] + 1, 1.0, 0.0)


@triton.jit
def _scores(read, k, high, low, step, C: tl.constexpr):
    """What each row reads of each key, (C, C)."""
    scores = tl.zeros((C, C), tl.float32)
    for j in range(C):
        found = tl.sum(read * since(high, low, step, j) * row(k, step, j)[None, :], 1)
        scores = tl.where(step[None, :] == j, found[:, None], scores)
    return scores


@triton.jit
def _attend(q, k, bonus, high, low, step, C: tl.constexpr, BONUS: tl.constexpr):
    """The scores as they weigh values."""
    if BONUS:
        earlier = _scores(product(next_step(step), q), k, high, low, step, C)
        own = tl.sum(q * bonus[None, :] * k, 1)
        scores = product(tl.trans(next_step(step)), earlier) + tl.where(step[:, None] == step[None, :], own[:, None], 0.0)
    else:
        scores = _scores(q, k, high, low, step, C)
    return scores


@triton.jit
def _forward(
    q, k, v, g, bonus, state, out, last, states, scale, T, H: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, BONUS: tl.constexpr, KEEP: tl.constexpr,
):  # fmt: skip
    unit, head, first, step, at_k, at_v, place, real = at_head(T, H, K, V, C, BK, BV)
    memory = tl.load(state + unit * K * V + place, mask=real, other=0.0)
    u_K = tl.load(bonus + head * K + at_k, mask=(at_k < K) & BONUS, other=0.0)
    chunks = tl.cdiv(T, C)
    for n in range(chunks):
        at = n * C + step
        k_CK, v_CV = load_rows(k, first, at, at_k, T, H, K), load_rows(v, first, at, at_v, T, H, V)
        high, low, later, earlier, left, whole = decays(load_rows(g, first, at, at_k, T, H, K))
        if KEEP:
            tl.store(states + (unit * chunks + n) * K * V + place, memory, mask=real)
        else:
            q_CK = load_rows(q, first, at, at_k, T, H, K)
            scores = _attend(q_CK, k_CK, u_K, high, low, step, C, BONUS)
            out_CV = product(scores, v_CV) + product(q_CK * (earlier if BONUS else later), memory)
            store_rows(out, out_CV * scale, first, at, at_v, T, H, V)
        memory = whole[:, None] * memory + product(tl.trans(k_CK * left), v_CV)
    tl.store(last + unit * K * V + place, memory, mask=real)


@triton.jit
def _backward(
    q, k, v, g, bonus, states, dout, dlast, dq, dk, dv, dg, dbonus, dstate, scale, T, H: tl.constexpr, K: tl.constexpr,
    V: tl.constexpr, C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, BONUS: tl.constexpr,
):  # fmt: skip
    unit, head, first, step, at_k, at_v, place, real = at_head(T, H, K, V, C, BK, BV)
    after = tl.load(dlast + unit * K * V + place, mask=real, other=0.0)
    u_K = tl.load(bonus + head * K + at_k, mask=(at_k < K) & BONUS, other=0.0)
    du_K = tl.zeros((BK,), tl.float32)
    chunks = tl.cdiv(T, C)
    for back in range(chunks):
        n = chunks - 1 - back
        at = n * C + step
        q_CK, k_CK = load_rows(q, first, at, at_k, T, H, K), load_rows(k, first, at, at_k, T, H, K)
        v_CV, do_CV = load_rows(v, first, at, at_v, T, H, V), load_rows(dout, first, at, at_v, T, H, V) * scale
        high, low, later, earlier, left, whole = decays(load_rows(g, first, at, at_k, T, H, K))
        before = tl.load(states + (unit * chunks + n) * K * V + place, mask=real, other=0.0)
        read, faded, flows = q_CK, later, product(do_CV, tl.trans(v_CV))
        if BONUS:
            read, faded, flows = product(next_step(step), q_CK), earlier, product(next_step(step), flows)

        dread, dk_CK, dg_CK = tl.zeros((C, BK), tl.float32), tl.zeros((C, BK), tl.float32), tl.zeros((C, BK), tl.float32)
        for j in range(C):
            worth = since(high, low, step, j) * column(flows, step, j)[:, None]
            key = row(k_CK, step, j)[None, :]
            dread += worth * key
            dk_CK = tl.where(step[:, None] == j, tl.sum(worth * read, 0)[None, :], dk_CK)
            dg_CK += tl.where(step[:, None] > j, product(triangle(step, 0), worth * read * key), 0.0)
        dq_CK = dread
        if BONUS:
            own = tl.sum(do_CV * v_CV, 1)[:, None]
            dq_CK = product(tl.trans(next_step(step)), dread) + own * u_K[None, :] * k_CK
            dk_CK += own * u_K[None, :] * q_CK
            du_K += tl.sum(own * q_CK * k_CK, 0)

        from_state, to_state = product(do_CV, tl.trans(before)) * faded, product(v_CV, tl.trans(after)) * left
        dg_CK += product(triangle(step, 1 if BONUS else 0), from_state * q_CK)
        dg_CK += product(tl.trans(triangle(step, 1)), to_state * k_CK) + (whole * tl.sum(before * after, 1))[None, :]
        store_rows(dq, dq_CK + from_state, first, at, at_k, T, H, K)
        store_rows(dk, dk_CK + to_state, first, at, at_k, T, H, K)
        store_rows(dg, dg_CK, first, at, at_k, T, H, K)
        scores = _attend(q_CK, k_CK, u_K, high, low, step, C, BONUS)
        store_rows(dv, product(tl.trans(scores), do_CV) + product(k_CK * left, after), first, at, at_v, T, H, V)
        after = whole[:, None] * after + product(tl.trans(q_CK * faded), do_CV)
    tl.store(dstate + unit * K * V + place, after, mask=real)
    tl.store(dbonus + unit * K + at_k, du_K, mask=(at_k < K) & BONUS)


def sizes(q_BTHK: Tensor, v_BTHV: Tensor) -> tuple[int, dict[str, Any]]:
    """Programs, and the constants of a kernel."""
    (B, T, H, K), V = q_BTHK.shape, v_BTHV.shape[-1]
    blocks = {"BK": max(16, triton.next_power_of_2(K)), "BV": max(16, triton.next_power_of_2(V))}
    return B * H, {"T": T, "H": H, "K": K, "V": V, "C": CHUNK, **blocks}


def forward(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, bonus: Tensor | None, state: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V) of contiguous float32 tensors."""
    out, last = torch.empty_like(v), torch.empty_like(state)
    programs, constants = sizes(q, v)
    given = (q, k, v, g, q if bonus is None else bonus, state)
    _forward[(programs,)](*given, out, last, last, scale, **constants, BONUS=bonus is not None, KEEP=False)
    return out, last


def backward(
    dout: Tensor,
    dlast: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    bonus: Tensor | None,
    state: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v, g, the bonus (empty without one) and the state."""
    programs, constants = sizes(q, v)
    (B, T, H, K), with_bonus = q.shape, bonus is not None
    given = (q, k, v, g, q if bonus is None else bonus)
    states = v.new_empty(programs, triton.cdiv(T, CHUNK), *state.shape[2:])
    _forward[(programs,)](*given, state, v, torch.empty_like(state), states, scale, **constants, BONUS=with_bonus, KEEP=True)
    dq, dk, dv, dg, dstate = (torch.empty_like(x) for x in (q, k, v, g, state))
    dbonus = q.new_empty(*((B, H, K) if with_bonus else (0, H, K)))
    _backward[(programs,)](*given, states, dout, dlast, dq, dk, dv, dg, dbonus, dstate, scale, **constants, BONUS=with_bonus)
    return dq, dk, dv, dg, dbonus.sum(0) if with_bonus else q.new_empty(0), dstate
