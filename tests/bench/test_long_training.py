"""The long-training benchmarks score what they say, and tell a state that grows from one that does not."""

from __future__ import annotations

import ctypes
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.data import Corpus
from bench.request import Bench
from bench.suites import long_training
from bench.suites.long_training import bits_per_byte, forget_peak, measure, measure_memory, peak_resident, resident
from modules.decoder import Decoder
from plan.catalogue import HOUSE
from plan.nouns import Request

LINUX = Path("/proc/self/status").exists()


def bench(tmp_path: Path, benchmark: str, module: str, **options: Any) -> Bench:
    config = {"d_model": 16, "decoder": {"layers": 1}}
    return Bench(request=Request(module=module, benchmark=benchmark, seed=0, config=config, **options), folder=tmp_path)


@pytest.mark.parametrize("carry", [True, False])
def test_bits_per_byte_are_those_of_one_byte_after_the_other(carry: bool) -> None:
    model = Decoder.build("rwkv4", config={"d_model": 16}, decoder={"layers": 2})
    documents = torch.randint(256, (2, 50), generator=torch.Generator().manual_seed(0))
    bits, states = 0.0, None
    with torch.no_grad():
        for t in range(49):
            logits, states = model.step(documents[:, t], states if carry or t % 16 else None)
            chances = F.softmax(logits.double(), dim=-1)
            bits -= float(torch.log2(chances[torch.arange(2), documents[:, t + 1]]).sum())
    assert bits_per_byte(model, documents, window=16, carry=carry) == pytest.approx(bits / 98, rel=1e-6)


@pytest.fixture
def periodic(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text in which a byte is known from those before it, so that something is learnt in a few steps."""
    text = np.tile(np.frombuffer(b"abcdefgh" * 8, dtype=np.uint8), 1000)
    facts = {"corpus": "test", "data_digest": "0", "bytes_train": len(text), "bytes_validation": len(text)}
    monkeypatch.setattr(long_training, "corpus", lambda source: Corpus(train=text, validation=text, facts=facts))


@pytest.mark.usefixtures("periodic")
def test_both_trainings_see_the_same_bytes_and_are_scored_on_the_same_documents_and_resumed(tmp_path: Path) -> None:
    first = measure(bench(tmp_path, "long-training-v2", "rwkv4", steps=4))
    again = bench(tmp_path, "long-training-v2", "rwkv4", steps=4)
    assert measure(again) == first
    assert again.facts["resumed_at"] == 4
    assert first["bpb_ratio"] == pytest.approx(first["val_bpb"] / first["reset_bpb"])
    told = again.facts["bits_per_byte"]
    assert first["val_bpb"] == told["carried on"] < math.log2(256)
    assert first["reset_bpb"] == min(told["reset windows"], told["reset on"])
    carried, reset = (again.series[f"{name}_train_loss"] for name in ("carried", "reset"))
    assert carried[0] == reset[0]
    assert carried[1:] != reset[1:]


@pytest.mark.skipif(not LINUX, reason="no /proc to forget a peak in")
def test_the_peak_is_that_since_it_was_forgotten() -> None:
    block = np.ones(64 << 20, dtype=np.uint8)
    assert peak_resident() >= resident() >= block.nbytes
    high = peak_resident()
    del block
    forget_peak()
    assert peak_resident() <= high - (48 << 20)


HOLES = """
import ctypes, json
from bench.suites.long_training import _Told, give_back_at_once
library = ctypes.CDLL(None)
library.mallinfo2.restype, library.malloc.restype, library.free.argtypes = _Told, ctypes.c_void_p, [ctypes.c_void_p]

def mapped(count):
    before = library.mallinfo2().mapped
    blocks = [library.malloc(100_000) for _ in range(count)]
    found = library.mallinfo2().mapped - before
    for block in blocks:
        library.free(block)
    return found

blocks = [library.malloc(50_000) for _ in range(300)]
for number, block in enumerate(blocks):
    if number % 3:
        library.free(block)
told = [mapped(20)]
gave = give_back_at_once()
print(json.dumps([gave, told[0], mapped(20), mapped(20)]))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="no C library that tells what it has mapped")
def test_every_large_block_is_mapped_and_given_back_although_the_heap_has_holes_for_it() -> None:
    environment = {**os.environ, "PYTHONPATH": str(HOUSE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", HOLES], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, 0, 20, 20]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "flat"), [("rwkv4", True), ("transformer", False)])
def test_memory_of_training_tells_a_growing_state_from_one_of_fixed_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, flat: bool
) -> None:
    """`python -m pytest -m slow tests/bench/test_long_training.py`, a minute each, in a process of its own."""
    short = Bench(
        request=Request(module=module, benchmark="long-training-memory-v3", seed=0, config={"d_model": 64}), folder=tmp_path
    )
    options = {**short.options, "documents": [4096, 65536]}
    monkeypatch.setattr(Bench, "options", property(lambda self: options))
    ratio = measure_memory(short)["memory_ratio"]
    assert (ratio <= 1.05) == flat
