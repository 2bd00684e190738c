"""Growth in time and memory is the slope of what was really spent at each length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.request import Bench
from bench.suites import time_growth
from modules.decoder import Decoder
from plan.nouns import Request


def test_each_length_counts_by_the_median_of_its_rounds_and_the_first_round_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: dict[int, int] = {}

    def quadratic(work: Any, device: str) -> float:
        """A clock that says length squared, and nonsense in the first and the last round."""
        length = work.__defaults__[1]
        calls[length] = calls.get(length, 0) + 1
        work()
        return 1e6 if calls[length] in (1, 2, 7, 8) else float(length) ** 2

    monkeypatch.setattr(time_growth, "_timed", quadratic)
    monkeypatch.setattr(Bench, "options", {"lengths": [64, 128, 256], "rounds": 3})
    request = Request(module="retnet", benchmark="time-growth-32k-v1", seed=0, config={"d_model": 16, "heads": 2})
    numbers = time_growth.measure(Bench(request=request, folder=tmp_path))
    assert numbers["forward_exponent"] == pytest.approx(2)
    assert numbers["train_exponent"] == pytest.approx(2)
    assert 0.9 < numbers["train_memory_exponent"] < 1.1


def test_the_peak_of_a_step_is_what_it_held_at_once() -> None:
    model = Decoder.build("transformer", config={"d_model": 16, "heads": 2})

    def work() -> None:
        for _ in range(3):
            model.embedding.weight.new_zeros(1000, 250)

    assert time_growth._peak(model, work) == 1_000_000
