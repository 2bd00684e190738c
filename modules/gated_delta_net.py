"""Gated DeltaNet (Yang et al. 2024): the delta rule with a memory that also fades, by one factor per head and token.

Shapes: B batch, T tokens, D model width, H heads, K key size and V value size per head, E channels and W width of a convolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.delta_rule import delta_rule
from kernels.precision import wide
from modules.delta_net import ShortConvolution, State, unit
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from modules.transformer import FeedForward
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    heads: int = 4
    """Heads, each with a memory and a decay of its own."""
    key_multiple: float = 0.75
    """Width of all keys over `d_model`."""
    value_multiple: float = 1.5
    """Width of all values over `d_model`."""
    conv_width: int = 4
    """Tokens that the causal convolutions of queries, keys and values see, the present one included."""
    negative_eigenvalues: bool = False
    """Rewriting strengths up to 2 instead of 1: a token may turn around what lies along its key, as parity needs (arXiv:2411.12537)."""
    dt_min: float = 1e-3
    """Smallest step size at the start; a head's steps begin between `dt_min` and `dt_max`, log-uniformly."""
    dt_max: float = 0.1
    """Largest step size at the start."""
    A_max: float = 16.0
    """Rates of decay per unit of step start between 1 and `A_max`, uniformly."""
    ffn_multiple: float = 2.0
    """Width of the gated feed-forward over `d_model`; 0 leaves the feed-forward out."""
    path: Literal["auto", "torch"] = "auto"
    """How the recurrence is computed: `auto` takes the fastest kernel that can run, `torch` the plain form everywhere."""
    IMPLEMENTATION = ("path",)

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), key_multiple=(1e-3, 256), value_multiple=(1e-3, 256))
        check_ranges(self, conv_width=(1, 2**16), dt_max=(1e-9, 1e3), A_max=(1, 1e6), ffn_multiple=(0, 256))
        check_ranges(self, dt_min=(1e-9, self.dt_max))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class GatedDeltaRule(nn.Module):
    """The paper's layer: q, k, v = silu(convolution(W x)), q and k of length 1, beta_t in (0, 1) or (0, 2), dt_t > 0, and

    memory_t = exp(-dt_t A) (memory_{t-1} - beta_t k_t' (k_t memory_{t-1})) + beta_t k_t' v_t
    out_t = W_out (norm(q_t memory_t) * silu(gate_t))
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, H = config.d_model, config.heads
        keys, values = round(D * config.key_multiple), round(D * config.value_multiple)
        if keys % H or values % H or not keys or not values:
            raise ConfigError(f"{keys} channels of keys and {values} of values must be multiples of `heads` = {H}")
        self.heads, self.sizes, self.strongest = H, [keys, keys, values], 2.0 if config.negative_eigenvalues else 1.0
        self.path = config.path
        self.project_in = nn.Linear(D, 2 * keys + 2 * values + 2 * H, bias=False)
        self.conv = ShortConvolution(2 * keys + values, config.conv_width)
        self.A_log_H = nn.Parameter(torch.empty(H).uniform_(1, config.A_max).log())
        dt_H = torch.empty(H).uniform_(math.log(config.dt_min), math.log(config.dt_max)).exp()
        self.dt_bias_H = nn.Parameter(dt_H.expm1().log())  # softplus brings `dt_H` back
        self.norm_weight_V = nn.Parameter(torch.ones(values // H))
        self.project_out = nn.Linear(values, D, bias=False)
        for parameter in (self.A_log_H, self.dt_bias_H):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(self, x_BTD: Tensor, state: State | None) -> tuple[Tensor, State]:
        H = self.heads
        mixed_BTE, gate, beta_BTH, dt_BTH = torch.split(self.project_in(x_BTD), [sum(self.sizes), self.sizes[2], H, H], dim=-1)
        mixed_BTE, tail_BWE = self.conv(mixed_BTE, None if state is None else state.tail_BWE)
        q_BTHK, k_BTHK, v_BTHV = (torch.unflatten(x, -1, (H, -1)) for x in torch.split(mixed_BTE, self.sizes, dim=-1))
        out_BTHV, memory_BHKV = delta_rule(
            unit(q_BTHK),
            unit(k_BTHK),
            v_BTHV,
            self.strongest * beta_BTH.sigmoid(),
            -F.softplus(wide(dt_BTH) + wide(self.dt_bias_H)) * wide(self.A_log_H).exp(),
            state=None if state is None else state.memory_BHKV,
            scale=q_BTHK.shape[-1] ** -0.5,
            path=self.path,
        )
        normed_BTHV = F.rms_norm(out_BTHV, out_BTHV.shape[-1:], self.norm_weight_V.to(out_BTHV.dtype), eps=1e-5)
        return self.project_out(normed_BTHV.flatten(2) * F.silu(gate)), State(tail_BWE, memory_BHKV)


@module("gated_delta_net", system="baseline", paper="arXiv:2412.06464")
class GatedDeltaNet(nn.Module):
    """The gated delta rule in place of attention, with a state of fixed size that fades and is rewritten, then a gated feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.mixer_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = GatedDeltaRule(config)
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
        sizes, dtype = self.mixer.sizes, self.mixer.project_in.weight.dtype
        tail = (self.config.conv_width - 1) * sum(sizes)
        memory = sizes[0] * sizes[2] // self.config.heads  # at least float32, as it is a long sum
        return batch * (memory * torch.promote_types(dtype, torch.float32).itemsize + tail * dtype.itemsize)
