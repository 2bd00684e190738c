"""Hyena (Poli et al. 2023): gates and long convolutions in place of attention, with filters that a small network draws over time.

Shapes: B batch, T tokens, D model width, N gates, C = N - 1 long convolutions, L taps of a filter, W taps of the short filters,
S latest inputs of the long convolutions, P positional features, M width of the filter network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kernels.convolution import causal_convolution
from kernels.fft_convolution import Ahead, Taps, fft_convolution, fft_convolution_step
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from modules.transformer import FeedForward
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    order: int = 2
    """Gates, with a long convolution between any two of them; 2 as in the paper's language models."""
    filter_length: int = 1024
    """Taps of a filter: each output sees so many inputs, and a document may be of any length."""
    filter_width: int = 64
    """Width of the network that draws the filters."""
    filter_depth: int = 2
    """Hidden layers of that network after its first."""
    features: int = 33
    """Positional features: the time, and cosines and sines of half as many frequencies; odd."""
    frequency: float = 1.0
    """Factor inside the network's sines at the start; the higher, the rougher the filters. The paper's is 10; 1 learns faster."""
    fast_decay: float = 0.3
    """Share of `filter_length` after which the first channel's window has faded to 1 %."""
    slow_decay: float = 1.5
    """The same of the last channel; between them the rates lie evenly."""
    window_bias: float = 0.0
    """Added to every window, so that no filter must fade to nothing. The paper adds one in practice; its standalone code has 0, as here."""
    conv_width: int = 3
    """Tokens seen by the short convolution of the projections, the present one included."""
    ffn_multiple: float = 4.0
    """Width of the feed-forward over `d_model`; 0 leaves the feed-forward out."""

    def __post_init__(self) -> None:
        check_ranges(
            self, d_model=(1, 2**16), order=(2, 64), filter_length=(1, 2**26), filter_width=(1, 2**16), filter_depth=(0, 64)
        )
        check_ranges(self, features=(1, 2**12), frequency=(1e-6, 1e6), fast_decay=(1e-6, 1e6), slow_decay=(1e-6, 1e6))
        check_ranges(self, window_bias=(0, 1), conv_width=(1, 2**16), ffn_multiple=(0, 256))
        if self.features % 2 == 0:
            raise ConfigError(f"`features` = {self.features} must be odd: the time, then pairs of a cosine and a sine")


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class Parts(NamedTuple):
    """What the past amounts to: it grows up to the length of the filters and then stays."""

    tail_BWX: Tensor
    """The latest W - 1 projections, X = (N + 1) D."""
    past_BSX: Tensor
    """The latest inputs of all long convolutions, at most L - 1, X = C D."""


class State(Parts):
    """The state of Hyena; single steps without gradients leave behind it what they have worked out for the next ones."""

    ahead: tuple[Ahead | None, ...] = ()


class Sine(nn.Module):
    """sin(f x), with a trained f for each channel (Sitzmann et al. 2020)."""

    def __init__(self, width: int, frequency: float) -> None:
        super().__init__()
        self.frequency_M = nn.Parameter(torch.full((width,), frequency))

    def forward(self, x_LM: Tensor) -> Tensor:
        return torch.sin(self.frequency_M * x_LM)


