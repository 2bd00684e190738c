"""RWKV-4's time mixing (Peng et al. 2023, arXiv:2305.13048, eq. 16): per channel, an average of all values so far whose weights fade.

    out_t = (sum over s < t of e^((t-1-s) w + k_s) v_s  +  e^(u + k_t) v_t) / (the same sum of weights alone)

What the past amounts to is kept as its average and the log of its weight, which neither overflows for keys of any size nor loses a slow decay beside
them, as sums relative to a running maximum, the usual form, do. How exact a float32 log weight is follows from its size: with keys of deviation 1,000 the
gradients of `compiled` are within 5e-4 (RMSE ratio; of the first log weight, which are 1e-15, not at all), at 100 within 1e-4, those of `torch` within 1e-7. `rwkv4_loop` is the formula. `rwkv4` is the same map with a
hand-written backward pass, in which the future is such an average too, walked from the end. Its paths are `compiled` (kernels/cpp/rwkv4.cpp) and
`torch`: all chunks side by side, step by step, and then from chunk to chunk, 2 sqrt(T) steps in all, in float64.

Shapes: B batch, T time, E channels; N chunks of C steps; X values averaged together. `w_E` <= 0 is the log decay of a step, `u_E` the bonus of the
current token. The state is (average_BE, log_weight_BE), in float32 at least; None is no past at all. No steps (T = 0) are a ValueError.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import native
from kernels.operators import operator
from kernels.paths import Path, choose
from kernels.precision import wide_dtype
from kernels.tangents import no_tangents

NOTHING = -1e30
"""Log weight of no past."""
CHUNK = 64
"""As in rwkv4.cpp."""

State = tuple[Tensor, Tensor]


def rwkv4_loop(k_BTE: Tensor, v_BTE: Tensor, w_E: Tensor, u_E: Tensor, *, state: State | None = None) -> tuple[Tensor, State]:
    """Out (B, T, E) and final state, one token after the other; memory O(B T E) under autograd."""
    dtype = v_BTE.dtype
    k_BTE, v_BTE, w_E, u_E, average_BE, weight_BE = _alike(k_BTE, v_BTE, w_E, u_E, state)
    outs = []
    with torch.autocast(k_BTE.device.type, enabled=False):
        for k_BE, v_BE in zip(k_BTE.unbind(1), v_BTE.unbind(1), strict=True):
            outs.append(torch.lerp(average_BE, v_BE, torch.sigmoid(u_E + k_BE - weight_BE)))
            faded_BE = weight_BE + w_E
            average_BE = torch.lerp(average_BE, v_BE, torch.sigmoid(k_BE - faded_BE))
            weight_BE = torch.logaddexp(faded_BE, k_BE)
    return torch.stack(outs, dim=1).to(dtype), (average_BE, weight_BE)


def rwkv4(
    k_BTE: Tensor, v_BTE: Tensor, w_E: Tensor, u_E: Tensor, *, state: State | None = None, path: Path = "auto"
) -> tuple[Tensor, State]:
    """Out (B, T, E) and final state, differentiable once in every tensor; to other code it is one operator.

    Raises PathUnavailable when a `path` is asked for that cannot run here.
    """
    dtype = v_BTE.dtype
    no_tangents("rwkv4", k_BTE, v_BTE, w_E, u_E, *(state or ()))
    out_BTE, average_BE, weight_BE, _ = _operator(*_alike(k_BTE, v_BTE, w_E, u_E, state), path)
    return out_BTE.to(dtype), (average_BE, weight_BE)


def _alike(
    k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: State | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """All in the widest of their dtypes, float32 at least, and an empty past for none."""
    B, T, E = k.shape
    if not T:
        raise ValueError("no steps (T = 0); hand over at least one")
    if v.shape != k.shape or not w.shape == u.shape == (E,):
        given = ", ".join(str(tuple(x.shape)) for x in (k, v, w, u))
        raise ValueError(f"k, v, w, u of shapes {given} do not fit (B, T, E) twice, (E,) twice")
    if state is not None and not state[0].shape == state[1].shape == (B, E):
        raise ValueError(f"a state of shapes {', '.join(str(tuple(x.shape)) for x in state)} does not fit ({B}, {E}) twice")
    dtype = wide_dtype(k, v, w, u, *(state or ()))
    average, weight = state or (k.new_zeros(B, E, dtype=dtype), k.new_full((B, E), NOTHING, dtype=dtype))
    k, v, w, u, average, weight = (x.to(dtype).contiguous() for x in (k, v, w, u, average, weight))
    return k, v, w, u, average, weight


@torch.library.custom_op("touchstone::rwkv4", mutates_args=())
def _forward(
    k_BTE: Tensor, v_BTE: Tensor, w_E: Tensor, u_E: Tensor, average_BE: Tensor, weight_BE: Tensor, path: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Out, the final state, and (compiled) the states before each chunk, which the backward pass starts from."""
    inputs = (k_BTE, v_BTE, w_E, u_E, average_BE, weight_BE)
    if choose(path, k_BTE, library="rwkv4") == "torch":  # type: ignore[arg-type]
        return *_forward_torch(*inputs), k_BTE.new_empty(0)
    outputs = torch.empty_like(k_BTE), torch.empty_like(average_BE), torch.empty_like(weight_BE), _room(k_BTE)
    _call("rwkv4_forward", k_BTE, _pointers(*inputs), *(ctypes.c_void_p(x.data_ptr()) for x in outputs))
    return outputs


