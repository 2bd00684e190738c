"""MegaByte (Yu et al. 2023): a global transformer over patches of bytes, and a small local one over the bytes of each patch.

One block for a decoder of one layer. The paper predicts byte s from a local position s of its own, with P the patch size: position s lies in
patch k = s // P at place p = s % P, and its input is the global model's output for that place plus the byte before, s - 1. The
global model is shifted by a patch: its output for patch k has seen the patches before k, and a trained padding stands for the patch before the
first. A decoder's position t has read byte t and predicts byte t + 1, so that here s = t + 1; the position s = 0, which predicts the first
byte from paddings alone, has no output here, but the others of its patch attend to it. At p = 0 the paper replaces the byte before by a trained
padding, for the global model has seen it; `pad_patches` says whether to do so, or to pad the first patch of a document only.

Shapes: B batch, T new bytes, S = T, or T + 1 at a document's start, new positions, D local width and that of the residual stream, G global width,
P patch, n patches, H local heads, E width of a head, R positions of the patch before that a patch attends to, C positions cached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from kernels.attention import attention
from kernels.convolution import causal_convolution
from kernels.operators import recorded, transformed
from modules import transformer
from modules.attention import Cache, rotate, rotation
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from modules.transformer import FeedForward, Transformer
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 64
    """Width of the residual stream and of the local model."""
    patch: int = 4
    """Bytes of a patch; the global model works once for so many bytes."""
    global_width: int = 128
    """Width of the global model."""
    global_layers: int = 2
    """Layers of the global model."""
    global_heads: int = 4
    """Heads of the global model."""
    local_layers: int = 1
    """Layers of the local model."""
    local_heads: int = 4
    """Heads of the local model."""
    reach: int = 0
    """Positions before its patch that the local model attends to: the paper's cross-patch attention; 0: none."""
    pad_patches: bool = True
    """Whether the first place of every patch gets a trained padding instead of the byte before."""
    conv_width: int = 0
    """Bytes mixed into each byte's vector, the present one included, before both models: the paper's convolutional patch encoder; 0: none."""
    ffn_multiple: float = 4.0
    """Width of all feed-forwards over that of their model; 0 leaves them out."""

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), patch=(1, 2**12), global_width=(1, 2**16), global_layers=(1, 4096))
        check_ranges(self, global_heads=(1, 2**12), local_layers=(1, 4096), local_heads=(1, 2**12), reach=(0, 2**12))
        check_ranges(self, conv_width=(0, 2**12), ffn_multiple=(0, 256))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class State(tuple[Tensor, ...]):
    """Bytes seen (int64), the latest inputs of the convolution, the bytes of the unfinished patch, the global output of the current patch, then keys and values of every layer.

    First those of the local layers, of the current patch and the reach before it, then those of the global layers.
    """

    caches: tuple[Cache, ...] = ()
    """The global layers' own caches, which may have room for more."""


Pair = tuple[Tensor, Tensor]
"""Keys and values of a local layer, (B, H, C, E) each."""

Past = tuple[int, Tensor, Tensor, Tensor, list[Pair], list[Cache | None]]


class _Turned(torch.autograd.Function):
    """Queries and keys of `heads` turned by their positions' angles as `rotate` does, and the values; half of its passes over memory."""

    @staticmethod
    def forward(heads_BS3HE: Tensor, cos_SJ: Tensor, sin_SJ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q_BSHE, k_BSHE, v_BSHE = heads_BS3HE.unbind(2)
        turned = [
            _turn(t, cos_SJ, sin_SJ, out=torch.empty_like(t, memory_format=torch.contiguous_format)) for t in (q_BSHE, k_BSHE)
        ]
        return turned[0], turned[1], v_BSHE.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dq_BSHE: Tensor, dk_BSHE: Tensor, dv_BSHE: Tensor) -> tuple[Tensor, None, None]:
        cos_SJ, sin_SJ = ctx.saved_tensors
        B, S, H, E = dq_BSHE.shape
        d_BS3HE = dq_BSHE.new_empty(B, S, 3, H, E)
        for i, d_BSHE in enumerate((dq_BSHE, dk_BSHE)):
            _turn(d_BSHE, cos_SJ, -sin_SJ, out=d_BS3HE[:, :, i])
        d_BS3HE[:, :, 2] = dv_BSHE
        return d_BS3HE, None, None


