"""How memory grows with length: the state that decoding carries, and the peak of a forward pass.

An exponent is the least-squares slope of log bytes on log length over doubling lengths: 0 is flat, 1 linear, 2 quadratic.
The state is the size of the tensors a document leaves behind. The peak is what torch's allocator held at most during one forward
pass without gradients and with logits of the last token only, above what it held before; scratch inside kernels is included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bench.request import Bench
from bench.subject import subject
from modules.decoder import Decoder
from plan.catalogue import benchmark


@benchmark(
    "memory-growth-v1",
    metrics={"state_exponent": "", "memory_exponent": "", "state_bytes": "B", "memory_bytes": "B"},
    source="state and allocator peak of a forward pass at 1024 to 8192 tokens",
    options={"lengths": [1024, 2048, 4096, 8192]},
)
@benchmark(
    "memory-growth-32k-v1",
    metrics={"state_exponent": "", "memory_exponent": "", "state_bytes": "B", "memory_bytes": "B"},
    source="state and allocator peak of a forward pass at 8192 to 32768 tokens",
    options={"lengths": [8192, 16384, 32768]},
)
def measure(bench: Bench) -> dict[str, float]:
    """Exponents of memory in length; `state_bytes` and `memory_bytes` are those at the longest."""
    model = subject(bench).eval()
    lengths: list[int] = bench.options["lengths"]
    generator = torch.Generator().manual_seed(bench.request.seed)
    tokens_BT = torch.randint(256, (1, lengths[-1]), generator=generator).to(bench.request.device)
    states, peaks = [], []
    for done, length in enumerate(lengths, start=1):
        state, peak = footprint(model, tokens_BT[:, :length])
        states.append((float(length), float(state)))
        peaks.append((float(length), float(peak)))
        bench.progress(done, len(lengths), {"memory_bytes": peak})
    bench.series.update(state_bytes=states, memory_bytes=peaks)
    bench.facts["parameters"] = model.parameters_count
    return {
        "state_exponent": slope(states),
        "memory_exponent": slope(peaks),
        "state_bytes": states[-1][1],
        "memory_bytes": peaks[-1][1],
    }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least-squares slope of log y on log x; values must be positive."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / sum((x - x_mean) ** 2 for x in xs)


def peak_bytes(events: Sequence[tuple[int, int]]) -> int:
    """Most bytes held at once, of (time, bytes allocated or, negative, freed)."""
    held = most = 0
    for _, change in sorted(events, key=lambda event: event[0]):
        held += change
        most = max(most, held)
    return most


def allocator_peak(work: Callable[[], object], *, device: str) -> int:
    """Most bytes that torch's allocator held at once during `work`, above what it held before."""
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = profiler.profiler.kineto_results.events()
    return peak_bytes([(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"])


def footprint(model: Decoder, tokens_BT: Tensor) -> tuple[int, int]:
    """Bytes of the state after `tokens_BT`, and the peak of computing it above what was held before."""
    last = torch.tensor([tokens_BT.shape[1] - 1], device=tokens_BT.device)
    left = []
    with torch.no_grad():
        peak = allocator_peak(lambda: left.append(model(tokens_BT, positions=last)[1]), device=str(tokens_BT.device))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(left[0].blocks)), peak


def tensors(tree: Any) -> Iterator[Tensor]:
    """The tensors of nested tuples, in order."""
    if isinstance(tree, Tensor):
        yield tree
    else:
        for branch in tree:
            yield from tensors(branch)
