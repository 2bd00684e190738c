"""Training on documents longer than memory: what a carried state is worth, and whether memory stays flat however long the document.

The training is `modules.rwkv_loop`: one optimiser step per window, the state carried from window to window, gradients not. Its baseline is the
same model trained on the same windows in the same batches, each from nothing. Documents of several lengths stand side by side, none of which begin
together. Windows drawn from all over the text would be another question: they show a model more files in as many steps.

Shapes: B documents, T bytes.
"""

from __future__ import annotations

import ctypes
import math
import resource
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data import corpus
from bench.request import Bench
from bench.subject import recipe, subject, trained
from modules.decoder import Decoder
from modules.rwkv_loop import Carried, rwkv_loop, windows
from plan.catalogue import benchmark

_MMAP_THRESHOLD = -3
"""`M_MMAP_THRESHOLD` of glibc's malloc.h."""
_BLOCK = 1 << 16


@benchmark(
    "long-training-v2",
    metrics={"val_bpb": "bpb", "reset_bpb": "bpb", "bpb_ratio": "x", "parameters": ""},
    source="bits per byte of training with the state carried over documents of 2048 to 16384 bytes, against the same batches of windows of 256 from nothing",
    options={
        "window": 256,
        "documents": [2048, 4096, 8192, 16384],
        "batch": 8,
        "held_out": 16,
        "held_out_length": 8192,
        "corpus": "bytes-stdlib",
    },
    data="bytes-stdlib",
    steps=300,
)
def measure(bench: Bench) -> dict[str, float]:
    """Bits per byte on held-out documents: `val_bpb` trained and read with the state carried on.

    `reset_bpb` is the baseline's: the same weights to begin with, the same windows in the same batches, each read from nothing in training; at the end
    whichever is better of reading windows alone and reading with the state carried on. `bpb_ratio` is the first over the second.
    """
    o, seed, device = bench.options, bench.request.seed, bench.request.device
    text = corpus(o["corpus"])
    plan = recipe(bench, default={"batch": o["batch"]}, fixed={"length": o["window"]})
    held_BT = torch.from_numpy(text.windows(count=o["held_out"], length=o["held_out_length"])).to(device)
    batches = windows(text.train, window=o["window"], documents=o["documents"], batch=plan.batch, seed=seed, device=device)
    found: dict[str, float] = {}
    for done, (name, carry) in enumerate((("reset", False), ("carried", True))):

        def progress(step: int, total: int, numbers: object, done: int = done) -> None:
            bench.progress(done * total + step, 2 * total, numbers)  # type: ignore[arg-type]

        part = replace(bench, folder=bench.folder / name, progress=progress, facts={}, series={})
        model = subject(part, fixed={"vocabulary": 256})
        identity = f"{text.facts['data_digest']} {name}"
        trained(part, model, batches, loss=Carried(carry=carry), recipe=plan, identity=identity)
        bench.facts.update(part.facts)
        bench.series.update({f"{name}_{curve}": points for curve, points in part.series.items()})
        model.eval()
        for reading, goes_on in (("windows", False), ("on", True)):
            found[f"{name} {reading}"] = bits_per_byte(model, held_BT, window=o["window"], carry=goes_on)
    bench.facts.update(text.facts, bits_per_byte=found)
    reset_bpb = min(found["reset windows"], found["reset on"])
    return {
        "val_bpb": found["carried on"],
        "reset_bpb": reset_bpb,
        "bpb_ratio": found["carried on"] / reset_bpb,
        "parameters": float(model.parameters_count),
    }


def bits_per_byte(model: Decoder, documents_BT: Tensor, *, window: int, carry: bool) -> float:
    """Mean bits for each byte after the first of documents read window by window, with the state carried on or from nothing each time."""
    nats, states, last = 0.0, None, documents_BT.shape[1] - 1
    with torch.no_grad():
        for at in range(0, last, window):
            inputs, targets = documents_BT[:, at : min(at + window, last)], documents_BT[:, at + 1 : at + 1 + window]
            logits_BTV, states = model(inputs, states if carry else None)
            nats += float(F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets.flatten(), reduction="sum"))
    return nats / (len(documents_BT) * last) / math.log(2)


