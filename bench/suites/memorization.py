"""Memorization: facts that are the same in every sequence have to be learnt by heart, since nothing in the sequence tells them.

Definition: Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (MAD, arXiv:2403.17844),
baseline setting: 256 token values, 32 positions: 16 times a key and a token that asks for its value; `v2048` is one of its harder
settings. The facts are drawn once for all. MAD trains 200 epochs on 256 examples in batches of 128, which is 400 steps; here every step sees fresh sequences of the same facts.
Said at random, one of 128 values is right once in 128.

Shapes: B examples, T positions, K keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.probe import IGNORED, measure_probe
from bench.request import Bench
from plan.catalogue import benchmark

if TYPE_CHECKING:
    from numpy.typing import NDArray

FACTS = 2403_17844
"""Seed of the facts: they are part of the benchmark's definition, not of a run."""


@benchmark(
    "memorization-32-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2403.17844, baseline",
    options={
        "length": 32,
        "vocabulary": 256,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 2e-3, "batch": 128, "weight_decay": 0.1},
    },
    steps=400,
)
@benchmark(
    "memorization-32-v2048-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2403.17844, with 2048 token values",
    options={
        "length": 32,
        "vocabulary": 2048,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 2e-3, "batch": 128, "weight_decay": 0.1},
    },
    steps=400,
)
def measure(bench: Bench) -> dict[str, float]:
    """Accuracy at saying the value that a key has in all sequences."""
    options = bench.options

    def puzzles(rng: np.random.Generator, count: int, *, training: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return memorization(rng, count, vocabulary=options["vocabulary"], length=options["length"])

    return measure_probe(bench, puzzles)


def memorization(
    rng: np.random.Generator, count: int, *, vocabulary: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`count` examples: (inputs_BT, labels_BT); a key at every even position, the asking token V-1 and the label at every odd one.

    Keys are 0..K-1 with K = (V - 1) // 2, values are K..V-2. Raises ValueError for an odd length or fewer than 5 tokens.
    """
    if length % 2 or vocabulary < 5:
        raise ValueError(f"memorization wants an even length and a vocabulary of at least 5, got {length}, {vocabulary}")
    value_of_K = facts(vocabulary)
    keys_BP = rng.integers(0, len(value_of_K), size=(count, length // 2))
    inputs_BT = np.full((count, length), vocabulary - 1, dtype=np.int64)
    inputs_BT[:, 0::2] = keys_BP
    labels_BT = np.full((count, length), IGNORED, dtype=np.int64)
    labels_BT[:, 1::2] = value_of_K[keys_BP]
    return inputs_BT, labels_BT


def facts(vocabulary: int) -> NDArray[np.int64]:
    """The value of each key, all different, the same in every run."""
    keys = (vocabulary - 1) // 2
    return keys + np.random.default_rng(FACTS).permutation(vocabulary - 1 - keys)[:keys]
