"""Bits per byte on text that no training saw, after a fixed number of steps on text that it did.

Bits per byte is the mean cross-entropy of the next byte in nats over ln 2; it needs no tokeniser, so models of any kind can be
compared, and a compressor's output size is the same measure. The text is the Python standard library's own source, or the
user's. Every byte is predicted from those before it in its window, so a window's first bytes are predicted from little.

Shapes: B windows, T bytes.
"""

from __future__ import annotations

import lzma
import math
import zlib
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data import Corpus, corpus
from bench.flops import training_flops
from bench.request import Bench
from bench.subject import TermsError, recipe, reported, subject, trained
from modules.trainer import next_token
from plan.catalogue import benchmark


@benchmark(
    "bytes-stdlib-v1",
    metrics={
        "val_bpb": "bpb",
        "train_bpb": "bpb",
        "parameters": "",
        "state_bytes": "B",
        "active_flops": "FLOP",
        "train_flops": "FLOP",
        "gradient_norm": "",
    },
    source="bits per byte of the next byte; text: the running interpreter's standard library",
    options={"windows": 256, "batch": 8, "length": 256, "corpus": "bytes-stdlib"},
    data="bytes-stdlib",
    steps=300,
)
@benchmark(
    "bytes-path-v1",
    metrics={
        "val_bpb": "bpb",
        "train_bpb": "bpb",
        "parameters": "",
        "state_bytes": "B",
        "active_flops": "FLOP",
        "train_flops": "FLOP",
        "gradient_norm": "",
    },
    source="bits per byte of the next byte; text: the file or folder the task names as its data",
    options={"windows": 256, "batch": 8, "length": 256, "corpus": ""},
    steps=300,
)
def measure(bench: Bench) -> dict[str, float]:
    """Bits per byte on held-out text after a fixed training budget.

    `train_bpb` is the mean over the last tenth of the steps; `active_flops` and `train_flops` are FLOPs per byte of a forward
    pass and of a training step; `state_bytes` is what one document of `length` bytes leaves behind; `gradient_norm` is the
    largest norm of all steps, before clipping, and the curve of that name has them all. What the module reports is of the validation
    text after training, but `drop_rate` is the mean over all training steps: only these may drop.
    """
    text = _text(bench)
    plan = recipe(bench, default={"batch": bench.options["batch"], "length": bench.options["length"]})
    device, seed = bench.request.device, bench.request.seed
    held_BT = torch.from_numpy(text.windows(count=bench.options["windows"], length=bench.options["length"])).to(device)

    def batch(step: int) -> Tensor:
        return torch.from_numpy(text.batch(seed=seed, step=step, batch=plan.batch, length=plan.length)).to(device)

    counted = subject(bench, fixed={"vocabulary": 256})
    forward, training = training_flops(lambda: next_token(counted, batch(0))[0] + counted.auxiliary_loss())
    model = subject(bench, fixed={"vocabulary": 256})

    def loss(network: nn.Module, tokens_BT: Tensor) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        nats, _ = next_token(network, tokens_BT)
        dropped = {name: rate for name, rate in reported(bench, model).items() if name == "drop_rate"}
        return nats, {"train_bpb": nats.detach() / math.log(2), **dropped}

    log = trained(bench, model, batch, loss=loss, recipe=plan, identity=text.facts["data_digest"])

    model.eval()
    val_bpb = bits_per_byte(model, held_BT, batch=plan.batch)
    last = log.numbers["train_bpb"][-max(1, log.steps // 10) :]
    dropped = {name: [rate for _, rate in log.numbers[name]] for name in ("drop_rate",) if name in log.numbers}
    bench.series["gradient_norm"] = [(float(step), norm) for step, norm in enumerate(log.gradient_norm, start=1)]
    bench.facts.update(text.facts, validation_bytes_scored=held_BT[:, 1:].numel(), **_compressed(text))
    return {
        "val_bpb": val_bpb,
        "train_bpb": sum(bits for _, bits in last) / len(last),
        "parameters": float(model.parameters_count),
        "state_bytes": float(model.state_bytes(1, bench.options["length"])),
        "active_flops": forward / (plan.batch * plan.length),
        "train_flops": training / (plan.batch * plan.length),
        "gradient_norm": max(log.gradient_norm),
        **reported(bench, model),
        **{name: sum(rates) / len(rates) for name, rates in dropped.items()},
    }


def bits_per_byte(model: nn.Module, windows_BT: Tensor, *, batch: int) -> float:
    """Mean bits the model needs for each byte of `windows_BT` after the first, given those before it in the window."""
    nats = 0.0
    with torch.no_grad():
        for window in torch.split(windows_BT, batch):
            logits_BTV, _ = model(window[:, :-1])
            nats += float(F.cross_entropy(logits_BTV.flatten(0, 1).float(), window[:, 1:].flatten(), reduction="sum"))
    return nats / windows_BT[:, 1:].numel() / math.log(2)


def _text(bench: Bench) -> Corpus:
    own, given = bench.options["corpus"], bench.request.data
    if own and given:
        raise TermsError(f"`{bench.request.benchmark}` reads `{own}`; to train on `{given}`, use the benchmark `bytes-path-v1`")
    if not own and not given:
        raise TermsError(f"`{bench.request.benchmark}` reads the text file or folder that the task names as its `data`; name one")
    return corpus(given or own)


def _compressed(text: Corpus) -> dict[str, float]:
    """Bits per byte of two compressors on the validation text, for a sense of scale."""
    sample = text.validation[: 1 << 20].tobytes()
    sizes = {"zlib_bpb": len(zlib.compress(sample, 9)), "lzma_bpb": len(lzma.compress(sample, preset=6))}
    return {name: 8 * size / len(sample) for name, size in sizes.items()}
