"""A transformer block whose feed-forward is a mixture of experts: each token computes one or two of many.

Shapes: B batch, T tokens, N = B T, D model width, E experts, K experts per token, M = N K assignments,
F expert width. Dispatch is dropless (kernels/experts.py), and routes look neither ahead nor at other documents (modules/routing.py),
so any chunking of a document agrees; `expert-choice` alone cannot promise that. The layer of Fedus et al. (2021), without what is added to it here, is

    experts = 8, look_back = false, gate = "probability", own_rate = 0.0, bias_rate = 0.0, even_rate = 0.0, capacity = 1.25
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from kernels.experts import by_expert, experts
from kernels.operators import transformed
from modules.attention import Attention, Cache
from modules.routing import ExpertChoiceRouter, HashRouter, Past, SwitchRouter, recomputed
from modules.settings import ConfigError, check_ranges
from modules.trainer import Recipe
from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 128
    """Width of the residual stream."""
    heads: int = 4
    """Query heads of the attention before the experts."""
    rope: bool = True
    """Rotary positions; off when the decoder learns positions."""
    experts: int = 8
    """Feed-forward experts, of which each token computes `top_k`."""
    top_k: Literal[1, 2] = 1
    """Experts per token."""
    ffn_multiple: float = 4.0
    """Width of each expert over `d_model`."""
    router: Literal["switch", "hash", "expert-choice"] = "switch"
    """`switch` learns where a token goes; `hash` sends each token value to fixed experts; `expert-choice` sees the future and fails the gate."""
    look_back: bool = True
    """The router reads the token before as well; `switch` only."""
    gate: Literal["even", "probability"] = "even"
    """`probability` weighs an expert by its probability, as the paper does; `even` by that over an even share, two by it over their sum."""
    balance_weight: float = 0.01
    """Weight of the balance loss (Fedus et al. 2021, eq. 4); `switch` only."""
    bias_rate: float = 0.05
    """Speed of balancing by bias (after Wang et al. 2024, arXiv:2408.15664); 0 switches it off; `switch` only."""
    even_rate: float = 0.5
    """Speed of balancing within a document, against the loads of its earlier blocks; 0 switches it off; `switch` only."""
    own_rate: float = 0.3
    """Experts are one common feed-forward plus each its own part, which learns at this rate beside it; 0: nothing in common."""
    size_weight: float = 0.0
    """Weight of the router z-loss (Zoph et al. 2022, arXiv:2202.08906, eq. 5); `switch` only."""
    capacity: float = 0.0
    """In training, an expert takes at most this multiple of an even share, the earliest steps first, and drops the rest; 0 drops nothing, ever."""

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), experts=(1, 2**12), ffn_multiple=(1e-3, 256))
        check_ranges(self, balance_weight=(0, 1e6), bias_rate=(0, 1e3), capacity=(0, 2**12))
        check_ranges(self, even_rate=(0, 1e3), own_rate=(0, 1e3), size_weight=(0, 1e6))
        if self.top_k > self.experts:
            raise ConfigError(f"`top_k` = {self.top_k} needs at least as many `experts`, got {self.experts}")


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)
APART = 0.1
"""Size of the experts' own parts at the start; were it none, two experts whose weights add up to one would not teach the router."""


