"""The delta rule family: linear attention that rewrites its memory, whose transition is diagonal plus rank one.

    delta_rule:  state_t = exp(g_t) state_{t-1} + beta_t k_t' (v_t - k_t exp(g_t) state_{t-1})      out_t = scale q_t state_t
    dplr:        state_t = exp(g_t) state_{t-1} + b_t' (a_t state_{t-1}) + k_t' v_t                 out_t = scale q_t state_t

What the memory holds under a key is replaced by a mix of it and the new value. No g is the delta rule (Yang et al. 2024, arXiv:2406.06484),
one g per head the gated delta rule (Yang et al. 2024, arXiv:2412.06464), one per key channel Kimi delta attention (2025, arXiv:2510.26692); a
and b that need not be k are RWKV-7's generalised rule (Peng et al. 2025, arXiv:2503.14456). With keys of length 1 and beta in (0, 2) no memory
grows; beta > 1 turns around what lies along k, which parity and permutations need (Grazzi et al. 2024, arXiv:2411.12537).

The loops are the formulas. `path="compiled"` takes the same steps on a state that stays in the first cache (kernels/cpp/delta_rule.cpp): they
cost as many operations as the algebra of chunks and are exact. `path="torch"`, and `"triton"` (kernels/triton/delta_rule.py), solves one triangular system per chunk (the UT
transform), so that only the states between chunks come one after the other.

Shapes: B batch, T time, H heads, K key size, V value size; N chunks of C steps; X is K, or 1 where a decay is shared by the head. g <= 0 is
(B, T, H) or (B, T, H, K). Nothing is divided by a decay. The state is (B, H, K, V), computed in float32 at least whatever the inputs are; the
output has the dtype of v. No steps at all (T = 0) are a ValueError. A NaN reaches its own and later steps only where the path is `compiled`, in
the other the whole chunk.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import native
from kernels.chunks import join, split
from kernels.operators import operator, recomputed, recorded
from kernels.paths import Path, choose
from kernels.precision import wide_dtype
from kernels.tangents import no_tangents


def delta_rule_loop(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    beta_BTH: Tensor,
    g: Tensor | None = None,
    *,
    state: Tensor | None = None,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V), one step after the other; memory O(B T H K V) under autograd."""
    q, k, v, g, beta, _, _, state_BHKV = _alike(q_BTHK, k_BTHK, v_BTHV, g, beta_BTH, None, None, state)
    outs = []
    with torch.autocast(q.device.type, enabled=False):
        for q_BHK, k_BHK, v_BHV, beta_BH, g_BHX in zip(*(x.unbind(1) for x in (q, k, v, beta, _wide(g, q))), strict=True):
            state_BHKV = g_BHX.exp()[..., None] * state_BHKV
            error_BHV = v_BHV - (k_BHK[..., None, :] @ state_BHKV).squeeze(-2)
            state_BHKV = state_BHKV + k_BHK[..., :, None] * (beta_BH[..., None] * error_BHV)[..., None, :]
            outs.append((q_BHK[..., None, :] @ state_BHKV).squeeze(-2))
    return (scale * torch.stack(outs, dim=1)).to(v_BTHV.dtype), state_BHKV


def dplr_loop(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    a_BTHK: Tensor,
    b_BTHK: Tensor,
    g: Tensor | None = None,
    *,
    state: Tensor | None = None,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V), one step after the other; memory O(B T H K V) under autograd."""
    q, k, v, g, _, a, b, state_BHKV = _alike(q_BTHK, k_BTHK, v_BTHV, g, None, a_BTHK, b_BTHK, state)
    outs = []
    with torch.autocast(q.device.type, enabled=False):
        for q_BHK, k_BHK, v_BHV, a_BHK, b_BHK, g_BHX in zip(*(x.unbind(1) for x in (q, k, v, a, b, _wide(g, q))), strict=True):
            seen_BH1V = a_BHK[..., None, :] @ state_BHKV
            added_BHKV = k_BHK[..., :, None] * v_BHV[..., None, :] + b_BHK[..., :, None] * seen_BH1V
            state_BHKV = g_BHX.exp()[..., None] * state_BHKV + added_BHKV
            outs.append((q_BHK[..., None, :] @ state_BHKV).squeeze(-2))
    return (scale * torch.stack(outs, dim=1)).to(v_BTHV.dtype), state_BHKV


def delta_rule(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    beta_BTH: Tensor,
    g: Tensor | None = None,
    *,
    state: Tensor | None = None,
    scale: float = 1.0,
    path: Path = "auto",
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V), differentiable in every tensor; `g` per head, per key channel, or None.

    Raises PathUnavailable when a `path` is asked for that cannot run here.
    """
    return _either(_alike(q_BTHK, k_BTHK, v_BTHV, g, beta_BTH, None, None, state), scale, path, v_BTHV.dtype)


