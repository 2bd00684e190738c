"""One fine-tuning of adapters in a process of its own, whose peak of resident memory is the measurement: `python -m bench.adapters FOLDER`.

The folder holds what the process is to do (`job.json`), the packed model as it stands on a disk (`model.pt`) and the bytes to learn from and
to be scored on (`train.u8`, `held.u8`). The process loads the model without ever holding its full weights, trains the adapters with each
block's activations computed again in the backward, and prints one line: the bits per byte before and after, and the bytes that were
resident at most above those of the same process after a rehearsal on a model of width 16, which has loaded every library.

Shapes: N windows, T bytes of a window.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modules.decoder import Decoder
from modules.quant_lora import apply_quant_lora
from modules.settings import build_config
from modules.trainer import Recipe, next_token, train


def bits_per_byte(model: nn.Module, windows_NT: Tensor) -> float:
    """Mean bits for each byte after a window's first, one window at a time, as sparing as training."""
    with torch.no_grad():
        nats = sum(len(few) * float(next_token(model, few.long())[0]) for few in torch.split(windows_NT, 1))
    return nats / len(windows_NT) / math.log(2)


def tune(model: Decoder, windows_NT: Tensor, *, recipe: Recipe, steps: int, seed: int) -> None:
    """Train what may learn of `model` on `steps` x accumulate batches of consecutive windows."""
    for block in model.blocks:
        block.forward = partial(_recomputed, block.forward)

    def batch(step: int) -> Tensor:
        return windows_NT[step * recipe.batch : (step + 1) * recipe.batch].long()

    train(model, batch, loss=next_token, recipe=recipe, steps=steps, seed=seed)
    model.eval()


def _recomputed(forward: Any, x_BTD: Tensor, state: None = None) -> tuple[Tensor, tuple[()]]:
    """A block that keeps only its input for the backward, and no state: each window is a document."""
    y_BTD: Tensor = checkpoint(lambda x: forward(x)[0], x_BTD, use_reentrant=False)
    return y_BTD, ()


def resident(name: str) -> int:
    """`VmRSS` or `VmHWM` (the peak) of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"the kernel does not tell `{name}`; resident memory is measured on Linux only")


def prepared(job: Mapping[str, Any], *, device: str, config: Mapping[str, Any]) -> Decoder:
    """The model of a job with packed maps and adapters, on `device`."""
    with torch.device(device):
        model = Decoder.build(job["module"], config=config, decoder=job["decoder"], seed=job["seed"], device=device)
    apply_quant_lora(model, **job["adapters"])
    return model


def run(folder: Path) -> dict[str, float]:
    """What the job in `folder` measures."""
    job = json.loads((folder / "job.json").read_text())
    torch.set_num_threads(job["threads"])
    recipe = build_config(Recipe, job["recipe"], where="the job")
    train_NT, held_NT = (
        torch.frombuffer(bytearray((folder / name).read_bytes()), dtype=torch.uint8).view(-1, recipe.length + 1)
        for name in ("train.u8", "held.u8")
    )
    rehearsal = prepared(job, device="cpu", config={"d_model": 16, "heads": 1})
    tune(rehearsal, train_NT, recipe=recipe, steps=2, seed=0)
    bits_per_byte(rehearsal, held_NT[:1])
    del rehearsal
    before = resident("VmRSS")
    model = prepared(job, device="meta", config=job["config"])
    model.load_state_dict(torch.load(folder / "model.pt", weights_only=True), assign=True)
    untuned = bits_per_byte(model, held_NT)
    tune(model, train_NT, recipe=recipe, steps=job["steps"], seed=job["seed"])
    tuned = bits_per_byte(model, held_NT)
    peak = resident("VmHWM")
    return {"untuned_bpb": untuned, "tuned_bpb": tuned, "peak_bytes": float(peak - before), "process_bytes": float(peak)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.adapters", description="one fine-tuning of adapters")
    parser.add_argument("folder", type=Path, help="holds job.json, model.pt, train.u8 and held.u8")
    print(json.dumps(run(parser.parse_args().folder)))
