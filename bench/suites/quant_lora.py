"""Adapters on a frozen four-bit model against the same adapters on a half-precision one: memory while training, and bits per byte.

A decoder is trained on the first half of the text. It is then frozen twice, once with its maps in bfloat16 and once in four bits, and
adapters of low rank are trained on the second half, from the same start on the same bytes in the same order, each in a process of its own.
Both decode their weights a panel at a time, both compute a block's activations again in the backward: the baseline is as sparing as
the candidate, and what is left is the weights. Peaks are of resident memory, above what the process holds once its libraries are loaded.

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


@benchmark(
    "quant-lora-nf4-v1",
    metrics={
        "memory_ratio": "",
        "bpb_excess": "",
        "tuned_bpb": "bpb",
        "half_tuned_bpb": "bpb",
        "untuned_bpb": "bpb",
        "half_untuned_bpb": "bpb",
        "peak_bytes": "B",
        "half_peak_bytes": "B",
    },
    source="arXiv:2305.14314: NF4 with double quantisation against bfloat16, the same adapters",
    options={
        "kind": "nf4",
        "rank": 4,
        "alpha": 16.0,
        "tuning_steps": 30,
        "tuning_batch": 4,
        "windows": 64,
        "batch": 8,
        "length": 64,
    },
    data="bytes-stdlib",
    steps=150,
    modules=("transformer",),
)
@benchmark(
    "quant-lora-int4-v1",
    metrics={
        "memory_ratio": "",
        "bpb_excess": "",
        "tuned_bpb": "bpb",
        "half_tuned_bpb": "bpb",
        "untuned_bpb": "bpb",
        "half_untuned_bpb": "bpb",
        "peak_bytes": "B",
        "half_peak_bytes": "B",
    },
    source="arXiv:2305.14314's double quantisation of evenly spaced codes against bfloat16, the same adapters",
    options={
        "kind": "int4",
        "rank": 4,
        "alpha": 16.0,
        "tuning_steps": 30,
        "tuning_batch": 4,
        "windows": 64,
        "batch": 8,
        "length": 64,
    },
    data="bytes-stdlib",
    steps=150,
    modules=("transformer",),
)
def measure(bench: Bench) -> dict[str, float]:
    """`memory_ratio` is four-bit peak over half-precision peak; `bpb_excess` what four bits cost, as a fraction of the half-precision bits."""
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
    two_bytes, four = (_tuned(bench, model, kind, text, plan) for kind in (half_kind, options["kind"]))
    bench.facts.update(process_bytes=four["process_bytes"], half_process_bytes=two_bytes["process_bytes"])
    return {
        "memory_ratio": four["peak_bytes"] / two_bytes["peak_bytes"],
        "bpb_excess": four["tuned_bpb"] / two_bytes["tuned_bpb"] - 1,
        **{name: four[name] for name in ("tuned_bpb", "untuned_bpb", "peak_bytes")},
        **{f"half_{name}": two_bytes[name] for name in ("tuned_bpb", "untuned_bpb", "peak_bytes")},
    }


def _tuned(bench: Bench, model: Decoder, kind: Kind, text: Corpus, plan: Recipe) -> dict[str, float]:
    """Freeze a copy of `model`, hand it to a fresh process, and return what that tells."""
    options, request, folder = bench.options, bench.request, bench.folder / kind
    folder.mkdir(parents=True, exist_ok=True)
    tuning = Recipe(lr=2e-3, weight_decay=0.0, batch=1, accumulate=options["tuning_batch"], length=plan.length)
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
