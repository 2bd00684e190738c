"""A transformer block whose feed-forward is gated by the token and the one before it, at about the cost of a router of experts.

The dense bar for mixtures whose router looks back: what of their lead is that look, and what the experts? Shapes: B batch, T tokens, D
model width, R rank of the gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modules.attention import Attention, Cache
from modules.rwkv4 import one_step_back
from modules.settings import check_ranges
from modules.trainer import Recipe
from modules.transformer import FeedForward
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    heads: int = 4
    """Query heads."""
    rank: int = 16
    """Numbers that the gate makes of two tokens; a router of so many experts makes as many."""
    ffn_multiple: float = 4.0
    """Width of the feed-forward over `d_model`."""

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), rank=(1, 2**16), ffn_multiple=(1e-3, 256))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class Parts(NamedTuple):
    """The attention's cache, and the latest input of the feed-forward."""

    k_BGSE: Tensor
    v_BGSE: Tensor
    seen: Tensor
    latest_BD: Tensor


class State(Parts):
    """The state of the block; it never changes, so a document may go on from it twice."""

    cache: Cache | None = None

    def attention(self) -> Cache:
        """The cache with the room behind it, if there still is one."""
        return self.cache or Cache(*self[:3])


@module("token_shift", system="baseline", paper="arXiv:2305.13048")
class TokenShift(nn.Module):
    """Dense transformer block whose feed-forward is gated by two tokens: x + 2 sigmoid(W_up W_down (h_t, h_(t-1))) ffn(h_t)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        D = config.d_model
        self.mixer_norm = nn.RMSNorm(D, eps=1e-6)
        self.mixer = Attention(D, heads=config.heads)
        self.ffn_norm = nn.RMSNorm(D, eps=1e-6)
        self.ffn = FeedForward(D, multiple=config.ffn_multiple, kind="gelu")
        self.gate = nn.Sequential(nn.Linear(2 * D, config.rank, bias=False), nn.Linear(config.rank, D, bias=False))

    def forward(self, x_BTD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        y_BTD, cache = self.mixer(self.mixer_norm(x_BTD), None if state is None else state.attention())
        x_BTD = x_BTD + y_BTD
        h_BTD = self.ffn_norm(x_BTD)
        before_BTD = one_step_back(h_BTD, None if state is None else state.latest_BD)
        gate_BTD = 2 * self.gate(torch.cat((h_BTD, before_BTD), dim=-1)).sigmoid()
        after = State._make((*cache, h_BTD[:, -1].clone()))
        after.cache = cache
        return x_BTD + gate_BTD * self.ffn(h_BTD), after

    def facts(self) -> dict[str, str | None]:
        """Which kernel computed the attention of the last forward."""
        return {"attention_path": self.mixer.path}

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrices that write into the residual stream."""
        yield self.mixer.project_out.weight
        yield self.ffn.narrow.weight

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the key-value cache after `length` tokens, and of the latest input of the feed-forward."""
        return self.mixer.state_bytes(batch, length) + batch * self.ffn_norm.weight.nbytes
