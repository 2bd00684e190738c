"""Shelves that never change, so that tests of the plan language do not depend on what this house has on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plan.catalogue import Entry, Shelves
from plan.fields import Field


def entry(shelf: str, name: str, *, fields: dict[str, tuple[str, Any]] | None = None, **arguments: Any) -> Entry:
    """A thing on a shelf, as the catalogue would have read it."""
    return Entry(
        shelf=shelf,
        name=name,
        path=Path(f"{name}.py"),
        symbol="Thing",
        line=1,
        summary="",
        arguments=arguments,
        fields=fields or {},
    )


FIELDS = {
    "d_model": Field("int"),
    "heads": Field("int", 4, limits=(1, 4096)),
    "gamma": Field("float", 0.96875),
    "router": Field("Literal['hash', 'switch']", "switch"),
    "name": Field("str", "plain"),
    "gated": Field("bool", True),
    "window": Field("int | None", None),
    "spread": Field("tuple[float, float]", (0.9, 0.95)),
}
SHELVES = Shelves(
    modules={
        "attention": entry("module", "attention", fields=FIELDS, metrics={}),
        "moe": entry("module", "moe", fields=FIELDS, metrics={"load_balance_std": ""}),
        "retnet": entry("module", "retnet", fields=FIELDS, metrics={}),
    },
    benchmarks={
        "copy-64-v1": entry(
            "benchmark",
            "copy-64-v1",
            metrics={
                "accuracy": "",
                "steps_to_99": "",
                "peak_bytes": "B",
                "step_seconds": "s",
                "train_ratio": "x",
                "cost": "FLOP",
            },
            steps=400,
        ),
        "count-v1": entry("benchmark", "count-v1", metrics={"accuracy": "", "parameters": ""}),
        "kernel-v1": entry("benchmark", "kernel-v1", metrics={"accuracy": ""}, modules=("attention", "moe")),
        "text-v1": entry("benchmark", "text-v1", metrics={"val_bpb": "bpb"}, options={"corpus": ""}, steps=300),
        "bytes-v1": entry("benchmark", "bytes-v1", metrics={"val_bpb": "bpb", "tokens_rate": "tokens/s"}),
    },
    decoder={"layers": Field("int", 2), "tie": Field("bool", True)},
    recipe={"lr": Field("float", 1e-3), "betas": Field("tuple[float, float]", (0.9, 0.95))},
    broken={"mamba": "modules/mamba.py:12: expected ':'"},
)
GOOD = """\
# Plan: a small one

Why it matters.

- **seeds**: 5

## dense-copy: attention sets the bar

- **module**: `attention`
- **benchmark**: `copy-64-v1`
- **budget**: 10 min, 400 steps

| metric       |    | threshold | rule       |
| ------------ | -- | --------: | ---------- |
| `accuracy`   | ≥  |      0.99 | every seed |
| `peak_bytes` | ≤  |   512 MiB | every seed |

## retnet-copy: RetNet recalls as well

- **module**: `retnet`
- **benchmark**: `copy-64-v1`
- **needs**: [`dense-copy`](#dense-copy-attention-sets-the-bar)

| metric         |    |         threshold | rule      |
| -------------- | -- | ----------------: | --------- |
| `accuracy`     | ≥  | 0.98 x dense-copy | lower 95% |
| `step_seconds` | ≤  |             18 ms | median    |

```toml config
heads = 4

[decoder]
layers = 3
```
"""
