"""Fuzzy in-context recall: keys and values of several tokens; a key, once seen, always brings the same value again.

Definition: Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (MAD, arXiv:2403.17844),
baseline setting: 16 token values, 128 positions, keys and values of one to three adjacent, different tokens. Training is on every
next token, with keys of every size; scored is each token of the value of a key seen before, all keys having three tokens. The last
key always is one of those shown before; the sequence is padded on the left. MAD trains 200 epochs on 12,800 examples; here every step
sees fresh ones. Said at random, a value's token is right once in eight.

Shapes: B examples, T positions, P pairs, M tokens of a motif, S = 2 M places of a pair.
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
    "fuzzy-in-context-recall-128-v1",
    metrics={"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2403.17844, baseline",
    options={
        "length": 128,
        "vocabulary": 16,
        "motif": 3,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 2e-3, "batch": 32, "weight_decay": 0.1},
    },
    steps=800,
)
def measure(bench: Bench) -> dict[str, float]:
    """Accuracy at recalling the tokens of the value that a key of several tokens had earlier in the sequence."""
    options = bench.options

    def puzzles(rng: np.random.Generator, count: int, *, training: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return fuzzy_recall(
            rng,
            count,
            vocabulary=options["vocabulary"],
            length=options["length"],
            motif=options["motif"],
            training=training,
        )

    return measure_probe(bench, puzzles)


def fuzzy_recall(
    rng: np.random.Generator, count: int, *, vocabulary: int, length: int, motif: int, training: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`count` examples: (inputs_BT, labels_BT) with T = length, the labels being next tokens.

    With h = (V - 1) // 2, keys are made of 0..h-1, values of h..V-2, and V-1 is padding. In training, keys have 1..M
    tokens and every next token but padding is a label; else keys have M, and labels are the tokens of values whose key was shown
    before. Values have 1..M tokens. Raises ValueError when length < 4 M or either kind has fewer than M tokens.
    """
    half = (vocabulary - 1) // 2
    if length < 4 * motif or half < motif:
        raise ValueError(f"fuzzy recall wants length >= 4 x motif and motif < V / 2, got {length}, {motif}, {vocabulary}")
    pairs = np.arange(length // 2)
    shape = (count, len(pairs))
    key_BPM = rng.random((*shape, half)).argsort(axis=-1)[..., :motif]
    value_BPM = half + rng.random((*shape, vocabulary - 1 - half)).argsort(axis=-1)[..., :motif]
    key_size_BP = rng.integers(1, motif + 1, size=shape) if training else np.full(shape, motif)
    value_size_BP = rng.integers(1, motif + 1, size=shape)

    in_key_BPM = np.arange(motif) < key_size_BP[..., None]
    name_BP = ((key_BPM + 1) * in_key_BPM) @ (half + 1) ** np.arange(motif)
    first_BP = (name_BP[:, :, None] == name_BP[:, None, :]).argmax(axis=-1)
    value_size_BP = np.take_along_axis(value_size_BP, first_BP, axis=1)
    value_BPM = np.take_along_axis(value_BPM, first_BP[..., None], axis=1)

    shown_B = ((key_size_BP + value_size_BP).cumsum(axis=1) <= length + 1 - 2 * motif).sum(axis=1)
    order_BP = np.where(pairs == shown_B[:, None], rng.integers(0, shown_B)[:, None], pairs)
    token_BPS = np.concatenate([key_BPM, value_BPM], axis=-1)
    used_BPS = np.concatenate([in_key_BPM, np.arange(motif) < value_size_BP[..., None]], axis=-1)
    token_BPS, used_BPS = (np.take_along_axis(part, order_BP[..., None], axis=1) for part in (token_BPS, used_BPS))
    used_BPS = used_BPS & (pairs <= shown_B[:, None])[..., None]
    again_BP = np.take_along_axis(first_BP, order_BP, axis=1) < pairs
    asked_BPS = again_BP[..., None] & (np.arange(2 * motif) >= motif)

    # Every used place of a row moves up behind the one before it, the last one to the end of the row.
    used_BX = used_BPS.reshape(count, -1)
    place_BX = length + used_BX.cumsum(axis=1) - used_BX.sum(axis=1, keepdims=True)
    rows, places = np.nonzero(used_BX)
    tokens = np.full((count, length + 1), vocabulary - 1, dtype=np.int64)
    asked = np.zeros(tokens.shape, dtype=bool)
    tokens[rows, place_BX[rows, places]] = token_BPS.reshape(count, -1)[rows, places]
    asked[rows, place_BX[rows, places]] = asked_BPS.reshape(count, -1)[rows, places]
    if training:
        asked = tokens != vocabulary - 1
    return tokens[:, :-1], np.where(asked, tokens, IGNORED)[:, 1:]
