"""The language-model shell: embeds tokens, stacks blocks of one registered module, reads logits off the end.

Shapes: B batch, T tokens, D model width, V vocabulary, N or K chosen positions.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.cross_entropy import linear_cross_entropy, worthwhile
from modules.settings import build_config, check_ranges
from plan import catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """The `[decoder]` table of a task."""

    vocabulary: int = 256
    """Number of token values; 256 for bytes."""
    layers: int = 2
    """Blocks stacked."""
    tie: bool = True
    """Whether the head reads logits with the embedding matrix."""
    position: Literal["none", "learned"] = "none"
    """`learned` adds an embedding of the absolute position to each token."""
    context: int = 1024
    """Number of learned positions; a longer document is an error."""
    embedding_std: float = 0.1
    """Standard deviation of the embeddings at the start."""
    last_gain: float = 1.0
    """Weight of the last norm at the start; below 1 the first predictions are nearer to even, and the first gradients smaller."""

    def __post_init__(self) -> None:
        check_ranges(self, vocabulary=(1, 2**24), layers=(1, 4096), context=(1, 2**24), embedding_std=(0, 1e3))
        check_ranges(self, last_gain=(1e-6, 1e3))


class DecoderState(NamedTuple):
    """What a document has left behind after some tokens."""

    blocks: tuple[tuple[Tensor, ...], ...]
    seen: int
    """Tokens consumed so far."""

    def compact(self) -> DecoderState:
        """The same state in storage of its own size, to be written to a file: room that a cache has for more is left behind."""
        return DecoderState(tuple(compact(state) for state in self.blocks), self.seen)


class Decoder(nn.Module):
    """`layers` blocks between an embedding and a head; any split of a document into calls gives the same logits."""

    def __init__(self, block: type[nn.Module], module_config: Any, config: DecoderConfig | None = None) -> None:
        super().__init__()
        config = config or DecoderConfig()
        d_model = module_config.d_model
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, d_model)
        self.position = nn.Embedding(config.context, d_model) if config.position == "learned" else None
        self.blocks = nn.ModuleList(block(module_config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(d_model, eps=1e-6)
        self.head = nn.Linear(d_model, config.vocabulary, bias=False)
        self._initialise()
        if config.tie:
            self.head.weight = self.embedding.weight

    @classmethod
    def build(
        cls,
        module: str,
        *,
        config: Mapping[str, Any] = {},
        decoder: Mapping[str, Any] = {},
        seed: int = 0,
        device: str = "cpu",
    ) -> Decoder:
        """The decoder of registered `module` with typed overrides of its Config and of DecoderConfig.

        The same seed gives the same bits whatever ran before; the global generator is left as it was.
        Raises KeyError for an unknown module and ConfigError for a key or value that does not fit.
        """
        block = catalogue.load("module", module)
        module_config = build_config(sys.modules[block.__module__].Config, config, where=f"module `{module}`")
        decoder_config = build_config(DecoderConfig, decoder, where="`[decoder]`")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(block, module_config, decoder_config).to(device)

    def _initialise(self) -> None:
        """Small embeddings; matrices that write into the residual stream shrink by the root of their number (GPT-2, 2.3).

        Blocks keep their own initialisation; those that name their `residual_weights` have these scaled.
        """
        for table in (self.embedding, self.position):
            if table is not None:
                nn.init.normal_(table.weight, std=self.config.embedding_std)
        nn.init.constant_(self.norm.weight, self.config.last_gain)
        writers = [w for block in self.blocks for w in getattr(block, "residual_weights", tuple)()]
        with torch.no_grad():
            for weight in writers:
                weight *= len(writers) ** -0.5

    def forward(
        self,
        tokens_BT: Tensor,
        states: DecoderState | None = None,
        positions: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> tuple[Tensor, DecoderState]:
        """Logits for the token after each of `tokens_BT`, and the state to go on from.

        `positions` chooses where logits are wanted, which saves the head's work elsewhere: a boolean mask (B, T)
        gives logits_NV in row-major order, indices (K,) or (B, K) into T give logits_BKV. With `targets`, the token that should
        follow at each place where logits would be given, the sum of the cross-entropies in nats takes the logits' place; those of a
        large vocabulary are then made a chunk at a time, and never all kept.
        Raises ValueError when there is no token, and when a document outgrows the learned positions.
        """
        seen = states.seen if states is not None else 0
        T = tokens_BT.shape[1]
        if not T:
            raise ValueError("a document goes on by at least one token; got T = 0")
        x_BTD = self.embedding(tokens_BT)
        if self.position is not None:
            if seen + T > self.config.context:
                raise ValueError(
                    f"document of {seen + T} tokens outgrows `context` = {self.config.context} learned positions; "
                    "raise `context` in the `[decoder]` table"
                )
            x_BTD = x_BTD + self.position.weight[seen : seen + T]
        left, kind = [], type(x_BTD)
        for i, block in enumerate(self.blocks):
            before = None if states is None else states.blocks[i]
            if getattr(block, "wants_tokens", False):
                x_BTD, after = block(x_BTD, before, tokens_BT=tokens_BT)
            else:
                x_BTD, after = block(x_BTD, before)
            if type(x_BTD) is not kind:  # one that answers for itself would reach the loss
                raise TypeError(f"block {i} returned a `{type(x_BTD).__name__}` where a `{kind.__name__}` went in")
            left.append(after)
        if positions is not None:
            x_BTD = _chosen(x_BTD, positions)
        x_BTD = self.norm(x_BTD)
        if not self.training:
            sys.audit("touchstone.evaluated")  # whoever measures looks now whether its instruments are whole
        return self.head(x_BTD) if targets is None else self._nats(x_BTD, targets), DecoderState(tuple(left), seen + T)

    def _nats(self, x_BTD: Tensor, targets: Tensor) -> Tensor:
        target_N, vocabulary = targets.flatten(), self.config.vocabulary
        if type(self.head) is nn.Linear and worthwhile(len(target_N), vocabulary):
            return linear_cross_entropy(x_BTD.flatten(0, -2), self.head.weight, target_N)
        return F.cross_entropy(self.head(x_BTD).flatten(0, -2).float(), target_N, reduction="sum")

    def step(self, token_B: Tensor, states: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """Logits_BV after one more token per document."""
        logits_BTV, states = self(token_B.unsqueeze(1), states)
        return logits_BTV[:, 0], states

    def auxiliary_loss(self) -> Tensor:
        """Sum of what the blocks ask to be added to the loss of the last forward, already weighted."""
        terms = self._ask("auxiliary_loss")
        return torch.stack(terms).sum() if terms else self.norm.weight.new_zeros(())

    def diagnostics(self) -> dict[str, float]:
        """Each number that blocks report on the forwards since the last call: their mean, or as a block's class says.

        A class may have `combined_by`, a table from names to functions of the blocks' values, such as `max`.
        """
        rules = {name: rule for block in self.blocks for name, rule in getattr(block, "combined_by", {}).items()}
        found: dict[str, list[float]] = {}
        for report in self._ask("diagnostics"):
            for name, value in report.items():
                found.setdefault(name, []).append(value)
        return {name: rules.get(name, fmean)(values) for name, values in sorted(found.items())}

    def facts(self) -> dict[str, Any]:
        """Provenance for a run: size, what the blocks tell, and which way each kernel was computed at its latest call."""
        told: dict[str, Any] = {"parameters": self.parameters_count}
        for report in self._ask("facts"):
            told |= report
        # Not imported: a module without such kernels would depend on their code, and its runs on the machine's compiler.
        if paths := sys.modules.get("kernels.paths"):
            told["kernels"] = paths.taken()
        return told

    def state_bytes(self, batch: int, length: int) -> int:
        """Claimed bytes of the state of `batch` documents after `length` tokens."""
        claims = self._ask("state_bytes", batch, length)
        if strange := [claim for claim in claims if type(claim) is not int]:
            raise TypeError(f"`state_bytes` is a `{type(strange[0]).__name__}`; bytes are counted in `int`")
        return sum(claims)

    def _ask(self, method: str, *arguments: int) -> list[Any]:
        """What the blocks that have `method` answer."""
        return [getattr(block, method)(*arguments) for block in self.blocks if hasattr(block, method)]

    @property
    def parameters_count(self) -> int:
        """Number of trained numbers; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())


def compact(state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The state of one block, of the same kind, in storage of its own size."""
    parts = [part.clone(memory_format=torch.contiguous_format) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def _chosen(x_BTD: Tensor, positions: Tensor) -> Tensor:
    if positions.dtype == torch.bool or positions.ndim == 1:
        return x_BTD[positions] if positions.dtype == torch.bool else x_BTD[:, positions]
    return x_BTD.gather(1, positions.unsqueeze(-1).expand(-1, -1, x_BTD.shape[-1]))
