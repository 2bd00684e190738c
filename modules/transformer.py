"""The dense transformer block, the baseline every other module is judged against.

Shapes: B batch, T tokens, D model width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from modules.attention import Attention, Cache
from modules.settings import check_ranges
from modules.trainer import Recipe
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    heads: int = 4
    """Query heads."""
    kv_heads: int = 0
    """Key-value heads shared by groups of query heads; 0 means as many as `heads`."""
    window: int = 0
    """Each token sees itself and at most `window - 1` tokens before it; 0 means all of them."""
    rope: bool = True
    """Rotary positions; off when the decoder learns positions."""
    ffn_multiple: float = 4.0
    """Width of the feed-forward over `d_model`; 0 leaves the feed-forward out."""
    ffn: Literal["gelu", "swiglu"] = "gelu"
    """Kind of feed-forward; a `swiglu` of the same multiple has 1.5 times the weights."""

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), kv_heads=(0, 2**12), window=(0, 2**31), ffn_multiple=(0, 256))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class FeedForward(nn.Module):
    """Two-layer perceptron on each token, plain GELU or gated (Shazeer 2020, eq. 6)."""

    def __init__(self, d_model: int, *, multiple: float, kind: Literal["gelu", "swiglu"]) -> None:
        super().__init__()
        width = round(d_model * multiple)
        self.gated = kind == "swiglu"
        self.widen = nn.Linear(d_model, width * (2 if self.gated else 1), bias=False)
        self.narrow = nn.Linear(width, d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        h_BTF: Tensor = self.widen(x_BTD)
        if self.gated:
            gate_BTF, h_BTF = h_BTF.chunk(2, dim=-1)
            h_BTF = F.silu(gate_BTF) * h_BTF
        else:
            h_BTF = F.gelu(h_BTF)
        y_BTD: Tensor = self.narrow(h_BTF)
        return y_BTD


@module("transformer", system="baseline", paper="arXiv:1706.03762")
class Transformer(nn.Module):
    """Dense pre-norm transformer block: rotary attention, then a feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = Attention(
            config.d_model, heads=config.heads, kv_heads=config.kv_heads, window=config.window, rope=config.rope
        )
        self.ffn: FeedForward | None = None
        if config.ffn_multiple:
            self.ffn_norm = nn.RMSNorm(config.d_model, eps=1e-6)
            self.ffn = FeedForward(config.d_model, multiple=config.ffn_multiple, kind=config.ffn)

    def forward(self, x_BTD: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        y_BTD, state = self.mixer(self.mixer_norm(x_BTD), state)
        x_BTD = x_BTD + y_BTD
        if self.ffn is not None:
            x_BTD = x_BTD + self.ffn(self.ffn_norm(x_BTD))
        return x_BTD, state

    def facts(self) -> dict[str, str | None]:
        """Which kernel computed the attention of the last forward."""
        return {"attention_path": self.mixer.path}

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrices that write into the residual stream."""
        yield self.mixer.project_out.weight
        if self.ffn is not None:
            yield self.ffn.narrow.weight

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the key-value cache after `length` tokens."""
        return self.mixer.state_bytes(batch, length)
