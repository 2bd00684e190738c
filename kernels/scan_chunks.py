"""The selective scan in plain torch, one chunk of steps at a time in buffers that stay in the cache; one operator to other code.

The map and its reference are in kernels/scan.py. The backward pass starts from the state before each chunk and computes the others again.

Shapes: B batch, T time, E channels, N states per channel, L steps of one chunk, M chunks, or M = L + 1 states. Within a chunk arrays are (L, B, N, E): the long
axis E is innermost, so that broadcasting dt over the states and B, C over the channels costs nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from kernels.operators import operator

CHUNK_FLOATS = 1 << 18
"""Size of one chunk buffer (1 MiB in float32); the backward pass uses three."""


def selective_scan_chunks(
    x_BTE: Tensor, dt_BTE: Tensor, A_EN: Tensor, B_BTN: Tensor, C_BTN: Tensor, D_E: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """y (B, T, E) and final state (B, E, N) of inputs of one dtype, dt > 0."""
    x_TBE, dt_TBE, B_TBN, C_TBN = (t.transpose(0, 1).contiguous() for t in (x_BTE, dt_BTE, B_BTN, C_BTN))
    state_BNE = x_TBE.new_zeros(x_TBE.shape[1], *A_EN.mT.shape) if state is None else state.mT.contiguous()
    y_TBE, state_BNE, _ = _operator(x_TBE, dt_TBE, A_EN.mT.contiguous(), B_TBN, C_TBN, state_BNE)
    return torch.addcmul(y_TBE, D_E, x_TBE).transpose(0, 1), state_BNE.mT


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


@torch.library.custom_op("touchstone::selective_scan_chunked", mutates_args=())
def _forward(
    x_TBE: Tensor, dt_TBE: Tensor, A_NE: Tensor, B_TBN: Tensor, C_TBN: Tensor, state_BNE: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """y without the skip, the final state, and the states before each chunk."""
    y_TBE, last_BNE, before_MBNE = _empty(x_TBE, dt_TBE, A_NE, B_TBN, C_TBN, state_BNE)
    T, L = len(x_TBE), _steps_per_chunk(state_BNE)
    decay_LBNE = x_TBE.new_empty(min(L, T), *state_BNE.shape)
    states_MBNE = x_TBE.new_empty(min(L, T) + 1, *state_BNE.shape)
    for start, before_BNE in zip(range(0, T, L), before_MBNE.unbind(0), strict=True):
        now = slice(start, min(T, start + L))
        n = now.stop - start
        before_BNE.copy_(state_BNE)
        _fill(x_TBE[now], dt_TBE[now], A_NE, B_TBN[now], before_BNE, decay_LBNE[:n], states_MBNE[: n + 1])
        torch.matmul(C_TBN[now, :, None], states_MBNE[1 : n + 1], out=y_TBE[now, :, None])
        state_BNE = states_MBNE[n]
    return y_TBE, last_BNE.copy_(state_BNE), before_MBNE


@_forward.register_fake
def _empty(
    x_TBE: Tensor, dt_TBE: Tensor, A_NE: Tensor, B_TBN: Tensor, C_TBN: Tensor, state_BNE: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    before_MBNE = x_TBE.new_empty(-(-x_TBE.shape[0] // _steps_per_chunk(state_BNE)), *state_BNE.shape)
    return x_TBE.new_empty(x_TBE.shape), x_TBE.new_empty(state_BNE.shape), before_MBNE


@torch.library.custom_op("touchstone::selective_scan_chunked_backward", mutates_args=())
def _backward(
    dy_TBE: Tensor,
    carry_BNE: Tensor,
    before_MBNE: Tensor,
    x_TBE: Tensor,
    dt_TBE: Tensor,
    A_NE: Tensor,
    B_TBN: Tensor,
    C_TBN: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """With G_t the gradient of state_t:

    G_t = C_t dy_t + decay_(t+1) G_(t+1)      dC_t = sum_e state_t dy_t      dB_t = sum_e G_t dt_t x_t
    d(dt_t x_t) = sum_n G_t B_t               d(dt_t A) = G_t decay_t state_(t-1)
    """
    dy_TBE = dy_TBE.contiguous()  # an expanded gradient (of a sum) would send the products down a slow path
    T, L = x_TBE.shape[0], _steps_per_chunk(carry_BNE)
    before = list(before_MBNE.unbind(0))
    decay_LBNE, grad_LBNE = (x_TBE.new_empty(min(L, T), *carry_BNE.shape) for _ in range(2))
    states_MBNE = x_TBE.new_empty(min(L, T) + 1, *carry_BNE.shape)
    dx_TBE, ddt_TBE, dA_NE, dB_TBN, dC_TBN, dstate_BNE = _empty_gradients(
        dy_TBE, carry_BNE, before_MBNE, x_TBE, dt_TBE, A_NE, B_TBN, C_TBN
    )
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
    return dx_TBE, ddt_TBE, dA_NE, dB_TBN, dC_TBN, dstate_BNE.copy_(carry_BNE)


@_backward.register_fake
def _empty_gradients(
    dy: Tensor, carry: Tensor, before: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor
) -> tuple[Tensor, ...]:
    return tuple(t.new_empty(t.shape) for t in (x, dt, A, B, C, carry))


def _remember(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[2], *inputs[:-1])


def _pull_back(ctx: Any, dy: Tensor | None, dlast: Tensor | None, _: None) -> tuple[Tensor, ...]:
    saved = ctx.saved_tensors  # read once: under activation checkpointing a second reading raises
    before_MBNE, x_TBE = saved[:2]
    dy = torch.zeros_like(x_TBE) if dy is None else dy
    dlast = torch.zeros_like(before_MBNE[0]) if dlast is None else dlast
    return _backward(dy, dlast, *saved)  # type: ignore[no-any-return]


_operator = operator(_forward, _backward, remember=_remember, pull_back=_pull_back)


@register_flop_formula(torch.ops.touchstone.selective_scan_chunked)
def _flops(x: torch.Size, dt: torch.Size, A_NE: torch.Size, *rest: Any, **options: Any) -> int:
    """Those of the readout, as in kernels/scan.py."""
    return 2 * x.numel() * A_NE[0]


@register_flop_formula(torch.ops.touchstone.selective_scan_chunked_backward)
def _flops_backward(
    dy: torch.Size, carry: torch.Size, before: torch.Size, x: torch.Size, dt: torch.Size, A_NE: torch.Size, *rest: Any, **_: Any
) -> int:
    return 6 * x.numel() * A_NE[0]
