"""RWKV-7 "Goose" (Peng et al. 2025): a memory whose every channel fades at its own rate and is rewritten along one direction per token.

Shapes: B batch, T tokens, D model width, H heads, K key and value size per head, F width of the channel mixing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.delta_rule import dplr
from kernels.precision import wide
from modules.rwkv4 import one_step_back
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    heads: int = 4
    """Heads, each with a memory of its own."""
    rank: int = 32
    """Rank of the three small networks behind decays, rates of rewriting and gates."""
    ffn_multiple: float = 4.0
    """Width of the channel mixing over `d_model`; 0 leaves it out."""
    path: Literal["auto", "torch"] = "auto"
    """How the recurrence is computed: `auto` takes the fastest kernel that can run, `torch` the plain form everywhere."""
    IMPLEMENTATION = ("path",)

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), rank=(1, 2**16), ffn_multiple=(0, 256))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)
STRONGEST_DECAY = -math.exp(-0.5)
"""The log of the strongest decay per token, so that fading alone takes at most 45 % of anything in one token."""


class State(NamedTuple):
    """What the past amounts to, of one size whatever its length."""

    shifted_BD: Tensor
    """The latest input of the time mixing."""
    memory_BHKV: Tensor
    """What is held under each key."""
    channels_BD: Tensor
    """The latest input of the channel mixing; of no width without one."""


class TimeMixing(nn.Module):
    """The paper's time mixing, but for the values that later layers take over from the first, which one block alone cannot. With e of length 1
    and, in each channel, a rate a_t in (0, 1) and a decay w_t

    memory_t = (diag(w_t) - (a_t * e_t)' e_t) memory_{t-1} + k_t' v_t        out_t = W_out (gate * (norm(r_t memory_t) + (r_t . bonus k_t) v_t))
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, H, R = config.d_model, config.heads, config.rank
        if D % H:
            raise ConfigError(f"`d_model` = {D} must be a multiple of `heads` = {H}")
        self.heads, self.path = H, config.path
        place_D = torch.arange(D) / max(1, D - 1)
        self.mix_6D = nn.Parameter(1 - place_D.expand(6, D) ** torch.tensor([0.2, 0.9, 0.7, 0.7, 0.9, 0.2])[:, None])
        self.project_r, self.project_k, self.project_v, self.project_out = (nn.Linear(D, D, bias=False) for _ in range(4))
        self.decay_in, self.rate_in, self.gate_in = (nn.Linear(D, R, bias=False) for _ in range(3))
        self.decay_out, self.rate_out, self.gate_out = nn.Linear(R, D), nn.Linear(R, D), nn.Linear(R, D, bias=False)
        with torch.no_grad():
            self.decay_out.bias.copy_(
                -6.5 + 5 * place_D
            )  # channels that halve within a few tokens up to some that last for a thousand
            self.rate_out.bias.zero_()
        self.erased_D, self.rated_D = nn.Parameter(torch.full((D,), 0.85)), nn.Parameter(torch.ones(D))
        self.bonus_HK = nn.Parameter(torch.zeros(H, D // H))
        self.norm = nn.GroupNorm(H, D, eps=64e-5)
        for parameter in (self.mix_6D, self.bonus_HK):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(self, x_BTD: Tensor, before_BD: Tensor | None, memory_BHKV: Tensor | None) -> tuple[Tensor, Tensor]:
        step_BTD = one_step_back(x_BTD, before_BD) - x_BTD
        r, w, k, v, a, g = torch.addcmul(x_BTD, step_BTD, self.mix_6D[:, None, None]).unbind(0)
        r, k, v = self.project_r(r), self.project_k(k), self.project_v(v)
        log_decay = STRONGEST_DECAY * wide(self.decay_out(self.decay_in(w).tanh())).sigmoid()
        rate = self.rate_out(self.rate_in(a)).sigmoid()
        gate = self.gate_out(self.gate_in(g).sigmoid())
        erased = k * self.erased_D
        k = k * (1 + (rate - 1) * self.rated_D)

        heads = (torch.unflatten(x, -1, (self.heads, -1)) for x in (r, k, v, erased, rate, log_decay))
        r_BTHK, k_BTHK, v_BTHV, erased_BTHK, rate_BTHK, log_decay_BTHK = heads
        erased_BTHK = F.normalize(wide(erased_BTHK), dim=-1)
        out_BTHV, memory_BHKV = dplr(
            r_BTHK, k_BTHK, v_BTHV, -erased_BTHK, rate_BTHK * erased_BTHK, log_decay_BTHK, state=memory_BHKV, path=self.path
        )
        normed_BTHV = F.layer_norm(out_BTHV, out_BTHV.shape[-1:], eps=self.norm.eps)
        normed_BTD = torch.addcmul(self.norm.bias, normed_BTHV.flatten(2), self.norm.weight)
        bonus_BTHV = (r_BTHK * k_BTHK * self.bonus_HK).sum(-1, keepdim=True) * v_BTHV
        return self.project_out((normed_BTD + bonus_BTHV.flatten(2)) * gate), memory_BHKV


class ChannelMixing(nn.Module):
    """The paper's channel mixing: W_narrow relu(W_widen (x mixed with its predecessor))^2."""

    def __init__(self, d_model: int, width: int) -> None:
        super().__init__()
        self.mix_D = nn.Parameter(1 - torch.arange(d_model) / max(1, d_model - 1))
        self.widen = nn.Linear(d_model, width, bias=False)
        self.narrow = nn.Linear(width, d_model, bias=False)

    def forward(self, x_BTD: Tensor, before_BD: Tensor | None) -> Tensor:
        mixed_BTD = torch.addcmul(x_BTD, one_step_back(x_BTD, before_BD) - x_BTD, self.mix_D)
        y_BTD: Tensor = self.narrow(F.relu(self.widen(mixed_BTD)).square())
        return y_BTD


@module("rwkv7", system="C-6", paper="arXiv:2503.14456")
class RWKV7(nn.Module):
    """RWKV-7: time mixing by the generalised delta rule and channel mixing, each with a token shift, and a state of fixed size."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, width = config.d_model, round(config.d_model * config.ffn_multiple)
        self.time_norm, self.time = nn.LayerNorm(D), TimeMixing(config)
        self.channels: ChannelMixing | None = None
        if config.ffn_multiple:
            self.channel_norm, self.channels = nn.LayerNorm(D), ChannelMixing(D, width)

    def forward(self, x_BTD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        shifted, memory, channels = (None, None, None) if state is None else state
        h_BTD = self.time_norm(x_BTD)
        y_BTD, memory = self.time(h_BTD, shifted, memory)
        x_BTD, shifted = x_BTD + y_BTD, h_BTD[:, -1].clone()
        if self.channels is None:
            return x_BTD, State(shifted, memory, x_BTD.new_empty(len(x_BTD), 0))
        h_BTD = self.channel_norm(x_BTD)
        return x_BTD + self.channels(h_BTD, channels), State(shifted, memory, h_BTD[:, -1].clone())

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrices that write into the residual stream."""
        yield self.time.project_out.weight
        if self.channels is not None:
            yield self.channels.narrow.weight

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the latest token's inputs and the memory, the same after any number of tokens."""
        weight = self.time.project_r.weight
        D, dtype = weight.shape[0], weight.dtype
        memory = D * (D // self.time.heads)  # at least float32, as it is a long sum
        shifts = D * (1 if self.channels is None else 2)
        return batch * (memory * torch.promote_types(dtype, torch.float32).itemsize + shifts * dtype.itemsize)
