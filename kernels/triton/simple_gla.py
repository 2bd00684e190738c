"""Scalar-decay linear attention for GPUs: one program per batch and head walks its chunks with the state on the chip.

The map, the shapes and the reference are in kernels/simple_gla.py. Tested with Triton's interpreter alone: it has not yet run on a GPU,
so no block size or number of warps here was ever tuned.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 64


@triton.jit
def _decays(g, at, inside, stride):
    """Sums of logs up to each step of a chunk as two floats each, and their total: a difference is then exact where it matters."""
    sums = tl.cumsum(tl.load(g + at * stride, mask=inside, other=0.0).to(tl.float64), 0)
    total = tl.min(sums, 0)
    high = sums.to(tl.float32)
    low = (sums - high.to(tl.float64)).to(tl.float32)
    return high, low, tl.exp(high), tl.exp((total - sums).to(tl.float32)), tl.exp(total.to(tl.float32))


@triton.jit
def _between(high, low, step):
    """Decays from the step of the column to that of the row, zero above the diagonal."""
    log = (high[:, None] - high[None, :]) + (low[:, None] - low[None, :])
    return tl.where(step[:, None] >= step[None, :], tl.exp(tl.minimum(log, 0.0)), 0.0)


@triton.jit
def _product(a, b):
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _forward(
    q, k, v, g, state, out, last, states, scale, T, H: tl.constexpr, G: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, KEEP: tl.constexpr,
):  # fmt: skip
    unit = tl.program_id(0).to(tl.int64)
    batch, head = unit // H, unit % H
    step, at_k, at_v = tl.arange(0, C), tl.arange(0, BK), tl.arange(0, BV)
    group = (batch * T * G + head // (H // G)) * K
    place = at_k[:, None] * V + at_v[None, :]
    real = (at_k[:, None] < K) & (at_v[None, :] < V)
    memory = tl.load(state + unit * K * V + place, mask=real, other=0.0)
    chunks = tl.cdiv(T, C)
    for n in range(chunks):
        at = n * C + step
        inside = at < T
        keys, values = inside[:, None] & (at_k[None, :] < K), inside[:, None] & (at_v[None, :] < V)
        high, low, since_start, until_end, whole = _decays(g + batch * T * H + head, at, inside, H)
        from_v = (batch * T * H + head) * V + at[:, None] * H * V + at_v[None, :]
        k_CK = tl.load(k + group + at[:, None] * G * K + at_k[None, :], mask=keys, other=0.0)
        v_CV = tl.load(v + from_v, mask=values, other=0.0)
        if KEEP:
            tl.store(states + (unit * chunks + n) * K * V + place, memory, mask=real)
        else:
            q_CK = tl.load(q + group + at[:, None] * G * K + at_k[None, :], mask=keys, other=0.0)
            scores = _product(q_CK, tl.trans(k_CK)) * _between(high, low, step)
            out_CV = _product(scores, v_CV) + _product(q_CK, memory) * since_start[:, None]
            tl.store(out + from_v, out_CV * scale, mask=values)
        memory = whole * memory + _product(tl.trans(k_CK * until_end[:, None]), v_CV)
    tl.store(last + unit * K * V + place, memory, mask=real)


@triton.jit
def _backward(
    q, k, v, g, states, dout, dlast, dq, dk, dv, dg, dstate, scale, T, H: tl.constexpr, G: tl.constexpr, K: tl.constexpr,
    V: tl.constexpr, C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr,
):  # fmt: skip
    unit = tl.program_id(0).to(tl.int64)
    batch, head = unit // H, unit % H
    step, at_k, at_v = tl.arange(0, C), tl.arange(0, BK), tl.arange(0, BV)
    group, own = (batch * T * G + head // (H // G)) * K, (batch * T * H + head) * K
    place = at_k[:, None] * V + at_v[None, :]
    real = (at_k[:, None] < K) & (at_v[None, :] < V)
    after = tl.load(dlast + unit * K * V + place, mask=real, other=0.0)
    upper = tl.where(step[:, None] <= step[None, :], 1.0, 0.0)
    chunks = tl.cdiv(T, C)
    for back in range(chunks):
        n = chunks - 1 - back
        at = n * C + step
        inside = at < T
        keys, values = inside[:, None] & (at_k[None, :] < K), inside[:, None] & (at_v[None, :] < V)
        high, low, since_start, until_end, whole = _decays(g + batch * T * H + head, at, inside, H)
        since_start, between = since_start * scale, _between(high, low, step) * scale
        from_v = (batch * T * H + head) * V + at[:, None] * H * V + at_v[None, :]
        q_CK = tl.load(q + group + at[:, None] * G * K + at_k[None, :], mask=keys, other=0.0)
        k_CK = tl.load(k + group + at[:, None] * G * K + at_k[None, :], mask=keys, other=0.0)
        v_CV = tl.load(v + from_v, mask=values, other=0.0)
        do_CV = tl.load(dout + from_v, mask=values, other=0.0)
        before = tl.load(states + (unit * chunks + n) * K * V + place, mask=real, other=0.0)

        scores = _product(q_CK, tl.trans(k_CK))
        flows = _product(do_CV, tl.trans(v_CV)) * between
        from_state = _product(do_CV, tl.trans(before)) * since_start[:, None]
        to_state = _product(v_CV, tl.trans(after)) * until_end[:, None]
        at_own = own + at[:, None] * H * K + at_k[None, :]
        tl.store(dq + at_own, _product(flows, k_CK) + from_state, mask=keys)
        tl.store(dk + at_own, _product(tl.trans(flows), q_CK) + to_state, mask=keys)
        dv_CV = _product(tl.trans(scores * between), do_CV) + _product(k_CK, after) * until_end[:, None]
        tl.store(dv + from_v, dv_CV, mask=values)

        paths = tl.where(step[None, :] < step[:, None], _product(upper, flows * scores), 0.0)
        entering, leaving = tl.sum(from_state * q_CK, 1), tl.sum(to_state * k_CK, 1)
        dg_C = tl.sum(paths, 1) + tl.sum(upper * entering[None, :], 1)
        dg_C += tl.sum(tl.where(step[None, :] < step[:, None], leaving[None, :], 0.0), 1) + whole * tl.sum(before * after)
        tl.store(dg + (batch * T * H + head) + at * H, dg_C, mask=inside)
        after = whole * after + _product(tl.trans(q_CK * since_start[:, None]), do_CV)
    tl.store(dstate + unit * K * V + place, after, mask=real)


def _sizes(q_BTGK: Tensor, v_BTHV: Tensor) -> tuple[int, dict[str, int]]:
    """Programs, and the constants of a kernel."""
    (B, T, G, K), (H, V) = q_BTGK.shape, v_BTHV.shape[2:]
    blocks = {"BK": max(16, triton.next_power_of_2(K)), "BV": max(16, triton.next_power_of_2(V))}
    return B * H, {"T": T, "H": H, "G": G, "K": K, "V": V, "C": CHUNK, **blocks}


def forward(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V) of contiguous float32 tensors."""
    out, last = torch.empty_like(v), torch.empty_like(state)
    programs, sizes = _sizes(q, v)
    _forward[(programs,)](q, k, v, g, state, out, last, last, scale, **sizes, KEEP=False)
    return out, last


def backward(
    dout: Tensor, dlast: Tensor, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor, scale: float
) -> tuple[Tensor, ...]:
    """Gradients of q and k per head, (B, T, H, K), and of v, g and the state."""
    programs, sizes = _sizes(q, v)
    states = v.new_empty(programs, triton.cdiv(sizes["T"], CHUNK), *state.shape[2:])
    _forward[(programs,)](q, k, v, g, state, v, torch.empty_like(state), states, scale, **sizes, KEEP=True)
    dq, dk = (q.new_empty(*v.shape[:3], q.shape[3]) for _ in range(2))
    dv, dg, dstate = (torch.empty_like(x) for x in (v, g, state))
    _backward[(programs,)](q, k, v, g, states, dout, dlast, dq, dk, dv, dg, dstate, scale, **sizes)
    return dq, dk, dv, dg, dstate
