"""How time grows with length: a forward pass and a training step, from 2,048 to 32,768 tokens of one document.

An exponent is the least-squares slope of log seconds on log length over doubling lengths: 1 is linear, 2 quadratic. All lengths are
timed in turn, round by round, after one untimed call of each, and a length counts by the median of its rounds: CPU seconds of the
process on one thread of a CPU, wall clock otherwise. The memory of a training step is the most that torch's allocator held above
what it held before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

from bench.request import Bench
from bench.subject import subject
from bench.suites.memory_growth import allocator_peak, slope
from modules.decoder import Decoder
from modules.trainer import next_token
from plan.catalogue import benchmark


@benchmark(
    "time-growth-32k-v1",
    metrics={"forward_exponent": "", "train_exponent": "", "train_memory_exponent": "", "train_memory_bytes": "B"},
    source="seconds and allocator peak of one document of 2048 to 32768 random bytes",
    options={"lengths": [2048, 4096, 8192, 16384, 32768], "rounds": 3},
    alone=True,
)
def measure(bench: Bench) -> dict[str, float]:
    """Exponents of time and of training memory in length; `train_memory_bytes` is that at the longest."""
    model = subject(bench)
    lengths: list[int] = bench.options["lengths"]
    generator = torch.Generator().manual_seed(bench.request.seed)
    tokens_BT = torch.randint(256, (1, lengths[-1] + 1), generator=generator).to(bench.request.device)

    def forward(length: int) -> None:
        with torch.no_grad():
            model(tokens_BT[:, :length], positions=torch.tensor([length - 1], device=tokens_BT.device))

    def training(length: int) -> None:
        model.zero_grad(set_to_none=True)
        (next_token(model, tokens_BT[:, : length + 1])[0] + model.auxiliary_loss()).backward()  # type: ignore[no-untyped-call]

    works: list[tuple[str, Callable[[int], None], int]] = [
        (name, work, length) for name, work in (("forward", forward), ("train", training)) for length in lengths
    ]
    rounds: int = bench.options["rounds"]
    seconds: dict[tuple[str, int], list[float]] = {(name, length): [] for name, _, length in works}
    for done in range(rounds + 1):
        for name, work, length in works:
            spent = _timed(lambda work=work, length=length: work(length), bench.request.device)  # type: ignore[misc]
            if done:
                seconds[name, length].append(spent)
        bench.progress(done + 1, rounds + 2, {})
    memory = [(float(length), float(_peak(model, lambda length=length: training(length)))) for length in lengths]  # type: ignore[misc]
    curves = {
        f"{name}_seconds": [(float(length), median(seconds[name, length])) for length in lengths] for name in ("forward", "train")
    }
    bench.series.update(curves, train_memory_bytes=memory)
    return {
        "forward_exponent": slope(curves["forward_seconds"]),
        "train_exponent": slope(curves["train_seconds"]),
        "train_memory_exponent": slope(memory),
        "train_memory_bytes": memory[-1][1],
    }


def _timed(work: Callable[[], None], device: str) -> float:
    cpu = device == "cpu"
    now = time.process_time if cpu and torch.get_num_threads() == 1 else time.perf_counter
    began = now()
    work()
    if not cpu:
        torch.cuda.synchronize()
    return now() - began


def _peak(model: Decoder, work: Callable[[], None]) -> int:
    model.zero_grad(set_to_none=True)
    return allocator_peak(work, device=str(next(model.parameters()).device))
