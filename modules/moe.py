"""A transformer block whose feed-forward is a mixture of experts: each token computes one or two of many.

Shapes: B batch, T tokens, N = B T, D model width, E experts, K experts per token, M = N K assignments, F expert width.
Dispatch is dropless: assignments are sorted by expert, each expert multiplies its own contiguous slice, and the results
are added back to their tokens. No token waits for, or is displaced by, another, so any chunking of a document agrees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.attention import Attention, Cache
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
    router: Literal["switch", "hash"] = "switch"
    """`switch` learns where a token goes; `hash` sends each token value to fixed experts."""
    balance_weight: float = 0.01
    """Weight of the balance loss (Fedus et al. 2021, eq. 4); `switch` only."""
    bias_rate: float = 0.2
    """Speed of balancing by bias (after Wang et al. 2024, arXiv:2408.15664); 0 switches it off; `switch` only."""
    capacity: float = 0.0
    """In training, an expert takes at most this multiple of an even share and drops the rest; 0 drops nothing, ever."""

    def __post_init__(self) -> None:
        check_ranges(self, d_model=(1, 2**16), heads=(1, 2**12), experts=(1, 2**12), ffn_multiple=(1e-3, 256))
        check_ranges(self, balance_weight=(0, 1e6), bias_rate=(0, 1e3), capacity=(0, 2**12))
        if self.top_k > self.experts:
            raise ConfigError(f"`top_k` = {self.top_k} needs at least as many `experts`, got {self.experts}")


RECIPE = Recipe(lr=4e-3, weight_decay=0.1)
SETTLING = 0.1
"""Weight of the latest batch in the bias that evaluation uses."""


class HashRouter(nn.Module):
    """Sends each token value to fixed experts, equally weighted, by arithmetic alone (Roller et al. 2021, random hash)."""

    def __init__(self, experts: int, *, top_k: int) -> None:
        super().__init__()
        self.experts, self.top_k = experts, top_k
        self.salt: Tensor
        self.register_buffer("salt", torch.randint(2**30, (1,)))

    def forward(self, x_ND: Tensor, tokens_N: Tensor) -> tuple[Tensor, Tensor]:
        mixed_N = (tokens_N + self.salt) * 0x9E3779B1
        first_N = (mixed_N >> 15) % self.experts
        chosen_NK = first_N.unsqueeze(1)
        if self.top_k == 2:
            apart_N = 1 + (mixed_N >> 7) % (self.experts - 1)
            chosen_NK = torch.stack([first_N, (first_N + apart_N) % self.experts], dim=1)
        return chosen_NK, x_ND.new_full(chosen_NK.shape, 1 / self.top_k)


class SwitchRouter(nn.Module):
    """Learns where tokens go: the top of a softmax, one expert weighted by its probability or two renormalised.

    A bias per expert takes part in the choice and not in the weights. Each training batch moves it against the expert's excess
    load, in units of the logits' spread so that one rate suits a young and a decided router. Evaluation uses the bias
    averaged over recent batches; it is constant there, so the route of a token depends on that token alone.
    """

    def __init__(self, d_model: int, experts: int, *, top_k: int, bias_rate: float) -> None:
        super().__init__()
        self.experts, self.top_k, self.bias_rate = experts, top_k, bias_rate
        self.score = nn.Linear(d_model, experts, bias=False)
        nn.init.normal_(self.score.weight, std=0.1 * d_model**-0.5)
        self.bias_E: Tensor
        self.register_buffer("bias_E", torch.zeros(experts))
        self.settled_E: Tensor
        self.register_buffer("settled_E", torch.zeros(experts))
        self._probability_E = torch.full((experts,), 1 / experts)
        self._share_E = torch.full((experts,), 1 / experts)

    def forward(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        logit_NE = self.score(x_ND)
        probability_NE = logit_NE.softmax(dim=-1)
        biased_NE = logit_NE.detach() + (self.bias_E if self.training else self.settled_E)
        chosen_NK = biased_NE.topk(self.top_k, dim=-1).indices
        weight_NK = probability_NE.gather(1, chosen_NK)
        if self.top_k > 1:
            weight_NK = weight_NK / weight_NK.sum(dim=-1, keepdim=True)
        self._probability_E = probability_NE.mean(dim=0)
        self._share_E = torch.bincount(chosen_NK.flatten(), minlength=self.experts) / chosen_NK.numel()
        if self.training and self.bias_rate:
            self._balance(logit_NE.detach())
        return chosen_NK, weight_NK

    def _balance(self, logit_NE: Tensor) -> None:
        excess_E = (self.experts * self._share_E - 1).clamp(max=1)
        self.bias_E -= self.bias_rate * logit_NE.std(dim=0, unbiased=False).mean() * excess_E
        self.settled_E.lerp_(self.bias_E, SETTLING)

    def balance_loss(self) -> Tensor:
        """E times the sum over experts of load share and mean probability, of the last forward; 1 when even (eq. 4)."""
        return self.experts * (self._share_E * self._probability_E).sum()


class Experts(nn.Module):
    """E feed-forwards in two stacked matrices, each applied to the tokens routed to it and to no others."""

    def __init__(self, d_model: int, experts: int, *, multiple: float, capacity: float) -> None:
        super().__init__()
        width = round(d_model * multiple)
        self.capacity = capacity
        self.widen_EDF = nn.Parameter(torch.empty(experts, d_model, width).uniform_(-(d_model**-0.5), d_model**-0.5))
        self.narrow_EFD = nn.Parameter(torch.empty(experts, width, d_model).uniform_(-(width**-0.5), width**-0.5))

    def forward(self, x_ND: Tensor, chosen_NK: Tensor, weight_NK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The weighted sum of the chosen experts per token, the load of each expert (E), and what it left out (E)."""
        if not len(x_ND):
            raise ValueError("a mixture of experts of no tokens (T = 0); hand over at least one")
        E, K = len(self.widen_EDF), chosen_NK.shape[1]
        expert_M, order_M = chosen_NK.flatten().sort(stable=True)
        load_E = torch.bincount(expert_M, minlength=E)
        done_E = load_E
        if self.capacity and self.training:
            most = math.ceil(self.capacity * len(order_M) / E)
            rank_M = torch.arange(len(order_M), device=x_ND.device) - (load_E.cumsum(0) - load_E)[expert_M]
            order_M = order_M[rank_M < most]
            done_E = load_E.clamp(max=most)
        token_M = order_M // K
        slices = torch.split(x_ND[token_M], done_E.tolist())
        matrices = zip(slices, self.widen_EDF.unbind(), self.narrow_EFD.unbind(), strict=True)
        y_MD = torch.cat([F.gelu(x_mD @ widen_DF) @ narrow_FD for x_mD, widen_DF, narrow_FD in matrices if len(x_mD)])
        y_MD = y_MD * weight_NK.flatten()[order_M].unsqueeze(1)
        return torch.zeros_like(x_ND).index_add(0, token_M, y_MD), load_E, load_E - done_E


