"""Synthetic probes: train a decoder on puzzles made fresh for every step, and score it on puzzles it has never seen.

Shapes: B puzzles, T tokens, N labelled positions of all puzzles, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.flops import training_flops
from bench.request import Bench
from bench.subject import recipe, subject, trained
from modules.decoder import Decoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

IGNORED = -100
"""Label of a position that is neither trained on nor scored."""
TRAIN, VALIDATION, TEST = range(3)
"""First word of every random key, so that the three streams never share a puzzle by construction of the key."""
SOLVED = 0.99
STOP_AT = 0.995
"""Accuracy on the validation puzzles that ends training: a little above `SOLVED`, so that a solved probe scores above it."""


class Puzzles(Protocol):
    """Makes `count` puzzles from a generator: (inputs_BT, labels_BT), a label being the token to predict at that position."""

    def __call__(self, rng: np.random.Generator, count: int, *, training: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Deterministic in the state of `rng`; `training` is true for puzzles to learn from."""
        ...


def measure_probe(
    bench: Bench,
    puzzles: Puzzles,
    *,
    validate_every: int = 25,
    around: Callable[[Decoder], nn.Module] = lambda decoder: decoder,
    also: Callable[[nn.Module], Mapping[str, float]] = lambda model: {},
    stop_at: float = STOP_AT,
) -> dict[str, float]:
    """Train until the validation puzzles are solved or the steps are spent; the accuracy is that of the test puzzles.

    Returns `accuracy` (share of labelled positions whose most likely token is the label), `steps_to_99` (first validated
    step with an accuracy of 99 %; one more than the steps there are where there was none, so that a target of at most all of
    them fails), `parameters`, and `state_bytes`: what the decoder carries on for one document of that length. The fact
    `reached_99` tells the two apart, the fact `train_flops` what training on one token costs. The test puzzles are the same for
    every module and seed, and are looked at once.
    The benchmark's options give the `vocabulary`, the `length` and the defaults of the tables `decoder` and `recipe`. `around` makes
    the model to train of the decoder; `also` adds numbers of the trained model; above 1, `stop_at` never ends training.
    """
    options = bench.options

    def fresh() -> Decoder:
        return subject(bench, default=options["decoder"], fixed={"vocabulary": options["vocabulary"]})

    decoder = fresh()
    model = around(decoder)
    plan = recipe(bench, default=options["recipe"], fixed={"length": options["length"]})
    device, seed = bench.request.device, bench.request.seed

    def batch(step: int) -> tuple[Tensor, Tensor]:
        return tensors(puzzles(np.random.default_rng([TRAIN, seed, step]), plan.batch, training=True), device)

    puzzle = tensors(puzzles(np.random.default_rng([TRAIN, seed, 0]), 2, training=True), device)
    counted = around(fresh())
    _, flops = training_flops(lambda: cross_entropy(counted, puzzle)[0])
    bench.facts["train_flops"] = flops / puzzle[0].numel()
    held = tensors(puzzles(np.random.default_rng([VALIDATION]), 256, training=False), device)
    log = trained(
        bench,
        model,
        batch,
        loss=cross_entropy,
        recipe=plan,
        identity=bench.request.benchmark,
        validate=lambda network: {"accuracy": accuracy(network, *held, batch=plan.batch)},
        validate_every=validate_every,
        stop=lambda log: log.validation[-1][1]["accuracy"] >= stop_at,
    )
    model.eval()
    test = tensors(puzzles(np.random.default_rng([TEST]), 1024, training=False), device)
    solved = [step for step, numbers in log.validation if numbers["accuracy"] >= SOLVED]
    bench.facts.update(test_labels=int((test[1] != IGNORED).sum()), examples=log.steps * plan.batch, reached_99=bool(solved))
    return {
        "accuracy": accuracy(model, *test, batch=plan.batch),
        "steps_to_99": float(solved[0] if solved else bench.steps + 1),
        "parameters": float(sum(parameter.numel() for parameter in model.parameters())),
        "state_bytes": float(decoder.state_bytes(1, options["length"])),
        **also(model),
    }


def accuracy(model: nn.Module, inputs_BT: Tensor, labels_BT: Tensor, *, batch: int) -> float:
    """Share of labelled positions where the most likely token is the label."""
    hits = 0
    with torch.no_grad():
        for inputs, labels in zip(torch.split(inputs_BT, batch), torch.split(labels_BT, batch), strict=True):
            asked = labels != IGNORED
            logits_NV, _ = model(inputs, positions=asked)
            hits += int((logits_NV.argmax(-1) == labels[asked]).sum())
    return hits / int((labels_BT != IGNORED).sum())


def cross_entropy(model: nn.Module, puzzle: tuple[Tensor, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Mean cross-entropy in nats over the labelled positions; logits are computed there only."""
    inputs_BT, labels_BT = puzzle
    asked = labels_BT != IGNORED
    if isinstance(model, Decoder):
        nats, _ = model(inputs_BT, positions=asked, targets=labels_BT[asked])
        return nats / asked.sum(), {}
    logits_NV, _ = model(inputs_BT, positions=asked)
    return F.cross_entropy(logits_NV.float(), labels_BT[asked]), {}


def tensors(puzzle: tuple[NDArray[np.int64], NDArray[np.int64]], device: str) -> tuple[Tensor, Tensor]:
    """A puzzle's two arrays on `device`."""
    inputs, labels = (torch.from_numpy(part).to(device) for part in puzzle)
    return inputs, labels
