"""Exported programs without our operators: each becomes its plain recurrence in torch's own operations, which ONNX knows.

    program = torch.export.export(model.eval(), inputs)
    torch.onnx.export(plain(program), (), dynamo=True).save("step.onnx")

A recurrence is unrolled over the exported number of steps, a mixture multiplies by the matrices of every token, and top-k attention holds all scores, so
this is meant for a step of decoding or a few tokens. Gradients are not written out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import ExportedProgram, default_decompositions

from kernels import experts, fft_convolution  # noqa: F401 - their operators are there once they are imported
from kernels.convolution import short_convolution
from kernels.cross_entropy import plain_cross_entropy
from kernels.delta_rule import delta_rule_loop, dplr_loop
from kernels.gla import gla_loop
from kernels.quantised import BLOCK, GROUP, SCALES
from kernels.rwkv4 import rwkv4_loop
from kernels.scan import selective_scan_loop
from kernels.simple_gla import simple_gla_loop
from kernels.topk_attention import topk_sparse_attention


def plain(program: ExportedProgram) -> ExportedProgram:
    """The same program with every operator of ours written out. Raises ValueError where one is left that has no such form: backward passes."""
    written: ExportedProgram = program.run_decompositions({**default_decompositions(), **_FORMS})
    left = {str(node.target) for node in written.graph.nodes if str(node.target).startswith("touchstone.")}
    if left:
        raise ValueError(f"no plain form for {', '.join(sorted(left))}; the program itself is untouched")
    return written


def _simple_gla(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor, scale: float, path: str) -> tuple[Tensor, ...]:
    return simple_gla_loop(q, k, v, g, state=state, scale=scale)


def _gla(q: Tensor, k: Tensor, v: Tensor, g: Tensor, bonus: Any, state: Tensor, scale: float, path: str) -> tuple[Tensor, ...]:
    return gla_loop(q, k, v, g, bonus_HK=bonus, state=state, scale=scale)


def _scan(x: Tensor, dt: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    A, B, C, D, gate, state, softplus, _ = rest
    y, last = selective_scan_loop(x, dt, A, B, C, D, gate_BTE=gate, state=state, softplus=softplus)
    return y, last, x.new_empty(0)


def _delta_rule(q: Tensor, k: Tensor, v: Tensor, g: Any, beta: Any, a: Any, b: Any, *rest: Any) -> tuple[Tensor, ...]:
    state, scale, _ = rest
    if beta is not None:
        out, last = delta_rule_loop(q, k, v, beta, g, state=state, scale=scale)
    else:
        out, last = dplr_loop(q, k, v, a, b, g, state=state, scale=scale)
    return out, last, q.new_empty(0), q.new_empty(0)


def _rwkv4(k: Tensor, v: Tensor, w: Tensor, u: Tensor, average: Tensor, weight: Tensor, path: str) -> tuple[Tensor, ...]:
    out, state = rwkv4_loop(k, v, w, u, state=(average, weight))
    return out, *state, k.new_empty(0)


def _convolution(x: Tensor, before: Tensor, weight_WE: Tensor, bias: Tensor, silu: bool) -> Tensor:
    out = short_convolution(torch.cat((before, x), dim=1), weight_WE.mT, bias)
    return F.silu(out) if silu else out


def _long_convolution(seen: Tensor, taps: Tensor, spectrum: Tensor, T: int, N: int) -> Tensor:
    """The spectrum is the taps' own; with the taps themselves it is one grouped convolution."""
    L, S = len(taps), seen.shape[1]
    needed_BDS = F.pad(seen.mT[..., max(0, S - T - L + 1) :], (max(0, T + L - 1 - S), 0))
    return F.conv1d(needed_BDS, taps.flip(0).mT[:, None], groups=seen.shape[2]).mT


def _windows(seen: Tensor, taps: Tensor, spectrum: Tensor, T: int, N: int) -> tuple[Tensor, ...]:
    return _long_convolution(seen, taps, spectrum, T, N), spectrum.new_empty(0)


