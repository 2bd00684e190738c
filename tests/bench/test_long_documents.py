"""Benchmarks of great lengths, at small ones: a growing cache, a wrong step and a document that is not remembered are told from what is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.request import Bench
from bench.suites import long_recall, million_tokens
from modules.decoder import Decoder, DecoderState
from plan.nouns import Request

LINUX = Path("/proc/self/status").exists()


def shortened(monkeypatch: pytest.MonkeyPatch, folder: Path, benchmark: str, module: str, **options: Any) -> Bench:
    config = {"d_model": 16, **({"decoder": {"layers": 2}} if benchmark.startswith("mqar") else {})}
    bench = Bench(request=Request(module=module, benchmark=benchmark, seed=0, config=config, steps=8), folder=folder)
    own = {**bench.options, **options}
    monkeypatch.setattr(Bench, "options", property(lambda self: own))
    return bench


@pytest.mark.skipif(not LINUX, reason="no /proc to forget a peak in")
@pytest.mark.parametrize("stepped_every", [1, 4])
def test_steps_and_windows_of_a_long_document_end_in_the_state_of_a_pass_in_float64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stepped_every: int
) -> None:
    short = {"tokens": 1024, "window": 64, "stepped_every": stepped_every, "reference_window": 100}
    found = million_tokens.measure(shortened(monkeypatch, tmp_path, "million-tokens-v1", "rwkv4", **short))
    assert found["state_ratio"] == 1
    assert found["state_error"] < 1e-5


@pytest.mark.skipif(not LINUX, reason="no /proc to forget a peak in")
def test_a_cache_grows_with_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"tokens": 1 << 15, "window": 1024, "stepped_every": 0, "reference_window": 4096}
    found = million_tokens.measure(shortened(monkeypatch, tmp_path, "million-tokens-v1", "transformer", **short))
    assert found["state_ratio"] == pytest.approx(8, rel=0.01)
    assert found["memory_ratio"] > 1.05


@pytest.mark.skipif(not LINUX, reason="no /proc to forget a peak in")
def test_a_step_that_is_a_little_wrong_shows_in_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: Decoder, token_B: torch.Tensor, states: DecoderState | None = None) -> tuple[torch.Tensor, DecoderState]:
        logits, after = model(token_B.unsqueeze(1), states)
        return logits, after._replace(blocks=tuple(type(b)(*(part * 0.999 for part in b)) for b in after.blocks))

    monkeypatch.setattr(Decoder, "step", wrong)
    short = {"tokens": 1024, "window": 64, "stepped_every": 1, "reference_window": 64}
    assert million_tokens.measure(shortened(monkeypatch, tmp_path, "million-tokens-v1", "rwkv4", **short))["state_error"] > 1e-4


def test_long_recall_trains_on_a_ladder_of_lengths_and_scores_the_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    original = long_recall.mqar

    def watched(rng: Any, count: int, **asked: Any) -> Any:
        seen.append((count, asked["length"]))
        return original(rng, count, **asked)

    monkeypatch.setattr(long_recall, "mqar", watched)
    short = {"lengths": [32, 64], "pairs": 4, "tokens": 128, "test": 8}
    found = long_recall.measure(shortened(monkeypatch, tmp_path, "mqar-4096x8-v64-v1", "attention", **short))
    held, *training, test = seen
    assert (held, test) == ((2, 64), (8, 64))
    assert training[:4] == [(4, 32)] * 4
    assert set(training) == {(4, 32), (2, 64)}
    assert 0 <= found["accuracy"] <= 1
    assert found["state_bytes"] == 2 * 2 * 64 * 16 * 4 + 2 * 8
