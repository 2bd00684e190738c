"""Attention in which each token reads only the few keys that score highest, with rotary positions, grouped keys and a growing cache.

Shapes: B batch, T new tokens, S all tokens the cache knows after them, D model width,
H query heads, G key-value heads (H a multiple of G), E width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kernels.paths import taken
from kernels.topk_attention import topk_sparse_attention
from modules.attention import Cache, rotate, rotation
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from modules.transformer import FeedForward
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    heads: int = 4
    """Query heads."""
    kv_heads: int = 0
    """Key-value heads shared by groups of query heads; 0 means as many as `heads`."""
    k_top: int = 32
    """Keys that a query reads: its highest-scoring ones, or all while there are fewer."""
    rope: bool = True
    """Rotary positions; off when the decoder learns positions."""
    ffn_multiple: float = 4.0
    """Width of the feed-forward over `d_model`; 0 leaves the feed-forward out."""

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), kv_heads=(0, 2**12), k_top=(1, 2**24), ffn_multiple=(0, 256))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class TopKAttention(nn.Module):
    """Causal attention to the `k_top` best keys of all seen so far; no norm and no residual of its own."""

    def __init__(self, d_model: int, *, heads: int, kv_heads: int, k_top: int, rope: bool) -> None:
        super().__init__()
        kv_heads = kv_heads or heads
        if d_model % heads or heads % kv_heads:
            raise ConfigError(f"`d_model` {d_model} must be a multiple of `heads` {heads}, and that of `kv_heads` {kv_heads}")
        if rope and (d_model // heads) % 2:
            raise ConfigError(f"rotary positions need an even head width, got `d_model` / `heads` = {d_model // heads}")
        self.heads, self.kv_heads, self.width, self.k_top, self.rope = heads, kv_heads, d_model // heads, k_top, rope
        self.project_in = nn.Linear(d_model, (heads + 2 * kv_heads) * self.width, bias=False)
        self.project_out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x_BTD: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        B, T, D = x_BTD.shape
        sizes = (self.heads, self.kv_heads, self.kv_heads)
        heads_BHTE = self.project_in(x_BTD).view(B, T, sum(sizes), self.width).transpose(1, 2)
        q_BHTE, k_BGTE, v_BGTE = heads_BHTE.split(sizes, dim=1)
        seen = torch.zeros((), dtype=torch.int64) if state is None else state.seen
        if self.rope:
            turn = rotation(seen, T, self.width, base=10000.0, like=x_BTD)
            q_BHTE, k_BGTE = rotate(q_BHTE, turn), rotate(k_BGTE, turn)
        k_BGSE, v_BGSE, room = k_BGTE, v_BGTE, None
        if state is not None:
            k_BGSE, v_BGSE, room = state.extended(k_BGTE, v_BGTE, spare=True)
        elif not torch.is_grad_enabled():  # a view would keep the queries alive
            k_BGSE, v_BGSE = k_BGSE.clone(), v_BGSE.clone()
        y_BHTE = topk_sparse_attention(q_BHTE, k_BGSE, v_BGSE, k_top=min(self.k_top, k_BGSE.shape[2]))
        y_BTD: Tensor = self.project_out(y_BHTE.transpose(1, 2).reshape(B, T, D))
        after = Cache(k_BGSE, v_BGSE, seen + T)
        after.room = room
        return y_BTD, after

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the cache after `length` tokens."""
        return 2 * batch * self.kv_heads * length * self.width * self.project_in.weight.element_size() + 8


@module("topk_attention", system="C-5", paper="arXiv:1912.11637")
class TopKAttentionBlock(nn.Module):
    """Transformer block whose queries read only their highest-scoring keys: the backward and the reading of values cost `k_top` a token."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = TopKAttention(
            config.d_model, heads=config.heads, kv_heads=config.kv_heads, k_top=config.k_top, rope=config.rope
        )
        self.ffn: FeedForward | None = None
        if config.ffn_multiple:
            self.ffn_norm = nn.RMSNorm(config.d_model, eps=1e-6)
            self.ffn = FeedForward(config.d_model, multiple=config.ffn_multiple, kind="gelu")

    def forward(self, x_BTD: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        y_BTD, state = self.mixer(self.mixer_norm(x_BTD), state)
        x_BTD = x_BTD + y_BTD
        if self.ffn is not None:
            x_BTD = x_BTD + self.ffn(self.ffn_norm(x_BTD))
        return x_BTD, state

    def facts(self) -> dict[str, str | None]:
        """Which kernel path computed the attention of the last forward."""
        return {"topk_attention_path": taken().get("topk_attention")}

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrices that write into the residual stream."""
        yield self.mixer.project_out.weight
        if self.ffn is not None:
            yield self.ffn.narrow.weight

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the key-value cache after `length` tokens."""
        return self.mixer.state_bytes(batch, length)
