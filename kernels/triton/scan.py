"""Mamba's selective scan in Triton: one program per document and block of channels, states in registers.

Tested by Triton's interpreter only: it has never run on a GPU, where block size and number of warps want to be tuned first.
The forward pass keeps the states before each chunk of steps; the backward pass computes a chunk's states again into a buffer of its
own, as the C++ form does. Sums over channels (dB, dC) are atomic additions, so on a GPU their last bits depend on the order.

Shapes: B batch, T time, E channels, N states per channel (padded to a power of two inside), L steps of one chunk.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

CHANNELS = 32
STEPS = 32


@triton.jit  # type: ignore[untyped-decorator]
def _forward(x, dt, A, Bs, Cs, D, first, y, last, before, T, E, N, L, CE: tl.constexpr, CN: tl.constexpr):  # type: ignore[no-untyped-def]
    b, e, n = tl.program_id(0), tl.program_id(1) * CE + tl.arange(0, CE), tl.arange(0, CN)
    on_e, on_n = e < E, n < N
    on = on_e[:, None] & on_n[None, :]
    place = e[:, None] * N + n[None, :]
    rate = tl.load(A + place, mask=on, other=0.0)
    skip = tl.load(D + e, mask=on_e, other=0.0)
    state = tl.load(first + b * E * N + place, mask=on, other=0.0)
    chunks = tl.cdiv(T, L)
    for t in range(0, T):
        if t % L == 0:
            tl.store(before + (b * chunks + t // L) * E * N + place, state, mask=on)
        row = b * T + t
        x_t = tl.load(x + row * E + e, mask=on_e, other=0.0)
        dt_t = tl.load(dt + row * E + e, mask=on_e, other=0.0)
        B_t = tl.load(Bs + row * N + n, mask=on_n, other=0.0)
        C_t = tl.load(Cs + row * N + n, mask=on_n, other=0.0)
        state = tl.exp(dt_t[:, None] * rate) * state + (dt_t * x_t)[:, None] * B_t[None, :]
        tl.store(y + row * E + e, tl.sum(state * C_t[None, :], axis=1) + skip * x_t, mask=on_e)
    tl.store(last + b * E * N + place, state, mask=on)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    x, dt, A, Bs, Cs, D, before, dy, dlast, states, dx, ddt, dA, dBs, dCs, dD, dfirst, T, E, N, L, CE: tl.constexpr, CN: tl.constexpr
):  # fmt: skip
    b, e, n = tl.program_id(0), tl.program_id(1) * CE + tl.arange(0, CE), tl.arange(0, CN)
    on_e, on_n = e < E, n < N
    on = on_e[:, None] & on_n[None, :]
    place = e[:, None] * N + n[None, :]
    rate = tl.load(A + place, mask=on, other=0.0)
    skip = tl.load(D + e, mask=on_e, other=0.0)
    carry = tl.load(dlast + b * E * N + place, mask=on, other=0.0)
    dA_sum, dD_sum = tl.zeros((CE, CN), tl.float32), tl.zeros((CE,), tl.float32)
    chunks = tl.cdiv(T, L)
    for back in range(0, chunks):
        c = chunks - 1 - back
        steps = tl.minimum(L, T - c * L)
        state = tl.load(before + (b * chunks + c) * E * N + place, mask=on, other=0.0)
        for i in range(0, steps):
            row = b * T + c * L + i
            tl.store(states + (b * L + i) * E * N + place, state, mask=on)  # the one before step i
            x_t = tl.load(x + row * E + e, mask=on_e, other=0.0)
            dt_t = tl.load(dt + row * E + e, mask=on_e, other=0.0)
            B_t = tl.load(Bs + row * N + n, mask=on_n, other=0.0)
            state = tl.exp(dt_t[:, None] * rate) * state + (dt_t * x_t)[:, None] * B_t[None, :]
        for j in range(0, steps):
            row = b * T + c * L + steps - 1 - j
            x_t = tl.load(x + row * E + e, mask=on_e, other=0.0)
            dt_t = tl.load(dt + row * E + e, mask=on_e, other=0.0)
            dy_t = tl.load(dy + row * E + e, mask=on_e, other=0.0)
            B_t = tl.load(Bs + row * N + n, mask=on_n, other=0.0)
            C_t = tl.load(Cs + row * N + n, mask=on_n, other=0.0)
            earlier = tl.load(states + (b * L + steps - 1 - j) * E * N + place, mask=on, other=0.0)
            fed = dt_t * x_t
            decay = tl.exp(dt_t[:, None] * rate)
            G = carry + dy_t[:, None] * C_t[None, :]
            tl.atomic_add(
                dCs + row * N + n, tl.sum(dy_t[:, None] * (decay * earlier + fed[:, None] * B_t[None, :]), axis=0), mask=on_n
            )
            tl.atomic_add(dBs + row * N + n, tl.sum(fed[:, None] * G, axis=0), mask=on_n)
            dfed = tl.sum(G * B_t[None, :], axis=1)
            carry = decay * G
            flow = carry * earlier
            dA_sum += dt_t[:, None] * flow
            dD_sum += dy_t * x_t
            tl.store(dx + row * E + e, dfed * dt_t + skip * dy_t, mask=on_e)
            tl.store(ddt + row * E + e, tl.sum(rate * flow, axis=1) + dfed * x_t, mask=on_e)
    tl.store(dA + b * E * N + place, dA_sum, mask=on)
    tl.store(dfirst + b * E * N + place, carry, mask=on)
    tl.store(dD + b * E + e, dD_sum, mask=on_e)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        x, dt, A, B, C, D, first = (t.contiguous() for t in inputs)
        (batch, T, E), N = x.shape, A.shape[1]
        y, last = torch.empty_like(x), torch.empty_like(first)
        before = x.new_empty(batch, triton.cdiv(T, STEPS), E, N)
        sizes = {"CE": CHANNELS, "CN": triton.next_power_of_2(N)}
        _forward[(batch, triton.cdiv(E, CHANNELS))](x, dt, A, B, C, D, first, y, last, before, T, E, N, STEPS, **sizes)
        ctx.save_for_backward(x, dt, A, B, C, D, before)
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dlast: Tensor) -> tuple[Tensor, ...]:
        x, dt, A, B, C, D, before = ctx.saved_tensors
        (batch, T, E), N = x.shape, A.shape[1]
        states, dfirst = x.new_empty(batch, STEPS, E, N), x.new_empty(batch, E, N)
        dx, ddt, dB, dC = torch.empty_like(x), torch.empty_like(dt), torch.zeros_like(B), torch.zeros_like(C)
        dA, dD = x.new_empty(batch, E, N), x.new_empty(batch, E)
        sizes = {"CE": CHANNELS, "CN": triton.next_power_of_2(N)}
        _backward[(batch, triton.cdiv(E, CHANNELS))](
            x, dt, A, B, C, D, before, dy.contiguous(), dlast.contiguous(), states,
            dx, ddt, dA, dB, dC, dD, dfirst, T, E, N, STEPS, **sizes,
        )  # fmt: skip
        return dx, ddt, dA.sum(0), dB, dC, dD.sum(0), dfirst


def selective_scan_triton(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """y (B, T, E) and final state (B, E, N) of float32 inputs, dt > 0."""
    first = x.new_zeros(x.shape[0], *A.shape) if state is None else state
    result: tuple[Tensor, Tensor] = _Scan.apply(x, dt, A, B, C, D, first)  # type: ignore[no-untyped-call]
    return result
