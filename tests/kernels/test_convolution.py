"""The short convolution agrees with its formula for one token and for many, in outputs and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.convolution import short_convolution


def plain(seen_BSE: Tensor, weight_EW: Tensor, bias_E: Tensor) -> Tensor:
    """The formula, one token at a time."""
    W = weight_EW.shape[1]
    tokens = [seen_BSE[:, t : t + W] for t in range(seen_BSE.shape[1] - W + 1)]
    return torch.stack([sum((window[:, i] * weight_EW[:, i] for i in range(W)), bias_E) for window in tokens], dim=1)


@pytest.mark.parametrize("length", [1, 2, 63, 65])
def test_the_convolution_is_its_formula(length: int) -> None:
    torch.manual_seed(length)
    inputs = {"seen_BSE": torch.randn(2, length + 3, 5), "weight_EW": torch.randn(5, 4), "bias_E": torch.randn(5)}
    wide = {name: tensor.double() for name, tensor in inputs.items()}
    assert_agrees(outputs_and_gradients(short_convolution, inputs), outputs_and_gradients(plain, wide))
