"""Sums over a long past, exponentials and norms are computed in float32 at least; a wider dtype stays as it is."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

WIDE = torch.float32, torch.float64


def wide(x: Tensor) -> Tensor:
    """`x` in float32 at least."""
    return x if x.dtype in WIDE else x.to(wide_dtype(x))


def wide_dtype(*tensors: Tensor | None) -> torch.dtype:
    """The widest of the tensors' dtypes, float32 at least."""
    return functools.reduce(torch.promote_types, (x.dtype for x in tensors if x is not None), torch.float32)
