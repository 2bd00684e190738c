"""Which way an operation is computed: every kernel offers the same names, and says why one of them cannot run.

`torch`: the chunkwise form in plain torch, everywhere. `compiled`: a small C++ operator on the CPU, float32. `triton`: on a GPU,
or on the CPU under Triton's interpreter (`TRITON_INTERPRET=1`). `auto`: the fastest that can run on these tensors.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Literal

import torch
from torch import Tensor

from kernels import native

Path = Literal["auto", "torch", "compiled", "triton"]
_taken: dict[str, str] = {}


class PathUnavailable(RuntimeError):
    """A path was asked for that cannot run here, or not on these tensors."""


def why_not(path: Path, like: Tensor, *, library: str | None) -> str | None:
    """The reason why `path` cannot take tensors like `like`, or None when it can; `library`: the kernel's C++ library."""
    if path in ("auto", "torch"):
        return None
    if path == "compiled":
        if library is None:
            return "this operation has no compiled form"
        if like.device.type != "cpu" or like.dtype != torch.float32:
            return f"it takes float32 on the CPU, not {like.dtype} on `{like.device.type}`"
        return None if _built(library) else "there is no C++ compiler"
    if importlib.util.find_spec("triton") is None:
        return "`triton` is not installed"
    if like.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"the tensors are on `{like.device.type}`; it needs a GPU or TRITON_INTERPRET=1"
    return None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _built(library: str) -> bool:
    return native.library(library) is not None


def choose(path: Path, like: Tensor, *, library: str | None = None, triton: bool = False) -> Path:
    """The path that `auto` stands for, or `path` itself. Raises PathUnavailable when `path` cannot run.

    `library`: the kernel's C++ library, which is also its name in `taken`. `triton`: whether the kernel has such a form;
    `auto` takes it on a GPU only, and the compiled one on the CPU only.
    """
    if path == "auto":
        if triton and like.device.type == "cuda" and why_not("triton", like, library=library) is None:
            path = "triton"
        else:
            path = "compiled" if library and why_not("compiled", like, library=library) is None else "torch"
    else:
        reason = "this operation has no Triton form" if path == "triton" and not triton else why_not(path, like, library=library)
        if reason:
            raise PathUnavailable(f"path `{path}` cannot run: {reason}; `auto` takes the fastest that can")
    if library:
        _note(library, path)
    return path


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _note(library: str, path: Path) -> None:
    """Once per compiled graph: read by it, what other kernels took since would make the graph stale."""
    _taken[library] = path


def taken() -> dict[str, str]:
    """Kernel -> the path of its latest call in this process: provenance for a run."""
    return dict(sorted(_taken.items()))


def rows(t_BTE: Tensor) -> tuple[Tensor, int]:
    """`t` as rows of adjacent channels that lie evenly apart, copied only where it has to be, and the distance of two rows."""
    B, T, E = t_BTE.shape
    row = t_BTE.stride(1) if T > 1 else t_BTE.stride(0)
    if (t_BTE.stride(2) == 1 or E == 1) and row >= E and (B == 1 or t_BTE.stride(0) == T * row):
        return t_BTE, row
    return t_BTE.contiguous(), E
