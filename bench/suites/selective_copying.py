"""Selective copying: repeat the tokens of a sequence in order, skipping the blanks between them.

Definition: Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (MAD, arXiv:2403.17844),
baseline setting: 16 token values, 256 positions, 16 tokens to copy. Blanks fall uniformly into the gaps before the tokens; a copy
token follows, then as many blanks as there are tokens, at which the tokens are to be said. MAD trains 200 epochs on 12,800
examples; here every step sees fresh ones, so that nothing can be memorised.

Shapes: B examples, T positions, K tokens to copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.probe import IGNORED, measure_probe
from bench.request import Bench
from plan.catalogue import benchmark

if TYPE_CHECKING:
    from numpy.typing import NDArray


@benchmark(
    "selective-copying-256x16-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2403.17844, baseline",
    options={
        "length": 256,
        "copied": 16,
        "vocabulary": 16,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 1e-3, "batch": 32, "weight_decay": 0.1},
    },
    steps=800,
)
@benchmark(
    "selective-copying-64x8-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2403.17844, shorter",
    options={
        "length": 64,
        "copied": 8,
        "vocabulary": 16,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 2e-3, "batch": 64, "weight_decay": 0.1},
    },
    steps=800,
)
def measure(bench: Bench) -> dict[str, float]:
    """Accuracy at repeating scattered tokens in order."""
    options = bench.options

    def puzzles(rng: np.random.Generator, count: int, *, training: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return selective_copying(rng, count, vocabulary=options["vocabulary"], length=options["length"], copied=options["copied"])

    return measure_probe(bench, puzzles)


def selective_copying(
    rng: np.random.Generator, count: int, *, vocabulary: int, length: int, copied: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`count` examples: (inputs_BT, labels_BT); the last `copied` labels are the tokens, all others IGNORED.

    Tokens are 0..V-3, blank is V-2, copy is V-1. Raises ValueError when length <= 2 copied + 1 or V < 3.
    """
    if length <= 2 * copied + 1 or vocabulary < 3:
        raise ValueError(
            f"selective copying wants length > 2 x copied + 1 and a vocabulary of 3, got {length}, {copied}, {vocabulary}"
        )
    blank, copy = vocabulary - 2, vocabulary - 1
    tokens_BK = rng.integers(0, blank, size=(count, copied))
    blanks_BK = rng.multinomial(length - 2 * copied - 1, [1 / copied] * copied, size=count)
    places_BK = blanks_BK.cumsum(axis=1) + np.arange(copied)
    inputs_BT = np.full((count, length), blank, dtype=np.int64)
    np.put_along_axis(inputs_BT, places_BK, tokens_BK, axis=1)
    inputs_BT[:, length - copied - 1] = copy
    labels_BT = np.full((count, length), IGNORED, dtype=np.int64)
    labels_BT[:, length - copied :] = tokens_BK
    return inputs_BT, labels_BT
