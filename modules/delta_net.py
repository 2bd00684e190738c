"""DeltaNet (Yang et al. 2024): linear attention that rewrites what its memory holds under a key, instead of adding to it.

Shapes: B batch, T tokens, D model width, H heads, K key and value size per head, E channels and W width of a convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.convolution import silu_convolution
from kernels.delta_rule import delta_rule
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from modules.transformer import FeedForward
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    heads: int = 4
    """Heads, each with a memory of its own."""
    conv_width: int = 4
    """Tokens that the causal convolutions of queries, keys and values see, the present one included."""
    negative_eigenvalues: bool = False
    """Rewriting strengths up to 2 instead of 1: a token may turn around what lies along its key, as parity needs (arXiv:2411.12537)."""
    ffn_multiple: float = 8 / 3
    """Width of the gated feed-forward over `d_model`; 0 leaves the feed-forward out."""
    path: Literal["auto", "torch"] = "auto"
    """How the recurrence is computed: `auto` takes the fastest kernel that can run, `torch` the plain form everywhere."""
    IMPLEMENTATION = ("path",)

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), conv_width=(1, 2**16), ffn_multiple=(0, 256))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class State(NamedTuple):
    """What the past amounts to, of one size whatever its length."""

    tail_BWE: Tensor
    """The latest W - 1 inputs of the convolutions."""
    memory_BHKV: Tensor
    """What is held under each key."""


class ShortConvolution(nn.Module):
    """A causal convolution of each channel by itself, then silu, with the inputs it needs of the past handed over."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, width, groups=channels, bias=False)

    def forward(self, x_BTE: Tensor, tail_BWE: Tensor | None) -> tuple[Tensor, Tensor]:
        """Outputs, and the latest W - 1 inputs for the next call."""
        (B, T, E), before = x_BTE.shape, self.conv.kernel_size[0] - 1
        tail_BWE = x_BTE.new_zeros(B, before, E) if tail_BWE is None else tail_BWE
        next_BWE = torch.cat((tail_BWE[:, T:], x_BTE[:, max(0, T - before) :]), dim=1)
        return silu_convolution(x_BTE, tail_BWE, self.conv.weight[:, 0], None), next_BWE


def unit(x: Tensor) -> Tensor:
    """Of length 1 along the last axis, at least in float32; the tiny constant is that of the public implementations."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x * (x.square().sum(-1, keepdim=True) + 1e-6).rsqrt()


class DeltaRule(nn.Module):
    """The paper's layer: q, k, v = silu(convolution(W x)), q and k of length 1, and with beta_t in (0, 1) or (0, 2)

    memory_t = memory_{t-1} + beta_t k_t' (v_t - k_t memory_{t-1})        out_t = W_out norm(q_t memory_t)
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, H = config.d_model, config.heads
        if D % H:
            raise ConfigError(f"`d_model` = {D} must be a multiple of `heads` = {H}")
        self.heads, self.path, self.strongest = H, config.path, 2.0 if config.negative_eigenvalues else 1.0
        self.project_in = nn.Linear(D, 3 * D, bias=False)
        self.project_beta = nn.Linear(D, H, bias=False)
        self.conv = ShortConvolution(3 * D, config.conv_width)
        self.norm_weight_K = nn.Parameter(torch.ones(D // H))
        self.project_out = nn.Linear(D, D, bias=False)

    def forward(self, x_BTD: Tensor, state: State | None) -> tuple[Tensor, State]:
        mixed_BTE, tail_BWE = self.conv(self.project_in(x_BTD), None if state is None else state.tail_BWE)
        q_BTHK, k_BTHK, v_BTHK = torch.unflatten(mixed_BTE, -1, (3, self.heads, -1)).unbind(2)
        out_BTHK, memory_BHKV = delta_rule(
            unit(q_BTHK),
            unit(k_BTHK),
            v_BTHK,
            self.strongest * self.project_beta(x_BTD).sigmoid(),
            state=None if state is None else state.memory_BHKV,
            scale=q_BTHK.shape[-1] ** -0.5,
            path=self.path,
        )
        normed_BTHK = F.rms_norm(out_BTHK, out_BTHK.shape[-1:], self.norm_weight_K.to(out_BTHK.dtype), eps=1e-5)
        return self.project_out(normed_BTHK.flatten(2)), State(tail_BWE, memory_BHKV)


@module("delta_net", system="baseline", paper="arXiv:2406.06484")
class DeltaNet(nn.Module):
    """The delta rule in place of attention, with a state of fixed size that is rewritten, then a gated feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.mixer_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = DeltaRule(config)
        self.ffn: FeedForward | None = None
        if config.ffn_multiple:
            self.ffn_norm = nn.RMSNorm(config.d_model, eps=1e-6)
            self.ffn = FeedForward(config.d_model, multiple=config.ffn_multiple, kind="swiglu")

    def forward(self, x_BTD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        y_BTD, state = self.mixer(self.mixer_norm(x_BTD), state)
        x_BTD = x_BTD + y_BTD
        if self.ffn is not None:
            x_BTD = x_BTD + self.ffn(self.ffn_norm(x_BTD))
        return x_BTD, state

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrices that write into the residual stream."""
        yield self.mixer.project_out.weight
        if self.ffn is not None:
            yield self.ffn.narrow.weight

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the convolutions' tail and the memory, the same after any number of tokens."""
        c, dtype = self.config, self.mixer.project_in.weight.dtype
        tail = (c.conv_width - 1) * 3 * c.d_model
        memory = c.d_model * (c.d_model // c.heads)  # at least float32, as it is a long sum
        return batch * (memory * torch.promote_types(dtype, torch.float32).itemsize + tail * dtype.itemsize)
