"""Exported programs without our operators: each becomes its plain recurrence in torch's own operations, which ONNX knows.

    program = torch.export.export(model.eval(), inputs)
    torch.onnx.export(plain(program), (), dynamo=True).save("step.onnx")

A recurrence is unrolled over the exported number of steps, so this is meant for a step of decoding or a few tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import ExportedProgram, default_decompositions

from kernels.convolution import short_convolution
from kernels.delta_rule import delta_rule_loop, dplr_loop
from kernels.gla import gla_loop
from kernels.rwkv4 import rwkv4_loop
from kernels.scan import selective_scan_loop
from kernels.simple_gla import simple_gla_loop


def plain(program: ExportedProgram) -> ExportedProgram:
    """The same program with simple_gla, gla, selective_scan, delta_rule, dplr, rwkv4 and short convolutions written out.

    Raises ValueError where another operator of ours is left, which has no such form: experts, top-k attention, long
    convolutions, four-bit products and the chunked cross-entropy.
    """
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


_ours = torch.ops.touchstone
_FORMS: dict[Any, Callable[..., Any]] = {
    _ours.simple_gla.default: _simple_gla,
    _ours.gla.default: _gla,
    _ours.selective_scan.default: _scan,
    _ours.delta_rule.default: _delta_rule,
    _ours.rwkv4.default: _rwkv4,
    _ours.silu_convolution.default: _convolution,
}
