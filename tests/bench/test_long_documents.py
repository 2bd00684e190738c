"""Benchmarks of great lengths, at small ones: a growing cache, a wrong step and a document that is not remembered are told from what is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.request import Bench
from bench.suites import long_recall
from bench.suites.mqar import mqar
from plan.catalogue import HOUSE
from plan.nouns import Request

LINUX = Path("/proc/self/status").exists()


SCRIPT = """
import json
from pathlib import Path
from bench.request import Bench
from bench.suites import million_tokens
from modules.decoder import Decoder
from plan.nouns import Request

def measured(module, **short):
    bench = Bench(request=Request(module=module, benchmark="million-tokens-v1", seed=0, config={}), folder=Path("."))
    own = {**options, **short}
    Bench.options = property(lambda self: own)
    return million_tokens.measure(bench)

def off(model, token_B, states=None):
    logits, after = right(model, token_B, states)
    return logits, after._replace(blocks=tuple(type(block)(*(part * 0.999 for part in block)) for block in after.blocks))

options, right = {"tokens": 2048, "window": 256, "reference_window": 100, "stepped_every": 4}, Decoder.step
told = {"right": measured("rwkv4")}
told["cache"] = measured("transformer", tokens=8192, window=512, reference_window=512, stepped_every=0)
Decoder.step = off
told["wrong"] = measured("rwkv4")
print(json.dumps(told))
"""


@cache
def told() -> dict[str, dict[str, float]]:
    """What shorter documents tell, in a process of their own, as resident memory is that of everything a process ever did."""
    environment = {**os.environ, "PYTHONPATH": str(HOUSE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def shortened(monkeypatch: pytest.MonkeyPatch, folder: Path, benchmark: str, module: str, **options: Any) -> Bench:
    config = {"d_model": 16, "decoder": {"layers": 2}}
    bench = Bench(request=Request(module=module, benchmark=benchmark, seed=0, config=config, steps=8), folder=folder)
    own = {**bench.options, **options}
    monkeypatch.setattr(Bench, "options", property(lambda self: own))
    return bench


@pytest.mark.skipif(not LINUX, reason="no /proc to forget a peak in")
def test_steps_and_windows_of_a_long_document_end_in_the_state_of_a_pass_in_float64() -> None:
    assert told()["right"]["state_ratio"] == 1
    assert told()["right"]["state_error"] < 1e-5


@pytest.mark.skipif(not LINUX, reason="no /proc to forget a peak in")
def test_a_cache_grows_with_the_document() -> None:
    assert told()["cache"]["state_ratio"] == pytest.approx(4, rel=0.01)
    assert told()["cache"]["bytes_per_token"] > 512


@pytest.mark.skipif(not LINUX, reason="no /proc to forget a peak in")
def test_a_step_that_is_a_little_wrong_shows_in_the_state() -> None:
    assert told()["wrong"]["state_error"] > 1e-4


def test_long_recall_trains_on_a_ladder_of_lengths_and_scores_the_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    original = mqar

    def watched(rng: Any, count: int, **asked: Any) -> Any:
        seen.append((count, asked["length"]))
        return original(rng, count, **asked)

    monkeypatch.setattr("bench.suites.long_recall.mqar", watched)
    short = {"lengths": [32, 64], "pairs": 4, "tokens": 128, "test": 8}
    found = long_recall.measure(shortened(monkeypatch, tmp_path, "mqar-4096x8-v64-v1", "attention", **short))
    held, *training, test = seen
    assert (held, test) == ((2, 64), (8, 64))
    assert training[:4] == [(4, 32)] * 4
    assert training[5] == training[7] == (2, 64)
    assert set(training) <= {(4, 32), (2, 64)}
    assert 0 <= found["accuracy"] <= 1
    assert found["state_bytes"] == 2 * 2 * 64 * 16 * 4 + 2 * 8
