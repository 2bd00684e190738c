"""Mamba-2 (Dao & Gu 2024): a state space with one decay per head, so that a chunk of it is matrix products and states may be large.

Shapes: B batch, T tokens, D model width, E inner channels = H heads of P, G groups of heads that share input and readout, N states per
channel, X = E + 2 G N channels of the convolution, W its width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.convolution import silu_convolution
from kernels.precision import wide
from kernels.simple_gla import simple_gla
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    d_state: int = 64
    """States per inner channel; all channels of a head share their decay."""
    expand: int = 2
    """Inner channels over `d_model`."""
    heads: int = 4
    """Heads, each with a decay and a step size of its own."""
    groups: int = 1
    """Groups of heads with the same input B and readout C, as multi-value attention shares keys and queries."""
    conv_width: int = 4
    """Tokens that the causal convolution sees, the present one included."""
    dt_min: float = 1e-3
    """Smallest step size at the start; a head's steps begin between `dt_min` and `dt_max`, log-uniformly."""
    dt_max: float = 0.1
    """Largest step size at the start."""
    A_max: float = 16.0
    """Rates of decay start between 1 and `A_max`, uniformly."""
    path: Literal["auto", "torch"] = "auto"
    """How the recurrence is computed: `auto` takes the fastest kernel that can run, `torch` the plain form everywhere."""
    IMPLEMENTATION = ("path",)

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), d_state=(1, 2**16), expand=(1, 256), heads=(1, 2**12), groups=(1, 2**12))
        check_ranges(self, conv_width=(1, 2**16), dt_max=(1e-9, 1e3), A_max=(1, 1e6))
        check_ranges(self, dt_min=(1e-9, self.dt_max))
        if self.d_model * self.expand % self.heads or self.heads % self.groups:
            channels = self.d_model * self.expand
            raise ConfigError(
                f"{channels} inner channels must be a multiple of `heads` = {self.heads}, and they of `groups` = {self.groups}"
            )


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class State(NamedTuple):
    """What the past amounts to, of one size whatever its length."""

    tail_BWX: Tensor
    """The latest W - 1 inputs of the convolution."""
    memory_BHNP: Tensor
    """The state space's state."""


class SSD(nn.Module):
    """Section 7.1: out = W_out norm(silu(z) * ssm(x, B, C, dt)), with (x, B, C) behind a convolution; in a head with dt_t > 0

    state_t = exp(-dt_t A) state_{t-1} + dt_t B_t' x_t        ssm_t = C_t state_t + skip x_t
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, E, H, W = config.d_model, config.d_model * config.expand, config.heads, config.conv_width
        shared = config.groups * config.d_state
        self.heads, self.groups, self.sizes, self.path = H, config.groups, [E, shared, shared], config.path
        self.project_in = nn.Linear(D, 2 * E + 2 * shared + H, bias=False)
        self.conv = nn.Conv1d(sum(self.sizes), sum(self.sizes), W, groups=sum(self.sizes))
        self.norm_weight_E = nn.Parameter(torch.ones(E))
        self.project_out = nn.Linear(E, D, bias=False)
        self.A_log_H = nn.Parameter(torch.empty(H).uniform_(1, config.A_max).log())
        dt_H = torch.empty(H).uniform_(math.log(config.dt_min), math.log(config.dt_max)).exp()
        self.dt_bias_H = nn.Parameter(dt_H.expm1().log())  # softplus brings `dt_H` back
        self.skip_H = nn.Parameter(torch.ones(H))
        for parameter in (self.A_log_H, self.dt_bias_H, self.skip_H):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(self, x_BTD: Tensor, state: State | None) -> tuple[Tensor, State]:
        B, T, _ = x_BTD.shape
        E, H = self.sizes[0], self.heads
        gate_BTE, mixed_BTX, dt_BTH = torch.split(self.project_in(x_BTD), [E, sum(self.sizes), H], dim=-1)
        W = self.conv.kernel_size[0]
        before_BWX = mixed_BTX.new_zeros(B, W - 1, sum(self.sizes)) if state is None else state.tail_BWX
        tail_BWX = torch.cat((before_BWX[:, T:], mixed_BTX[:, max(0, T - W + 1) :]), dim=1)
        mixed_BTX = silu_convolution(mixed_BTX, before_BWX, self.conv.weight[:, 0], self.conv.bias)
        x, k, q = torch.split(mixed_BTX, self.sizes, dim=-1)
        x_BTHP, k_BTGN, q_BTGN = (
            torch.unflatten(t, -1, (heads, -1)) for t, heads in ((x, H), (k, self.groups), (q, self.groups))
        )

        dt_BTH = F.softplus(wide(dt_BTH) + wide(self.dt_bias_H))
        y_BTHP, memory_BHNP = simple_gla(
            q_BTGN,
            k_BTGN,
            x_BTHP * dt_BTH[..., None],
            -dt_BTH * wide(self.A_log_H).exp(),
            state=None if state is None else state.memory_BHNP,
            path=self.path,
        )
        y_BTHP = torch.addcmul(y_BTHP, x_BTHP, self.skip_H[:, None])
        normed_BTE = self._normed(y_BTHP.view(B, T, E) * F.silu(gate_BTE))
        return self.project_out(normed_BTE), State(tail_BWX, memory_BHNP)

    def _normed(self, y_BTE: Tensor) -> Tensor:
        """Root mean square within each group, as training over several devices would want it."""
        y_BTGX = torch.unflatten(y_BTE, -1, (self.groups, -1))
        return self.norm_weight_E * F.rms_norm(y_BTGX, (y_BTGX.shape[-1],), eps=1e-5).flatten(-2).to(self.norm_weight_E.dtype)


@module("mamba2", system="C-2", paper="arXiv:2405.21060")
class Mamba2(nn.Module):
    """State space duality: Mamba with one decay per head, computed as matrix products; it needs no feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = SSD(config)

    def forward(self, x_BTD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        y_BTD, state = self.mixer(self.norm(x_BTD), state)
        return x_BTD + y_BTD, state

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrix that writes into the residual stream."""
        yield self.mixer.project_out.weight

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the convolution's tail and the state space's state, the same after any number of tokens."""
        c, dtype = self.config, self.mixer.project_in.weight.dtype
        tail = (c.conv_width - 1) * sum(self.mixer.sizes)
        memory = c.d_model * c.expand * c.d_state  # at least float32, as it is a long sum
        return batch * (memory * torch.promote_types(dtype, torch.float32).itemsize + tail * dtype.itemsize)
