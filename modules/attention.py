"""Multi-head attention with rotary positions, grouped keys and a growing cache, as a mixer and as a block without a feed-forward.

Shapes: B batch, T new tokens, S all tokens the cache knows after them, D model width,
H query heads, G key-value heads (H a multiple of G), E width of a head, C tokens that a storage has room for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kernels.attention import attention, last_path
from modules.settings import ConfigError, check_ranges
from plan.catalogue import module


@dataclass(slots=True)
class Room:
    """Storage of C tokens, more than were written so far; the caches of one document view its beginning."""

    k_BGCE: Tensor
    v_BGCE: Tensor
    filled: int
    """Tokens written by anyone; who ends earlier has been overtaken, and copies rather than overwrites."""

    def free(self, past: int, total: int) -> bool:
        """Whether a cache of `past` tokens may write here up to `total`."""
        writable = torch.is_inference_mode_enabled() or not self.k_BGCE.is_inference()
        return writable and past == self.filled and total <= self.k_BGCE.shape[2]


class Parts(NamedTuple):
    """Keys and values so far (rotated already), and how many tokens have been seen."""

    k_BGSE: Tensor
    v_BGSE: Tensor
    seen: Tensor
    """int64, no dimensions; differs from S when a window has dropped old keys."""


class Cache(Parts):
    """The state of attention; it never changes, so a document may go on from it twice.

    Behind its tensors there may be room for more. One rebuilt from tensors alone has none, and grows by copying once.
    """

    room: Room | None = None

    def extended(self, k_BGTE: Tensor, v_BGTE: Tensor, *, spare: bool) -> tuple[Tensor, Tensor, Room | None]:
        """All keys, all values, and the room they view: with `spare` and no gradient to record, O(T) on average."""
        both = ((self.k_BGSE, k_BGTE), (self.v_BGSE, v_BGTE))
        recorded = torch.is_grad_enabled() and any(x.requires_grad for pair in both for x in pair)
        alike = all(old.dtype == new.dtype and old.shape[:2] == new.shape[:2] for old, new in both)
        if recorded or not spare or not alike or torch.compiler.is_compiling():  # a program has no room to come back to
            k_BGSE, v_BGSE = (torch.cat(pair, dim=2) for pair in both)
            return k_BGSE, v_BGSE, None
        past, total = self.k_BGSE.shape[2], self.k_BGSE.shape[2] + k_BGTE.shape[2]
        room = self.room
        if room is None or not room.free(past, total):
            B, G, _, E = self.k_BGSE.shape
            room = Room(self.k_BGSE.new_empty(B, G, 2 * total, E), self.v_BGSE.new_empty(B, G, 2 * total, E), filled=past)
            room.k_BGCE[:, :, :past], room.v_BGCE[:, :, :past] = self.k_BGSE, self.v_BGSE
        room.k_BGCE[:, :, past:total], room.v_BGCE[:, :, past:total] = k_BGTE, v_BGTE
        room.filled = total
        return room.k_BGCE[:, :, :total], room.v_BGCE[:, :, :total], room


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 64
    """Width of the residual stream."""
    heads: int = 1
    """Query heads; one, as in Zoology's associative-recall experiments."""
    kv_heads: int = 0
    """Key-value heads shared by groups of query heads; 0 means as many as `heads`."""
    window: int = 0
    """Each token sees itself and at most `window - 1` tokens before it; 0 means all of them."""
    rope: bool = True
    """Rotary positions (Su et al. 2021); off when the decoder learns positions."""
    rope_base: float = 10000.0
    """Longest wavelength of the rotary positions, in tokens, over 2 pi."""

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), kv_heads=(0, 2**12), window=(0, 2**31), rope_base=(1, 1e12))


