"""Which way a metric gets better: what a comparison and a Pareto front must know, and a number alone does not say."""

from __future__ import annotations

from typing import Literal

from bench.report.wording import metric_unit

Better = Literal["less", "more"]

MORE = frozenset(
    {"accuracy", "expert_utilization", "lr_window", "coverage"}
    | {"train_ratio", "decode_ratio", "kernel_ratio", "fit_ratio", "forward_ratio"}
)
"""Metrics of which more is better; ratios among them are speeds, of which 2 means twice as fast."""
LESS = frozenset(
    {"failures", "parameters", "parameters_ratio", "flops_ratio", "steps_to_99", "ratio_1k", "ratio_4k", "rmsle", "worst_error"}
    | {"state_exponent", "memory_exponent", "load_balance_std", "load_share_std", "drop_rate"}
)
COSTS = frozenset({"bpb", "B", "s", "FLOP"})
"""Units of which less is better whatever is measured in them."""


def better_when(module: str, benchmark: str, metric: str) -> Better | None:
    """Whether less or more of `metric` is better; None where nobody has said so, and a person must."""
    if metric in MORE or metric.startswith("accuracy_"):
        return "more"
    return "less" if metric in LESS or metric_unit(module, benchmark, metric) in COSTS else None
