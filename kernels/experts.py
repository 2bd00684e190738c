"""Feed-forwards that each multiply the rows routed to them and no others: the arithmetic of a mixture of experts.

    y_n = sum over the assignments (n, e) with weight w of  w f(x_n W_e) V_e

with f the GELU, or silu(gate) up on the two halves of x W (Shazeer 2020, arXiv:2002.05202, eq. 6). Assignments come sorted by expert
(`by_expert`), so an expert's rows are one slice and its two products are plain matrix products (dropless dispatch: Gale et al.
2022, arXiv:2211.15841). Nothing is padded and no weight is gathered per token, so the memory is linear in the assignments,
whatever the balance. `experts_loop` is the formula. `experts` walks each slice in blocks through buffers that stay in the cache;
for its backward pass it keeps what stands before f and nothing else. Its paths are `compiled` (`kernels/cpp/experts.cpp`, where each
thread takes an equal share of the assignments through both products) and `torch`.

Shapes: N tokens, D model width, E experts, K experts per token, M assignments, F expert width, H rows of `widen` (F, or 2F for
`swiglu`). No tokens at all (N = 0) are a ValueError.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from kernels import native
from kernels.operators import operator, recorded
from kernels.paths import Path, choose
from kernels.precision import wide_dtype
from kernels.tangents import no_tangents

Kind = Literal["gelu", "swiglu"]
BLOCK = 1024
"""Rows multiplied at a time."""
PART = 128
"""Assignments that are worth a thread."""


def by_expert(chosen_NK: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    """Assignments (indices into the flattened `chosen_NK`) sorted by expert and then by token, and the load of each expert."""
    chosen_M = chosen_NK.flatten()
    # not `bincount`, whose size no compiler knows
    load_E = chosen_M.new_zeros(experts).scatter_add_(0, chosen_M, torch.ones_like(chosen_M))
    return chosen_M.sort(stable=True).indices, load_E


def experts_loop(
    x_ND: Tensor,
    token_M: Tensor,
    weight_M: Tensor,
    load_E: Tensor,
    widen_EDH: Tensor,
    narrow_EFD: Tensor,
    *,
    shared: tuple[Tensor, Tensor] | None = None,
    scale: float = 1.0,
    kind: Kind = "gelu",
) -> Tensor:
    """y (N, D), one assignment after the other."""
    if shared is not None:
        widen_EDH, narrow_EFD = (common + scale * own for common, own in zip(shared, (widen_EDH, narrow_EFD), strict=True))
    rows = list(torch.zeros_like(x_ND).unbind(0))
    expert_M = torch.arange(len(load_E), device=x_ND.device).repeat_interleave(load_E)
    for n, e, weight in zip(token_M.tolist(), expert_M.tolist(), weight_M.unbind(0), strict=True):
        h_H = x_ND[n] @ widen_EDH[e]
        gate_F, up_F = h_H.chunk(2) if kind == "swiglu" else (h_H, h_H)
        a_F = F.silu(gate_F) * up_F if kind == "swiglu" else F.gelu(h_H)
        rows[n] = rows[n] + weight * (a_F @ narrow_EFD[e])
    return torch.stack(rows)


def experts(
    x_ND: Tensor,
    token_M: Tensor,
    weight_M: Tensor,
    load_E: Tensor,
    widen_EDH: Tensor,
    narrow_EFD: Tensor,
    *,
    shared: tuple[Tensor, Tensor] | None = None,
    scale: float = 1.0,
    kind: Kind = "gelu",
    path: Path = "auto",
) -> Tensor:
    """y (N, D): token `token_M[m]` weighs by `weight_M[m]` what its expert makes of it; the first `load_E[0]` are expert 0's.

    With `shared` (a `widen_DH` and a `narrow_FD`) an expert's matrices are those plus `scale` times its own. Differentiable once
    in x, the weights and all matrices; to other code it is one operator. Raises ValueError where shapes do not fit.
    """
    (N, D), (E, _, H), width = x_ND.shape, widen_EDH.shape, narrow_EFD.shape[1]
    if not N:
        raise ValueError("a mixture of experts of no tokens (T = 0); hand over at least one")
    fits = widen_EDH.shape[1] == D == narrow_EFD.shape[2] and len(narrow_EFD) == E == len(load_E)
    if not fits or width * (2 if kind == "swiglu" else 1) != H or token_M.shape != weight_M.shape:
        given = ", ".join(str(tuple(t.shape)) for t in (x_ND, token_M, weight_M, load_E, widen_EDH, narrow_EFD))
        raise ValueError(f"shapes {given} do not fit (N, D), (M,), (M,), (E,), (E, D, H), (E, F, D) of `{kind}` experts")
    tensors = (x_ND, weight_M, widen_EDH, narrow_EFD, *(shared or ()))
    no_tangents("experts", *tensors)
    dtype = wide_dtype(*tensors)
    x, weight, widen, narrow, *common = (t.to(dtype).contiguous() for t in tensors)
    keep = recorded(*tensors)
    both = (common[0], common[1]) if common else (None, None)
    y_ND: Tensor = _operator(x, token_M, weight, load_E, widen, narrow, *both, scale, kind, keep, path)[0]
    return y_ND.to(x_ND.dtype)


@torch.library.custom_op("touchstone::experts", mutates_args=())
def _forward(
    x_ND: Tensor,
    token_M: Tensor,
    weight_M: Tensor,
    load_E: Tensor,
    widen_EDH: Tensor,
    narrow_EFD: Tensor,
    widen_DH: Tensor | None,
    narrow_FD: Tensor | None,
    scale: float,
    kind: str,
    keep: bool,
    path: str,
) -> tuple[Tensor, Tensor]:
    """y, and with `keep` what stands before f, (M, H) in the order of the assignments."""
    way = choose(path, x_ND, library="experts")  # type: ignore[arg-type]
    M, H = len(token_M), widen_EDH.shape[2]
    h_MH = x_ND.new_empty(M if keep else 0, H)
    if way == "compiled":
        layer = (x_ND, token_M, weight_M, load_E, widen_EDH, narrow_EFD, widen_DH, narrow_FD)
        y_ND = torch.empty_like(x_ND)
        _call(f"{kind}_forward", layer, scale, h_MH if keep else None, y_ND)
        return y_ND, h_MH
    y_ND = torch.zeros_like(x_ND)
    x_BD, y_BD, a_BF = _room(x_ND, load_E, x_ND.shape[1], x_ND.shape[1], narrow_EFD.shape[1])
    h_BH = h_MH if keep else _room(x_ND, load_E, H)[0]
    widen, narrow = _Matrices(widen_EDH, widen_DH, scale), _Matrices(narrow_EFD, narrow_FD, scale)
    with torch.autocast(x_ND.device.type, enabled=False):
        for e, start, end in _blocks(load_E):
            n, token = end - start, token_M[start:end]
            h = h_BH[start:end] if keep else h_BH[:n]
            torch.mm(torch.index_select(x_ND, 0, token, out=x_BD[:n]), widen[e], out=h)
            y = torch.mm(_activate(h, kind, out=a_BF[:n]), narrow[e], out=y_BD[:n])
            y_ND.index_add_(0, token, y.mul_(weight_M[start:end, None]))
    return y_ND, h_MH


@torch.library.custom_op("touchstone::experts_backward", mutates_args=())
def _backward(
    dy_ND: Tensor,
    x_ND: Tensor,
    token_M: Tensor,
    weight_M: Tensor,
    load_E: Tensor,
    widen_EDH: Tensor,
    narrow_EFD: Tensor,
    widen_DH: Tensor | None,
    narrow_FD: Tensor | None,
    h_MH: Tensor,
    scale: float,
    kind: str,
    path: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, the weights and both matrices as multiplied; `_pull_back` hands these on to what they are made of."""
    way = choose(path, x_ND, library="experts")  # type: ignore[arg-type]
    (D, H), width = widen_EDH.shape[1:], narrow_EFD.shape[1]
    dy_ND = dy_ND.contiguous()
    dx_ND, dweight_M = torch.zeros_like(x_ND), torch.empty_like(weight_M)
    dwiden_EDH, dnarrow_EFD = torch.empty_like(widen_EDH), torch.empty_like(narrow_EFD)
    for idle in (load_E == 0).nonzero().flatten().tolist():
        dwiden_EDH[idle], dnarrow_EFD[idle] = 0, 0
    if way == "compiled":
        layer = (x_ND, token_M, weight_M, load_E, widen_EDH, narrow_EFD, widen_DH, narrow_FD)
        made = (dx_ND, dweight_M, dwiden_EDH, dnarrow_EFD)
        _call(f"{kind}_backward", layer, scale, h_MH, dy_ND, *made)
        return made
    x_BD, dy_BD, a_BF, da_BF, dh_BH = _room(x_ND, load_E, D, D, width, width, H)
    widen, narrow = _Matrices(widen_EDH, widen_DH, scale), _Matrices(narrow_EFD, narrow_FD, scale)
    latest = None
    with torch.autocast(x_ND.device.type, enabled=False):
        for e, start, end in _blocks(load_E):
            n, token, h, beta = end - start, token_M[start:end], h_MH[start:end], float(e == latest)
            latest = e
            x = torch.index_select(x_ND, 0, token, out=x_BD[:n])
            dy = torch.index_select(dy_ND, 0, token, out=dy_BD[:n])
            da = torch.mm(dy, narrow[e].mT, out=da_BF[:n])
            a, dh = a_BF[:n], dh_BH[:n]
            _activate_backward(h, da, weight_M[start:end], kind, a=a, dh=dh, dweight=dweight_M[start:end])
            _add_product(dnarrow_EFD[e], a.mT, dy, beta=beta)
            _add_product(dwiden_EDH[e], x.mT, dh, beta=beta)
            dx_ND.index_add_(0, token, torch.mm(dh, widen[e].mT, out=x))
    return dx_ND, dweight_M, dwiden_EDH, dnarrow_EFD


