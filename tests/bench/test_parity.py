"""Two implementations of one function give the same probes; another function, or another start, does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import parity
from bench.request import Bench
from plan import catalogue
from plan.nouns import Request, Run, Status


def probes(module: str, folder: Path, **config: Any) -> Run:
    request = Request(module=module, benchmark=parity.BENCHMARK, seed=0, config={"d_model": 16, **config})
    bench = Bench(request=request, folder=folder)
    catalogue.load("benchmark", parity.BENCHMARK)(bench)
    return Run(
        key="k" * 64, request=request, status=Status.OK, series={name: tuple(points) for name, points in bench.series.items()}
    )


@pytest.mark.parametrize("module", ["retnet", "gla"])
def test_the_path_of_a_kernel_is_an_implementation_and_a_decay_is_not(module: str, tmp_path: Path) -> None:
    own = probes(module, tmp_path)
    assert parity.differs(own, probes(module, tmp_path, path="torch")) is None
    other = {"retnet": {"memory_growth": 3.0}, "gla": {"temperature": 8.0}}[module]
    assert "differs by" in (parity.differs(own, probes(module, tmp_path, **other)) or "")


def test_probes_that_are_missing_or_failed_are_no_parity(tmp_path: Path) -> None:
    own = probes("retnet", tmp_path)
    assert "only one of them has" in (parity.differs(own, probes("gla", tmp_path)) or "")
    assert "ended crashed" in (parity.differs(own, Run(key="x", request=own.request, status=Status.CRASHED, message="no")) or "")
