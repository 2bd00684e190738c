"""RWKV-4 (Peng et al. 2023): every channel remembers one weighted average of its past, which fades at a rate of its own.

Shapes: B batch, T tokens, D model width, F width of the channel mixing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.precision import wide
from kernels.rwkv4 import rwkv4
from modules.settings import check_ranges
from modules.trainer import Recipe
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    ffn_multiple: float = 3.5
    """Width of the channel mixing over `d_model`; 0 leaves the channel mixing out."""

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), ffn_multiple=(0, 256))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class State(NamedTuple):
    """What the past amounts to, of one size whatever its length."""

    time_BD: Tensor
    """The latest input of the time mixing."""
    average_BD: Tensor
    """The weighted average of all values so far."""
    weight_BD: Tensor
    """The log of its weight."""
    channel_BD: Tensor
    """The latest input of the channel mixing; of no width without one."""


def one_step_back(x_BTD: Tensor, before_BD: Tensor | None) -> Tensor:
    """Each token's predecessor; zeros before the first. ValueError where there is no token (T = 0)."""
    if not x_BTD.shape[1]:
        raise ValueError("a shift of no tokens (T = 0); hand over at least one")
    before_BD = torch.zeros_like(x_BTD[:, 0]) if before_BD is None else before_BD
    return torch.cat((before_BD[:, None], x_BTD[:, :-1]), dim=1)


class TimeMixing(nn.Module):
    """Eq. 11 to 17: out = W_out (sigmoid(r) * wkv(k, v)), where r, k and v are W (mix x_t + (1 - mix) x_{t-1}) with a `mix` each."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        D = d_model
        place_D = torch.arange(D) / max(1, D - 1)
        self.mix_3D = nn.Parameter(torch.stack((place_D**0.5, place_D, place_D)))
        self.decay_D = nn.Parameter(-5 + 8 * place_D**0.7)  # memories of 150 tokens down to less than one
        self.bonus_D = nn.Parameter(math.log(0.3) + 0.5 * ((torch.arange(D) + 1) % 3 - 1))
        self.project_r, self.project_k, self.project_v, self.project_out = (nn.Linear(D, D, bias=False) for _ in range(4))
        for parameter in (self.mix_3D, self.decay_D, self.bonus_D):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(
        self, x_BTD: Tensor, before_BD: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        r, k, v = torch.lerp(one_step_back(x_BTD, before_BD), x_BTD, self.mix_3D[:, None, None].to(x_BTD.dtype)).unbind(0)
        w_D = -wide(self.decay_D).exp()
        out_BTD, past = rwkv4(self.project_k(k), self.project_v(v), w_D, self.bonus_D, state=past)
        return self.project_out(self.project_r(r).sigmoid() * out_BTD), past


class ChannelMixing(nn.Module):
    """Eq. 18 and 19: sigmoid(W_r x_r) * W_narrow relu(W_widen x_k)^2, where x_r and x_k mix a token with its predecessor."""

    def __init__(self, d_model: int, width: int) -> None:
        super().__init__()
        place_D = torch.arange(d_model) / max(1, d_model - 1)
        self.mix_2D = nn.Parameter(torch.stack((place_D, place_D)))
        self.mix_2D._no_weight_decay = True  # type: ignore[attr-defined]
        self.project_r = nn.Linear(d_model, d_model, bias=False)
        self.widen, self.narrow = nn.Linear(d_model, width, bias=False), nn.Linear(width, d_model, bias=False)

    def forward(self, x_BTD: Tensor, before_BD: Tensor | None) -> Tensor:
        r, k = torch.lerp(one_step_back(x_BTD, before_BD), x_BTD, self.mix_2D[:, None, None].to(x_BTD.dtype)).unbind(0)
        y_BTD: Tensor = self.project_r(r).sigmoid() * self.narrow(F.relu(self.widen(k)).square())
        return y_BTD


@module("rwkv4", system="C-6", paper="arXiv:2305.13048")
class RWKV4(nn.Module):
    """RWKV-4: time mixing by fading averages and channel mixing, each with a token shift, and a state of four vectors."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, width = config.d_model, round(config.d_model * config.ffn_multiple)
        self.time_norm, self.time = nn.LayerNorm(D), TimeMixing(D)
        self.channel: ChannelMixing | None = None
        if config.ffn_multiple:
            self.channel_norm, self.channel = nn.LayerNorm(D), ChannelMixing(D, width)

    def forward(self, x_BTD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        h_BTD = self.time_norm(x_BTD)
        before = (None, None) if state is None else (state.time_BD, (state.average_BD, state.weight_BD))
        y_BTD, (average_BD, weight_BD) = self.time(h_BTD, *before)
        x_BTD, latest_BD, channel_BD = x_BTD + y_BTD, h_BTD[:, -1].clone(), x_BTD.new_empty(len(x_BTD), 0)
        if self.channel is not None:
            h_BTD = self.channel_norm(x_BTD)
            x_BTD = x_BTD + self.channel(h_BTD, None if state is None else state.channel_BD)
            channel_BD = h_BTD[:, -1].clone()
        return x_BTD, State(latest_BD, average_BD, weight_BD, channel_BD)

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrices that write into the residual stream."""
        yield self.time.project_out.weight
        if self.channel is not None:
            yield self.channel.narrow.weight

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the latest inputs and of the averages with their weights, the same after any number of tokens."""
        weight = self.time.project_out.weight
        wide = torch.promote_types(weight.dtype, torch.float32).itemsize  # at least float32, as they are long sums
        shifts = (1 if self.channel is None else 2) * weight.dtype.itemsize
        return batch * weight.shape[0] * (2 * wide + shifts)
