"""Quantised fine-tuning as a benchmark: a process of its own trains the adapters and tells its memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.request import Bench
from plan import catalogue
from plan.nouns import Request


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_four_bits_take_less_memory_than_sixteen_and_both_learn(tmp_path: Path) -> None:
    """`python -m pytest -m slow tests/bench/test_suites_quant_lora.py`: about a minute on a quiet machine."""
    name = "quant-lora-v3"
    config = {"d_model": 768, "heads": 12, "decoder": {"layers": 2}}
    request = Request(module="transformer", benchmark=name, seed=0, config=config, steps=4)
    numbers = catalogue.load("benchmark", name)(Bench(request=request, folder=tmp_path))
    assert set(numbers) == set(catalogue.shelf("benchmark")[name].arguments["metrics"])
    for kind in ("half", "nf4", "int4"):
        assert numbers[f"{kind}_tuned_bpb"] < numbers[f"{kind}_untuned_bpb"] - 0.01
    for kind in ("nf4", "int4"):
        assert numbers[f"{kind}_peak_bytes"] < numbers["half_peak_bytes"]
        assert numbers[f"{kind}_memory_ratio"] < numbers[f"{kind}_process_ratio"] < 1, "libraries weigh the same on both sides"
