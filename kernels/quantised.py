"""Linear maps whose weight is kept in four bits: NF4 (QLoRA, Dettmers et al. 2023, arXiv:2305.14314, section 3) or int4.

    weight[o, i] = table[code] * scale        scale = mean + outer * floats[size]        (a scale per 64 weights, an outer per 256 scales)

The codes lie two to a byte, the scales are quantised again to one byte each, a float of 8 bits (`floats`): 4.13 bits per weight. `quantise` and `dequantise` are the
format. `quantised_linear` multiplies by it and never holds more than a panel of decoded weights, in the forward pass and again in the
backward, which gives the gradient of the input; the weight itself is frozen. Its paths are `compiled`
(`kernels/cpp/quantised.cpp`, one operator `touchstone::quantised_linear`; few tokens take their dot products straight from the codes) and `torch`.

Shapes: O outputs, I inputs, N blocks of 64 inputs, M tokens, R rows of one panel. Rows are padded to whole blocks. Of 32 neighbours
the first 16 are the low halves of 16 bytes, the others the high halves.
Inputs are computed in their dtype, at least float32; the output has the dtype of the input.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from kernels import native
from kernels.operators import operator, recorded, transformed
from kernels.paths import Path, choose
from kernels.precision import wide
from kernels.tangents import no_tangents

Kind = Literal["nf4", "int4"]
Decode = Callable[[slice, torch.dtype], Tensor]
"""Rows of a weight as a matrix of that dtype."""
BLOCK, SCALES, GROUP = 64, 256, 32
PANEL = 1 << 18, 1 << 20
"""Weights decoded at a time: 1 MiB of float32, and up to 4 MiB where the inputs are as large, since a product of few rows is slower."""
FEW = 12
"""Up to so many tokens the dot products are taken straight from the codes."""


class Packed(NamedTuple):
    """A matrix in four bits; flat tensors, so that a state_dict can hold it."""

    codes: Tensor
    """(O, 32 N) uint8."""
    sizes: Tensor
    """(O, N) uint8: the scales, codes of `floats`."""
    outer: Tensor
    """(ceil(O N / 256),) float32."""
    mean: Tensor
    """() float32, of all scales."""
    table: Tensor
    """(16,) float32: what each code stands for, in [-1, 1]."""


@functools.cache
def _levels(kind: Kind) -> tuple[float, ...]:
    if kind == "int4":
        return tuple(code / 7 for code in range(-8, 8))
    if kind != "nf4":
        raise ValueError(f"no four-bit kind `{kind}`; there are `nf4` and `int4`")
    edge = 1 - (1 / 32 + 1 / 30) / 2
    upper = torch.special.ndtri(torch.linspace(edge, 0.5, 9, dtype=torch.float64)[:-1])
    lower = -torch.special.ndtri(torch.linspace(edge, 0.5, 8, dtype=torch.float64)[:-1])
    return tuple((torch.cat([lower, upper.new_zeros(1), upper.flip(0)]) / upper.max()).tolist())


def table(kind: Kind) -> Tensor:
    """The sixteen values of a kind, ascending, (16,) float32.

    `nf4`: quantiles of the normal distribution, seven below zero, eight above, and zero itself, scaled to [-1, 1] (appendix E).
    `int4`: -7/7 to 7/7 in equal steps; the sixteenth code, -8/7, is never chosen.
    """
    return torch.tensor(_levels(kind), dtype=torch.float32)


@functools.cache
def floats() -> Tensor:
    """The 256 floats of 8 bits in [-1, 1], ascending, (256,) float32 on the CPU (dynamic tree code: Dettmers 2016, arXiv:1511.04561, section 2.4).

    Behind the sign, e zero bits and a one stand for 10^-e, and the 6 - e bits that are left for one of as many equal parts of 0.1 to 1, by its
    middle; besides there are 0 and 1. So small numbers are known to a share of themselves, down to 1e-7, which equal steps do not offer.
    """
    upper = [torch.tensor([1.0], dtype=torch.float64)]
    for e in range(7):
        parts = 1 << (6 - e)
        upper.append(10.0**-e * (0.1 + 0.9 * (torch.arange(parts, dtype=torch.float64) + 0.5) / parts))
    positive = torch.cat(upper)
    return torch.cat((positive, positive.new_zeros(1), -positive[1:])).sort().values.float()


def quantise(weight_OI: Tensor, *, kind: Kind = "nf4") -> Packed:
    """The nearest code of every weight under its block's largest magnitude, and the scales in a byte each.

    The code is chosen for the scale as it will be read back. On the meta device only shapes are made. Raises ValueError for
    another kind, a tensor that is no matrix, and weights that are not finite.
    """
    if weight_OI.ndim != 2 or not weight_OI.numel():
        raise ValueError(f"a matrix is quantised, not a tensor of shape {tuple(weight_OI.shape)}")
    levels = table(kind).to(weight_OI.device)
    outputs, N = weight_OI.shape[0], -(-weight_OI.shape[1] // BLOCK)
    if weight_OI.is_meta:
        codes, sizes = (torch.empty(outputs, width, device="meta") for width in (N * BLOCK // 2, N))
        outer = torch.empty(-(-outputs * N // SCALES), device="meta")
        return Packed(codes.to(torch.uint8), sizes.to(torch.uint8), outer, outer.new_empty(()), levels)
    blocks_ONb = F.pad(weight_OI.detach().float(), (0, N * BLOCK - weight_OI.shape[1])).view(outputs, N, BLOCK)
    scales_ON = blocks_ONb.abs().amax(-1)
    if not scales_ON.isfinite().all():
        raise ValueError("a weight is NaN or infinite; nothing was quantised")
    sizes_ON, outer, mean = _quantise_scales(scales_ON)
    read_ON1 = _scales(sizes_ON, outer, mean)[..., None]
    codes = torch.empty(outputs, N * BLOCK // 2, dtype=torch.uint8, device=weight_OI.device)
    bounds = (levels[1:] + levels[:-1]) / 2
    for rows in _panels(outputs, N * BLOCK):
        shares = blocks_ONb[rows] / read_ON1[rows].where(read_ON1[rows] != 0, torch.ones_like(read_ON1[rows]))
        found = torch.bucketize(shares.contiguous(), bounds).clamp_(min=1 if kind == "int4" else 0)
        low, high = found.view(-1, N * BLOCK // GROUP, 2, GROUP // 2).unbind(2)
        codes[rows] = (low + 16 * high).flatten(1).to(torch.uint8)
    return Packed(codes, sizes_ON, outer, mean, levels)


def _quantise_scales(scales_ON: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Double quantisation (section 3): the mean is taken off, since scales are positive, and 256 neighbours share what 1 stands for."""
    mean = scales_ON.mean()
    flat = (scales_ON - mean).flatten()
    shared = F.pad(flat, (0, -flat.numel() % SCALES)).view(-1, SCALES)
    outer = shared.abs().amax(-1)
    values = floats().to(flat.device)
    shares = shared / outer.where(outer > 0, torch.ones_like(outer))[:, None]
    sizes = torch.bucketize(shares, (values[1:] + values[:-1]) / 2).to(torch.uint8)
    return sizes.flatten()[: flat.numel()].view(scales_ON.shape), outer, mean