@benchmark(
    "long-training-memory-v3",
    metrics={"memory_ratio": "x", "memory_bytes": "B"},
    source="peak resident memory of training on one document of 4096 to 1048576 bytes, window 1024, above that of a process that has trained",
    options={"window": 1024, "documents": [4096, 65536, 1048576], "batch": 1, "corpus": "bytes-stdlib"},
    data="bytes-stdlib",
)
def measure_memory(bench: Bench) -> dict[str, float]:
    """`memory_ratio`: peak growth of resident memory in training on one document of the greatest length, over that at the smallest.

    Each length is a training of its own, from fresh weights through the whole of one document, in one process, so that anything a longer one
    leaves behind counts. A rehearsal on a quarter of the window comes first: the code of the libraries, which is read from the disk when it is first
    run, is more than the tensors of a training, and not all of it has come when a short one is over. The C library is told to give back at
    once what is freed: its default keeps heaps whose holes grow by some percent in a thousand steps, whatever the document. Raises RuntimeError where
    an earlier peak of the process hides that of the training.
    """
    o = bench.options
    text = corpus(o["corpus"])
    bench.facts["freed_memory_given_back"] = give_back_at_once()
    plan = recipe(bench, fixed={"length": o["window"], "batch": o["batch"], "accumulate": 1})
    total = sum(length // o["window"] for length in o["documents"])
    done = 0

    def progress(step: int, steps: int, numbers: object) -> None:
        bench.progress(done + step, total, numbers)  # type: ignore[arg-type]

    def training(*, window: int, length: int) -> None:
        model = subject(bench, fixed={"vocabulary": 256})
        part = windows(text.train, window=window, documents=[length], batch=o["batch"], seed=bench.request.seed)
        rwkv_loop(model, part, recipe=plan, steps=length // window, seed=bench.request.seed, progress=progress)

    training(window=o["window"] // 4, length=o["window"])
    forget_peak()
    before, earlier, peaks = resident(), peak_resident(), list[tuple[float, float]]()
    for length in o["documents"]:
        training(window=o["window"], length=length)
        peaks.append((float(length), float(peak_resident() - before)))
        done += length // o["window"]
    if peaks[0][1] <= earlier - before:
        raise RuntimeError(
            "the process held more before the training than in it, so its peak cannot be told; use a larger `d_model`"
        )
    bench.facts.update(text.facts, resident_bytes_before=before)
    bench.series["memory_bytes"] = peaks
    return {"memory_ratio": peaks[-1][1] / peaks[0][1], "memory_bytes": peaks[-1][1]}


def give_back_at_once() -> bool:
    """Let the C library map every block of 64 KiB and more on its own, and unmap it when freed; False where it has no such switch.

    Only a block that fits in no hole of the heap is mapped, and a process that has read a text has 20 MB of holes, which are resident already: the same
    tensor would count in one step and not in the next. So the holes are filled first, for as long as the process lives.
    """
    library = ctypes.CDLL(None)
    switch, ask = getattr(library, "mallopt", None), getattr(library, "mallinfo2", None)
    if switch is None or ask is None or switch(_MMAP_THRESHOLD, _BLOCK) != 1:
        return False
    ask.restype = _Told
    library.malloc.restype, library.malloc.argtypes, library.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    mapped = ask().mapped
    while ask().mapped == mapped:
        block = library.malloc(_BLOCK)
    library.free(block)
    return True


class _Told(ctypes.Structure):
    """`struct mallinfo2` of glibc's malloc.h, 2.33 and later."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "holes", "small_holes", "mapped", "mapped_bytes")),
        *((name, ctypes.c_size_t) for name in ("unused", "small_bytes", "used_bytes", "hole_bytes", "top_bytes")),
    )


def forget_peak() -> None:
    """Let the peak begin at what is resident now, where the kernel can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_resident() -> int:
    """Most bytes this process ever held in memory at once, since `forget_peak` where it could."""
    told = _status("VmHWM")
    return (
        told
        if told is not None
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    )


def resident() -> int:
    """Bytes this process holds in memory now; its peak, where the system does not tell."""
    told = _status("VmRSS")
    return told if told is not None else peak_resident()


def _status(name: str) -> int | None:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return None
