"""Mamba's selective scan (Gu & Dao 2023, arXiv:2312.00752, alg. 2): a diagonal state space whose step size follows the input.

    state_t = exp(dt_t A) state_{t-1} + dt_t B_t x_t        y_t = C_t . state_t + D x_t        (per channel e, over its N states)

`selective_scan_loop` is the formula. `selective_scan` is the same map with a hand-written backward: it keeps only the
state before each chunk of steps and computes the others again, one chunk at a time, in buffers that stay in the cache;
the loop keeps several (B, T, E, N) tensors in autograd's hands, which is why it is only the reference.

Shapes: B batch, T time, E channels, N states per channel, L steps of one chunk. Within a chunk arrays are (L, B, N, E): the
long axis E is innermost, so that broadcasting dt over the states and B, C over the channels costs nothing.
`dt` > 0 (softplus is the caller's), `A` < 0. Every form takes the state before the first step and returns that after the last.
No steps at all (T = 0) are a ValueError.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_FLOATS = 1 << 18
"""Size of one chunk buffer (1 MiB in float32); the backward pass uses three."""


def selective_scan_loop(
    x_BTE: Tensor, dt_BTE: Tensor, A_EN: Tensor, B_BTN: Tensor, C_BTN: Tensor, D_E: Tensor, *, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """y (B, T, E) and final state (B, E, N), one step after the other; memory O(B T E N) under autograd."""
    _check(x_BTE)
    state_BEN = x_BTE.new_zeros(x_BTE.shape[0], *A_EN.shape) if state is None else state
    outs = []
    for x_BE, dt_BE, B_BN, C_BN in zip(x_BTE.unbind(1), dt_BTE.unbind(1), B_BTN.unbind(1), C_BTN.unbind(1), strict=True):
        state_BEN = (dt_BE[..., None] * A_EN).exp() * state_BEN + (dt_BE * x_BE)[..., None] * B_BN[:, None]
        outs.append((state_BEN @ C_BN[..., None]).squeeze(-1) + D_E * x_BE)
    return torch.stack(outs, dim=1), state_BEN


def selective_scan(
    x_BTE: Tensor, dt_BTE: Tensor, A_EN: Tensor, B_BTN: Tensor, C_BTN: Tensor, D_E: Tensor, *, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """y (B, T, E) and final state (B, E, N); memory O(B T E N / chunk), differentiable once, in every input."""
    _check(x_BTE)
    x_TBE, dt_TBE, B_TBN, C_TBN = (t.transpose(0, 1).contiguous().to(A_EN.dtype) for t in (x_BTE, dt_BTE, B_BTN, C_BTN))
    state_BNE = x_TBE.new_zeros(x_TBE.shape[1], *A_EN.mT.shape) if state is None else state.mT.contiguous()
    with torch.autocast(x_BTE.device.type, enabled=False):  # a long recurrence keeps the dtype of A
        y_TBE, state_BNE = _run(x_TBE, dt_TBE, A_EN.mT.contiguous(), B_TBN, C_TBN, state_BNE)
        return torch.addcmul(y_TBE, D_E, x_TBE).transpose(0, 1), state_BNE.mT


def _check(x_BTE: Tensor) -> None:
    if not x_BTE.shape[1]:
        raise ValueError("selective scan of no steps (T = 0); hand over at least one")


def _run(*inputs: Tensor) -> tuple[Tensor, Tensor]:
    result: tuple[Tensor, Tensor] = _Scan.apply(*inputs)  # type: ignore[no-untyped-call]
    return result


def _steps_per_chunk(state_BNE: Tensor) -> int:
    return max(4, min(64, CHUNK_FLOATS // max(1, state_BNE.numel())))


def _fill(
    x_LBE: Tensor, dt_LBE: Tensor, A_NE: Tensor, B_LBN: Tensor, before_BNE: Tensor, decay_LBNE: Tensor, states_MBNE: Tensor
) -> None:
    """Write the decays of a chunk and its M = L + 1 states, the one before it first."""
    torch.mul(dt_LBE[:, :, None], A_NE, out=decay_LBNE).exp_()
    torch.mul((x_LBE * dt_LBE)[:, :, None], B_LBN[..., None], out=states_MBNE[1:])
    states = states_MBNE.unbind(0)
    states[0].copy_(before_BNE)
    for decay_BNE, earlier_BNE, later_BNE in zip(decay_LBNE.unbind(0), states[:-1], states[1:], strict=True):
        later_BNE.addcmul_(decay_BNE, earlier_BNE)


class _Scan(torch.autograd.Function):
    """y_t = C_t . state_t without the skip. With G_t the gradient of state_t:

    G_t = C_t dy_t + decay_(t+1) G_(t+1)      dC_t = sum_e state_t dy_t      dB_t = sum_e G_t dt_t x_t
    d(dt_t x_t) = sum_n G_t B_t               d(dt_t A) = G_t decay_t state_(t-1)
    """

    @staticmethod
    def forward(
        ctx: Any, x_TBE: Tensor, dt_TBE: Tensor, A_NE: Tensor, B_TBN: Tensor, C_TBN: Tensor, state_BNE: Tensor
    ) -> tuple[Tensor, Tensor]:
        T, L = x_TBE.shape[0], _steps_per_chunk(state_BNE)
        decay_LBNE = x_TBE.new_empty(min(L, T), *state_BNE.shape)
        states_MBNE = x_TBE.new_empty(min(L, T) + 1, *state_BNE.shape)
        y_TBE = torch.empty_like(x_TBE)
        before = []
        for start in range(0, T, L):
            now = slice(start, min(T, start + L))
            n = now.stop - start
            before.append(state_BNE)
            _fill(x_TBE[now], dt_TBE[now], A_NE, B_TBN[now], state_BNE, decay_LBNE[:n], states_MBNE[: n + 1])
            torch.matmul(C_TBN[now, :, None], states_MBNE[1 : n + 1], out=y_TBE[now, :, None])
            state_BNE = states_MBNE[n].clone()
        ctx.save_for_backward(x_TBE, dt_TBE, A_NE, B_TBN, C_TBN, *before)
        return y_TBE, state_BNE

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_TBE: Tensor, carry_BNE: Tensor) -> tuple[Tensor, ...]:
        x_TBE, dt_TBE, A_NE, B_TBN, C_TBN, *before = ctx.saved_tensors
        dy_TBE = dy_TBE.contiguous()  # an expanded gradient (of a sum) would send the products down a slow path
        T, L = x_TBE.shape[0], _steps_per_chunk(before[0])
        decay_LBNE, grad_LBNE = (x_TBE.new_empty(min(L, T), *carry_BNE.shape) for _ in range(2))
        states_MBNE = x_TBE.new_empty(min(L, T) + 1, *carry_BNE.shape)
        dx_TBE, ddt_TBE, dB_TBN, dC_TBN, dA_NE = (torch.empty_like(t) for t in (x_TBE, dt_TBE, B_TBN, C_TBN, A_NE))
        dA_NE.zero_()
        for start in reversed(range(0, T, L)):
            now = slice(start, min(T, start + L))
            n = now.stop - start
            x, dt, dy, decay, grad, states = (
                x_TBE[now],
                dt_TBE[now],
                dy_TBE[now],
                decay_LBNE[:n],
                grad_LBNE[:n],
                states_MBNE[: n + 1],
            )
            _fill(x, dt, A_NE, B_TBN[now], before.pop(), decay, states)

            torch.mul(C_TBN[now][..., None], dy[:, :, None], out=grad)
            grads, decays = grad.unbind(0), decay.unbind(0)
            grads[-1].add_(carry_BNE)
            for t in range(n - 1, 0, -1):
                grads[t - 1].addcmul_(decays[t], grads[t])

            torch.matmul(dy[:, :, None], states[1:].mT, out=dC_TBN[now, :, None])
            torch.matmul((x * dt)[:, :, None], grad.mT, out=dB_TBN[now, :, None])
            dxdt_LBE = torch.matmul(B_TBN[now, :, None], grad).squeeze(2)
            torch.mul(dxdt_LBE, dt, out=dx_TBE[now])

            flow = decay.mul_(grad)  # gradient of the previous state
            carry_BNE = flow[0].clone()
            flow.mul_(states[:-1])  # gradient of dt A
            dA_NE += torch.mul(flow, dt[:, :, None], out=grad).sum((0, 1))
            torch.addcmul(flow.mul_(A_NE).sum(2), dxdt_LBE, x, out=ddt_TBE[now])
        return dx_TBE, ddt_TBE, dA_NE, dB_TBN, dC_TBN, carry_BNE
