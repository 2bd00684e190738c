"""Which experts compute a token: by hash, by a learned router kept even, or by the experts' own choice.

Shapes: B batch, T tokens, t tokens of a block, X what a token tells of the next, N = B T, D model width, E experts, K experts per token, C tokens per expert, M assignments.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.operators import transformed

SETTLING = 0.1
"""Weight of the latest batch in the bias that evaluation uses."""
BLOCK = 16
"""Tokens of a document routed under one bias, counted from its start however it is cut."""
OPEN = 64
"""Training forwards of a router whose recomputation it can be asked for."""


def recomputed() -> bool:
    """Whether a backward pass is at work: activation checkpointing then repeats a forward, which must choose as it did and counts once."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


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


class Past(NamedTuple):
    """What a router remembers of a document."""

    score_BX: Tensor
    """How the latest token bears on the route of the one after it; X is E where a router looks back, else 0."""
    load_BE: Tensor
    """Assignments in whole blocks so far."""
    open_BE: Tensor
    """Assignments in the block that is not yet whole."""


class SwitchRouter(nn.Module):
    """Learns where tokens go from a token and, with `look_back`, the one before it: the top of a softmax, made even by two biases that take part in the choice alone.

    By the gate `even` one expert is weighted by `experts` times its probability, so that a new router, which is even, hands on what the
    expert makes of the token, and two by their probabilities renormalised; by `probability` each has its own (Fedus et al. 2021, eq. 2). The first bias is the whole text's: each training batch moves it
    against the expert's excess load, and evaluation uses its average over recent batches (Wang et al. 2024, arXiv:2408.15664). The
    second is the document's own: blocks of BLOCK tokens are routed against the excess load of the blocks before, over an even share of a
    block. Both are in units of the logits' spread, so that one rate suits a young and a decided router, and neither looks ahead or
    at other documents.

    A forward that is recomputed in the backward pass is routed under the biases of its first time; RuntimeError where that was more
    than OPEN training forwards ago, or its inputs come out differently.
    """

    def __init__(
        self,
        d_model: int,
        experts: int,
        *,
        top_k: int,
        bias_rate: float,
        even_rate: float,
        look_back: bool = True,
        gate: Literal["even", "probability"] = "even",
    ) -> None:
        super().__init__()
        self.experts, self.top_k, self.bias_rate, self.even_rate = experts, top_k, bias_rate, even_rate
        self.look_back, self.gate = look_back, gate
        self.score = nn.Linear(d_model, (1 + look_back) * experts, bias=False)
        nn.init.normal_(self.score.weight, std=0.1 * d_model**-0.5)
        self.bias_E: Tensor
        self.register_buffer("bias_E", torch.zeros(experts))
        self.settled_E: Tensor
        self.register_buffer("settled_E", torch.zeros(experts))
        self.spread: Tensor
        self.register_buffer("spread", torch.tensor(0.1))
        self._probability_E = torch.full((experts,), 1 / experts)
        self._share_E = torch.full((experts,), 1 / experts)
        self._size = torch.zeros(())
        self._overruled = torch.zeros((), dtype=torch.int64)
        self._used: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=OPEN)

    def __getstate__(self) -> dict[str, Any]:
        """A copy knows the numbers of the latest batch, and not the graph that a gradient would flow through."""
        return {name: value.detach() if isinstance(value, Tensor) else value for name, value in self.__dict__.items()}

    def forward(self, x_BTD: Tensor, past: Past | None, *, seen: int | Tensor) -> tuple[Tensor, Tensor, Past]:
        """Experts chosen (N, K), their weights (N, K), and what to remember after `seen` + T tokens."""
        logit_BTE, next_BTX = self.score(x_BTD).split([self.experts, self.look_back * self.experts], dim=-1)
        if past is None:
            zero_BE = torch.zeros_like(logit_BTE[:, 0])
            past = Past(torch.zeros_like(next_BTX[:, 0]), zero_BE, zero_BE)
        if self.look_back:
            logit_BTE = logit_BTE + torch.cat([past.score_BX.unsqueeze(1), next_BTX[:, :-1]], dim=1)
        logit_NE = logit_BTE.flatten(0, 1)
        probability_NE = logit_NE.softmax(dim=-1)
        again = self.training and recomputed()
        bias_E, spread = self._first_time(logit_BTE) if again else self._biases(logit_BTE)
        chosen_NK, load_BE, open_BE = self._choose(logit_BTE.detach(), past, seen, bias_E=bias_E, spread=spread)
        if self.training and not again:  # counts from the next batch on: this one's later tokens must not move its earlier ones
            self.spread.copy_(logit_NE.detach().std(dim=0, unbiased=False).mean())
        weight_NK = probability_NE.gather(1, chosen_NK)
        if self.gate == "even":
            weight_NK = weight_NK / weight_NK.sum(-1, keepdim=True) if self.top_k > 1 else weight_NK * self.experts
        if not torch.compiler.is_exporting():  # a program has nobody to tell
            probability_E, size = probability_NE.mean(dim=0), logit_NE.logsumexp(-1).square().mean()
            if not again:  # which computes what the first time did, and tells nothing
                self._overruled = (chosen_NK != logit_NE.argmax(-1, keepdim=True)).all(1).sum()
                self._share_E = torch.bincount(chosen_NK.flatten(), minlength=self.experts) / chosen_NK.numel()
                self._probability_E, self._size = probability_E, size
        if self.training and self.bias_rate and not again:
            self._balance()
        return chosen_NK, weight_NK, Past(next_BTX[:, -1].clone(), load_BE, open_BE)

    def _biases(self, logit_BTE: Tensor) -> tuple[Tensor, Tensor]:
        """The whole text's bias and the spread as they are now, kept for the recomputation of a training forward."""
        bias_E = self.bias_E if self.training else self.settled_E
        if self.training and not torch.compiler.is_compiling() and not transformed():
            self._used.append((logit_BTE.detach().sum(), bias_E.clone(), self.spread.clone()))
        return bias_E, self.spread

    def _first_time(self, logit_BTE: Tensor) -> tuple[Tensor, Tensor]:
        """The bias and the spread that these logits were routed under."""
        total = logit_BTE.detach().sum()
        for known, bias_E, spread in reversed(self._used):
            if torch.equal(known, total):
                return bias_E, spread
        raise RuntimeError(
            f"a router was asked in a backward pass to recompute a forward that is not among its latest {OPEN}, or whose inputs "
            "came out differently; call `backward` sooner, or keep the mixture out of `torch.utils.checkpoint`"
        )

    def _choose(
        self, logit_BTE: Tensor, past: Past, seen: int | Tensor, *, bias_E: Tensor, spread: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The top experts of every token once both biases are added, and the document's loads after the last."""
        biased_BTE = logit_BTE + bias_E
        if not self.even_rate:
            return biased_BTE.topk(self.top_k, dim=-1).indices.flatten(0, 1), past.load_BE, past.open_BE
        load_BE, open_BE, chosen = past.load_BE, past.open_BE, []
        T, even, start = biased_BTE.shape[1], BLOCK * self.top_k / self.experts, 0
        end = BLOCK if T == 1 else -int(seen) % BLOCK or BLOCK
        while start < T:
            part_BtE = biased_BTE[:, start:end]
            excess_BE = (load_BE - load_BE.mean(-1, keepdim=True)) / even
            pick_BtK = (part_BtE - self.even_rate * spread * excess_BE.unsqueeze(1)).topk(self.top_k, dim=-1).indices
            chosen.append(pick_BtK)
            open_BE = open_BE + F.one_hot(pick_BtK, self.experts).sum((1, 2))
            read = open_BE.new_zeros((), dtype=torch.int64) + seen + (start + part_BtE.shape[1])
            whole = read % BLOCK == 0  # of a tensor: the compiler has none of the length's own
            load_BE, open_BE = load_BE + open_BE * whole, open_BE * ~whole
            start, end = end, end + BLOCK
        return torch.cat(chosen, dim=1).flatten(0, 1), load_BE, open_BE

    def _balance(self) -> None:
        excess_E = (self.experts * self._share_E - 1).clamp(max=1)
        self.bias_E -= self.bias_rate * self.spread * excess_E
        self.settled_E.lerp_(self.bias_E, SETTLING)

    def balance_loss(self) -> Tensor:
        """E times the sum over experts of load share and mean probability, of the last forward; 1 when even (Fedus, eq. 4)."""
        return self.experts * (self._share_E * self._probability_E).sum()

    def overruled(self) -> Tensor:
        """Tokens of the last forward that the biases kept from the router's first choice."""
        return self._overruled

    def size_loss(self) -> Tensor:
        """Mean square of the logits' log-sum-exp, of the last forward (router z-loss, Zoph et al. 2022, arXiv:2202.08906, eq. 5)."""
        return self._size


class ExpertChoiceRouter(nn.Module):
    """Each expert takes the C = N K / E tokens of the whole batch that score it best, so that loads are equal (Zhou et al. 2022,
    arXiv:2202.09368).

    A token is compared with later ones and with other documents, so this is no router for a causal model: the contract's checks of
    causality, chunks and independence fail, and a block that uses it has no verdict. A token may get any number of experts, or none.
    """

    def __init__(self, d_model: int, experts: int, *, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.score = nn.Linear(d_model, experts, bias=False)
        nn.init.normal_(self.score.weight, std=0.1 * d_model**-0.5)

    def forward(self, x_ND: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens by expert (M), their weights (M), the load of each expert (E), and how many tokens nobody took."""
        probability_NE: Tensor = self.score(x_ND).softmax(dim=-1)
        N, E = probability_NE.shape
        weight_CE, token_CE = probability_NE.topk(math.ceil(N * self.top_k / E), dim=0)
        token_M = token_CE.T.flatten()
        load_E = torch.full((E,), len(token_CE), device=x_ND.device)
        unserved_1 = (torch.bincount(token_M, minlength=N) == 0).sum().unsqueeze(0)
        return token_M, weight_CE.T.flatten() * E / self.top_k, load_E, unserved_1
