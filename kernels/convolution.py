"""Short causal convolution of each channel by itself, as in front of Mamba's state space.

Shapes: B batch, T tokens, E channels, W width, S = W - 1 + T tokens seen.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def short_convolution(seen_BSE: Tensor, weight_EW: Tensor, bias_E: Tensor | None) -> Tensor:
    """out_BTE: out[t] = bias + sum over i < W of weight[:, i] * seen[t + i].

    A single token is one product and one sum: the general routine's set-up costs several times that.
    Raises ValueError when no output is left to compute (T = 0).
    """
    W = weight_EW.shape[1]
    if seen_BSE.shape[1] < W:
        raise ValueError(f"a convolution of width {W} over {seen_BSE.shape[1]} tokens gives no output (T = 0); it needs {W}")
    if seen_BSE.shape[1] == W:
        out_BTE = (seen_BSE * weight_EW.T).sum(1, keepdim=True)
        return out_BTE if bias_E is None else out_BTE + bias_E
    return F.conv1d(seen_BSE.mT, weight_EW.unsqueeze(1), bias_E, groups=seen_BSE.shape[2]).mT