@module(
    "moe",
    system="S-1",
    paper="arXiv:2101.03961",
    metrics={"load_balance_std": "", "load_share_std": "", "expert_utilization": "", "drop_rate": ""},
)
class MixtureOfExperts(nn.Module):
    """Attention, then one or two of many feed-forward experts per token, chosen by a learned router or by hash."""

    combined_by: ClassVar = {"load_balance_std": max, "load_share_std": max, "expert_utilization": min, "drop_rate": max}
    """The worst layer counts: an even one must not hide one that sends all to one expert."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.wants_tokens = config.router == "hash"
        self.mixer_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.mixer = Attention(config.d_model, heads=config.heads, rope=config.rope)
        self.ffn_norm = nn.RMSNorm(config.d_model, eps=1e-6)
        self.router: HashRouter | SwitchRouter = (
            HashRouter(config.experts, top_k=config.top_k)
            if config.router == "hash"
            else SwitchRouter(config.d_model, config.experts, top_k=config.top_k, bias_rate=config.bias_rate)
        )
        self.experts = Experts(config.d_model, config.experts, multiple=config.ffn_multiple, capacity=config.capacity)
        self._load_E: Tensor
        self._dropped_E: Tensor
        self._forget()

    def forward(self, x_BTD: Tensor, state: Cache | None = None, *, tokens_BT: Tensor | None = None) -> tuple[Tensor, Cache]:
        """`tokens_BT` is needed by the `hash` router only, and ValueError without it."""
        y_BTD, state = self.mixer(self.mixer_norm(x_BTD), state)
        x_BTD = x_BTD + y_BTD
        h_ND = self.ffn_norm(x_BTD).flatten(0, 1)
        if isinstance(self.router, SwitchRouter):
            chosen_NK, weight_NK = self.router(h_ND)
        elif tokens_BT is None:
            raise ValueError("the `hash` router routes by token value: call the block with `tokens_BT`")
        else:
            chosen_NK, weight_NK = self.router(h_ND, tokens_BT.flatten())
        y_ND, load_E, dropped_E = self.experts(h_ND, chosen_NK, weight_NK)
        self._load_E, self._dropped_E = self._load_E + load_E, self._dropped_E + dropped_E
        return x_BTD + y_ND.view_as(x_BTD), state

    def auxiliary_loss(self) -> Tensor:
        """The weighted balance loss of the last forward; zero for the `hash` router."""
        if isinstance(self.router, SwitchRouter):
            return self.config.balance_weight * self.router.balance_loss()
        return self.ffn_norm.weight.new_zeros(())

    def diagnostics(self) -> dict[str, float]:
        """Balance of all assignments since the last call (empty when there were none); see the functions for definitions."""
        load_E, dropped = self._load_E.double(), float(self._dropped_E.sum())
        self._forget()
        if not load_E.sum():
            return {}
        return {
            "load_balance_std": load_balance_std(load_E),
            "load_share_std": load_balance_std(load_E) / len(load_E),
            "expert_utilization": expert_utilization(load_E),
            "drop_rate": dropped / float(load_E.sum()),
        }

    def _forget(self) -> None:
        self._load_E = self._dropped_E = torch.zeros((), dtype=torch.int64, device=self.ffn_norm.weight.device)

    def facts(self) -> dict[str, str | None]:
        """Which kernel computed the attention of the last forward."""
        return {"attention_path": self.mixer.path}

    def residual_weights(self) -> Iterator[Tensor]:
        """The matrices that write into the residual stream."""
        yield self.mixer.project_out.weight
        yield self.experts.narrow_EFD

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the key-value cache after `length` tokens; routing keeps no state."""
        return self.mixer.state_bytes(batch, length)


def load_balance_std(load_E: Tensor) -> float:
    """Standard deviation of the experts' loads over their mean load: 0.03 means that loads typically stray 3 % from even.

    The stricter of the two readings of "imbalance"; the standard deviation of the *shares* is E times smaller.
    """
    return float(load_E.std(unbiased=False) / load_E.mean())


def expert_utilization(load_E: Tensor) -> float:
    """Effective number of experts (exponential of the load's entropy) over E: 1 when even, 1/E when one takes all."""
    share_E = load_E / load_E.sum()
    return float(torch.special.entr(share_E).sum().exp() / len(load_E))