def _topk(q: Tensor, k: Tensor, v: Tensor, k_top: int, scale: float) -> tuple[Tensor, ...]:
    return topk_sparse_attention(q, k, v, k_top=k_top, scale=scale, path="torch"), q.new_empty(0), q.new_empty(0)


def _experts(
    x: Tensor, token: Tensor, weight: Tensor, load: Tensor, widen: Tensor, narrow: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    """Each assignment by the matrices of its expert, added up per token by a matrix of ones and zeros: no shape follows from the routes."""
    widen_DH, narrow_FD, scale, kind, _, _ = rest
    if widen_DH is not None:
        widen, narrow = widen_DH + scale * widen, narrow_FD + scale * narrow
    place_M = torch.arange(len(token), device=x.device)
    expert_M = (place_M[:, None] >= load.cumsum(0)).sum(1)
    h_MH = (x[token][:, None] @ widen[expert_M])[:, 0]
    gate_MF, up_MF = h_MH.chunk(2, dim=1) if kind == "swiglu" else (h_MH, h_MH)
    a_MF = F.silu(gate_MF) * up_MF if kind == "swiglu" else F.gelu(h_MH)
    y_MD = weight[:, None] * (a_MF[:, None] @ narrow[expert_M])[:, 0]
    of_NM = (torch.arange(len(x), device=x.device)[:, None] == token).to(x.dtype)
    return of_NM @ y_MD, x.new_empty(0)


def _quantised(x: Tensor, codes: Tensor, sizes: Tensor, outer: Tensor, mean: Tensor, table: Tensor) -> Tensor:
    """As `dequantise`, but the floats of 8 bits are computed: a table would be a constant, which no decomposition may add to a program."""
    far = sizes.int() - 127
    j = far.abs()
    zeros = (j[..., None] >= 2 ** torch.arange(1, 8, device=x.device)).sum(-1)  # of the six that can stand before the one
    magnitude = 10.0 ** (zeros.double() - 6) * (0.1 + 0.9 * (j - 2**zeros + 0.5) / 2**zeros)
    floats = far.sign() * magnitude.where(j < 128, 1.0)
    number = torch.arange(sizes.numel(), device=x.device).view(sizes.shape)
    scales_ON = mean + floats.float() * outer[number // SCALES]
    halves = codes.view(len(codes), -1, 1, GROUP // 2).int()
    shares = table[torch.cat([halves & 15, halves >> 4], dim=2)].view(*sizes.shape, BLOCK)
    return x @ (shares * scales_ON[..., None]).flatten(1)[:, : x.shape[1]].to(x.dtype).mT


def _cross_entropy(x: Tensor, weight: Tensor, target: Tensor, *_: Any) -> tuple[Tensor, ...]:
    return plain_cross_entropy(x, weight, target), x.new_empty(0), x.new_empty(0)


def _stable_sort(x: Tensor, *, stable: bool | None, dim: int = -1, descending: bool = False) -> Any:
    """Of whole numbers in ascending order: ONNX knows no stable sort, but where places break ties any sort is."""
    if x.is_floating_point() or descending or dim not in (-1, x.ndim - 1):
        return NotImplemented
    order = (x * x.shape[-1] + torch.arange(x.shape[-1], device=x.device)).sort(-1).indices
    return x.gather(-1, order), order


_ours = torch.ops.touchstone
_FORMS: dict[Any, Callable[..., Any]] = {
    _ours.simple_gla.default: _simple_gla,
    _ours.gla.default: _gla,
    _ours.selective_scan.default: _scan,
    _ours.delta_rule.default: _delta_rule,
    _ours.rwkv4.default: _rwkv4,
    _ours.silu_convolution.default: _convolution,
    _ours.fft_spectrum.default: lambda taps, N: taps.new_empty(0),
    _ours.fft_convolution.default: _long_convolution,
    _ours.fft_convolution_windowed.default: _windows,
    _ours.topk_attention.default: _topk,
    _ours.experts.default: _experts,
    torch.ops.aten.sort.stable: _stable_sort,
    _ours.quantised_linear.default: _quantised,
    _ours.linear_cross_entropy.default: _cross_entropy,
}
