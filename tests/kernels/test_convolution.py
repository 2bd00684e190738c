"""The short convolution agrees with its formula for one token and for many, in outputs and gradients."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from kernels import native
from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.convolution import causal_convolution, short_convolution, silu_convolution
from kernels.paths import Path


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


def plain_linear(x_BTE: Tensor, before_BWE: Tensor, weight_EW: Tensor, bias_E: Tensor) -> Tensor:
    return plain(torch.cat((before_BWE, x_BTE), dim=1), weight_EW, bias_E)


def plain_silu(x_BTE: Tensor, before_BWE: Tensor, weight_EW: Tensor, bias_E: Tensor) -> Tensor:
    z = plain_linear(x_BTE, before_BWE, weight_EW, bias_E)
    return z / (1 + (-z).exp())


def pieces(T: int, E: int, W: int) -> dict[str, Tensor]:
    torch.manual_seed(T)
    return {
        "x_BTE": torch.randn(2, T, E),
        "before_BWE": torch.randn(2, W - 1, E),
        "weight_EW": torch.randn(E, W),
        "bias_E": torch.randn(E),
    }


@pytest.fixture(params=["torch", "compiled"])
def path(request: pytest.FixtureRequest) -> Path:
    if request.param == "compiled" and native.compiler() is None:
        pytest.skip("there is no C++ compiler")
    found: Path = request.param
    return found


@pytest.mark.parametrize(("E", "W"), [(5, 4), (133, 2), (16, 1), (1, 9)])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 200])
def test_the_convolution_with_silu_and_without_is_its_formula_on_every_path(path: Path, length: int, E: int, W: int) -> None:
    inputs = pieces(length, E, W)
    wide = {name: tensor.double() for name, tensor in inputs.items()}
    for form, formula in ((silu_convolution, plain_silu), (causal_convolution, plain_linear)):
        found = outputs_and_gradients(partial(form, path=path), inputs)
        assert_agrees(found, outputs_and_gradients(formula, wide), within=1e-5)


def test_rows_may_be_halves_of_wider_ones_and_a_bias_may_be_missing(path: Path) -> None:
    inputs = pieces(70, 6, 4)
    wide = torch.cat((inputs["x_BTE"], torch.full((2, 70, 6), torch.nan)), dim=-1)
    found = silu_convolution(wide[..., :6], inputs["before_BWE"], inputs["weight_EW"], None, path=path)
    expected = plain_silu(inputs["x_BTE"], inputs["before_BWE"], inputs["weight_EW"], torch.zeros(6))
    assert_agrees({"out": found}, {"out": expected})


def test_a_convolution_of_no_tokens_is_refused(path: Path) -> None:
    inputs = pieces(1, 6, 4)
    with pytest.raises(ValueError, match="at least one"):
        silu_convolution(inputs["x_BTE"][:, :0], inputs["before_BWE"], inputs["weight_EW"], None, path=path)


@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
def test_floating_point_operations_are_counted_one_multiply_and_add_per_weight_and_direction() -> None:
    inputs = {name: tensor.requires_grad_() for name, tensor in pieces(70, 6, 4).items()}
    with FlopCounterMode(display=False) as counter:
        silu_convolution(**inputs, path="compiled").sum().backward()
    assert counter.get_total_flops() == 3 * 2 * (2 * 70 * 6) * 4  # the sums, the gradient of x, the gradient of the weights