class Filters(nn.Module):
    """h_t = window(t) network(features(t)) and a weight of the present input beside it (eq. 7 and app. D.3)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c, M = config, config.filter_width
        self.config, self.channels = config, (config.order - 1) * config.d_model
        layers: list[nn.Module] = [nn.Linear(c.features, M), Sine(M, c.frequency)]
        for _ in range(c.filter_depth):
            layers += [nn.Linear(M, M), Sine(M, c.frequency)]
        last = nn.Linear(M, self.channels, bias=False)
        self.network = nn.Sequential(*layers, last)
        self.bias_X = nn.Parameter(torch.randn(self.channels))
        # No buffers: `model.to(bfloat16)` would round these.
        self.features_LP, self.window_LX = self._features(), self._window()
        with (
            torch.no_grad()
        ):  # rough filters (sines of any angle) get unit energy, which leaves noise as large as it was; smooth ones less
            last.weight *= (self.window_LX.square().sum(0) / 6).rsqrt()[:, None]
        self._kept: tuple[list[Tensor], tuple[Taps, ...]] | None = None

    def _features(self) -> Tensor:
        """(L, P): the time t / (L - 1), then cosines and sines of (P - 1) / 2 waves over the filter's length."""
        L, bands = self.config.filter_length, (self.config.features - 1) // 2
        place_L = torch.arange(L, dtype=torch.float64)
        wave_LP = torch.outer(place_L * (2 * math.pi / L), torch.linspace(1e-4, max(bands - 1, 1e-4), bands, dtype=torch.float64))
        return torch.cat((place_L[:, None] / max(L - 1, 1), wave_LP.cos(), -wave_LP.sin()), dim=1).float()

    def _window(self) -> Tensor:
        """(L, X): exponential decays whose rates lie evenly between those of `slow_decay` and `fast_decay`, and `window_bias`."""
        c = self.config
        time_L = torch.arange(c.filter_length, dtype=torch.float64) / max(c.filter_length - 1, 1)
        rate_X = math.log(100) * torch.linspace(1 / c.slow_decay, 1 / c.fast_decay, self.channels, dtype=torch.float64)
        return (torch.exp(-torch.outer(time_L, rate_X)) + c.window_bias).float()

    def forward(self, seen: int) -> tuple[Taps, ...]:
        """One filter for each convolution of `seen` inputs, at least as far as it reaches beyond them.

        Without gradients: all of it, and the same objects as before while every weight is what it was. Weights are compared number by
        number, which costs some microseconds: torch counts no change that comes through `.data`, numpy or another process.
        """
        if _recorded():
            return self._drawn(seen + 1)
        kept, now = self._kept, list(self.parameters())
        if kept is None or not all(_alike(was, is_) for was, is_ in zip(kept[0], now, strict=True)):
            kept = self._kept = [p.detach().clone() for p in now], self._drawn(self.config.filter_length)
        return kept[1]

    def _drawn(self, count: int) -> tuple[Taps, ...]:
        taps_LX = self.network(self.features_LP[:count].to(self.bias_X)) * self.window_LX[:count].to(self.bias_X)
        taps_LX = torch.cat((taps_LX[:1] + self.bias_X, taps_LX[1:]))
        return tuple(Taps(taps_LD) for taps_LD in taps_LX.chunk(self.config.order - 1, dim=1))


def _recorded() -> bool:
    """Whether gradients or a program are being made, neither of which can come back to what was kept."""
    return torch.is_grad_enabled() or torch.compiler.is_compiling()


def _alike(was: Tensor, now: Tensor) -> bool:
    return was.dtype == now.dtype and was.device == now.device and torch.equal(was, now)


class HyenaOperator(nn.Module):
    """Def. 3.1: v, then gates and long convolutions in turn; the innermost convolution is the short one, as in published code."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, X = config.d_model, (config.order + 1) * config.d_model
        self.project_in = nn.Linear(D, X)
        self.conv = nn.Conv1d(X, X, config.conv_width, groups=X)
        self.filters = Filters(config)
        self.project_out = nn.Linear(D, D)

    def forward(self, x_BTD: Tensor, state: State | None) -> tuple[Tensor, State]:
        B, T, D = x_BTD.shape
        projected_BTX, W = self.project_in(x_BTD), self.conv.kernel_size[0]
        before_BWX = projected_BTX.new_zeros(B, W - 1, projected_BTX.shape[2]) if state is None else state.tail_BWX
        mixed_BTX = causal_convolution(projected_BTX, before_BWX, self.conv.weight[:, 0], self.conv.bias)
        first_BTD, *gates, u_BTD = torch.split(mixed_BTX, D, dim=-1)

        filters = self.filters(T if state is None else state.past_BSX.shape[1] + T)
        pasts = [None] * len(filters) if state is None else torch.split(state.past_BSX, D, dim=-1)
        works = state.ahead if state is not None and state.ahead else (None,) * len(filters)
        left, ahead = [], []
        for gate_BTD, taps, past_BSD, work in zip(reversed(gates), filters, pasts, works, strict=True):
            u_BTD = gate_BTD * u_BTD
            if T == 1 and not _recorded():
                u_BTD, past_BSD, work = fft_convolution_step(u_BTD, taps, state=past_BSD, ahead=work)
            else:
                (u_BTD, past_BSD), work = fft_convolution(u_BTD, taps, state=past_BSD), None
            left.append(past_BSD)
            ahead.append(work)
        tail_BWX = torch.cat((before_BWX[:, T:], projected_BTX[:, max(0, T - W + 1) :]), dim=1)
        after = State(tail_BWX, left[0] if len(left) == 1 else torch.cat(left, dim=-1))
        after.ahead = tuple(ahead)
        y_BTD: Tensor = self.project_out(first_BTD * u_BTD)
        return y_BTD, after


@module("hyena", system="C-3", paper="arXiv:2302.10866")
class Hyena(nn.Module):
    """Long implicit convolutions between gates in place of attention, then a feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.mixer_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = HyenaOperator(config)
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
        """Bytes of the inputs that the filters still reach: linear in the length up to theirs, then constant.

        Single steps keep up to as much again beside it.
        """
        c = self.config
        past = min(length, c.filter_length - 1) * (c.order - 1) * c.d_model
        tail = (c.conv_width - 1) * (c.order + 1) * c.d_model
        return batch * (past + tail) * self.mixer.project_in.weight.element_size()