def dplr(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    a_BTHK: Tensor,
    b_BTHK: Tensor,
    g: Tensor | None = None,
    *,
    state: Tensor | None = None,
    scale: float = 1.0,
    path: Path = "auto",
) -> tuple[Tensor, Tensor]:
    """Out (B, T, H, V) and final state (B, H, K, V), differentiable in every tensor; the transition is diag(exp(g)) + b' a.

    Raises PathUnavailable when a `path` is asked for that cannot run here.
    """
    return _either(_alike(q_BTHK, k_BTHK, v_BTHV, g, None, a_BTHK, b_BTHK, state), scale, path, v_BTHV.dtype)


def _alike(*given: Any) -> tuple[Any, ...]:
    """q, k, v, g, beta, a, b and state in the widest of their dtypes, float32 at least, and a state of zeros for none."""
    q, k, v, g, beta, a, b, state = given
    (B, T, H, K), V = q.shape, v.shape[-1]
    if not T:
        raise ValueError("no steps (T = 0); hand over at least one")
    wanted = {"k": (k, (K,)), "v": (v, (V,)), "beta": (beta, ()), "a": (a, (K,)), "b": (b, (K,))}
    wanted["g"] = (g, (K,) if g is not None and g.ndim == 4 else ())
    for name, (x, rest) in wanted.items():
        if x is not None and x.shape != (B, T, H, *rest):
            raise ValueError(f"`{name}` of shape {tuple(x.shape)} does not fit {(B, T, H, *rest)}, with q of {tuple(q.shape)}")
    if state is not None and state.shape != (B, H, K, V):
        raise ValueError(f"a state of shape {tuple(state.shape)} does not fit {(B, H, K, V)}")
    dtype = wide_dtype(*given)
    state = q.new_zeros(B, H, K, V) if state is None else state
    return *(None if x is None else x.to(dtype) for x in given[:-1]), state.to(dtype)


def _wide(g: Tensor | None, q_BTHK: Tensor) -> Tensor:
    """g as (B, T, H, X)."""
    if g is None:
        return q_BTHK.new_zeros(*q_BTHK.shape[:3], 1)
    return g if g.ndim == 4 else g[..., None]