@_forward.register_fake
def _forward_fake(
    x: Tensor,
    token: Tensor,
    weight: Tensor,
    load: Tensor,
    widen: Tensor,
    narrow: Tensor,
    widen_shared: Tensor | None,
    narrow_shared: Tensor | None,
    scale: float,
    kind: str,
    keep: bool,
    path: str,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(token.shape[0] if keep else 0, widen.shape[2])


@_backward.register_fake
def _backward_fake(
    dy: Tensor, x: Tensor, token: Tensor, weight: Tensor, load: Tensor, widen: Tensor, narrow: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(weight), torch.empty_like(widen), torch.empty_like(narrow)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # zeros for what was kept would take as long as the activations
    ctx.save_for_backward(*inputs[:8], output[1])
    ctx.scale, ctx.kind, ctx.path = inputs[8], inputs[9], inputs[11]


def _pull_back(ctx: Any, dy: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 12
    saved = ctx.saved_tensors  # read once: under activation checkpointing a second reading raises
    dx, dweight, *own = _backward(dy, *saved, ctx.scale, ctx.kind, ctx.path)
    common: list[Tensor | None] = [None, None]
    if saved[6] is not None:
        common = [each.sum(0) for each in own]
        own = [each.mul_(ctx.scale) for each in own]
    return dx, None, dweight, None, *own, *common, None, None, None, None


_operator = operator(_forward, _backward, remember=_remember, pull_back=_pull_back)


@register_flop_formula(torch.ops.touchstone.experts)
def _forward_flops(x: Any, token: Any, weight: Any, load: Any, widen: Any, narrow: Any, *_: Any, **__: Any) -> int:
    """Two matrix products per assignment: torch's counter cannot look into an operator."""
    return int(2 * token[0] * (widen[1] * widen[2] + narrow[1] * narrow[2]))


@register_flop_formula(torch.ops.touchstone.experts_backward)
def _backward_flops(dy: Any, *shapes: Any, **_: Any) -> int:
    return 2 * _forward_flops(*shapes)


class _Matrices:
    """The matrix that each expert multiplies by; where it is a sum it is made when its turn comes, so that idle experts cost nothing."""

    def __init__(self, own: Tensor, shared: Tensor | None, scale: float) -> None:
        self.own, self.shared, self.scale, self.made = own, shared, scale, -1
        self.sum = torch.empty_like(own[0]) if shared is not None else own[0]

    def __getitem__(self, e: int) -> Tensor:
        if self.shared is None:
            return self.own[e]
        if e != self.made:
            torch.add(self.shared, self.own[e], alpha=self.scale, out=self.sum)
            self.made = e
        return self.sum


def _blocks(load_E: Tensor) -> Iterator[tuple[int, int, int]]:
    """(expert, start, end) of every block of rows."""
    start = 0
    for e, load in enumerate(load_E.tolist()):
        for end in (*range(start + BLOCK, start + load, BLOCK), start + load):
            if end > start:
                yield e, start, end
            start = end


def _room(like: Tensor, load_E: Tensor, *widths: int) -> list[Tensor]:
    """A buffer of one block's rows for each width."""
    rows = min(BLOCK, int(load_E.max()))
    return [like.new_empty(rows, width) for width in widths]


def _add_product(sum: Tensor, a: Tensor, b: Tensor, *, beta: float) -> None:
    """sum = beta sum + a b, for beta 0 or 1, where 0 reads nothing."""
    if beta:
        sum.addmm_(a, b)
    else:
        torch.mm(a, b, out=sum)


def _activate(h: Tensor, kind: str, *, out: Tensor) -> Tensor:
    """`out` = f(h)."""
    if kind == "gelu":
        torch.ops.aten.gelu.out(h, out=out)
    else:
        gate, up = h.chunk(2, dim=1)
        torch.ops.aten.silu.out(gate, out=out).mul_(up)
    return out


def _activate_backward(h: Tensor, da: Tensor, weight: Tensor, kind: str, *, a: Tensor, dh: Tensor, dweight: Tensor) -> None:
    """Fill `a` with weight f(h), `dh` with the gradient of h and `dweight` with that of the weight; `da` is spoilt."""
    _activate(h, kind, out=a)
    torch.sum(torch.mul(a, da, out=dh[:, : a.shape[1]]), dim=1, out=dweight)
    a.mul_(weight[:, None])
    da.mul_(weight[:, None])
    if kind == "gelu":
        torch.ops.aten.gelu_backward.grad_input(da, h, grad_input=dh)
        return
    gate, up = h.chunk(2, dim=1)
    dgate, dup = dh.chunk(2, dim=1)
    torch.mul(torch.ops.aten.silu.out(gate, out=dup), da, out=dup)
    torch.ops.aten.silu_backward.grad_input(da.mul_(up), gate, grad_input=dgate)


class _Layer(ctypes.Structure):
    """`struct Layer` of experts.cpp."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("tokens", "assignments", "experts", "width", "inner", "wide", "block", "parts")),
        *(
            (name, ctypes.c_void_p)
            for name in ("token", "loads", "x", "weight", "widen", "narrow", "widen_common", "narrow_common")
        ),
        ("scale", ctypes.c_float),
    ]


def _call(name: str, layer: tuple[Any, ...], scale: float, *further: Tensor | None) -> None:
    """Run a function of kernels/cpp/experts.cpp; ValueError where an assignment is of no token or of no expert."""
    x_ND, token_M, weight_M, load_E, *matrices = layer
    (N, D), M, (E, _, H) = x_ND.shape, len(token_M), matrices[0].shape
    if int(load_E.sum()) != M or int(load_E.min()) < 0 or (M and not 0 <= int(token_M.min()) <= int(token_M.max()) < N):
        raise ValueError(f"loads that add up to {int(load_E.sum())}, or a token that is none of {N}, for {M} assignments")
    parts = max(1, min(torch.get_num_threads(), M // PART))
    read = token_M.long().contiguous(), load_E.long().contiguous(), x_ND, weight_M, *matrices
    sizes = N, M, E, D, matrices[1].shape[1], H, BLOCK, parts
    given = _Layer(*sizes, *(None if t is None else t.data_ptr() for t in read), scale)
    native.function("experts", name)(
        ctypes.byref(given), *(ctypes.c_void_p(None if t is None else t.data_ptr()) for t in further)
    )
