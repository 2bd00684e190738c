"""Linear attention (Katharopoulos et al. 2020): attention whose weights are a product of features, so that the past is one sum.

Shapes: B batch, T tokens, D model width, H heads, K key and value size per head, X = K + 1 with a normaliser, else K.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.simple_gla import simple_gla
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from modules.transformer import FeedForward
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    heads: int = 4
    """Heads of attention."""
    normalise: bool = True
    """Divide by the sum of weights, as in the paper; without, the outputs of each head are brought to unit size instead."""
    ffn_multiple: float = 4.0
    """Width of the feed-forward over `d_model`; 0 leaves the feed-forward out."""
    path: Literal["auto", "torch"] = "auto"
    """How the recurrence is computed: `auto` takes the fastest kernel that can run, `torch` the plain form everywhere."""
    IMPLEMENTATION = ("path",)

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), ffn_multiple=(0, 256))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class State(NamedTuple):
    """What the past amounts to, of one size whatever its length."""

    memory_BHKX: Tensor
    """Sum of key-value products, and of the keys where the weights are normalised."""


class LinearAttention(nn.Module):
    """Eq. 9 and 12: out_t = sum over s <= t of <f(q_t), f(k_s)> v_s / sum over s <= t of <f(q_t), f(k_s)>, f = elu + 1."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.d_model % config.heads:
            raise ConfigError(f"`d_model` = {config.d_model} must be a multiple of `heads` = {config.heads}")
        self.heads, self.normalise, self.path = config.heads, config.normalise, config.path
        self.project_in = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.project_out = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(self, x_BTD: Tensor, state: State | None) -> tuple[Tensor, State]:
        qkv_BT3HK = torch.unflatten(self.project_in(x_BTD), -1, (3, self.heads, -1))
        q_BTHK, k_BTHK, v_BTHX = qkv_BT3HK.unbind(2)
        if self.normalise:
            v_BTHX = F.pad(v_BTHX, (0, 1), value=1.0)  # the sum of weights is the answer to a value that is always 1
        out_BTHX, memory_BHKX = simple_gla(
            F.elu(q_BTHK) + 1,
            F.elu(k_BTHK) + 1,
            v_BTHX.to(torch.promote_types(v_BTHX.dtype, torch.float32)),
            torch.zeros(q_BTHK.shape[:3], device=q_BTHK.device),
            state=None if state is None else state.memory_BHKX,
            path=self.path,
        )
        if self.normalise:
            least = torch.finfo(out_BTHX.dtype).tiny  # where every feature of the past rounds to nothing: an answer of nothing
            out_BTHK = out_BTHX[..., :-1] / out_BTHX[..., -1:].clamp_min(least)
        else:
            out_BTHK = F.rms_norm(out_BTHX, out_BTHX.shape[-1:], eps=1e-5)
        return self.project_out(out_BTHK.flatten(2).to(x_BTD.dtype)), State(memory_BHKX)


@module("linear_attention", system="baseline", paper="arXiv:2006.16236")
class LinearTransformer(nn.Module):
    """Linear attention in place of softmax attention, with a state of fixed size that forgets nothing, then a feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.mixer_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = LinearAttention(config)
        self.ffn: FeedForward | None = None
        if config.ffn_multiple:
            self.ffn_norm = nn.RMSNorm(config.d_model, eps=1e-6)
            self.ffn = FeedForward(config.d_model, multiple=config.ffn_multiple, kind="gelu")

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
        keys = self.config.d_model // self.config.heads
        dtype = torch.promote_types(self.mixer.project_in.weight.dtype, torch.float32)
        return batch * self.config.d_model * (keys + self.config.normalise) * dtype.itemsize
