"""Length extrapolation: bits per byte of the same text after training on 256 bytes, read with a context of 256, 1,024 and 4,096.

The text scored is the same in all three, cut into windows of that many bytes: only what may be looked back upon differs. A
model that carries on beyond its trained length needs fewer bits with more context; one that has learnt positions, or whose state fills up, needs
more (Press et al. 2021, arXiv:2108.12409; Ruiz and Gu 2025, arXiv:2507.02782).

Shapes: B windows, T bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.data import Corpus, corpus
from bench.request import Bench
from bench.subject import recipe, subject, trained
from bench.suites.bytes import bits_per_byte
from modules.trainer import next_token
from plan.catalogue import benchmark


@benchmark(
    "bytes-extrapolation-v1",
    metrics={
        "val_bpb": "bpb",
        "val_bpb_1k": "bpb",
        "val_bpb_4k": "bpb",
        "ratio_1k": "x",
        "ratio_4k": "x",
        "parameters": "",
        "state_bytes": "B",
    },
    source="bits per byte beyond the trained length; text: the running interpreter's standard library",
    options={"windows": 16, "batch": 8, "length": 256, "longest": 4096},
    data="bytes-stdlib",
    steps=300,
)
def measure(bench: Bench) -> dict[str, float]:
    """Bits per byte of the same text read in windows of 1, 4 and 16 times the trained length.

    `ratio_4k` is the bits at 4,096 over those at 256: below 1 where more context helps. `state_bytes` is after 4,096 bytes.
    """
    options = bench.options
    text = corpus("bytes-stdlib")
    length, longest = options["length"], options["longest"]
    plan = recipe(bench, default={"batch": options["batch"]}, fixed={"length": length})
    model = subject(bench, fixed={"vocabulary": 256})
    device = bench.request.device

    def batch(step: int) -> Tensor:
        return torch.from_numpy(text.batch(seed=bench.request.seed, step=step, batch=plan.batch, length=length)).to(device)

    def loss(network: nn.Module, tokens_BT: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        nats, _ = next_token(network, tokens_BT)
        return nats, {"train_bpb": nats.detach() / math.log(2)}

    trained(bench, model, batch, loss=loss, recipe=plan, identity=text.facts["data_digest"])
    model.eval()
    held_BT = held(text, count=options["windows"], longest=longest).to(device)
    bits = {
        size: bits_per_byte(model, cut(held_BT, size), batch=max(1, plan.batch * length // size))
        for size in (length, 1024, longest)
    }
    bench.facts.update(text.facts, validation_bytes_scored=held_BT[:, 1:].numel())
    return {
        "val_bpb": bits[length],
        "val_bpb_1k": bits[1024],
        "val_bpb_4k": bits[longest],
        "ratio_1k": bits[1024] / bits[length],
        "ratio_4k": bits[longest] / bits[length],
        "parameters": float(model.parameters_count),
        "state_bytes": float(model.state_bytes(1, longest)),
    }


def held(text: Corpus, *, count: int, longest: int) -> Tensor:
    """`count` windows of validation text, (B, longest + 1)."""
    return torch.from_numpy(text.windows(count=count, length=longest))


def cut(windows_BT: Tensor, length: int) -> Tensor:
    """The same bytes to predict in windows of `length`, each with the byte before it as its first: (B T / length, length + 1).

    `length` must divide the number of predicted bytes of each window.
    """
    return windows_BT.unfold(1, length + 1, length).flatten(0, 1)
