"""`auto` is the fastest path that can run on the tensors at hand, and a path that cannot run says why."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from kernels import native, paths
from kernels.paths import Path, PathUnavailable, choose, rows, taken

FLOATS, DOUBLES = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")


@needs_compiler
def test_auto_is_compiled_for_float32_on_the_cpu_and_torch_for_all_else() -> None:
    assert choose("auto", FLOATS, library="scan") == "compiled"
    assert choose("auto", DOUBLES, library="scan") == "torch"
    assert choose("auto", FLOATS.to("meta"), library="scan") == "torch"
    assert choose("auto", FLOATS) == "torch"


def test_auto_without_a_compiler_is_torch_and_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    for known in (native.compiler, native.library):
        known.cache_clear()
    try:
        assert choose("auto", FLOATS, library="scan") == "torch"
        with pytest.raises(PathUnavailable, match=r"path `compiled` cannot run: there is no C\+\+ compiler"):
            choose("compiled", FLOATS, library="scan")
    finally:
        for known in (native.compiler, native.library):
            known.cache_clear()


@pytest.mark.parametrize(
    ("path", "like", "library", "why"),
    [
        ("compiled", FLOATS, None, "this operation has no compiled form"),
        ("compiled", DOUBLES, "scan", "takes float32 on the CPU, not torch.float64 on `cpu`"),
        ("compiled", FLOATS.to("meta"), "scan", "not torch.float32 on `meta`"),
        ("triton", FLOATS, "scan", "this operation has no Triton form"),
    ],
)
def test_a_path_that_cannot_run_says_why(path: Path, like: torch.Tensor, library: str | None, why: str) -> None:
    with pytest.raises(PathUnavailable, match=why.replace("+", r"\+")):
        choose(path, like, library=library)


def test_triton_needs_its_package_and_a_gpu_or_its_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    present = importlib.util.find_spec("triton") is not None
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    why = "it needs a GPU or TRITON_INTERPRET=1" if present else "`triton` is not installed"
    with pytest.raises(PathUnavailable, match=why):
        choose("triton", FLOATS, triton=True)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    if present:
        assert choose("triton", FLOATS, triton=True) == "triton"
    assert choose("auto", FLOATS, triton=True) == "torch"  # never the interpreter unasked


def test_torch_runs_everywhere() -> None:
    for like in (FLOATS, DOUBLES, FLOATS.to("meta"), FLOATS.bfloat16()):
        assert choose("torch", like, library="scan") == "torch"


def test_the_latest_path_of_each_kernel_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "_taken", {})
    choose("torch", FLOATS, library="scan")
    choose("torch", FLOATS)  # nothing to choose between
    assert taken() == {"scan": "torch"}
    with pytest.raises(PathUnavailable):
        choose("compiled", DOUBLES, library="scan")
    assert taken() == {"scan": "torch"}


def test_rows_are_copied_only_where_they_do_not_lie_evenly() -> None:
    wide = torch.randn(3, 5, 8)
    for view, distance in ((wide, 8), (wide[..., 2:7], 8), (wide[:1, ::2, :4], 16), (wide[:, 2:3, :4], 40)):
        found, row = rows(view)
        assert found.data_ptr() == view.data_ptr()
        assert row == distance
        B, T, E = view.shape
        flat = torch.as_strided(found, (B * T, E), (row, 1), found.storage_offset())
        assert torch.equal(flat.view(B, T, E), view)
    for view in (wide.mT, wide[:, :4], wide[:, :1].expand(3, 5, 8), wide.flip(1)[..., ::2]):
        found, row = rows(view)
        assert row == view.shape[2]
        assert found.is_contiguous()
        assert torch.equal(found, view)
