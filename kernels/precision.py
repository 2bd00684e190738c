"""Sums over a long past, exponentials and norms are computed in float32 at least; a wider dtype stays as it is."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """`x` in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
