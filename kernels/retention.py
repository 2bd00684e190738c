"""Retention (Sun et al. 2023, arXiv:2307.08621, eq. 5 to 7): linear attention whose memory fades at a fixed rate per head.

    state_t = decay_h state_{t-1} + k_t' v_t            out_t = scale q_t state_t

Three forms of the same map, with one signature: `retention_recurrent` is the formula (the reference, and the cheapest for
a single step), `retention_parallel` is quadratic in T, `retention_chunkwise` linear in T. The first and the last are
kernels/simple_gla.py with one decay for all steps.

Shapes: B batch, T time, H heads, K key size, V value size. `log_decay_H` holds log decay <= 0, finite; `scale` defaults to K ** -0.5.
Every form takes the state before the first step (none: zeros) and returns the one after the last. Inputs of several dtypes are
computed, and answered, in the widest of them, under autocast too: a long recurrence needs it. No steps at all (T = 0) are a ValueError.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from kernels.paths import Path
from kernels.simple_gla import simple_gla, simple_gla_loop

Retention = Callable[..., tuple[Tensor, Tensor]]


def retention_recurrent(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    log_decay_H: Tensor,
    *,
    state: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V), one step after the other."""
    q, k, v, log_decay_H, state = _alike(q_BTHK, k_BTHK, v_BTHV, log_decay_H, state)
    return simple_gla_loop(q, k, v, log_decay_H.expand(v.shape[:3]), state=state, scale=_scale(q, scale))


def retention_chunkwise(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    log_decay_H: Tensor,
    *,
    state: Tensor | None = None,
    scale: float | None = None,
    path: Path = "auto",
) -> tuple[Tensor, Tensor]:
    """The same in O(T): parallel inside chunks, recurrent between them (eq. 7)."""
    q, k, v, log_decay_H, state = _alike(q_BTHK, k_BTHK, v_BTHV, log_decay_H, state)
    return simple_gla(q, k, v, log_decay_H.expand(v.shape[:3]), state=state, scale=_scale(q, scale), path=path)


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
    q, k, v, log_decay_H, state = _alike(q_BTHK, k_BTHK, v_BTHV, log_decay_H, state)
    q_BHTK, k_BHTK, v_BHTV = (x.transpose(1, 2) for x in (q, k, v))
    step_T = torch.arange(q.shape[1], device=q.device, dtype=log_decay_H.dtype)
    age_TT = (step_T[:, None] - step_T).clamp(min=0)
    decay_HTT = (age_TT * log_decay_H[:, None, None]).exp().tril()
    with torch.autocast(q.device.type, enabled=False):
        out_BHTV = (q_BHTK @ k_BHTK.mT * decay_HTT) @ v_BHTV
        last_BHKV = (k_BHTK * decay_HTT[:, -1, :, None]).mT @ v_BHTV
        if state is not None:
            out_BHTV = out_BHTV + (q_BHTK @ state) * ((step_T + 1) * log_decay_H[:, None]).exp()[..., None]
            last_BHKV = torch.addcmul(last_BHKV, (len(step_T) * log_decay_H).exp()[:, None, None], state)
    return _scale(q, scale) * out_BHTV.transpose(1, 2), last_BHKV


def _scale(q_BTHK: Tensor, scale: float | None) -> float:
    return float(q_BTHK.shape[-1] ** -0.5) if scale is None else scale


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
