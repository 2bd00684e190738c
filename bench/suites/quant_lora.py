"""Adapters on a frozen four-bit model against the same adapters on a half-precision one: memory while training, and bits per byte.

A decoder is trained on the first half of the text. It is then frozen three times, with its maps in bfloat16 and in four bits of two kinds, and
adapters of low rank are trained on the second half, from the same start on the same bytes in the same order, each in a process of its own.
All decode their weights a panel at a time and compute a block's activations again in the backward: the baseline is as sparing as
the candidates, and what is left is the weights. Peaks are of resident memory, above what the process holds once its libraries are loaded.

Shapes: N windows, T bytes.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

import bench.adapters  # noqa: F401  what the process of its own runs belongs to this code
from bench.data import Corpus, corpus
from bench.request import Bench
from bench.subject import recipe, subject, trained
from modules.decoder import Decoder
from modules.quant_lora import Kind, apply_quant_lora
from modules.trainer import Recipe, next_token
from plan.catalogue import benchmark

QUANTISED: tuple[Kind, ...] = ("nf4", "int4")


@benchmark(
    "quant-lora-v3",
    metrics={
        "nf4_memory_ratio": "",
        "nf4_process_ratio": "",
        "nf4_bpb_excess": "",
        "int4_memory_ratio": "",
        "int4_process_ratio": "",
        "int4_bpb_excess": "",
        "half_untuned_bpb": "bpb",
        "half_tuned_bpb": "bpb",
        "nf4_untuned_bpb": "bpb",
        "nf4_tuned_bpb": "bpb",
        "int4_untuned_bpb": "bpb",
        "int4_tuned_bpb": "bpb",
        "half_peak_bytes": "B",
        "nf4_peak_bytes": "B",
        "int4_peak_bytes": "B",
    },
    source="arXiv:2305.14314: NF4, and evenly spaced codes, with double quantisation against bfloat16, the same adapters",
    options={
        "rank": 4,
        "alpha": 16.0,
        "tuning_steps": 20,
        "tuning_batch": 4,
        "tuning_lr": 1e-3,
        "tuning_warmup": 0.2,
        "windows": 48,
        "batch": 8,
        "length": 64,
    },
    data="bytes-stdlib",
    steps=150,
    modules=("transformer",),
)
def measure(bench: Bench) -> dict[str, float]:
    """For each four-bit kind: `memory_ratio` is its peak over the half-precision one, above what the processes hold without the model, `process_ratio`
    that of the whole processes; `bpb_excess` is what four bits cost after tuning, as a fraction of the half-precision bits.
    """
    options, seed = bench.options, bench.request.seed
    text = corpus("bytes-stdlib")
    first = text.train[: len(text.train) // 2]
    plan = recipe(bench, default={"batch": options["batch"], "length": options["length"], "lr": 1e-3})
    model = subject(bench, default={"layers": 4}, fixed={"vocabulary": 256})

    def batch(step: int) -> torch.Tensor:
        return torch.from_numpy(_windows(first, plan.batch, plan.length, [seed, step]).astype(np.int64))

    trained(bench, model, batch, loss=next_token, recipe=plan, identity=text.facts["data_digest"])
    bench.facts.update(text.facts, **model.facts())
    half_kind: Kind = "bf16"
    told = {"half": _tuned(bench, model, half_kind, text, plan)}
    half, metrics = told["half"], dict[str, float]()
    for kind in QUANTISED:
        told[kind] = four = _tuned(bench, model, kind, text, plan)
        metrics[f"{kind}_memory_ratio"] = four["peak_bytes"] / half["peak_bytes"]
        metrics[f"{kind}_process_ratio"] = four["process_bytes"] / half["process_bytes"]
        metrics[f"{kind}_bpb_excess"] = four["tuned_bpb"] / half["tuned_bpb"] - 1
    bench.facts.update({f"{kind}_process_bytes": one["process_bytes"] for kind, one in told.items()})
    return metrics | {
        f"{kind}_{name}": one[name] for kind, one in told.items() for name in ("tuned_bpb", "untuned_bpb", "peak_bytes")
    }


def _tuned(bench: Bench, model: Decoder, kind: Kind, text: Corpus, plan: Recipe) -> dict[str, float]:
    """Freeze a copy of `model`, hand it to a fresh process, and return what that tells."""
    options, request, folder = bench.options, bench.request, bench.folder / kind
    folder.mkdir(parents=True, exist_ok=True)
    tuning = Recipe(
        lr=options["tuning_lr"],
        warmup=options["tuning_warmup"],
        weight_decay=0.0,
        batch=1,
        accumulate=options["tuning_batch"],
        length=plan.length,
    )
    job = {
        "module": request.module,
        "config": {key: value for key, value in request.config.items() if key not in ("decoder", "recipe")},
        "decoder": asdict(model.config),
        "recipe": asdict(tuning),
        "adapters": {"kind": kind, "rank": options["rank"], "alpha": options["alpha"], "seed": request.seed},
        "steps": options["tuning_steps"],
        "seed": request.seed,
        "threads": request.threads,
    }
    (folder / "job.json").write_text(json.dumps(job))
    frozen = copy.deepcopy(model)
    apply_quant_lora(frozen, **job["adapters"])
    torch.save(frozen.state_dict(), folder / "model.pt")
    second = text.train[len(text.train) // 2 :]
    _windows(second, options["tuning_steps"] * options["tuning_batch"], plan.length, [request.seed]).tofile(folder / "train.u8")
    text.windows(count=options["windows"], length=plan.length).astype(np.uint8).tofile(folder / "held.u8")
    command = [sys.executable, "-m", "bench.adapters", str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the process that tunes `{kind}` ended with {done.returncode}: {done.stderr[-2000:]}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _windows(text: NDArray[np.uint8], count: int, length: int, key: list[int]) -> NDArray[np.uint8]:
    """`count` random windows of `length` + 1 bytes, a pure function of its arguments."""
    starts = np.random.default_rng(key).integers(0, len(text) - length, size=count)
    windows: NDArray[np.uint8] = text[starts[:, None] + np.arange(length + 1)]
    return windows
