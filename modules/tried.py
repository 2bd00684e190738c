"""What the contract tries a block on: random documents, and fresh instances from a seed. Shapes: B batch, T tokens, D model width."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

BATCH = 3
Block = Callable[[Any], nn.Module]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Input of a block: vectors, and the token values that some blocks want beside them."""

    x_BTD: Tensor
    tokens_BT: Tensor

    def part(self, start: int, end: int) -> Document:
        """Tokens `start` up to `end`."""
        return Document(x_BTD=self.x_BTD[:, start:end], tokens_BT=self.tokens_BT[:, start:end])

    def double(self) -> Document:
        """The same in float64."""
        return Document(x_BTD=self.x_BTD.double(), tokens_BT=self.tokens_BT)

    def rows(self, index: slice) -> Document:
        """Some documents of the batch."""
        return Document(x_BTD=self.x_BTD[index], tokens_BT=self.tokens_BT[index])


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A block class and the Config it is tried with."""

    block: Block
    config: Any
    metrics: Mapping[str, str]
    draw: str = ""

    def drawn(self) -> tuple[int, int]:
        """A batch, and a length that is a multiple of 16, both as large as in benchmarks, drawn from `draw`."""
        chance = Random(self.draw)
        return chance.randint(10, 16), 16 * chance.randint(9, 20)

    def build(self, seed: int = 0) -> Any:
        """A fresh instance in evaluation mode, whatever state the global generator is in."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.block(self.config).eval()

    def document(self, length: int, *, seed: int = 1, batch: int = BATCH) -> Document:
        """A random batch of documents."""
        generator = torch.Generator().manual_seed(seed)
        return Document(
            x_BTD=torch.randn(batch, length, self.config.d_model, generator=generator),
            tokens_BT=torch.randint(256, (batch, length), generator=generator),
        )
