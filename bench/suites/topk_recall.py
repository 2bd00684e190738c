"""Recall over 32,768 bytes of real text: keys and values are planted far back, and each key is asked for by all keys and by the best few alone.

The text is held-out source with every byte below 128; keys are 64 tokens above it, values 64 more. In the first half of a document stand
the pairs, each value behind its key; in the last quarter every key stands once more, where its value is to be said. Nothing nearer
tells it. A layer of attention to the `near` latest bytes lets a value know its key; above it is one layer of the measured module, which looks
back over the whole document and has no positions (`rope = false`), so that it can read far more than it was trained on: training climbs from 16
bytes to 2,048, with a pair for every eight bytes up to `pairs`, and as many bytes in every batch.

With the weights that full attention has learnt, documents are read three times: by all keys, by each query's `k_top` best, and by its `k_top` nearest.

Shapes: B documents, T bytes.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data import corpus
from bench.probe import IGNORED, TEST, TRAIN, accuracy, cross_entropy, tensors
from bench.request import Bench
from bench.subject import recipe, trained
from modules.decoder import Decoder
from modules.settings import build_config
from modules.topk_attention import Config
from plan.catalogue import benchmark

FIRST = 128
"""The first key; larger bytes of the text become the one before."""
KEYS = 64
"""Distinct keys, and as many values behind them."""


@benchmark(
    "topk-recall-32k-v1",
    metrics={"accuracy_loss": "", "full_accuracy": "", "context_gain": "", "accuracy": ""},
    source="multi-query recall (arXiv:2312.04927) in held-out text of 32768 bytes: all keys, the best few, the nearest few; same weights",
    options={
        "length": 32768,
        "lengths": [16, 32, 64, 256, 1024, 2048],
        "pairs": 64,
        "tokens": 2048,
        "test": 4,
        "near": 2,
        "decoder": {"vocabulary": 256, "layers": 1, "tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 3e-3, "weight_decay": 0.1},
        "corpus": "bytes-stdlib",
    },
    data="bytes-stdlib",
    modules=("topk_attention",),
    steps=600,
)
def measure(bench: Bench) -> dict[str, float]:
    """Shares of values said: `full_accuracy` by all keys, `accuracy` by the best `k_top`; `accuracy_loss` is the first less the second.

    `context_gain` is the first less what the nearest `k_top` keys say: what there is to lose.
    """
    o, seed = bench.options, bench.request.seed
    text, lengths = corpus(o["corpus"]), o["lengths"]
    plan = recipe(bench, default=o["recipe"], fixed={"length": lengths[-1], "batch": o["tokens"] // lengths[-1]})
    full = _built(bench, "transformer")

    def batch(step: int) -> tuple[Tensor, Tensor]:
        rungs = 1 + step * len(lengths) // bench.steps
        rng = np.random.default_rng([TRAIN, seed, step])
        length = lengths[rungs - 1 if step % 2 else rng.integers(rungs)]
        pairs = min(o["pairs"], length // 8)
        puzzle = planted(rng, text.train, o["tokens"] // length, length=length, pairs=pairs)
        return tensors(puzzle, bench.request.device)

    trained(bench, full, batch, loss=cross_entropy, recipe=plan, identity=text.facts["data_digest"])
    test = planted(np.random.default_rng([TEST, seed]), text.validation, o["test"], length=o["length"], pairs=o["pairs"])
    shares = []
    with torch.inference_mode():
        for model in (full, _built(bench, "topk_attention"), _built(bench, "transformer", nearest=True)):
            model.load_state_dict(full.state_dict())
            shares.append(accuracy(model.eval(), *tensors(test, bench.request.device), batch=1))
    bench.facts.update(text.facts, **full.facts(), asked=o["test"] * o["pairs"])
    every, best, nearest = shares
    return {"accuracy_loss": every - best, "full_accuracy": every, "context_gain": every - nearest, "accuracy": best}


def _built(bench: Bench, module: str, *, nearest: bool = False) -> Decoder:
    """A layer of attention to the nearest bytes, and over it one of `module` with the task's settings; `nearest`: it reads the `k_top` nearest keys."""
    request, o = bench.request, bench.options
    own = {"rope": False} | {key: value for key, value in request.config.items() if key not in ("decoder", "recipe")}
    table = asdict(build_config(Config, own, where="module `topk_attention`"))
    d_model, k_top = table.pop("d_model"), table.pop("k_top")
    table |= {"k_top": k_top} if module == "topk_attention" else {"window": k_top * nearest}
    settings = {"attention": {"window": o["near"]}, module: table}
    return Decoder.build(
        "hybrid",
        config={"d_model": d_model, "pattern": f"attention {module}", "settings": settings},
        decoder={**o["decoder"], **request.config.get("decoder", {})},
        seed=request.seed,
        device=request.device,
    )


def planted(
    rng: np.random.Generator, text: NDArray[np.uint8], count: int, *, length: int, pairs: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`count` stretches of `text` with pairs at even places of their first half and each key once more in the last quarter: (inputs_BT, labels_BT).

    Labels stand where a key is asked for, IGNORED elsewhere. Raises ValueError where the pairs do not fit.
    """
    if not 0 < pairs <= min(KEYS, length // 4) or len(text) <= length:
        raise ValueError(f"{pairs} pairs of {KEYS} keys do not fit into {length} bytes of a text of {len(text)}")
    starts_B1 = rng.integers(0, len(text) - length, size=(count, 1))
    inputs_BT = np.minimum(text[starts_B1 + np.arange(length)], FIRST - 1).astype(np.int64)
    labels_BT = np.full_like(inputs_BT, IGNORED)
    keys_BK = FIRST + rng.permuted(np.tile(np.arange(KEYS), (count, 1)), axis=1)[:, :pairs]
    values_BK = FIRST + KEYS + rng.integers(KEYS, size=(count, pairs))
    shown_BK, asked_BK = (rng.permuted(np.tile(np.arange(length // 4), (count, 1)), axis=1)[:, :pairs] for _ in range(2))
    np.put_along_axis(inputs_BT, 2 * shown_BK, keys_BK, axis=1)
    np.put_along_axis(inputs_BT, 2 * shown_BK + 1, values_BK, axis=1)
    asked_BK += length - length // 4
    np.put_along_axis(inputs_BT, asked_BK, keys_BK, axis=1)
    np.put_along_axis(labels_BT, asked_BK, values_BK, axis=1)
    return inputs_BT, labels_BT
