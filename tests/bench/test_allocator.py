"""A worker keeps freed memory for its next result: that saves page faults, and changes neither a bit of a training nor what memory costs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.autobench import AutoBench, confine
from plan.catalogue import HOUSE
from plan.nouns import Limits, Request, Status

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are those of glibc's allocator")

SCRIPT = """
import json, resource, torch
from bench.suites.memory_growth import footprint
from modules.decoder import Decoder
from modules.trainer import Recipe, next_token, train

model = Decoder.build("transformer", config={"d_model": 32})
tokens_BT = torch.randint(256, (4, 257), generator=torch.Generator().manual_seed(0))
log = train(model, lambda i: tokens_BT, loss=next_token, recipe=Recipe(), steps=3, seed=0)
held = [footprint(model, tokens_BT[:1, :length]) for length in (64, 256)]
x = torch.rand(1 << 24)
for _ in range(5):
    x.exp()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    x.exp()
print(json.dumps([log.loss, log.gradient_norm, held, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, list[Any]]:
    """Losses, norms, bytes of state and peak, and page faults of five fresh results of 64 MiB."""
    plain = {**confine.scrubbed(os.environ), "PYTHONPATH": str(HOUSE), "OMP_NUM_THREADS": "1"}
    found = {}
    for name, environment in (("plain", plain), ("pinned", confine.pinned(plain, 1))):
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout)
    return found


def test_a_training_has_the_same_bits_with_and_without_the_settings(told: dict[str, list[Any]]) -> None:
    assert told["pinned"][:2] == told["plain"][:2]


def test_memory_that_torch_is_asked_for_is_the_same_with_and_without_the_settings(
    told: dict[str, list[Any]],
) -> None:
    assert told["pinned"][2] == told["plain"][2]


def test_results_of_a_size_that_was_there_before_fault_almost_no_pages(told: dict[str, list[Any]]) -> None:
    assert (
        told["pinned"][3] < 81920 / 4
    )  # five results have 81920 pages of 4 KiB; a gap that a small block took costs one of them


def test_a_run_tells_the_settings_of_threads_and_allocator_that_it_had(tmp_path: Path) -> None:
    request = Request(module="attention", benchmark="flops-v1", seed=0, config={"d_model": 16}, threads=2)
    with AutoBench(preload=("torch",)) as bench:
        outcome = bench.start(request, limits=Limits(seconds=120), folder=tmp_path).wait(timeout=150)
    assert outcome is not None
    assert outcome.status is Status.OK, outcome.log_tail
    assert outcome.facts["settings"] == dict.fromkeys(confine.POOLS, "2") | confine.ALLOCATOR