def _scales(sizes_ON: Tensor, outer: Tensor, mean: Tensor, first: int = 0) -> Tensor:
    """Scales (O, N) of sizes whose first is number `first` of the whole matrix."""
    number = torch.arange(first, first + sizes_ON.numel(), device=sizes_ON.device).view(sizes_ON.shape)
    return torch.addcmul(mean, floats().to(sizes_ON.device)[sizes_ON.int()], outer[number // SCALES])


def dequantise(packed: Packed, *, columns: int, rows: slice = slice(None), dtype: torch.dtype = torch.float32) -> Tensor:
    """The weights of `rows`, (R, `columns`), which are those that the codes stand for and nothing else."""
    codes, sizes = packed.codes[rows], packed.sizes[rows]
    first = rows.indices(packed.codes.shape[0])[0] * sizes.shape[1]
    bytes_ = codes.view(len(codes), -1, 1, GROUP // 2).int()
    found_RP = packed.table[torch.cat([bytes_ & 15, bytes_ >> 4], dim=2)].view(*sizes.shape, BLOCK)
    return (found_RP * _scales(sizes, packed.outer, packed.mean, first)[..., None]).flatten(1)[:, :columns].to(dtype)


def quantised_linear(x: Tensor, packed: Packed, *, path: Path = "auto") -> Tensor:
    """x (..., I) times the weight transposed: (..., O), differentiable in x, once.

    Raises ValueError where the weight has another number of inputs, PathUnavailable where `path` cannot run.
    """
    outputs, width = packed.codes.shape[0], 2 * packed.codes.shape[1]
    if not width - BLOCK < x.shape[-1] <= width:
        raise ValueError(f"inputs of width {x.shape[-1]} for a weight of {width - BLOCK + 1} to {width} columns")
    if packed.codes.device != x.device:
        raise ValueError(f"the weight lies on `{packed.codes.device}`, the inputs on `{x.device}`")
    if choose(path, wide(x), library="quantised") == "compiled":
        no_tangents("quantised_linear", x)
        x_MI = wide(x) if x.ndim == 2 else wide(x).reshape(-1, x.shape[-1])
        y_MO = _compute(x_MI, *packed) if _unseen(x_MI) else _operator(x_MI, *packed)
        return (y_MO if x.ndim == 2 else y_MO.view(*x.shape[:-1], outputs)).to(x.dtype)
    return linear_by_panels(x, outputs, lambda rows, dtype: dequantise(packed, columns=x.shape[-1], rows=rows, dtype=dtype))


def linear_by_panels(x: Tensor, outputs: int, decode: Decode) -> Tensor:
    """x (..., I) times a frozen weight of `outputs` rows that `decode` makes a panel at a time, and makes again in the backward."""
    with torch.autocast(x.device.type, enabled=False):
        y_MO: Tensor = _ByPanels.apply(wide(x).reshape(-1, x.shape[-1]), outputs, decode, False)  # type: ignore[no-untyped-call]
    return y_MO.view(*x.shape[:-1], outputs).to(x.dtype)


def _panels(outputs: int, inputs: int, tokens: int = 0) -> list[slice]:
    rows = max(1, min(max(tokens * inputs, PANEL[0]), PANEL[1]) // inputs)
    return [slice(first, min(outputs, first + rows)) for first in range(0, outputs, rows)]


def _forward(x_MI: Tensor, outputs: int, decode: Decode) -> Tensor:
    y_MO = x_MI.new_empty(x_MI.shape[0], outputs)
    for rows in _panels(outputs, x_MI.shape[1], len(x_MI)):
        torch.mm(x_MI, decode(rows, x_MI.dtype).T, out=y_MO[:, rows])
    return y_MO


def _backward(dy_MO: Tensor, inputs: int, decode: Decode) -> Tensor:
    dx_MI = dy_MO.new_empty(dy_MO.shape[0], inputs)
    for rows in _panels(dy_MO.shape[1], inputs, len(dy_MO)):
        dx_MI.addmm_(dy_MO[:, rows], decode(rows, dy_MO.dtype), beta=int(rows.start > 0))
    return dx_MI


class _ByPanels(torch.autograd.Function):
    """x W', or dy W where `turned`: each is the gradient of the other, and a batch of either is more rows."""

    @staticmethod
    def forward(x_MI: Tensor, size: int, decode: Decode, turned: bool) -> Tensor:
        return _backward(x_MI, size, decode) if turned else _forward(x_MI, size, decode)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x_MI, _, ctx.decode, ctx.turned = inputs
        ctx.size = x_MI.shape[1]

    @staticmethod
    def backward(ctx: Any, dy_MO: Tensor) -> tuple[Tensor, None, None, None]:
        return _ByPanels.apply(dy_MO, ctx.size, ctx.decode, not ctx.turned), None, None, None  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None, None, None], x: Tensor, *rest: Any) -> tuple[Tensor, int]:
        x_bMI = x.movedim(in_dims[0], 0)
        y = _ByPanels.apply(x_bMI.flatten(0, 1), *rest)  # type: ignore[no-untyped-call]
        return torch.unflatten(y, 0, x_bMI.shape[:2]), 0


class _Weight(ctypes.Structure):
    """`struct Weight` of quantised.cpp."""

    _fields_ = [(name, ctypes.c_long) for name in ("rows", "columns", "blocks")] + [
        (name, ctypes.c_void_p) for name in ("codes", "sizes", "outer", "mean", "table", "floats")
    ]


@functools.cache
def _function(name: str) -> Any:
    pointer = ctypes.c_void_p
    types = {
        "quantised_decode": [pointer, ctypes.c_long, ctypes.c_long, pointer, ctypes.c_int],
        "quantised_dots": [pointer, pointer, pointer, ctypes.c_long, ctypes.c_int],
    }
    return native.function("quantised", name, *types[name])


def _readable(packed: Packed) -> Packed:
    """As quantised.cpp reads it; the same tensors where they lie so already."""
    return Packed(
        *(part if part.is_contiguous() else part.contiguous() for part in packed[:2]),
        *(part if part.dtype is torch.float32 and part.is_contiguous() else part.float().contiguous() for part in packed[2:]),
    )


def _weight(columns: int, packed: Packed) -> _Weight:
    """Where a readable matrix lies. It must outlive what is done with this."""
    rows, width = packed.codes.shape
    return _at(rows, columns, 2 * width // BLOCK, *(part.data_ptr() for part in packed))


@functools.lru_cache(maxsize=1 << 12)
def _at(*sizes_and_addresses: int) -> _Weight:
    return _Weight(*sizes_and_addresses, floats().data_ptr())


_kept = threading.local()


def _scratch(count: int) -> Tensor:
    """Room for a panel, kept by each thread: touching fresh memory costs more than decoding into it."""
    if getattr(_kept, "room", None) is None or len(_kept.room) < count:
        _kept.room = torch.empty(count, dtype=torch.float32, device="cpu")
    room: Tensor = _kept.room
    return room[:count]


def _decoder(columns: int, packed: Packed) -> Decode:
    """Decodes each panel over the one before it."""
    packed = _readable(packed)

    def decode(rows: slice, dtype: torch.dtype) -> Tensor:
        panel_RI = _scratch((rows.stop - rows.start) * columns).view(-1, columns)
        threads = torch.get_num_threads() if panel_RI.numel() >= PANEL[0] else 1
        weight = ctypes.byref(_weight(columns, packed))
        _function("quantised_decode")(weight, rows.start, len(panel_RI), panel_RI.data_ptr(), threads)
        return panel_RI

    return decode


def _unseen(x: Tensor) -> bool:
    """Whether nobody records or traces: then the operator's own arithmetic is called, since announcing it costs as much as one token."""
    hidden = transformed() or torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack()
    return type(x) is Tensor and not (hidden or recorded(x))


def _compute(x_MI: Tensor, codes: Tensor, sizes: Tensor, outer: Tensor, mean: Tensor, table: Tensor) -> Tensor:
    packed, (tokens, columns) = Packed(codes, sizes, outer, mean, table), x_MI.shape
    if not 0 < tokens <= FEW:
        return _forward(x_MI, len(codes), _decoder(columns, packed))
    x_MI, packed = x_MI.contiguous(), _readable(packed)
    y_MO = x_MI.new_empty(tokens, len(codes))
    threads = torch.get_num_threads() if codes.numel() * tokens >= 8 * PANEL[0] else 1
    _function("quantised_dots")(ctypes.byref(_weight(columns, packed)), x_MI.data_ptr(), y_MO.data_ptr(), tokens, threads)
    return y_MO


_compiled = torch.library.custom_op("touchstone::quantised_linear", _compute, mutates_args=(), device_types="cpu")


@_compiled.register_fake
def _empty(x_MI: Tensor, codes: Tensor, sizes: Tensor, outer: Tensor, mean: Tensor, table: Tensor) -> Tensor:
    return x_MI.new_empty(x_MI.shape[0], codes.shape[0])


@torch.library.custom_op("touchstone::quantised_linear_backward", mutates_args=(), device_types="cpu")
def _compiled_backward(
    dy_MO: Tensor, columns: int, codes: Tensor, sizes: Tensor, outer: Tensor, mean: Tensor, table: Tensor
) -> Tensor:
    return _backward(dy_MO.contiguous(), columns, _decoder(columns, Packed(codes, sizes, outer, mean, table)))


@_compiled_backward.register_fake
def _empty_gradient(
    dy_MO: Tensor, columns: int, codes: Tensor, sizes: Tensor, outer: Tensor, mean: Tensor, table: Tensor
) -> Tensor:
    return dy_MO.new_empty(dy_MO.shape[0], columns)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x_MI, *packed = inputs
    ctx.columns = x_MI.shape[1]
    ctx.save_for_backward(*packed)


def _pull_back(ctx: Any, dy_MO: Tensor) -> tuple[Tensor | None, ...]:
    return _compiled_backward(dy_MO, ctx.columns, *ctx.saved_tensors), None, None, None, None, None


_operator = operator(_compiled, _compiled_backward, remember=_remember, pull_back=_pull_back)


@register_flop_formula([torch.ops.touchstone.quantised_linear])
def _flops(x: torch.Size, codes: torch.Size, *rest: Any, **options: Any) -> int:
    return 2 * x[0] * x[1] * codes[0]


@register_flop_formula([torch.ops.touchstone.quantised_linear_backward])
def _flops_backward(dy: torch.Size, columns: int, codes: torch.Size, *rest: Any, **options: Any) -> int:
    return 2 * dy[0] * columns * codes[0]
