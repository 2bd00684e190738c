"""Mamba (Gu & Dao 2023): a state space whose step size, input and readout follow the input, with a state of fixed size.

Shapes: B batch, T tokens, D model width, E inner channels, N states per channel, R rank of the step size, W width of the convolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from kernels.convolution import silu_convolution
from kernels.scan import selective_scan
from modules.settings import check_ranges
from modules.trainer import Recipe
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    d_state: int = 16
    """States per inner channel."""
    expand: int = 2
    """Inner channels over `d_model`."""
    conv_width: int = 4
    """Tokens that the causal convolution sees, the present one included."""
    dt_rank: int = 0
    """Rank of the projection to step sizes; 0 means `d_model` / 16, rounded up."""
    dt_min: float = 1e-3
    """Smallest step size at the start; a channel's steps begin between `dt_min` and `dt_max`, log-uniformly."""
    dt_max: float = 0.1
    """Largest step size at the start."""
    decay: float = 0.0
    """Rate at which every state decays at the start; 0 means S4D-real, state n at rate n."""
    norm: bool = False
    """Whether B and C are brought to unit size (RMSNorm), as in Jamba (arXiv:2403.19887); the paper leaves them as they are."""
    path: Literal["auto", "torch"] = "auto"
    """How the recurrence is computed: `auto` takes the fastest kernel that can run, `torch` the plain form everywhere."""
    IMPLEMENTATION = ("path",)

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), d_state=(1, 2**16), expand=(1, 256), conv_width=(1, 2**16), dt_rank=(0, 2**16))
        check_ranges(self, dt_max=(1e-9, 1e3))
        check_ranges(self, dt_min=(1e-9, self.dt_max), decay=(0, 1e6))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class State(NamedTuple):
    """What the past amounts to, of one size whatever its length."""

    tail_BWE: Tensor
    """The latest W - 1 inputs of the convolution."""
    memory_BEN: Tensor
    """The state space's state."""


class SelectiveSSM(nn.Module):
    """Algorithm 2 between two projections: out = W_out (silu(z) * ssm(silu(conv(x)))), (x, z) = W_in input."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, E, N, W = config.d_model, config.d_model * config.expand, config.d_state, config.conv_width
        R = config.dt_rank or math.ceil(D / 16)
        self.sizes, self.path = [R, N, N], config.path
        self.project_in = nn.Linear(D, 2 * E, bias=False)
        self.conv = nn.Conv1d(E, E, W, groups=E)
        self.project_x = nn.Linear(E, sum(self.sizes), bias=False)
        self.project_dt = nn.Linear(R, E)
        self.project_out = nn.Linear(E, D, bias=False)
        # Small products of B and C hide the memory behind the skip `D`, and large steps, which would write more, also forget more.
        self.norm_B = nn.RMSNorm(N, eps=1e-6) if config.norm else nn.Identity()
        self.norm_C = nn.RMSNorm(N, eps=1e-6) if config.norm else nn.Identity()
        # S4D-real: state n decays n times as fast (section 3.6); the logarithm keeps A negative
        rate_N = torch.full((N,), config.decay) if config.decay else torch.arange(1.0, N + 1)
        self.A_log_EN = nn.Parameter(rate_N.log().repeat(E, 1))
        self.D_E = nn.Parameter(torch.ones(E))
        for parameter in (self.A_log_EN, self.D_E):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]
        nn.init.uniform_(self.project_dt.weight, -(R**-0.5), R**-0.5)
        dt_E = torch.empty(E).uniform_(math.log(config.dt_min), math.log(config.dt_max)).exp()
        with torch.no_grad():
            self.project_dt.bias.copy_(dt_E.expm1().log())  # softplus brings `dt_E` back

    def forward(self, x_BTD: Tensor, state: State | None) -> tuple[Tensor, State]:
        x_BTE, gate_BTE = self.project_in(x_BTD).chunk(2, dim=-1)
        B, T, E = x_BTE.shape
        W = self.conv.kernel_size[0]
        before_BWE = x_BTE.new_zeros(B, W - 1, E) if state is None else state.tail_BWE
        tail_BWE = torch.cat((before_BWE[:, T:], x_BTE[:, max(0, T - W + 1) :]), dim=1)
        x_BTE = silu_convolution(x_BTE, before_BWE, self.conv.weight[:, 0], self.conv.bias)
        dt_BTR, B_BTN, C_BTN = torch.split(self.project_x(x_BTE), self.sizes, dim=-1)
        y_BTE, memory_BEN = selective_scan(
            x_BTE,
            self.project_dt(dt_BTR),
            -self.A_log_EN.exp(),
            self.norm_B(B_BTN),
            self.norm_C(C_BTN),
            self.D_E,
            gate_BTE=gate_BTE,
            state=None if state is None else state.memory_BEN,
            softplus=True,
            path=self.path,
        )
        return self.project_out(y_BTE), State(tail_BWE, memory_BEN)


@module("mamba", system="C-2", paper="arXiv:2312.00752")
class Mamba(nn.Module):
    """Selective state space in linear time, with a state of fixed size; it mixes channels itself and needs no feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = SelectiveSSM(config)

    def forward(self, x_BTD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        y_BTD, state = self.mixer(self.norm(x_BTD), state)
        return x_BTD + y_BTD, state

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrix that writes into the residual stream."""
        yield self.mixer.project_out.weight

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the convolution's tail and the state space's state, the same after any number of tokens."""
        c, dtype = self.config, self.mixer.A_log_EN.dtype
        memory = c.d_state * torch.promote_types(dtype, torch.float32).itemsize  # at least float32, as it is a long sum
        return batch * c.expand * c.d_model * ((c.conv_width - 1) * dtype.itemsize + memory)
