"""FLOPs are those of the arithmetic, counted a second way: convolutions as matrix products of what they slide over."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.flops import count_flops, training_flops

B, C_IN, C_OUT, T, W = 2, 12, 24, 30, 4


def as_matrix_products(x_BCT: Tensor, weight_OCW: Tensor, *, groups: int) -> Tensor:
    """The causal convolution as one matrix product a group, whose FLOPs torch counts right."""
    seen_BCTW = F.pad(x_BCT, (W - 1, 0)).unfold(-1, W, 1)
    seen_GNK = seen_BCTW.reshape(B, groups, -1, T, W).permute(1, 0, 3, 2, 4).reshape(groups, B * T, -1)
    weight_GKO = weight_OCW.reshape(groups, C_OUT // groups, -1).transpose(1, 2)
    return torch.bmm(seen_GNK, weight_GKO).reshape(groups, B, T, -1).permute(1, 0, 3, 2).reshape(B, C_OUT, T)


@pytest.mark.parametrize("groups", [1, 3, C_IN])
def test_a_convolution_in_groups_costs_what_its_matrix_products_cost_forward_and_backward(groups: int) -> None:
    x_BCT = torch.randn(B, C_IN, T, requires_grad=True)
    weight_OCW = torch.randn(C_OUT, C_IN // groups, W, requires_grad=True)

    def convolution() -> Tensor:
        return F.conv1d(F.pad(x_BCT, (W - 1, 0)), weight_OCW, groups=groups)

    torch.testing.assert_close(convolution(), as_matrix_products(x_BCT, weight_OCW, groups=groups))
    forward, both = training_flops(lambda: convolution().sum())
    assert (forward, both) == training_flops(lambda: as_matrix_products(x_BCT, weight_OCW, groups=groups).sum())
    assert forward == 2 * B * T * C_OUT * C_IN // groups * W


def test_only_the_gradients_that_are_wanted_are_counted() -> None:
    x_BCT, weight_C1W = torch.randn(B, C_IN, T), torch.randn(C_IN, 1, W, requires_grad=True)
    forward, both = training_flops(lambda: F.conv1d(x_BCT, weight_C1W, groups=C_IN).sum())
    assert both == 2 * forward


def test_a_transposed_convolution_in_groups_costs_one_multiply_add_per_input_number_and_weight_of_its_channel() -> None:
    x_BCT, weight_COW = torch.randn(B, C_IN, T, requires_grad=True), torch.randn(C_IN, 2, W, requires_grad=True)
    made: list[Tensor] = []
    forward = count_flops(lambda: made.append(F.conv_transpose1d(x_BCT, weight_COW, groups=3)))
    assert forward == 2 * B * T * C_IN * 2 * W
    assert count_flops(lambda: torch.autograd.backward(made[0].sum())) == 2 * forward


def test_what_torch_computes_in_operators_of_its_own_is_counted() -> None:
    """By hand: an LSTM's gates are products with the input and the state before; vectors and distances go number by number."""
    lstm = torch.nn.LSTM(16, 24, batch_first=True)
    x_BTI = torch.randn(B, T, 16, requires_grad=True)
    gates = 2 * B * T * 4 * 24 * (16 + 24)
    assert training_flops(lambda: lstm(x_BTI)[0].sum()) == (gates, 3 * gates)
    matrix_MN, vector_N = torch.randn(C_OUT, C_IN), torch.randn(C_IN)
    assert count_flops(lambda: matrix_MN @ vector_N) == 2 * C_OUT * C_IN
    assert count_flops(lambda: vector_N @ vector_N) == 2 * C_IN
    assert count_flops(lambda: torch.cdist(torch.randn(7, 5), torch.randn(6, 5))) == 3 * 7 * 6 * 5
    x_TI, weight_OIJ = torch.randn(T, 4), torch.randn(3, 4, 5)
    assert count_flops(lambda: F.bilinear(x_TI, torch.randn(T, 5), weight_OIJ)) == 3 * T * 3 * 4 * 5
