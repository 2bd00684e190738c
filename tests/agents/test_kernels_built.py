"""A session builds the kernels that its tasks reach before it measures, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.running import _build_kernels, kernels_of
from kernels import native
from plan.nouns import Task


def task(module: str, benchmark: str, **more: object) -> Task:
    return Task(id="one", title="", module=module, benchmark=benchmark, targets=(), **more)  # type: ignore[arg-type]


def test_a_task_needs_the_kernels_of_its_module_and_of_those_it_names() -> None:
    assert kernels_of([task("attention", "memory-growth-32k-v1")]) == set()
    assert kernels_of([task("transformer", "bytes-stdlib-v1")]) == set(), "to count an operator's FLOPs is not to need it"
    assert kernels_of([task("mamba", "memory-growth-32k-v1")]) == {"convolution", "scan"}
    both = [task("mamba", "memory-growth-32k-v1"), task("rwkv4", "memory-growth-32k-v1")]
    assert kernels_of(both) == {"convolution", "scan", "rwkv4"}
    named = task("hybrid", "memory-growth-32k-v1", config={"pattern": "rwkv4 topk_attention"})
    assert {"rwkv4", "topk_attention"} <= kernels_of([named])


def test_where_nobody_can_tell_all_are_needed() -> None:
    assert kernels_of([task("attention", "no-such-benchmark-v1")]) == set(native.names())


def test_where_improving_may_bring_in_another_module_all_are_needed() -> None:
    assert kernels_of([task("attention", "memory-growth-32k-v1", improve=("replace",))]) == set(native.names())


@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
def test_only_those_are_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    _build_kernels([task("topk_attention", "topk-decode-32k-v1")])
    assert [path.name.rpartition("-")[0] for path in tmp_path.rglob("*.so")] == ["topk_attention"]
    assert capsys.readouterr().err == "building kernel `topk_attention`, once for this machine\n"