@torch.library.custom_op("touchstone::rwkv4_backward", mutates_args=())
def _backward(
    out_grad_BTE: Tensor,
    average_grad_BE: Tensor,
    weight_grad_BE: Tensor,
    before: Tensor,
    last_average_BE: Tensor,
    last_weight_BE: Tensor,
    k_BTE: Tensor,
    v_BTE: Tensor,
    w_E: Tensor,
    u_E: Tensor,
    average_BE: Tensor,
    weight_BE: Tensor,
    path: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of k, v, w, u and the first state."""
    inputs = (k_BTE, v_BTE, w_E, u_E, average_BE, weight_BE)
    grads = (out_grad_BTE.contiguous(), average_grad_BE.contiguous(), weight_grad_BE.contiguous())
    if choose(path, k_BTE, library="rwkv4") == "torch":  # type: ignore[arg-type]
        return _backward_torch(*grads, last_average_BE, last_weight_BE, *inputs)
    dk, dv, *per_document = (torch.empty_like(x) for x in (k_BTE, v_BTE, average_BE, average_BE, average_BE, average_BE))
    given = (*grads, before, last_average_BE, last_weight_BE, dk, dv, *per_document)
    _call("rwkv4_backward", k_BTE, _pointers(*inputs), _pointers(*given))
    dw, du, daverage, dweight = per_document
    return dk, dv, dw.sum(0), du.sum(0), daverage, dweight


def _room(k_BTE: Tensor) -> Tensor:
    B, T, E = k_BTE.shape
    return k_BTE.new_empty(B, -(-T // CHUNK), 2, E)


def _pointers(*tensors: Tensor) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(x.data_ptr() for x in tensors))


def _call(name: str, k_BTE: Tensor, *arguments: Any) -> None:
    """Run a function of kernels/cpp/rwkv4.cpp."""
    native.function("rwkv4", name)(*arguments, *map(ctypes.c_long, k_BTE.shape), torch.get_num_threads())


@_forward.register_fake
def _forward_fake(
    k: Tensor, v: Tensor, w: Tensor, u: Tensor, average: Tensor, weight: Tensor, path: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    before = k.new_empty(0) if choose(path, k, library="rwkv4") == "torch" else _room(k)  # type: ignore[arg-type]
    return torch.empty_like(k), torch.empty_like(average), torch.empty_like(weight), before


@_backward.register_fake
def _backward_fake(
    dout: Tensor,
    daverage: Tensor,
    dweight: Tensor,
    before: Tensor,
    last_average: Tensor,
    last_weight: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor,
    u: Tensor,
    average: Tensor,
    weight: Tensor,
    path: str,
) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(x) for x in (k, v, w, u, average, weight))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.path = inputs
    _, last_average, last_weight, before = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(before, last_average, last_weight, *tensors)


def _pull_back(
    ctx: Any, dout: Tensor | None, daverage: Tensor | None, dweight: Tensor | None, _: None
) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors  # read once: under activation checkpointing a second reading raises
    _, last_average, last_weight, k_BTE, *_ = saved
    given = zip((dout, daverage, dweight), (k_BTE, last_average, last_weight), strict=True)
    gradients = (torch.zeros_like(like) if grad is None else grad for grad, like in given)
    return *_backward(*gradients, *saved, ctx.path), None


_operator = operator(_forward, _backward, remember=_remember, pull_back=_pull_back)


def _averages(
    logs_BTE: Tensor, values_BTXE: Tensor, w_E: Tensor, average_BXE: Tensor, weight_BE: Tensor
) -> tuple[Tensor, Tensor]:
    """The averages (B, T + 1, X, E) and log weights (B, T + 1, E) before each token, and after the last."""
    B, T, X, E = values_BTXE.shape
    C = math.isqrt(T) + 1
    rest = -(T + 1) % C  # one token more at least: before it is after the last
    logs_CBNE = F.pad(logs_BTE, (0, 0, 0, rest + 1), value=NOTHING).view(B, -1, C, E).permute(2, 0, 1, 3)
    values_CBNXE = F.pad(values_BTXE, (0, 0, 0, 0, 0, rest + 1)).view(B, -1, C, X, E).permute(2, 0, 1, 3, 4)

    def after(average: Tensor, weight: Tensor, value: Tensor, log: Tensor, steps: int | Tensor = 1) -> State:
        faded = weight + steps * w_E
        return torch.lerp(average, value, torch.sigmoid(log - faded).unsqueeze(-2)), torch.logaddexp(faded, log)

    average, weight = torch.zeros_like(values_CBNXE[0]), torch.full_like(logs_CBNE[0], NOTHING)
    inside = [(average, weight)]
    for log_BNE, value_BNXE in zip(logs_CBNE.unbind(0), values_CBNXE.unbind(0), strict=True):
        inside.append(after(*inside[-1], value_BNXE, log_BNE))
    whole_average, whole_weight = inside.pop()
    across = [(average_BXE, weight_BE)]
    for average_BXE, log_BE in zip(whole_average.unbind(1)[:-1], whole_weight.unbind(1)[:-1], strict=True):
        across.append(after(*across[-1], average_BXE, log_BE, C))
    averages_BNXE, weights_BNE = (torch.stack(part, dim=1) for part in zip(*across, strict=True))
    inside_average, inside_weight = (torch.stack(part, dim=2) for part in zip(*inside, strict=True))
    steps_C1 = torch.arange(C, device=w_E.device)[:, None]
    average, weight = after(averages_BNXE[:, :, None], weights_BNE[:, :, None], inside_average, inside_weight, steps_C1)
    return average.flatten(1, 2)[:, : T + 1], weight.flatten(1, 2)[:, : T + 1]


def _forward_torch(k: Tensor, v: Tensor, w: Tensor, u: Tensor, average: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    dtype = k.dtype
    with torch.autocast(k.device.type, enabled=False):
        k, v, w, u, average, weight = (x.double() for x in (k, v, w, u, average, weight))
        averages_BTXE, weights_BTE = _averages(k, v[:, :, None], w, average[:, None], weight)
        out = torch.lerp(averages_BTXE[:, :-1, 0], v, torch.sigmoid(u + k - weights_BTE[:, :-1]))
        return out.to(dtype), averages_BTXE[:, -1, 0].to(dtype), weights_BTE[:, -1].to(dtype)


def _backward_torch(
    dout: Tensor,
    daverage: Tensor,
    dweight: Tensor,
    last_average: Tensor,
    last_weight: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor,
    u: Tensor,
    average: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """With Z_t all weights at t, the gradient of the sum of weighted values after t is the sum over s > t of e^((s-1-t) w) dy_s / Z_s, that
    of the sum of weights has -dy_s y_s for dy_s: averages of the future, whose weights are 1 / Z.
    """
    dtype = k.dtype
    with torch.autocast(k.device.type, enabled=False):
        k, v, w, u, average, weight = (x.double() for x in (k, v, w, u, average, weight))
        dy, daverage, dweight, last_average = (x.double() for x in (dout, daverage, dweight, last_average))
        averages, weights = _averages(k, v[:, :, None], w, average[:, None], weight)
        past, past_weight = averages[:, :-1, 0], weights[:, :-1]
        share = torch.sigmoid(u + k - past_weight)
        y = torch.lerp(past, v, share)
        ahead = torch.stack((dy, dy * y), dim=2).flip(1)
        start = torch.stack((daverage, daverage * last_average - dweight), dim=1)
        futures, reaches = _averages(-torch.logaddexp(past_weight, u + k).flip(1), ahead, w, start, -weights[:, -1])
        (dvalues, dweights), reach = futures.flip(1).unbind(2), reaches.flip(1)
        own = dy * share
        worth, near = own * (v - y), (k + reach[:, 1:]).exp()
        dk = worth + near * (dvalues[:, 1:] * v - dweights[:, 1:])
        dv = own + near * dvalues[:, 1:]
        dw = ((w + past_weight + reach[:, 1:]).exp() * (dvalues[:, 1:] * past - dweights[:, 1:])).sum((0, 1))
        first = (weight + reach[:, 0]).exp()
        dstate = first * dvalues[:, 0], first * (dvalues[:, 0] * average - dweights[:, 0])
        dk, dv, dw, du, daverage, dweight = (x.to(dtype) for x in (dk, dv, dw, worth.sum((0, 1)), *dstate))
        return dk, dv, dw, du, daverage, dweight