class Experts(nn.Module):
    """E feed-forwards, each applied to the tokens routed to it and to no others: a common part plus each its own."""

    def __init__(self, d_model: int, experts: int, *, multiple: float, capacity: float, own_rate: float = 0.0) -> None:
        super().__init__()
        width = round(d_model * multiple)
        self.capacity, self.own_rate = capacity, own_rate
        widen_EDF = torch.empty(experts, d_model, width).uniform_(-(d_model**-0.5), d_model**-0.5)
        narrow_EFD = torch.empty(experts, width, d_model).uniform_(-(width**-0.5), width**-0.5)
        self.common: nn.ParameterList | None = None
        if own_rate:
            self.common = nn.ParameterList([widen_EDF[0].clone(), narrow_EFD[0].clone()])
            widen_EDF, narrow_EFD = APART * widen_EDF, APART * narrow_EFD
        self.widen_EDF, self.narrow_EFD = nn.Parameter(widen_EDF), nn.Parameter(narrow_EFD)

    def forward(self, x_ND: Tensor, chosen_NK: Tensor, weight_NK: Tensor, *, documents: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """The weighted sum of the chosen experts per token, the load of each expert (E), and what it left out (E).

        Whoever is left out, no token of any of the `documents`, which follow one another, takes the room of one at an earlier step.
        """
        K, E = chosen_NK.shape[1], len(self.widen_EDF)
        if not (self.capacity and self.training):
            order_M, load_E = by_expert(chosen_NK, E)
            return self.added(x_ND, order_M // K, weight_NK.flatten()[order_M], load_E), load_E, torch.zeros_like(load_E)
        token_N = torch.arange(len(x_ND), device=x_ND.device).view(documents, -1).T.flatten()
        order_M, load_E = by_expert(chosen_NK[token_N], E)
        most = math.ceil(self.capacity * len(order_M) / E)
        starts_E = load_E.cumsum(0) - load_E
        rank_M = torch.arange(len(order_M), device=x_ND.device) - starts_E.repeat_interleave(load_E)
        order_M, done_E = order_M[rank_M < most], load_E.clamp(max=most)
        y_ND = self.added(x_ND, token_N[order_M // K], weight_NK[token_N].flatten()[order_M], done_E)
        return y_ND, load_E, load_E - done_E

    def added(self, x_ND: Tensor, token_M: Tensor, weight_M: Tensor, load_E: Tensor) -> Tensor:
        """The weighted sum per token over assignments that are sorted by expert."""
        own, shared = (self.widen_EDF, self.narrow_EFD), None if self.common is None else (self.common[0], self.common[1])
        return experts(x_ND, token_M, weight_M, load_E, *own, shared=shared, scale=self.own_rate)

    def writers(self) -> Iterator[Tensor]:
        """The matrices that write into the residual stream."""
        yield from [self.narrow_EFD] if self.common is None else [self.common[1]]


class Parts(NamedTuple):
    """The attention's cache, and what the router remembers."""

    k_BGSE: Tensor
    v_BGSE: Tensor
    seen: Tensor
    score_BX: Tensor
    load_BE: Tensor
    open_BE: Tensor


class State(Parts):
    """The state of the block; it never changes, so a document may go on from it twice."""

    cache: Cache | None = None

    def attention(self) -> Cache:
        """The cache with the room behind it, if there still is one."""
        return self.cache or Cache(*self[:3])


@module(
    "moe",
    system="S-1",
    paper="arXiv:2101.03961",
    metrics={"load_balance_std": "", "load_share_std": "", "expert_utilization": "", "drop_rate": "", "overruled": ""},
)
class MixtureOfExperts(nn.Module):
    """Attention, then one or two of many feed-forward experts per token, chosen by a learned router or by hash."""

    combined_by: ClassVar = {
        "load_balance_std": max,
        "load_share_std": max,
        "expert_utilization": min,
        "drop_rate": max,
        "overruled": max,
    }
    """The worst layer counts: an even one must not hide one that sends all to one expert."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.wants_tokens = config.router == "hash"
        self.whole_in_training = config.capacity > 0
        self.mixer_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = Attention(config.d_model, heads=config.heads, rope=config.rope)
        self.ffn_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.router = _router(config)
        self.experts = Experts(
            config.d_model,
            config.experts,
            multiple=config.ffn_multiple,
            capacity=config.capacity,
            own_rate=config.own_rate,
        )
        self._load_E: Tensor
        self._dropped_E: Tensor
        self._overruled: Tensor
        self._forget()

    def forward(self, x_BTD: Tensor, state: State | None = None, *, tokens_BT: Tensor | None = None) -> tuple[Tensor, State]:
        """`tokens_BT` is needed by the `hash` router only, and ValueError without it."""
        if not x_BTD.shape[0] * x_BTD.shape[1]:
            raise ValueError("experts for B = {} documents of T = {} steps; hand over at least one of each".format(*x_BTD.shape))
        seen = 0 if state is None else state.seen
        y_BTD, cache = self.mixer(self.mixer_norm(x_BTD), None if state is None else state.attention())
        x_BTD = x_BTD + y_BTD
        h_BTD = self.ffn_norm(x_BTD)
        h_ND = h_BTD.flatten(0, 1)
        past = Past(*(x_BTD.new_zeros(len(x_BTD), 0) for _ in Past._fields))
        if isinstance(self.router, ExpertChoiceRouter):
            token_M, weight_M, load_E, dropped_E = self.router(h_ND)
            y_ND = self.experts.added(h_ND, token_M, weight_M, load_E)
        else:
            if isinstance(self.router, SwitchRouter):
                chosen_NK, weight_NK, past = self.router(h_BTD, None if state is None else Past(*state[3:]), seen=seen)
            elif tokens_BT is None:
                raise ValueError("the `hash` router routes by token value: call the block with `tokens_BT`")
            else:
                chosen_NK, weight_NK = self.router(h_ND, tokens_BT.flatten())
            y_ND, load_E, dropped_E = self.experts(h_ND, chosen_NK, weight_NK, documents=len(x_BTD))
        if not (torch.compiler.is_exporting() or transformed() or recomputed()):  # those have nobody to tell; it has told
            self._load_E, self._dropped_E = self._load_E + load_E, self._dropped_E + dropped_E
            if isinstance(self.router, SwitchRouter):
                self._overruled = self._overruled + self.router.overruled()
        after = State._make((*cache, *past))
        after.cache = cache
        return x_BTD + y_ND.view_as(x_BTD), after

    def auxiliary_loss(self) -> Tensor:
        """The weighted balance and z-loss of the last forward; zero but for the `switch` router."""
        if isinstance(self.router, SwitchRouter):
            c = self.config
            return c.balance_weight * self.router.balance_loss() + c.size_weight * self.router.size_loss()
        return self.ffn_norm.weight.new_zeros(())

    def diagnostics(self) -> dict[str, float]:
        """Balance of all assignments since the last call (empty when there were none); see the functions for definitions."""
        load_E, dropped, overruled = self._load_E.double(), float(self._dropped_E.sum()), float(self._overruled)
        self._forget()
        if not load_E.sum():
            return {}
        told = {
            "load_balance_std": load_balance_std(load_E),
            "load_share_std": load_balance_std(load_E) / len(load_E),
            "expert_utilization": expert_utilization(load_E),
            "drop_rate": dropped / float(load_E.sum()),
        }
        if self.config.router == "switch":
            told["overruled"] = overruled * self.config.top_k / float(load_E.sum())
        return told

    def _forget(self) -> None:
        self._load_E = self._dropped_E = self._overruled = torch.zeros((), dtype=torch.int64, device=self.ffn_norm.weight.device)

    def facts(self) -> dict[str, str | None]:
        """Which kernel computed the attention of the last forward."""
        return {"attention_path": self.mixer.path}

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrices that write into the residual stream."""
        yield self.mixer.project_out.weight
        yield from self.experts.writers()

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the key-value cache after `length` tokens, and of what the learned router remembers."""
        past = (2 + self.config.look_back) * batch * self.config.experts * self.ffn_norm.weight.element_size()
        return self.mixer.state_bytes(batch, length) + (past if isinstance(self.router, SwitchRouter) else 0)


def _router(config: Config) -> HashRouter | SwitchRouter | ExpertChoiceRouter:
    if config.router == "hash":
        return HashRouter(config.experts, top_k=config.top_k)
    if config.router == "expert-choice":
        return ExpertChoiceRouter(config.d_model, config.experts, top_k=config.top_k)
    return SwitchRouter(
        config.d_model,
        config.experts,
        top_k=config.top_k,
        bias_rate=config.bias_rate,
        even_rate=config.even_rate,
        look_back=config.look_back,
        gate=config.gate,
    )


def load_balance_std(load_E: Tensor) -> float:
    """Standard deviation of the experts' loads over their mean load: 0.03 means that loads typically stray 3 % from even.

    The stricter of the two readings of "imbalance"; the standard deviation of the *shares* is E times smaller.
    """
    return float(load_E.std(unbiased=False) / load_E.mean())


def expert_utilization(load_E: Tensor) -> float:
    """Effective number of experts (exponential of the load's entropy) over E: 1 when even, 1/E when one takes all."""
    share_E = load_E / load_E.sum()
    return float(torch.special.entr(share_E).sum().exp() / len(load_E))
