"""In-context recall: a stream of key-value pairs in which a key, once seen, always brings the same value again.

Definition: Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (MAD, arXiv:2403.17844),
baseline settings: 16 token values (half keys, half values), 128 positions, multi-query. Which value belongs to which key is drawn
anew for every example. Training is on every next token; scored is the value of each key that was seen before. In the noisy
task a fifth of the pairs is replaced by two of 16 further tokens, which mean nothing. MAD trains 200
epochs on 12,800 examples; here every step sees fresh ones, so that nothing can be memorised.

Shapes: B examples, T positions, P pairs.
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
    "in-context-recall-128-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2403.17844, baseline",
    options={
        "length": 128,
        "vocabulary": 16,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 2e-3, "batch": 32, "weight_decay": 0.1},
    },
    steps=800,
)
@benchmark(
    "noisy-in-context-recall-128-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2403.17844, baseline",
    options={
        "length": 128,
        "vocabulary": 32,
        "noise_tokens": 16,
        "noise_share": 0.2,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 2e-3, "batch": 32, "weight_decay": 0.1},
    },
    steps=800,
)
def measure(bench: Bench) -> dict[str, float]:
    """Accuracy at recalling the value a key had earlier in the sequence."""
    options = bench.options

    def puzzles(rng: np.random.Generator, count: int, *, training: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return in_context_recall(
            rng,
            count,
            vocabulary=options["vocabulary"],
            length=options["length"],
            every_token=training,
            noise_tokens=options.get("noise_tokens", 0),
            noise_share=options.get("noise_share", 0.0),
        )

    return measure_probe(bench, puzzles)


def in_context_recall(
    rng: np.random.Generator,
    count: int,
    *,
    vocabulary: int,
    length: int,
    every_token: bool,
    noise_tokens: int = 0,
    noise_share: float = 0.0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`count` examples: (inputs_BT, labels_BT) with T = length - 1, the labels being the next tokens.

    With W = V - `noise_tokens`, keys are 0..W/2-1, values W/2..W-1, noise W..V-1. Each pair but one, and but the last, is noise
    with probability `noise_share`; the last key is one of those presented before. Labels are the value of each repeated key, IGNORED
    elsewhere, or every next token when `every_token`. Raises ValueError for an odd length or below 4.
    """
    half, pairs = (vocabulary - noise_tokens) // 2, length // 2
    if length % 2 or length < 4 or half < 2 or (noise_share > 0) != (noise_tokens > 0):
        raise ValueError(
            "in-context recall wants an even length and a vocabulary beside the noise, both at least 4, and noise tokens where there "
            f"is noise, got {length}, {vocabulary}, {noise_tokens}, {noise_share}"
        )
    value_of_BV = rng.integers(half, 2 * half, size=(count, half))
    keys_BP = rng.integers(0, half, size=(count, pairs))
    noise_BP = np.zeros((count, pairs), dtype=bool)
    if noise_tokens:
        noise_BP = rng.random((count, pairs)) < noise_share
        noise_BP[np.arange(count), rng.integers(0, pairs - 1, size=count)] = False
        noise_BP[:, -1] = False
    first = np.zeros((count, pairs), dtype=bool)
    for key in range(half):
        here = (keys_BP == key)[:, : pairs - 1] & ~noise_BP[:, : pairs - 1]
        rows = here.any(axis=1)
        first[rows, here.argmax(axis=1)[rows]] = True
    # The last key is uniform over the distinct keys presented before it: one of the first presentations, at random.
    chosen = np.where(first, rng.random(first.shape), -1.0).argmax(axis=1)
    keys_BP[:, -1] = keys_BP[np.arange(count), chosen]
    tokens = np.empty((count, length), dtype=np.int64)
    tokens[:, 0::2] = keys_BP
    tokens[:, 1::2] = np.take_along_axis(value_of_BV, keys_BP, axis=1)
    if noise_tokens:
        drawn = rng.integers(2 * half, 2 * half + noise_tokens, size=tokens.shape)
        tokens = np.where(noise_BP.repeat(2, axis=1), drawn, tokens)
    labels = tokens[:, 1:].copy()
    if not every_token:
        labels[:, 1::2] = IGNORED
        labels[:, 0::2][first | noise_BP] = IGNORED
    return tokens[:, :-1], labels
