"""Runs as a small zoo would leave them: three mixers on text, their memory, their speed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from plan.nouns import Request, Run, Status


def run(
    module: str,
    benchmark: str,
    seed: int,
    metrics: Mapping[str, float] = {},
    *,
    config: Mapping[str, Any] = {},
    steps: int | None = None,
    status: Status = Status.OK,
    code: str = "today",
    facts: Mapping[str, Any] = {},
) -> Run:
    request = Request(module=module, benchmark=benchmark, seed=seed, config=config, steps=steps)
    key = hashlib.sha256(repr((request, code)).encode()).hexdigest()
    identity = {"code": code, "data": {"digest": "d"}, "environment": {"torch": "2"}}
    return Run(key=key, request=request, status=status, metrics=metrics, facts={"identity": identity, **facts})


def seeds(
    module: str, benchmark: str, metric: str, values: Sequence[float], also: Mapping[str, float] = {}, **more: Any
) -> list[Run]:
    """One run for each value, seeds from 0."""
    return [run(module, benchmark, seed, {metric: value, **also}, **more) for seed, value in enumerate(values)]


def zoo() -> list[Run]:
    """Mamba is surely best and small; RetNet about as good as the transformer and smaller; attention's state grows."""
    bpb = {"mamba": (2.48, 2.49, 2.47), "retnet": (3.00, 3.03, 2.97), "transformer": (3.02, 3.05, 3.01)}
    state = {"mamba": 39_000, "retnet": 65_536, "transformer": 33_554_432}
    speed = {"mamba": (0.60, 0.62, 0.61), "retnet": (1.10, 1.12, 1.11), "transformer": (1.00, 1.01, 0.99)}
    found: list[Run] = []
    for module in bpb:
        found += seeds(module, "bytes-stdlib-v1", "val_bpb", bpb[module], {"parameters": 400_000 + len(module)})
        found += [run(module, "memory-growth-v1", 0, {"state_exponent": 0.0, "state_bytes": float(state[module])})]
        found += seeds(module, "train-throughput-512-v1", "train_ratio", speed[module])
    return found