class Attention(nn.Module):
    """Causal attention over everything seen so far; no norm and no residual of its own."""

    def __init__(
        self, d_model: int, *, heads: int, kv_heads: int = 0, window: int = 0, rope: bool = True, rope_base: float = 1e4
    ) -> None:
        super().__init__()
        kv_heads = kv_heads or heads
        if d_model % heads or heads % kv_heads:
            raise ConfigError(f"`d_model` {d_model} must be a multiple of `heads` {heads}, and that of `kv_heads` {kv_heads}")
        if rope and (d_model // heads) % 2:
            raise ConfigError(f"rotary positions need an even head width, got `d_model` / `heads` = {d_model // heads}")
        self.heads, self.kv_heads, self.width = heads, kv_heads, d_model // heads
        self.window, self.rope, self.rope_base = window, rope, rope_base
        self.path: str | None = None
        self.project_in = nn.Linear(d_model, (heads + 2 * kv_heads) * self.width, bias=False)
        self.project_out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x_BTD: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        B, T, D = x_BTD.shape
        sizes = (self.heads, self.kv_heads, self.kv_heads)
        heads_BHTE = self.project_in(x_BTD).view(B, T, sum(sizes), self.width).transpose(1, 2)
        q_BHTE, k_BGTE, v_BGTE = heads_BHTE.split(sizes, dim=1)
        seen = torch.zeros((), dtype=torch.int64) if state is None else state.seen
        if self.rope:
            turn = rotation(seen, T, self.width, base=self.rope_base, like=x_BTD)
            q_BHTE, k_BGTE = rotate(q_BHTE, turn), rotate(k_BGTE, turn)
        k_BGSE, v_BGSE, room = k_BGTE, v_BGTE, None
        if state is not None:
            k_BGSE, v_BGSE, room = state.extended(k_BGTE, v_BGTE, spare=not self.window)
        y_BHTE = attention(q_BHTE, k_BGSE, v_BGSE, window=self.window or None)
        self.path = last_path()
        keep = max(k_BGSE.shape[2] - (self.window - 1), 0) if self.window else 0
        if keep or (state is None and not torch.is_grad_enabled()):  # a view would keep what it hides alive
            k_BGSE, v_BGSE = k_BGSE[:, :, keep:].clone(), v_BGSE[:, :, keep:].clone()
        y_BTD: Tensor = self.project_out(y_BHTE.transpose(1, 2).reshape(B, T, D))
        after = Cache(k_BGSE, v_BGSE, seen + T)
        after.room = room
        return y_BTD, after

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the cache after `length` tokens: linear in them up to the window."""
        kept = min(length, self.window - 1) if self.window else length
        return 2 * batch * self.kv_heads * kept * self.width * self.project_in.weight.element_size() + 8


@module("attention", system="S-2", paper="arXiv:2407.08608")
class AttentionBlock(nn.Module):
    """Attention alone, with norm and residual: the mixer block of the recall experiments, without a feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = Attention(
            config.d_model,
            heads=config.heads,
            kv_heads=config.kv_heads,
            window=config.window,
            rope=config.rope,
            rope_base=config.rope_base,
        )

    def forward(self, x_BTD: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        y_BTD, state = self.mixer(self.norm(x_BTD), state)
        return x_BTD + y_BTD, state

    def facts(self) -> dict[str, str | None]:
        """Which kernel computed the attention of the last forward."""
        return {"attention_path": self.mixer.path}

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrices that write into the residual stream."""
        yield self.mixer.project_out.weight

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the cache after `length` tokens."""
        return self.mixer.state_bytes(batch, length)


def rotation(start: Tensor | int, count: int, width: int, *, base: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (count, width / 2) for positions `start ... start + count - 1` (Su et al. 2021, eq. 15)."""
    place = start + torch.arange(count, device=like.device, dtype=torch.float64)
    speed = base ** (-torch.arange(0, width, 2, device=like.device, dtype=torch.float64) / width)
    angle = torch.outer(place, speed)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(x_BHTE: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (x[i], x[i + E/2]) by its position's angle."""
    cos, sin = turn
    a, b = x_BHTE.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