def _turn(x_BSHE: Tensor, cos_SJ: Tensor, sin_SJ: Tensor, *, out: Tensor) -> Tensor:
    """`out` = each pair (x[j], x[j + E/2]) turned by its position's angle."""
    cos_S1J, sin_S1J = cos_SJ[:, None], sin_SJ[:, None]
    (a, b), (left, right) = x_BSHE.chunk(2, dim=-1), out.chunk(2, dim=-1)
    torch.mul(a, cos_S1J, out=left).addcmul_(b, sin_S1J, value=-1)
    torch.mul(b, cos_S1J, out=right).addcmul_(a, sin_S1J)
    return out


def turned(heads_BS3HE: Tensor, cos_SJ: Tensor, sin_SJ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys turned by their positions' angles, and values, (B, S, H, E) each."""
    if recorded(heads_BS3HE) and not transformed() and not torch.compiler.is_compiling():
        q, k, v = _Turned.apply(heads_BS3HE, cos_SJ, sin_SJ)  # type: ignore[no-untyped-call]
        return q, k, v
    q, k, v = heads_BS3HE.transpose(1, 3).unbind(2)
    return rotate(q, (cos_SJ, sin_SJ)).transpose(1, 2), rotate(k, (cos_SJ, sin_SJ)).transpose(1, 2), v.transpose(1, 2)


class LocalAttention(nn.Module):
    """Attention of each position to the earlier ones of its patch, and to R before the patch; before a document keys and values are zero."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, H = config.d_model, config.local_heads
        if D % (2 * H):
            raise ConfigError(f"`d_model` {D} must be a multiple of 2 x `local_heads` = {2 * H}")
        self.heads, self.patch, self.reach = H, config.patch, config.reach
        self.project_in = nn.Linear(D, 3 * D, bias=False)
        self.project_out = nn.Linear(D, D, bias=False)

    def forward(self, x_BSD: Tensor, first: int, end: int, cache: Pair) -> tuple[Tensor, Pair]:
        """Outputs of positions `first`, `first + 1`, ..., and the keys and values that position `end` needs; what x has beyond it is padding."""
        (B, S, D), P, R = x_BSD.shape, self.patch, self.reach
        heads_BS3HE = self.project_in(x_BSD).view(B, S, 3, self.heads, -1)
        cos_SJ, sin_SJ = rotation(first, S, D // self.heads, base=1e4, like=x_BSD)
        q_BSHE, k_BSHE, v_BSHE = turned(heads_BS3HE, cos_SJ, sin_SJ)
        place, keep = first % P, R + end % P
        if not (place or R or S % P):  # whole patches
            patches = (t.reshape(-1, P, *t.shape[2:]).transpose(1, 2) for t in (q_BSHE, k_BSHE, v_BSHE))
            y_BSHE = attention(*patches).transpose(1, 2).reshape(B, S, D)
            kept = tuple(t[:, end - keep - first : end - first].transpose(1, 2) for t in (k_BSHE, v_BSHE))
            return self.project_out(y_BSHE), (kept[0], kept[1])
        q_BHSE = q_BSHE.transpose(1, 2)
        k_BHCE, v_BHCE = (torch.cat((old, new.transpose(1, 2)), dim=2) for old, new in zip(cache, (k_BSHE, v_BSHE), strict=True))
        if place + S <= P:
            y_BHSE = attention(q_BHSE, k_BHCE, v_BHCE)
        else:
            missing = -(place + S) % P
            q_BnHPE = torch.unflatten(F.pad(q_BHSE, (0, 0, place, missing)), 2, (-1, P)).transpose(1, 2)
            k_BnHWE, v_BnHWE = (F.pad(t, (0, 0, 0, missing)).unfold(2, P + R, P).permute(0, 2, 1, 4, 3) for t in (k_BHCE, v_BHCE))
            y_XHPE = attention(q_BnHPE.flatten(0, 1), k_BnHWE.flatten(0, 1), v_BnHWE.flatten(0, 1))
            y_BHSE = y_XHPE.view(B, -1, *y_XHPE.shape[1:]).transpose(1, 2).flatten(2, 3)[:, :, place : place + S]
        last = k_BHCE.shape[2] - (first + S - end)
        kept = tuple(t[:, :, last - keep : last] for t in (k_BHCE, v_BHCE))
        return self.project_out(y_BHSE.transpose(1, 2).reshape(B, S, D)), (kept[0], kept[1])


class LocalLayer(nn.Module):
    """A pre-norm transformer layer whose attention ends with the patch."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = LocalAttention(config)
        self.ffn: FeedForward | None = None
        if config.ffn_multiple:
            self.ffn_norm = nn.RMSNorm(config.d_model, eps=1e-6)
            self.ffn = FeedForward(config.d_model, multiple=config.ffn_multiple, kind="gelu")

    def forward(self, x_BSD: Tensor, first: int, end: int, cache: Pair) -> tuple[Tensor, Pair]:
        y_BSD, cache = self.mixer(self.mixer_norm(x_BSD), first, end, cache)
        x_BSD = x_BSD + y_BSD
        if self.ffn is not None:
            x_BSD = x_BSD + self.ffn(self.ffn_norm(x_BSD))
        return x_BSD, cache


@module("megabyte", system="C-4", paper="arXiv:2305.07185")
class MegaByte(nn.Module):
    """A global transformer over patches of bytes and a local one over the bytes of each; one layer of a decoder is the whole model."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.local_pad_D = nn.Parameter(0.1 * torch.randn(c.d_model))
        self.global_pad_G = nn.Parameter(0.1 * torch.randn(c.global_width))
        self.conv = nn.Conv1d(c.d_model, c.d_model, c.conv_width, groups=c.d_model) if c.conv_width else None
        self.embed_patch = nn.Linear(c.patch * c.d_model, c.global_width, bias=False)
        settings = transformer.Config(d_model=c.global_width, heads=c.global_heads, ffn_multiple=c.ffn_multiple)
        self.global_layers = nn.ModuleList(Transformer(settings) for _ in range(c.global_layers))
        self.global_norm = nn.RMSNorm(c.global_width, eps=1e-6)
        self.to_local = nn.Linear(c.global_width, c.patch * c.d_model, bias=False)
        self.local_layers = nn.ModuleList(LocalLayer(c) for _ in range(c.local_layers))
        with torch.no_grad():  # embeddings of bytes start small, and what is added to them must not drown them
            self.to_local.weight *= 0.1
            if self.conv is not None and self.conv.bias is not None:
                self.conv.bias.zero_()

    def forward(self, x_BTD: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, State]:
        (B, T, D), P = x_BTD.shape, self.config.patch
        if not B * T:
            raise ValueError(f"bytes of B = {B} documents of T = {T} steps; hand over at least one of each")
        seen, tail_BWD, unfinished_BtD, told_BXD, near, caches = self._begin(x_BTD) if state is None else self._go_on(state)
        base, end = seen // P * P, seen + T  # `told` is for the positions `base` and later

        if self.conv is not None:
            before_BWD, keep = tail_BWD, tail_BWD.shape[1]
            tail_BWD = torch.cat((before_BWD[:, T:], x_BTD[:, max(0, T - keep) :]), dim=1)
            x_BTD = x_BTD + causal_convolution(x_BTD, before_BWD, self.conv.weight[:, 0], self.conv.bias)
        bytes_BtD = torch.cat((unfinished_BtD, x_BTD), dim=1)
        finished = bytes_BtD.shape[1] // P * P
        patches_BnG = self.embed_patch(bytes_BtD[:, :finished].reshape(B, -1, P * D))
        first, local_BSD = seen + 1, x_BTD
        if state is None:  # from here on the last patch is a whole one, so that no layer has to pad it
            patches_BnG = torch.cat((self.global_pad_G.expand(B, 1, -1), patches_BnG), dim=1)
            first, padding_BpD = 0, x_BTD.new_zeros(B, -(T + 1) % P, D)
            local_BSD = torch.cat((self.local_pad_D.expand(B, 1, -1), x_BTD, padding_BpD), dim=1)
        if patches_BnG.shape[1]:
            for i, layer in enumerate(self.global_layers):
                patches_BnG, caches[i] = layer(patches_BnG, caches[i])
            told_BXD = torch.cat((told_BXD, self.to_local(self.global_norm(patches_BnG)).view(B, -1, D)), dim=1)

        if self.config.pad_patches:
            begins_S1 = (torch.arange(first, first + local_BSD.shape[1], device=x_BTD.device) % P == 0)[:, None]
            local_BSD = torch.where(begins_S1, self.local_pad_D, local_BSD)
        local_BSD = local_BSD + told_BXD[:, first - base : first - base + local_BSD.shape[1]]
        for i, layer in enumerate(self.local_layers):
            local_BSD, near[i] = layer(local_BSD, first, end + 1, near[i])

        left = [tail_BWD, bytes_BtD[:, finished:], told_BXD[:, end // P * P - base :], *(t for pair in near for t in pair)]
        after = State((torch.tensor(end), *(t.clone() for t in left), *(t for cache in caches if cache for t in cache[:2])))
        after.caches = tuple(cache for cache in caches if cache)
        return local_BSD[:, seen + 1 - first : end + 1 - first], after

    def _begin(self, x_BTD: Tensor) -> Past:
        """What `_go_on` gives, before the first byte."""
        c, nothing_BtD = self.config, x_BTD[:, :0]
        zeros = x_BTD.new_zeros(x_BTD.shape[0], c.local_heads, c.reach, c.d_model // c.local_heads)
        tail_BWD = x_BTD.new_zeros(x_BTD.shape[0], max(0, c.conv_width - 1), c.d_model)
        return 0, tail_BWD, nothing_BtD, nothing_BtD, [(zeros, zeros)] * c.local_layers, [None] * c.global_layers

    def _go_on(self, state: tuple[Tensor, ...]) -> Past:
        """Bytes seen, the convolution's tail, the unfinished patch, the global output of the current one, local keys and values, global caches."""
        seen, tail_BWD, unfinished_BtD, told_BPD, *rest = state
        pairs = list(zip(rest[::2], rest[1::2], strict=True))
        near, far = pairs[: self.config.local_layers], pairs[self.config.local_layers :]
        caches: list[Cache | None] = list(getattr(state, "caches", ()))
        return (
            int(seen),
            tail_BWD,
            unfinished_BtD,
            told_BPD,
            near,
            caches or [Cache(k, v, seen // self.config.patch + 1) for k, v in far],
        )

    def facts(self) -> dict[str, str | None]:
        """Which kernel computed the global attention of the last forward."""
        last: Any = self.global_layers[-1]
        return {"attention_path": last.mixer.path}

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrices that write into a residual stream."""
        for layer in (*self.global_layers, *self.local_layers):
            yield layer.mixer.project_out.weight
            if layer.ffn is not None:
                yield layer.ffn.narrow.weight

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the global cache, which grows with every patch, and of what the current patch needs."""
        c = self.config
        far = 2 * c.global_layers * (length // c.patch + 1) * c.global_width
        near = 2 * c.local_layers * (c.reach + (length + 1) % c.patch) * c.d_model
        return (
            batch
            * (far + near + (length % c.patch + c.patch + max(0, c.conv_width - 1)) * c.d_model)
            * self.local_pad_D.element_size()
            + 8
        )
