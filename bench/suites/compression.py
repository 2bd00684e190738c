"""Compression: the features of the last position alone must hold the whole sequence, which is read back from them place by place.

Definition: Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (MAD, arXiv:2403.17844),
baseline setting: 31 random tokens of 15 and a token that ends the sequence. What the blocks have at the end, plus a sinusoid of the place
asked for, goes through a network of two layers that gives the token of that place. MAD also asks for the
last token, which is always the same; here only the 31 random ones count. MAD trains 200 epochs on 12,800 examples; here every
step sees fresh ones. Said at random, a token is right once in 15.

Shapes: B examples, T positions, D width, V vocabulary, N asked places of all examples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from bench.probe import IGNORED, measure_probe
from bench.request import Bench
from modules.decoder import Decoder
from plan.catalogue import benchmark

if TYPE_CHECKING:
    from numpy.typing import NDArray


@benchmark(
    "compression-32-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2403.17844, baseline",
    options={
        "length": 32,
        "vocabulary": 16,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 2e-3, "batch": 128, "weight_decay": 0.1},
    },
    steps=800,
)
def measure(bench: Bench) -> dict[str, float]:
    """Accuracy at reading a whole sequence back from the features of its last position."""
    options = bench.options

    def puzzles(rng: np.random.Generator, count: int, *, training: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return compression(rng, count, vocabulary=options["vocabulary"], length=options["length"])

    def around(decoder: Decoder) -> nn.Module:
        return AutoEncoder(decoder, length=options["length"], seed=bench.request.seed).to(bench.request.device)

    return measure_probe(bench, puzzles, around=around)


def compression(
    rng: np.random.Generator, count: int, *, vocabulary: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`count` examples: (inputs_BT, labels_BT); T - 1 random tokens of 0..V-2, labels themselves, then V-1 without a label."""
    inputs_BT = rng.integers(0, vocabulary - 1, size=(count, length))
    labels_BT = inputs_BT.copy()
    inputs_BT[:, -1], labels_BT[:, -1] = vocabulary - 1, IGNORED
    return inputs_BT, labels_BT


class AutoEncoder(nn.Module):
    """Reads the tokens at asked places from a decoder's features of the last position; the decoder's own head is taken off."""

    def __init__(self, encoder: Decoder, *, length: int, seed: int) -> None:
        super().__init__()
        width, vocabulary = encoder.embedding.embedding_dim, encoder.config.vocabulary
        encoder.head = nn.Identity()  # type: ignore[assignment]
        self.encoder = encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.reader = nn.Sequential(
                nn.Linear(width, width),
                nn.GELU(),
                nn.RMSNorm(width),
                nn.Linear(width, width),
                nn.GELU(),
                nn.RMSNorm(width),
                nn.Linear(width, vocabulary),
            )
        self.register_buffer("place_TD", sinusoids(length, width))

    def forward(self, inputs_BT: Tensor, positions: Tensor) -> tuple[Tensor, None]:
        """Logits_NV of the tokens at the places that the mask `positions` (B, T) marks."""
        last = torch.tensor([inputs_BT.shape[1] - 1], device=inputs_BT.device)
        features_B1D, _ = self.encoder(inputs_BT, positions=last)
        return self.reader((features_B1D + self.place_TD)[positions]), None

    def auxiliary_loss(self) -> Tensor:
        """What the blocks ask to be added to the loss."""
        return self.encoder.auxiliary_loss()


def sinusoids(length: int, width: int) -> Tensor:
    """Sines and cosines of each place at falling frequencies (Vaswani et al. 2017, section 3.5), (T, D)."""
    place = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    rate = torch.exp(-math.log(1e4) * torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.stack([torch.sin(place * rate), torch.cos(place * rate)], dim=-1).flatten(1)[:, :width].float()
