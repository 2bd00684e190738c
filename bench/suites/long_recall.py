"""Recall over thousands of tokens: pairs of keys and values, then up to 4,096 blanks among which each key is asked for once more.

The task is that of `mqar.py` at a length no laptop trains on from the start. So training climbs a ladder of lengths: the first part of the steps has
the shortest alone, each later part one length more, which is every other batch, the rest being drawn from all so far. Every batch has as many tokens: short puzzles many at a time, long ones one by one.
Scored are puzzles of the greatest length alone.

Shapes: B puzzles, T tokens.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.probe import IGNORED, TEST, TRAIN, VALIDATION, accuracy, cross_entropy, tensors
from bench.request import Bench
from bench.subject import recipe, subject, trained
from bench.suites.mqar import mqar
from plan.catalogue import benchmark


@benchmark(
    "mqar-4096x8-v64-v1",
    metrics={"accuracy": "", "parameters": "", "state_bytes": "B"},
    source="arXiv:2312.04927, smaller vocabulary, 4096 positions; trained on 64, then up to 4096 positions, 4096 tokens in every batch",
    options={
        "lengths": [64, 256, 1024, 4096],
        "pairs": 8,
        "vocabulary": 64,
        "tokens": 4096,
        "test": 64,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 3e-3, "weight_decay": 0.1},
    },
    steps=1200,
)
def measure(bench: Bench) -> dict[str, float]:
    """Accuracy at recalling values of keys seen up to 4,096 tokens earlier."""
    o, device, seed = bench.options, bench.request.device, bench.request.seed
    lengths: list[int] = o["lengths"]
    model = subject(bench, default=o["decoder"], fixed={"vocabulary": o["vocabulary"]})
    plan = recipe(bench, default=o["recipe"], fixed={"length": lengths[-1], "batch": o["tokens"] // lengths[-1]})

    def puzzles(key: list[int], count: int, length: int) -> tuple[Tensor, Tensor]:
        return tensors(
            mqar(np.random.default_rng(key), count, vocabulary=o["vocabulary"], length=length, pairs=o["pairs"]), device
        )

    def batch(step: int) -> tuple[Tensor, Tensor]:
        rungs = 1 + step * len(lengths) // bench.steps
        length = lengths[rungs - 1 if step % 2 else int(np.random.default_rng([TRAIN, seed, step]).integers(rungs))]
        return puzzles([TRAIN, seed, step, length], o["tokens"] // length, length)

    held = puzzles([VALIDATION], o["test"] // 4, lengths[-1])
    trained(
        bench,
        model,
        batch,
        loss=cross_entropy,
        recipe=plan,
        identity=bench.request.benchmark,
        validate=lambda network: {"accuracy": accuracy(network, *held, batch=4)},
        validate_every=100,
    )
    model.eval()
    test = puzzles([TEST], o["test"], lengths[-1])
    bench.facts["test_labels"] = int((test[1] != IGNORED).sum())
    with torch.inference_mode():
        share = accuracy(model, *test, batch=4)
    return {
        "accuracy": share,
        "parameters": float(model.parameters_count),
        "state_bytes": float(model.state_bytes(1, lengths[-1])),
    }
