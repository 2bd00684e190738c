"""Gated linear attention (Yang et al. 2023): linear attention whose memory fades by a factor per key channel that the token decides.

Shapes: B batch, T tokens, D model width, H heads, K key size and V value size per head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.gla import gla
from kernels.precision import wide
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from modules.transformer import FeedForward
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream; values have it too."""
    heads: int = 4
    """Heads, each with a memory of its own."""
    key_multiple: float = 0.5
    """Width of all keys over `d_model`."""
    rank: int = 16
    """Rank of the small network behind the decays."""
    temperature: float = 16.0
    """Logs of the decays are divided by it, so that a token forgets little."""
    ffn_multiple: float = 8 / 3
    """Width of the gated feed-forward over `d_model`; 0 leaves the feed-forward out."""
    path: Literal["auto", "torch"] = "auto"
    """How the recurrence is computed: `auto` takes the fastest kernel that can run, `torch` the plain form everywhere."""
    IMPLEMENTATION = ("path",)

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), key_multiple=(1e-3, 256), rank=(1, 2**16))
        check_ranges(self, temperature=(1e-3, 1e6), ffn_multiple=(0, 256))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class State(NamedTuple):
    """What the past amounts to, of one size whatever its length."""

    memory_BHKV: Tensor
    """Faded sum of key-value products."""


class GatedLinearAttention(nn.Module):
    """Section 4.4: with a_t = sigmoid(W_2 W_1 x_t + b)^(1 / temperature) for each key channel,

    memory_t = diag(a_t) memory_{t-1} + k_t' v_t        out_t = W_out (silu(W_r x_t + b_r) * norm(q_t memory_t))
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, H, keys = config.d_model, config.heads, round(config.d_model * config.key_multiple)
        if D % H or keys % H or not keys:
            raise ConfigError(f"`d_model` = {D} and its {keys} keys must be multiples of `heads` = {H}")
        self.heads, self.sizes, self.temperature, self.path = H, [keys, keys, D], config.temperature, config.path
        self.project_in = nn.Linear(D, 2 * keys + D, bias=False)
        self.gate = nn.Linear(D, D)
        self.decay_in, self.decay_out = nn.Linear(D, config.rank, bias=False), nn.Linear(config.rank, keys)
        self.norm_weight_V = nn.Parameter(torch.ones(D // H))
        self.project_out = nn.Linear(D, D, bias=False)

    def forward(self, x_BTD: Tensor, state: State | None) -> tuple[Tensor, State]:
        parts = torch.split(self.project_in(x_BTD), self.sizes, dim=-1)
        q_BTHK, k_BTHK, v_BTHV = (torch.unflatten(part, -1, (self.heads, -1)) for part in parts)
        log_decay = F.logsigmoid(wide(self.decay_out(self.decay_in(x_BTD)))) / self.temperature
        out_BTHV, memory_BHKV = gla(
            q_BTHK,
            k_BTHK,
            v_BTHV,
            torch.unflatten(log_decay, -1, (self.heads, -1)),
            state=None if state is None else state.memory_BHKV,
            scale=float(k_BTHK.shape[-1] ** -0.5),
            path=self.path,
        )
        normed_BTHV = F.rms_norm(out_BTHV, self.norm_weight_V.shape, self.norm_weight_V, eps=1e-5)
        return self.project_out(F.silu(self.gate(x_BTD)) * normed_BTHV.flatten(2)), State(memory_BHKV)


@module("gla", system="baseline", paper="arXiv:2312.06635")
class GLA(nn.Module):
    """Gated linear attention in place of attention, with a state of fixed size, then a gated feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = GatedLinearAttention(config)
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
        """Bytes of the memory, the same after any number of tokens."""
        m = self.mixer
        dtype = torch.promote_types(m.gate.weight.dtype, torch.float32)  # at least float32, as it is a long sum
        return batch * m.sizes[0] * (m.sizes[2] // m.heads) * dtype.itemsize
