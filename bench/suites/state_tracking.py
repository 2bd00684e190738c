"""State tracking: after each element of a group, say the product of all so far; trained short, tested up to eight times as long.

Definition: the word problem of a group (Merrill et al. 2024, "The Illusion of State in State-Space Models",
arXiv:2404.08819). Every element is a token; the label at each position is the product of the elements up to there, the first being
applied first. Parity is the group of two elements, S3 all orders of three things, A5 the 60 even orders of five, which no
circuit of constant depth can follow at every length. In the `swaps` task the elements given are S3's identity and its three swaps only: each is
a reflection, which one step of a delta rule can make (arXiv:2411.12537). Grazzi et al. 2024 (arXiv:2411.12537) train parity on up to 40 tokens and test on
up to 256: recurrences whose transitions have no negative eigenvalue cannot follow it. Here all train on 32 and are tested on 256 tokens,
each stretch counted for itself, so that a model that is right where it was trained scores by chance where it is lost.

Shapes: B words, T elements, G elements of the group.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import combinations, permutations
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from bench.probe import IGNORED, TEST, accuracy, measure_probe, tensors
from bench.rates import best_rate
from bench.request import Bench
from plan.catalogue import benchmark

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRETCHES = (2, 4, 8)
"""Each `accuracy_Nx` is of the positions beyond the stretch before it, up to N times the trained length."""


@benchmark(
    "state-tracking-parity-v1",
    metrics={
        "accuracy": "",
        "accuracy_2x": "",
        "accuracy_4x": "",
        "accuracy_8x": "",
        "steps_to_99": "",
        "parameters": "",
        "state_bytes": "B",
    },
    source="arXiv:2411.12537, parity",
    options={
        "group": "parity",
        "vocabulary": 2,
        "length": 32,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 2e-3, "batch": 64, "weight_decay": 0.1},
    },
    steps=800,
)
@benchmark(
    "state-tracking-s3-v1",
    metrics={
        "accuracy": "",
        "accuracy_2x": "",
        "accuracy_4x": "",
        "accuracy_8x": "",
        "steps_to_99": "",
        "parameters": "",
        "state_bytes": "B",
    },
    source="arXiv:2404.08819, with the group S3",
    options={
        "group": "s3",
        "vocabulary": 6,
        "length": 32,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 2e-3, "batch": 64, "weight_decay": 0.1},
    },
    steps=1200,
)
@benchmark(
    "state-tracking-s3-swaps-v1",
    metrics={
        "accuracy": "",
        "accuracy_2x": "",
        "accuracy_4x": "",
        "accuracy_8x": "",
        "steps_to_99": "",
        "parameters": "",
        "state_bytes": "B",
    },
    source="arXiv:2411.12537, swaps only, with the group S3",
    options={
        "group": "s3",
        "swaps": True,
        "vocabulary": 6,
        "length": 32,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 2e-3, "batch": 64, "weight_decay": 0.1},
    },
    steps=800,
)
@benchmark(
    "state-tracking-a5-v1",
    metrics={
        "accuracy": "",
        "accuracy_2x": "",
        "accuracy_4x": "",
        "accuracy_8x": "",
        "steps_to_99": "",
        "parameters": "",
        "state_bytes": "B",
    },
    source="arXiv:2404.08819, the group A5",
    options={
        "group": "a5",
        "vocabulary": 60,
        "length": 32,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"lr": 2e-3, "batch": 64, "weight_decay": 0.1},
    },
    steps=3000,
)
@benchmark(
    "state-tracking-s3-swaps-rates-v1",
    metrics={
        "accuracy": "",
        "accuracy_2x": "",
        "accuracy_4x": "",
        "accuracy_8x": "",
        "steps_to_99": "",
        "parameters": "",
        "state_bytes": "B",
        "best_lr": "",
        "lr_window": "x",
    },
    source="arXiv:2411.12537, swaps only, with the group S3; best of four learning rates",
    options={
        "group": "s3",
        "swaps": True,
        "vocabulary": 6,
        "length": 32,
        "decoder": {"tie": False, "embedding_std": 0.2},
        "recipe": {"batch": 64, "weight_decay": 0.1},
        "rates": [1e-3, 3e-3, 1e-2, 3e-2],
    },
    steps=800,
)
def measure(bench: Bench) -> dict[str, float]:
    """Accuracy at following a product of group elements, at the trained length and far beyond it."""
    return best_rate(bench, measure_one) if "rates" in bench.options else measure_one(bench)


def measure_one(bench: Bench) -> dict[str, float]:
    """The same at one learning rate. Training is never cut short: an error once in 200 steps would end every long word wrong."""
    options = bench.options
    table_GG = products(options["group"])
    given = swaps(options["group"]) if options.get("swaps") else np.arange(len(table_GG))

    def puzzles(rng: np.random.Generator, count: int, *, training: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return word_problem(rng, count, table_GG=table_GG, length=options["length"], given=given)

    def beyond(model: nn.Module) -> Mapping[str, float]:
        longest = STRETCHES[-1] * options["length"]
        word = word_problem(np.random.default_rng([TEST, longest]), 256, table_GG=table_GG, length=longest, given=given)
        inputs_BT, labels_BT = tensors(word, bench.request.device)
        found, begin = {}, options["length"]
        for times in STRETCHES:
            stretch = labels_BT.new_full(labels_BT.shape, IGNORED)
            end = times * options["length"]
            stretch[:, begin:end] = labels_BT[:, begin:end]
            found[f"accuracy_{times}x"] = accuracy(model, inputs_BT[:, :end], stretch[:, :end], batch=64)
            begin = end
        return found

    return measure_probe(bench, puzzles, also=beyond, stop_at=2.0)


def word_problem(
    rng: np.random.Generator, count: int, *, table_GG: NDArray[np.int64], length: int, given: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`count` words of the elements `given`: (inputs_BT, labels_BT), labels being the product up to and including each position."""
    inputs_BT = given[rng.integers(0, len(given), size=(count, length))]
    labels_BT = inputs_BT.copy()
    for t in range(1, length):
        labels_BT[:, t] = table_GG[labels_BT[:, t - 1], inputs_BT[:, t]]
    return inputs_BT, labels_BT


@cache
def products(group: str) -> NDArray[np.int64]:
    """Table (G, G): the number of the element that is `a` followed by `b`. Elements are numbered in lexical order."""
    elements = _elements(group)
    number = {element: i for i, element in enumerate(elements)}
    table = [[number[tuple(b[place] for place in a)] for b in elements] for a in elements]
    return np.array(table, dtype=np.int64)


def swaps(group: str) -> NDArray[np.int64]:
    """Numbers of the elements that move at most two things: the identity and the swaps."""
    moved = [sum(place != to for place, to in enumerate(element)) for element in _elements(group)]
    return np.flatnonzero(np.array(moved) <= 2)


def _elements(group: str) -> list[tuple[int, ...]]:
    """The group's elements as permutations: place i goes to place element[i]."""
    if group in ("parity", "s3"):
        return list(permutations(range(2 if group == "parity" else 3)))
    if group == "a5":
        return [p for p in permutations(range(5)) if sum(a > b for a, b in combinations(p, 2)) % 2 == 0]
    raise ValueError(f"no group `{group}`; there are `parity`, `s3` and `a5`")
