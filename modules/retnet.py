"""RetNet (Sun et al. 2023): attention without softmax whose memory fades at one rate per head, so that it fits in a fixed state.

Shapes: B batch, T tokens, D model width, H heads, K key size per head, V value size per head, J = K / 2 rotated
pairs, W width of the short convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.convolution import short_convolution
from kernels.retention import retention_chunkwise, retention_recurrent
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from modules.transformer import FeedForward
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    heads: int = 4
    """Heads, each with a decay of its own."""
    value_multiple: float = 2.0
    """Width of all values over `d_model`; keys have `d_model`."""
    shortest_memory: float = 32.0
    """Tokens after which the first head has forgotten all but 1/e: its decay is 1 - 1/32."""
    memory_growth: float = 2.0
    """Each further head remembers so many times longer; 2 gives the paper's 1 - 2^-(5 + h)."""
    rotary_base: float = 10000.0
    """Slowest rotation of the keys, in radians^-1 per token."""
    conv_width: int = 0
    """Tokens seen by a causal convolution in front of the projections, the present one included; 0, as in the paper: none."""
    ffn_multiple: float = 2.0
    """Width of the feed-forward over `d_model`; 0 leaves the feed-forward out."""
    path: Literal["auto", "torch"] = "auto"
    """How the recurrence is computed: `auto` takes the fastest kernel that can run, `torch` the plain form everywhere."""
    IMPLEMENTATION = ("path",)

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), value_multiple=(1e-3, 256), shortest_memory=(1.001, 1e9))
        check_ranges(self, memory_growth=(1, 1e3), rotary_base=(1, 1e12), conv_width=(0, 2**16), ffn_multiple=(0, 256))


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)


class State(NamedTuple):
    """What the past amounts to, of one size whatever its length."""

    memory_BHKV: Tensor
    """Faded sum of key-value products, rotated so that the next token stands at position 0."""
    tail_BWD: Tensor
    """The latest W - 1 inputs of the convolution; none without one."""


class Retention(nn.Module):
    """Multi-scale retention, eq. 8: out_t = sum over s <= t of decay^(t-s) <rotate(q, t), rotate(k, s)> v_s, normed and gated."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        D, H, values = config.d_model, config.heads, round(config.d_model * config.value_multiple)
        if D % (2 * H) or values % H:
            raise ConfigError(f"`d_model` = {D} must be a multiple of 2 x `heads` = {2 * H}, and {values} values of `heads`")
        self.heads, self.key_size, self.value_size, self.path = H, D // H, values // H, config.path
        # A key's value stands one token later, and retention by itself has no exact way to look one token back.
        self.conv = nn.Conv1d(D, D, config.conv_width, groups=D) if config.conv_width else None
        self.project_in = nn.Linear(D, 2 * D + 2 * values, bias=False)
        self.norm = nn.GroupNorm(H, values)
        self.project_out = nn.Linear(values, D, bias=False)
        memory_H = config.shortest_memory * config.memory_growth ** torch.arange(H, dtype=torch.float64)
        # No buffers: `model.to(bfloat16)` would round these, and the error of an angle grows with its position.
        self.log_decay_H = torch.log1p(-1 / memory_H)
        self.turn_J = config.rotary_base ** -torch.linspace(0, 1, self.key_size // 2, dtype=torch.float64)

    def forward(self, x_BTD: Tensor, state: State | None) -> tuple[Tensor, State]:
        B, T, D = x_BTD.shape
        values = self.heads * self.value_size
        tail_BWD = x_BTD.new_empty(B, 0, D)
        if self.conv is not None:
            before_BWD = x_BTD.new_zeros(B, self.conv.kernel_size[0] - 1, D) if state is None else state.tail_BWD
            seen_BSD = torch.cat((before_BWD, x_BTD), dim=1)
            x_BTD, tail_BWD = short_convolution(seen_BSD, self.conv.weight[:, 0], self.conv.bias), seen_BSD[:, T:].clone()
        q, k, v, gate = torch.split(self.project_in(x_BTD), [D, D, values, values], dim=-1)
        q_BTHK, k_BTHK = (x.view(B, T, self.heads, self.key_size) for x in (q, k))
        v_BTHV = v.view(B, T, self.heads, self.value_size)

        turn_J = self.turn_J.to(x_BTD.device)
        log_decay_H = self.log_decay_H.to(x_BTD.device, torch.promote_types(x_BTD.dtype, torch.float32))
        angle_TJ = torch.arange(T, device=x_BTD.device)[:, None] * turn_J
        q_BTHK, k_BTHK = (rotate(x, angle_TJ[:, None]) for x in (q_BTHK, k_BTHK))
        memory = None if state is None else state.memory_BHKV
        if T == 1:
            out_BTHV, memory_BHKV = retention_recurrent(q_BTHK, k_BTHK, v_BTHV, log_decay_H, state=memory)
        else:
            out_BTHV, memory_BHKV = retention_chunkwise(q_BTHK, k_BTHK, v_BTHV, log_decay_H, state=memory, path=self.path)
        # Only differences of positions count, so the memory is turned back by T instead of counting positions for ever.
        memory_BHKV = rotate(memory_BHKV.mT, -T * turn_J).mT.contiguous()

        normed_BTD = self._normed(out_BTHV).view(B, T, values)
        return self.project_out(F.silu(gate) * normed_BTD), State(memory_BHKV, tail_BWD)

    def _normed(self, out_BTHV: Tensor) -> Tensor:
        """The group norm; to torch it is a layer norm of each head, which trains almost twice as fast."""
        normed_BTHV = F.layer_norm(out_BTHV.to(self.norm.weight.dtype), (self.value_size,), eps=self.norm.eps)
        return torch.addcmul(self.norm.bias, normed_BTHV.flatten(-2), self.norm.weight)


def rotate(x: Tensor, angle: Tensor) -> Tensor:
    """Turn the pairs (x_2j, x_(2j+1)) of the last axis by `angle`, which broadcasts to (..., J); in float32 at least.

    One product of complex numbers trains four times as fast as the four real products that it stands for.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if torch.compiler.is_compiling():  # compilers and ONNX know no complex numbers
        (a, b), cos, sin = torch.unflatten(x, -1, (-1, 2)).unbind(-1), angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)
    turn = torch.polar(torch.ones_like(angle), angle).to(x.dtype.to_complex())
    return torch.view_as_real(torch.view_as_complex(torch.unflatten(x, -1, (-1, 2)).contiguous()) * turn).flatten(-2)


@module("retnet", system="C-1", paper="arXiv:2307.08621")
class RetNet(nn.Module):
    """Retention in place of attention, with a state of fixed size, then a feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = Retention(config)
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
        """Bytes of the memory and the convolution's tail, the same after any number of tokens."""
        m, dtype = self.mixer, self.mixer.project_in.weight.dtype
        tail = (m.conv.kernel_size[0] - 1) * m.conv.in_channels if m.conv else 0
        memory = m.heads * m.key_size * m.value_size  # at least float32, as it is a long sum
        return batch * (memory * torch.promote_types(dtype, torch.float32).itemsize + tail * dtype.itemsize)
