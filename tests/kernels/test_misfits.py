"""Shapes that do not fit are told, and nothing outside a tensor is ever read."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels.convolution import silu_convolution
from kernels.fft_convolution import Taps, fft_convolution, fft_convolution_step
from kernels.paths import PathUnavailable
from kernels.quantised import quantise, quantised_linear
from kernels.scan import selective_scan


def scan_inputs(B: int = 2, T: int = 20, E: int = 40, N: int = 4) -> dict[str, Tensor]:
    return {
        "x_BTE": torch.randn(B, T, E),
        "dt_BTE": torch.rand(B, T, E),
        "A_EN": -torch.rand(E, N),
        "B_BTN": torch.randn(B, T, N),
        "C_BTN": torch.randn(B, T, N),
        "D_E": torch.ones(E),
        "gate_BTE": torch.randn(B, T, E),
        "state": torch.randn(B, E, N),
    }


@pytest.mark.parametrize("name", ["dt_BTE", "A_EN", "B_BTN", "C_BTN", "D_E", "gate_BTE", "state"])
def test_a_scan_whose_inputs_do_not_fit_is_refused(name: str) -> None:
    inputs = scan_inputs()
    for cut in range(inputs[name].ndim - (name == "A_EN")):
        with pytest.raises(ValueError, match="asks for"):
            selective_scan(**{**inputs, name: inputs[name].narrow(cut, 0, 1)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "weight", "bias"), [((2, 0, 40), (40, 4), 40), ((1, 3, 40), (40, 4), 40), ((2, 3, 40), (8, 4), 8), ((2, 3, 40), (40, 4), 1)]
)  # fmt: skip
def test_a_convolution_whose_inputs_do_not_fit_is_refused(before: tuple[int, ...], weight: tuple[int, ...], bias: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        silu_convolution(torch.randn(2, 100, 40), torch.zeros(before), torch.randn(weight), torch.zeros(bias))


def test_the_compiled_convolution_refuses_inputs_of_several_dtypes() -> None:
    x, before, weight = torch.randn(2, 10, 8), torch.zeros(2, 3, 8), torch.randn(8, 4).bfloat16()
    with pytest.raises(PathUnavailable, match="several dtypes"):
        silu_convolution(x, before, weight, None, path="compiled")


def test_filters_of_other_channels_are_refused_and_a_state_is_never_the_input_itself() -> None:
    u_BTD = torch.randn(2, 20, 40)
    with pytest.raises(ValueError, match="channels"):
        fft_convolution(u_BTD, torch.randn(30, 1))
    _, state = fft_convolution(u_BTD, torch.randn(30, 40))
    assert torch.equal(state, u_BTD)
    assert state.data_ptr() != u_BTD.data_ptr()


def test_work_done_ahead_for_one_document_is_not_used_for_another() -> None:
    taps, past_BSD = Taps(torch.randn(600, 4)), torch.randn(2, 599, 4)
    _, state, ahead = fft_convolution_step(torch.randn(2, 1, 4), taps, state=past_BSD)
    swapped, u_B1D = state.flip(0), torch.randn(2, 1, 4)
    out, _, _ = fft_convolution_step(u_B1D, taps, state=swapped, ahead=ahead)
    anew, _, _ = fft_convolution_step(u_B1D, taps, state=swapped)
    assert ahead is not None
    assert torch.allclose(out, anew, atol=1e-4)


def test_a_packed_weight_needs_no_default_dtype_and_its_inputs_on_its_device() -> None:
    packed, x = quantise(torch.randn(200, 128)), torch.randn(20, 128)
    wanted = quantised_linear(x, packed)
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert torch.equal(quantised_linear(x, packed), wanted)
    finally:
        torch.set_default_dtype(torch.float32)
    with pytest.raises(ValueError, match="lies on `meta`"):
        quantised_linear(x, quantise(torch.empty(200, 128, device="meta")))
