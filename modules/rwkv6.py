"""RWKV-6 "Finch" (Peng et al. 2024): a matrix of memory per head, whose decays and whose view of the token before depend on the token.

Shapes: B batch, T tokens, D model width, H heads, K key and value size per head, F width of the channel mixing, R rank.
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
from modules.rwkv4 import ChannelMixing, one_step_back
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    heads: int = 4
    """Heads, each with a memory of its own."""
    shift_rank: int = 16
    """Rank of each of the five small networks that decide how much of the token before is mixed in."""
    decay_rank: int = 32
    """Rank of the small network behind the decays."""
    ffn_multiple: float = 2.5
    """Width of the channel mixing over `d_model`; 0 leaves the channel mixing out."""
    path: Literal["auto", "torch"] = "auto"
    """How the recurrence is computed: `auto` takes the fastest kernel that can run, `torch` the plain form everywhere."""
    IMPLEMENTATION = ("path",)

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), shift_rank=(1, 2**16), decay_rank=(1, 2**16))
        check_ranges(self, ffn_multiple=(0, 256))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class State(NamedTuple):
    """What the past amounts to, of one size whatever its length."""

    time_BD: Tensor
    """The latest input of the time mixing."""
    memory_BHKV: Tensor
    """Faded sum of key-value products."""
    channel_BD: Tensor
    """The latest input of the channel mixing; of no width without one."""


class TimeMixing(nn.Module):
    """Section 4, Finch. With ddlerp(x) = x_t + (x_{t-1} - x_t) * (mix + W_2 tanh(W_1 x'_t)), one for each of w, k, v, r and gate,

    memory_t = diag(exp(-exp(w_t))) memory_{t-1} + k_t' v_t
    out_t = W_out (silu(gate_t) * norm(r_t (memory_{t-1} + diag(u) k_t' v_t)))
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, H, R = config.d_model, config.heads, config.shift_rank
        if D % H:
            raise ConfigError(f"`d_model` = {D} must be a multiple of `heads` = {H}")
        self.heads, self.path = H, config.path
        place_D = torch.arange(D) / max(1, D - 1)
        self.mix_D = nn.Parameter(1 - place_D)
        self.mix_5D = nn.Parameter(1 - place_D ** torch.tensor([1.0, 1.0, 1.0, 0.5, 0.5])[:, None])
        self.shift_in = nn.Linear(D, 5 * R, bias=False)
        self.shift_out_5RD = nn.Parameter(torch.empty(5, R, D).uniform_(-0.01, 0.01))
        self.decay_in, self.decay_out = nn.Linear(D, config.decay_rank, bias=False), nn.Linear(config.decay_rank, D)
        zigzag_D = ((torch.arange(D) + 1) % 3 - 1) * 0.1
        with torch.no_grad():
            self.shift_in.weight.uniform_(-1e-4, 1e-4)
            self.decay_out.weight.uniform_(-0.01, 0.01)
            self.decay_out.bias.copy_(-6 + 5 * place_D**0.7)  # memories of 400 tokens down to three
        self.bonus_HK = nn.Parameter(zigzag_D.view(H, -1))
        self.project_r, self.project_k, self.project_v, self.gate, self.project_out = (
            nn.Linear(D, D, bias=False) for _ in range(5)
        )
        self.norm = nn.GroupNorm(H, D, eps=64e-5)
        for parameter in (self.mix_D, self.mix_5D, self.shift_out_5RD, self.bonus_HK):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(self, x_BTD: Tensor, before_BD: Tensor | None, memory_BHKV: Tensor | None) -> tuple[Tensor, Tensor]:
        step_BTD = one_step_back(x_BTD, before_BD) - x_BTD
        chosen_BT5R = torch.unflatten(self.shift_in(torch.addcmul(x_BTD, step_BTD, self.mix_D)).tanh(), -1, (5, -1))
        mixes = torch.einsum("btsr,srd->sbtd", chosen_BT5R, self.shift_out_5RD) + self.mix_5D[:, None, None]
        w, k, v, r, gate = torch.addcmul(x_BTD, step_BTD, mixes).unbind(0)
        log_decay = -wide(self.decay_out(self.decay_in(w).tanh())).exp()
        parts = (self.project_r(r), self.project_k(k), self.project_v(v), log_decay)
        r_BTHK, k_BTHK, v_BTHK, log_decay_BTHK = (torch.unflatten(part, -1, (self.heads, -1)) for part in parts)
        out_BTHK, memory_BHKV = gla(
            r_BTHK, k_BTHK, v_BTHK, log_decay_BTHK, bonus_HK=self.bonus_HK, state=memory_BHKV, path=self.path
        )
        normed_BTHK = F.layer_norm(out_BTHK, out_BTHK.shape[-1:], eps=self.norm.eps)
        normed_BTD = torch.addcmul(self.norm.bias, normed_BTHK.flatten(2), self.norm.weight)
        return self.project_out(F.silu(self.gate(gate)) * normed_BTD), memory_BHKV


@module("rwkv6", system="C-6", paper="arXiv:2404.05892")
class RWKV6(nn.Module):
    """RWKV-6: time mixing with decays that follow the token and channel mixing, each with a token shift, and a state of fixed size."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, width = config.d_model, round(config.d_model * config.ffn_multiple)
        self.time_norm, self.time = nn.LayerNorm(D), TimeMixing(config)
        self.channel: ChannelMixing | None = None
        if config.ffn_multiple:
            self.channel_norm, self.channel = nn.LayerNorm(D), ChannelMixing(D, width)

    def forward(self, x_BTD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        h_BTD = self.time_norm(x_BTD)
        y_BTD, memory_BHKV = self.time(h_BTD, *((None, None) if state is None else state[:2]))
        x_BTD, latest_BD, channel_BD = x_BTD + y_BTD, h_BTD[:, -1].clone(), x_BTD.new_empty(len(x_BTD), 0)
        if self.channel is not None:
            h_BTD = self.channel_norm(x_BTD)
            x_BTD = x_BTD + self.channel(h_BTD, None if state is None else state.channel_BD)
            channel_BD = h_BTD[:, -1].clone()
        return x_BTD, State(latest_BD, memory_BHKV, channel_BD)

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrices that write into the residual stream."""
        yield self.time.project_out.weight
        if self.channel is not None:
            yield self.channel.narrow.weight

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the latest inputs and the memory, the same after any number of tokens."""
        weight = self.time.project_out.weight
        D, dtype = weight.shape[0], weight.dtype
        memory = D * (D // self.time.heads)  # at least float32, as it is a long sum
        shifts = D * (1 if self.channel is None else 2)
        return batch * (memory * torch.promote_types(dtype, torch.float32).itemsize + shifts * dtype.itemsize)