def _either(inputs: tuple[Any, ...], scale: float, path: Path, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    q, k, v, g, beta, a, b, state = inputs
    path = choose(path, q, library="delta_rule", triton=q.dtype == torch.float32)
    if path == "compiled":
        no_tangents("delta_rule", *inputs)
        out_BTHV, last_BHKV, _, _ = _operator(*inputs, scale, recorded(*inputs))
        return out_BTHV.to(dtype), last_BHKV
    with torch.autocast(q.device.type, enabled=False):
        g = _wide(g, q)
        if beta is not None:
            a, v = -beta[..., None] * g.exp() * k, beta[..., None] * v
        out_BTHV, last_BHKV = _form(path)(scale * q, k, v, a, k if b is None else b, g, state)
    return out_BTHV.to(dtype), last_BHKV


def _form(path: Path) -> Callable[..., tuple[Tensor, Tensor]]:
    if path == "triton":
        from kernels.triton.delta_rule import dplr

        return dplr
    return _chunkwise


CHUNK = 32
"""Steps between two states that delta_rule.cpp keeps for its backward pass."""


class _Inputs(ctypes.Structure):
    """`struct DeltaRule` of delta_rule.cpp."""

    _fields_ = [(name, ctypes.c_long) for name in ("B", "T", "H", "K", "M", "per_key")] + [("scale", ctypes.c_float)]
    _fields_ += [(name, ctypes.c_void_p) for name in ("q", "k", "v", "g", "beta", "a", "b", "state")]


class _Gradients(ctypes.Structure):
    """`struct Gradients` of delta_rule.cpp."""

    _fields_ = [
        (name, ctypes.c_void_p) for name in ("out", "last", "seen", "before", "q", "k", "v", "g", "beta", "a", "b", "state")
    ]


def _call(name: str, inputs: tuple[Any, ...], scale: float, *rest: Any) -> None:
    inputs = tuple(None if x is None else x.contiguous() for x in inputs)
    q, _, v, g, *_ = inputs
    given = _Inputs(*q.shape, v.shape[3], int(g is not None and g.ndim == 4), scale, *map(_address, inputs))
    native.function("delta_rule", name)(ctypes.byref(given), *rest, torch.get_num_threads())


def _address(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


@torch.library.custom_op("touchstone::delta_rule", mutates_args=(), device_types="cpu")
def _compiled(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    a: Tensor | None,
    b: Tensor | None,
    state: Tensor,
    scale: float,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Out, final state and, if to `keep`, what each step saw and the states before each chunk, which the backward pass starts from."""
    results: tuple[Tensor, Tensor, Tensor, Tensor] = _empty(q, k, v, g, beta, a, b, state, scale, keep)
    addresses = [ctypes.c_void_p(x.data_ptr() or None) for x in results]
    _call("delta_rule_forward", (q, k, v, g, beta, a, b, state), scale, *addresses)
    return results


@_compiled.register_fake
def _empty(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    a: Tensor | None,
    b: Tensor | None,
    state: Tensor,
    scale: float,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (B, T, H, K), V = q.shape, v.shape[3]
    seen, before = ((B, T, H, V), (B, H, -(-T // CHUNK), K, V)) if keep else ((0,), (0,))
    return v.new_empty(v.shape), v.new_empty(B, H, K, V), v.new_empty(seen), v.new_empty(before)


@torch.library.custom_op("touchstone::delta_rule_backward", mutates_args=(), device_types="cpu")
def _compiled_backward(
    dout: Tensor,
    dlast: Tensor,
    seen: Tensor,
    before: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    a: Tensor | None,
    b: Tensor | None,
    scale: float,
) -> list[Tensor]:
    """Gradients of q, k, v, g, beta, a, b and the first state; empty for those that are absent."""
    given = [dout.contiguous(), dlast.contiguous(), seen, before]
    results: list[Tensor] = _empty_gradients(dout, dlast, seen, before, q, k, v, g, beta, a, b, scale)
    to = _Gradients(*(x.data_ptr() or None for x in (*given, *results)))
    _call("delta_rule_backward", (q, k, v, g, beta, a, b, None), scale, ctypes.byref(to))
    return results


@_compiled_backward.register_fake
def _empty_gradients(
    dout: Tensor,
    dlast: Tensor,
    seen: Tensor,
    before: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    a: Tensor | None,
    b: Tensor | None,
    scale: float,
) -> list[Tensor]:
    return [q.new_empty(0 if x is None else x.shape) for x in (q, k, v, g, beta, a, b, dlast)]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    *tensors, _, ctx.scale, _ = inputs
    ctx.save_for_backward(*output[1:], *tensors)


def _pull_back(ctx: Any, dout: Tensor | None, dlast: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    last, seen, before, *tensors = ctx.saved_tensors
    dout = torch.zeros_like(tensors[2]) if dout is None else dout
    dlast = torch.zeros_like(last) if dlast is None else dlast
    *found, dstate = _compiled_backward(dout, dlast, seen, before, *tensors, ctx.scale)
    return *(None if x is None else dx for x, dx in zip(tensors, found, strict=True)), dstate, None, None


_operator = operator(_compiled, _compiled_backward, remember=_remember, pull_back=_pull_back)


def _chunkwise(q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, g: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The torch path, segment by segment; training keeps the states between segments and computes the rest of each again."""
    size, steps = (16, 128) if g.shape[-1] > 1 else (64, 512)
    segment: Any = functools.partial(_segment, size=size, one=b is k)
    tensors, outs = (q, k, v, a, b, g), []
    for part in zip(*(torch.split(x, steps, dim=1) for x in tensors), strict=True):
        if torch.is_grad_enabled() and q.shape[1] > steps:
            out, state = recomputed(segment, *part, state)
        else:
            out, state = segment(*part, state)
        outs.append(out)
    return torch.cat(outs, dim=1), state


def _segment(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    a_BTHK: Tensor,
    b_BTHK: Tensor,
    g_BTHX: Tensor,
    state_BHKV: Tensor,
    *,
    size: int,
    one: bool,
) -> tuple[Tensor, Tensor]:
    """Chunks of `size` steps; `one`: b is k. What the steps of a chunk see, U, solves (1 - sees_b) U = sees_k V + faded_a state."""
    steps = g_BTHX.shape[1]
    size = min(size, steps)

    def next_step(x: Tensor, first: float = 0.0) -> Tensor:
        return F.pad(x[..., :-1, :], (0, 0, 1, 0), value=first)

    q, k, v, a, b, g = (split(x, size) for x in (q_BTHK, k_BTHK, v_BTHV, a_BTHK, b_BTHK, g_BTHX))
    order = torch.arange(size, device=g.device)[:, None]
    earlier, later = (order > order.mT)[..., None], (order < order.mT)[..., None]
    gaps = torch.where(earlier, g[..., :, None, :], 0.0).cumsum(-3)  # not as differences of sums, whose gradients cancel
    decays = gaps.masked_fill(later, -torch.inf).exp()  # (B, N, H, C, C, X), to the row from the column
    fade, left = g.cumsum(-2).exp(), decays[..., -1, :, :]
    whole = fade[..., -1, :, None]
    next_a = F.pad(a[..., 1:, :], (0, 0, 0, 1))

    def reached(keys: Tensor) -> tuple[Tensor, Tensor]:
        """What was written under `keys` at the step of the column, as read by q, and by a, at that of the row."""
        if decays.shape[-1] == 1:
            by_q, by_a = ((x @ keys.mT) * decays[..., 0] for x in (q, next_a))
        else:
            by_q, by_a = ((decays * keys[..., None, :, :]) @ torch.stack((q, next_a), dim=-1)).unbind(-1)
        return by_q, next_step(by_a)

    out_k, sees_k = reached(k)
    out_b, sees_b = (out_k, sees_k) if one else reached(b)
    unit = torch.eye(size, dtype=g.dtype, device=g.device)
    right = torch.cat((sees_k @ v, next_step(fade, 1.0) * a), dim=-1)
    solved = torch.linalg.solve_triangular(unit - sees_b, right, upper=False, unitriangular=True)
    inside, from_state = torch.split(solved, [v.shape[-1], a.shape[-1]], dim=-1)
    reads, adds, outs = torch.cat((fade * q, from_state), dim=-2), (k * left).mT, out_k
    if not one:
        adds, outs = torch.cat((adds, (b * left).mT), dim=-1), torch.cat((out_k, out_b), dim=-1)
    found = []
    for reads_, adds_, outs_, inside_, v_, whole_ in zip(
        *(x.unbind(1) for x in (reads, adds, outs, inside, v, whole)), strict=True
    ):
        old, seen = torch.split(reads_ @ state_BHKV, size, dim=-2)
        written = v_ + (inside_ + seen) if one else torch.cat((v_, inside_ + seen), dim=-2)
        found.append(old + outs_ @ written)
        state_BHKV = torch.addcmul(adds_ @ written, whole_, state_BHKV)
    return join(torch.stack(found, dim=1), steps), state_BHKV
