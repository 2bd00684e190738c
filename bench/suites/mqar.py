"""Multi-query associative recall: read key-value pairs, then say the value of each key asked for again.

Definition: Arora et al. 2023, "Zoology: Measuring and Improving Recall in Efficient Language Models" (arXiv:2312.04927,
section 4 and figure 2). A sequence opens with `pairs` key-value pairs; each key then appears once more, at an even distance
after the pairs drawn from a power law, and its value is to be predicted there. All other positions are 0.
The published protocol has a vocabulary of 8192, 2 layers without feed-forward, one head, and takes the best of four learning
rates; the `v64` probes are the same task with 64 tokens (Zoology asks for more tokens than positions), sized for a laptop; those of 16
positions have few or no blanks between the pairs and their queries, which is where a selective memory learns first.
Fixed-state models solve MQAR only within a narrow window of learning rates, so a comparison is fair only when the `[recipe]` of
each task was swept.

Shapes: B examples, T tokens, K pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.probe import IGNORED, measure_probe
from bench.rates import best_rate
from bench.request import Bench
from plan.catalogue import benchmark

if TYPE_CHECKING:
    from numpy.typing import NDArray


@benchmark(
    "mqar-64x4-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2312.04927, figure 2",
    options={
        "length": 64,
        "pairs": 4,
        "vocabulary": 8192,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 3e-3, "batch": 256, "weight_decay": 0.1},
    },
    steps=800,
)
@benchmark(
    "mqar-64x4-v2",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2312.04927, figure 2, with the published decoder",
    options={
        "length": 64,
        "pairs": 4,
        "vocabulary": 8192,
        "decoder": {"tie": True, "embedding_std": 0.02},
        "recipe": {"lr": 3e-3, "batch": 256, "weight_decay": 0.1},
    },
    steps=1200,
)
@benchmark(
    "mqar-128x8-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2312.04927, figure 2",
    options={
        "length": 128,
        "pairs": 8,
        "vocabulary": 8192,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 3e-3, "batch": 128, "weight_decay": 0.1},
    },
    steps=1600,
)
@benchmark(
    "mqar-256x16-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2312.04927, figure 2",
    options={
        "length": 256,
        "pairs": 16,
        "vocabulary": 8192,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 3e-3, "batch": 64, "weight_decay": 0.1},
    },
    steps=3200,
)
@benchmark(
    "mqar-64x4-v64-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2312.04927, smaller vocabulary",
    options={
        "length": 64,
        "pairs": 4,
        "vocabulary": 64,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 3e-3, "batch": 64, "weight_decay": 0.1},
    },
    steps=600,
)
@benchmark(
    "mqar-64x8-v64-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2312.04927, smaller vocabulary",
    options={
        "length": 64,
        "pairs": 8,
        "vocabulary": 64,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 3e-3, "batch": 64, "weight_decay": 0.1},
    },
    steps=600,
)
@benchmark(
    "mqar-64x16-v64-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2312.04927, smaller vocabulary",
    options={
        "length": 64,
        "pairs": 16,
        "vocabulary": 64,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 3e-3, "batch": 64, "weight_decay": 0.1},
    },
    steps=600,
)
@benchmark(
    "mqar-16x2-v64-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2312.04927, smaller vocabulary, shorter sequence",
    options={
        "length": 16,
        "pairs": 2,
        "vocabulary": 64,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 3e-3, "batch": 64, "weight_decay": 0.1},
    },
    steps=800,
)
@benchmark(
    "mqar-16x4-v64-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2312.04927, smaller vocabulary, shorter sequence",
    options={
        "length": 16,
        "pairs": 4,
        "vocabulary": 64,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 3e-3, "batch": 64, "weight_decay": 0.1},
    },
    steps=800,
)
@benchmark(
    "mqar-64x4-v64-rates-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B", "best_lr": "", "lr_window": "x"},
    source="arXiv:2312.04927, smaller vocabulary; best of four learning rates",
    options={
        "length": 64,
        "pairs": 4,
        "vocabulary": 64,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"batch": 64, "weight_decay": 0.1},
        "rates": [1e-3, 3e-3, 1e-2, 3e-2],
    },
    steps=600,
)
@benchmark(
    "mqar-64x8-v64-rates-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B", "best_lr": "", "lr_window": "x"},
    source="arXiv:2312.04927, smaller vocabulary; best of four learning rates",
    options={
        "length": 64,
        "pairs": 8,
        "vocabulary": 64,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"batch": 64, "weight_decay": 0.1},
        "rates": [1e-3, 3e-3, 1e-2, 3e-2],
    },
    steps=600,
)
@benchmark(
    "mqar-64x16-v64-rates-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B", "best_lr": "", "lr_window": "x"},
    source="arXiv:2312.04927, smaller vocabulary; best of four learning rates",
    options={
        "length": 64,
        "pairs": 16,
        "vocabulary": 64,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"batch": 64, "weight_decay": 0.1},
        "rates": [1e-3, 3e-3, 1e-2, 3e-2],
    },
    steps=600,
)
def measure(bench: Bench) -> dict[str, float]:
    """Accuracy at recalling values of keys seen earlier in the sequence."""
    options = bench.options

    def puzzles(rng: np.random.Generator, count: int, *, training: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return mqar(rng, count, vocabulary=options["vocabulary"], length=options["length"], pairs=options["pairs"])

    if "rates" in options:
        return best_rate(bench, lambda part: measure_probe(part, puzzles))
    return measure_probe(bench, puzzles)


def mqar(
    rng: np.random.Generator, count: int, *, vocabulary: int, length: int, pairs: int, power: float = 0.01
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`count` examples: (inputs_BT, labels_BT); labels stand where a key is asked for again, IGNORED elsewhere.

    Keys are distinct tokens of 1..V/2-1, values distinct tokens of V/2..V-1. Query i stands at 2 K + 2 gap_i, the
    gaps being drawn in turn without replacement with probability proportional to (gap + 1) ** (power - 1).
    Raises ValueError when 4 pairs > length, when the length is odd, or when the vocabulary cannot hold the pairs.
    """
    if length % 2 or 4 * pairs > length or pairs > vocabulary // 2 - 1:
        raise ValueError(
            f"mqar wants an even length of at least 4 x pairs and pairs < V / 2, got {length}, {pairs}, {vocabulary}"
        )
    half = vocabulary // 2
    keys_BK = _distinct(rng, count, pairs, low=1, high=half)
    values_BK = _distinct(rng, count, pairs, low=half, high=vocabulary)
    gaps = np.arange((length - 2 * pairs) // 2)
    # Ordering by log-probability plus Gumbel noise is drawing in turn without replacement (Vieira 2014).
    noisy = (power - 1) * np.log(gaps + 1) + rng.gumbel(size=(count, len(gaps)))
    asked_BK = 2 * pairs + 2 * np.argsort(-noisy, axis=1)[:, :pairs]
    inputs_BT = np.zeros((count, length), dtype=np.int64)
    inputs_BT[:, 0 : 2 * pairs : 2] = keys_BK
    inputs_BT[:, 1 : 2 * pairs : 2] = values_BK
    np.put_along_axis(inputs_BT, asked_BK, keys_BK, axis=1)
    labels_BT = np.full((count, length), IGNORED, dtype=np.int64)
    np.put_along_axis(labels_BT, asked_BK, values_BK, axis=1)
    return inputs_BT, labels_BT


def _distinct(rng: np.random.Generator, rows: int, count: int, *, low: int, high: int) -> NDArray[np.int64]:
    """Per row, `count` distinct numbers of [low, high) in random order (Floyd's sampling, Bentley and Floyd 1987)."""
    chosen = np.empty((rows, count), dtype=np.int64)
    for i, top in enumerate(range(high - low - count, high - low)):
        pick = rng.integers(0, top + 1, size=rows)
        chosen[:, i] = np.where((chosen[:, :i] == pick[:, None]).any(axis=1), top, pick)
    return low + rng.permuted(chosen, axis=1)
