"""A sequence as chunks of equally many steps and back, for the forms that go through it chunk by chunk.

Shapes: B batch, T time, H heads, X size; N chunks of C steps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def split(x_BTHX: Tensor, size: int) -> Tensor:
    """(B, N, H, C, X), contiguous, C = `size`; zeros stand behind the last step."""
    rest = -x_BTHX.shape[1] % size
    padded = F.pad(x_BTHX, (0, 0, 0, 0, 0, rest)) if rest else x_BTHX
    return torch.unflatten(padded, 1, (-1, size)).transpose(2, 3).contiguous()


def join(x_BNHCX: Tensor, steps: int) -> Tensor:
    """(B, T, H, X), contiguous, of the first T = `steps`."""
    return x_BNHCX.transpose(2, 3).flatten(1, 2)[:, :steps].contiguous()
