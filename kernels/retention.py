"""Retention (Sun et al. 2023, arXiv:2307.08621, eq. 5 to 7): linear attention whose memory fades at a fixed rate per head.

    state_t = decay_h state_{t-1} + k_t' v_t            out_t = scale q_t state_t

Three forms of the same map, with one signature: `retention_recurrent` is the formula (the reference, and the cheapest for
a single step), `retention_parallel` is quadratic in T, `retention_chunkwise` linear in T and made of matrix products.

Shapes: B batch, T time, H heads, K key size, V value size; N chunks of C steps. `log_decay_H` holds log decay <= 0, finite.
A decay over several steps is always exp(steps log_decay), one exponential of one difference, so nothing is ever divided
by a vanishing power. Every form takes the state before the first step (none: zeros) and returns the one after the last.
Inputs of several dtypes are computed, and answered, in the widest of them, under autocast too: a long recurrence needs it.
No steps at all (T = 0) are a ValueError.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

Retention = Callable[..., tuple[Tensor, Tensor]]
CHUNK = 64


def retention_recurrent(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    log_decay_H: Tensor,
    *,
    state: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V), one step after the other; `scale` defaults to K ** -0.5."""
    q_BTHK, k_BTHK, v_BTHV, log_decay_H, state = _alike(q_BTHK, k_BTHK, v_BTHV, log_decay_H, state)
    state_BHKV = _start(k_BTHK, v_BTHV) if state is None else state
    q_BTHK = q_BTHK * (q_BTHK.shape[-1] ** -0.5 if scale is None else scale)
    decay_H11 = log_decay_H.exp()[:, None, None]
    outs = []
    with torch.autocast(q_BTHK.device.type, enabled=False):
        for q_BHK, k_BHK, v_BHV in zip(q_BTHK.unbind(1), k_BTHK.unbind(1), v_BTHV.unbind(1), strict=True):
            state_BHKV = decay_H11 * state_BHKV + k_BHK[..., :, None] * v_BHV[..., None, :]
            outs.append((q_BHK[..., None, :] @ state_BHKV).squeeze(-2))
    return torch.stack(outs, dim=1), state_BHKV


def retention_parallel(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    log_decay_H: Tensor,
    *,
    state: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The same as one T x T product per head (eq. 5), for short sequences."""
    q_BTHK, k_BTHK, v_BTHV, log_decay_H, state = _alike(q_BTHK, k_BTHK, v_BTHV, log_decay_H, state)
    out_B1HTV, state_BHKV = _chunks(q_BTHK[:, None], k_BTHK[:, None], v_BTHV[:, None], log_decay_H, state, scale)
    return out_B1HTV[:, 0].transpose(1, 2), state_BHKV


def retention_chunkwise(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    log_decay_H: Tensor,
    *,
    state: Tensor | None = None,
    scale: float | None = None,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """The same in O(T chunk): parallel inside chunks, recurrent between them (eq. 7); any T, a rest is a shorter chunk."""
    T = q_BTHK.shape[1]
    if chunk >= T:
        return retention_parallel(q_BTHK, k_BTHK, v_BTHV, log_decay_H, state=state, scale=scale)
    q_BTHK, k_BTHK, v_BTHV, log_decay_H, state = _alike(q_BTHK, k_BTHK, v_BTHV, log_decay_H, state)
    whole = T // chunk * chunk
    q, k, v = (torch.unflatten(x[:, :whole], 1, (-1, chunk)) for x in (q_BTHK, k_BTHK, v_BTHV))
    out_BNHCV, state = _chunks(q, k, v, log_decay_H, state, scale)
    out_BTHV = out_BNHCV.transpose(2, 3).flatten(1, 2)
    if whole == T:
        return out_BTHV, state
    rest, state = retention_parallel(
        q_BTHK[:, whole:], k_BTHK[:, whole:], v_BTHV[:, whole:], log_decay_H, state=state, scale=scale
    )
    return torch.cat((out_BTHV, rest), dim=1), state


def _alike(
    q_BTHK: Tensor, k_BTHK: Tensor, v_BTHV: Tensor, log_decay_H: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """The inputs in the widest of their dtypes; ValueError when there is no step."""
    if not q_BTHK.shape[1]:
        raise ValueError("retention of no steps (T = 0); hand over at least one")
    given = [x for x in (q_BTHK, k_BTHK, v_BTHV, log_decay_H, state) if x is not None]
    dtype = functools.reduce(torch.promote_types, (x.dtype for x in given))
    q_BTHK, k_BTHK, v_BTHV, log_decay_H = (x.to(dtype) for x in given[:4])
    return q_BTHK, k_BTHK, v_BTHV, log_decay_H, None if state is None else state.to(dtype)


def _start(k_BTHK: Tensor, v_BTHV: Tensor) -> Tensor:
    B, _, H, K = k_BTHK.shape
    return k_BTHK.new_zeros(B, H, K, v_BTHV.shape[-1])


def _chunks(
    q_BNCHK: Tensor, k_BNCHK: Tensor, v_BNCHV: Tensor, log_decay_H: Tensor, state: Tensor | None, scale: float | None
) -> tuple[Tensor, Tensor]:
    """N whole chunks: out (B, N, H, C, V) and the state after the last."""
    q_BNHCK, k_BNHCK, v_BNHCV = (x.transpose(2, 3).contiguous() for x in (q_BNCHK, k_BNCHK, v_BNCHV))
    C, K = q_BNHCK.shape[3:]
    scale = K**-0.5 if scale is None else scale
    step_C = torch.arange(C, device=q_BNCHK.device, dtype=log_decay_H.dtype)
    age_CC = step_C[:, None] - step_C
    decay_HCC = scale * (age_CC.clamp(min=0) * log_decay_H[:, None, None]).exp().tril()
    since_start_HC1 = scale * ((step_C + 1) * log_decay_H[:, None]).exp()[..., None]
    until_end_HC1 = ((C - 1 - step_C) * log_decay_H[:, None]).exp()[..., None]
    whole_H11 = (C * log_decay_H).exp()[:, None, None]

    with torch.autocast(q_BNHCK.device.type, enabled=False):
        return _products(q_BNHCK, k_BNHCK, v_BNHCV, state, (decay_HCC, since_start_HC1, until_end_HC1, whole_H11))


def _products(
    q_BNHCK: Tensor, k_BNHCK: Tensor, v_BNHCV: Tensor, state: Tensor | None, decays: tuple[Tensor, Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    decay_HCC, since_start_HC1, until_end_HC1, whole_H11 = decays
    added_BNHKV = (k_BNHCK * until_end_HC1).mT @ v_BNHCV
    state_BHKV = added_BNHKV.new_zeros(added_BNHKV[:, 0].shape) if state is None else state
    before = []
    for added_BHKV in added_BNHKV.unbind(1):
        before.append(state_BHKV)
        state_BHKV = torch.addcmul(added_BHKV, whole_H11, state_BHKV)
    within = ((q_BNHCK @ k_BNHCK.mT) * decay_HCC) @ v_BNHCV
    if len(before) == 1 and state is None:
        return within, state_BHKV
    return within + (q_BNHCK * since_start_HC1) @ torch.stack(before, dim=1), state_BHKV
