"""The long convolution agrees with its formula on every path, in chunks, in single steps, for filters shorter and longer than the document."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from kernels import native
from kernels.agreement import assert_agrees, outputs_and_gradients, rmse_ratio
from kernels.fft_convolution import Taps, fft_convolution, fft_convolution_loop, fft_convolution_step
from kernels.paths import Path


@pytest.fixture(params=["torch", "compiled"])
def path(request: pytest.FixtureRequest) -> Path:
    if request.param == "compiled" and native.compiler() is None:
        pytest.skip("there is no C++ compiler")
    found: Path = request.param
    return found


def pieces(T: int, *, L: int, D: int, before: int = 0, B: int = 3) -> dict[str, Tensor]:
    """Inputs, filters and, where asked for, a state of `before` inputs."""
    generator = torch.Generator().manual_seed(T + L)
    inputs = {"u_BTD": torch.randn(B, T, D, generator=generator), "taps": torch.randn(L, D, generator=generator)}
    return inputs | ({"state": torch.randn(B, before, D, generator=generator)} if before else {})


def plain(u_BTD: Tensor, taps: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return fft_convolution_loop(u_BTD, taps, state=state)


@pytest.mark.parametrize(("L", "D"), [(300, 5), (64, 16), (20, 9), (1, 3), (2, 8)])
@pytest.mark.parametrize("T", [1, 63, 64, 65, 200])
def test_every_path_is_the_formula_in_outputs_and_gradients(path: Path, T: int, L: int, D: int) -> None:
    for before in sorted({0, min(7, L - 1), L - 1}):
        inputs = pieces(T, L=L, D=D, before=before)
        found = outputs_and_gradients(partial(fft_convolution, path=path), inputs)
        expected = outputs_and_gradients(plain, inputs, dtype=torch.float64)
        assert_agrees({k: v for k, v in found.items() if k[0] == "o"}, {k: v for k, v in expected.items() if k[0] == "o"})
        assert_agrees(found, expected, within=1e-4)


def test_a_document_far_longer_than_its_filter_is_the_formula(path: Path) -> None:
    inputs = pieces(20_000, L=33, D=3, B=1)
    out_BTD, state = fft_convolution(**inputs, path=path)
    expected, latest = plain(**{name: tensor.double() for name, tensor in inputs.items()})
    assert_agrees({"out": out_BTD, "state": state}, {"out": expected, "state": latest})
    assert state.untyped_storage().nbytes() == 32 * 3 * 4


@pytest.mark.parametrize("decay", [0.0, -1e-6, -0.5, -50.0])
def test_filters_that_never_or_at_once_fade_keep_their_precision(path: Path, decay: float) -> None:
    inputs = pieces(200, L=200, D=8)
    inputs["taps"] = inputs["taps"] * torch.exp(decay * torch.arange(200.0))[:, None]
    found, expected = (
        outputs_and_gradients(f, inputs, dtype=d)
        for f, d in ((partial(fft_convolution, path=path), None), (plain, torch.float64))
    )
    assert_agrees(found, expected, within=1e-5)


def test_half_precision_is_computed_in_float32(path: Path) -> None:
    inputs = {name: tensor.bfloat16() for name, tensor in pieces(200, L=100, D=8, before=60).items()}
    out_BTD, state = fft_convolution(**inputs, path=path)
    assert out_BTD.dtype == state.dtype == torch.bfloat16
    expected, _ = plain(**{name: tensor.double() for name, tensor in inputs.items()})
    assert rmse_ratio(out_BTD, expected.bfloat16()) < 1e-3  # a rare rounding to the neighbour is all that may differ


@pytest.mark.parametrize("L", [500, 100, 20])
def test_any_split_into_chunks_and_single_steps_equals_the_whole(path: Path, L: int) -> None:
    inputs = pieces(400, L=L, D=9)
    u_BTD, taps = inputs["u_BTD"], Taps(inputs["taps"])
    whole, latest = plain(**{name: tensor.double() for name, tensor in inputs.items()})
    outs, state, ahead, start = [], u_BTD[:, :0], None, 0
    for size in [30, *[1] * 150, 7, *[1] * 140, 73]:
        part_BtD = u_BTD[:, start : start + size]
        if size == 1:
            out_BtD, state, ahead = fft_convolution_step(part_BtD, taps, state=state, ahead=ahead, path=path)
        else:
            (out_BtD, state), ahead = fft_convolution(part_BtD, taps, state=state, path=path), None
        outs.append(out_BtD)
        start += size
    assert start == 400
    assert_agrees({"out": torch.cat(outs, dim=1), "state": state}, {"out": whole, "state": latest})


def test_hundreds_of_single_steps_equal_the_whole(path: Path) -> None:
    """Work done ahead comes in blocks that double: here up to 512 steps."""
    inputs = pieces(1100, L=1024, D=4, B=1)
    whole, _ = plain(**{name: tensor.double() for name, tensor in inputs.items()})
    taps, outs, state, ahead = Taps(inputs["taps"]), [], None, None
    for t in range(1100):
        out_B1D, state, ahead = fft_convolution_step(inputs["u_BTD"][:, t : t + 1], taps, state=state, ahead=ahead, path=path)
        outs.append(out_B1D)
    assert_agrees({"out": torch.cat(outs, dim=1)}, {"out": whole})


def test_two_documents_may_go_on_from_one_state_and_other_filters_from_another(path: Path) -> None:
    inputs = pieces(300, L=128, D=4)
    u_BTD, taps = inputs["u_BTD"], Taps(inputs["taps"])
    _, state = fft_convolution(u_BTD[:, :100], taps, path=path)
    _, state, ahead = fft_convolution_step(u_BTD[:, 100:101], taps, state=state, path=path)
    kept = state.clone()

    def decoded(u_BTD: Tensor, taps: Taps) -> Tensor:
        at, work, outs = state, ahead, []
        for u_B1D in torch.split(u_BTD, 1, dim=1):
            out_B1D, at, work = fft_convolution_step(u_B1D, taps, state=at, ahead=work, path=path)
            outs.append(out_B1D)
        return torch.cat(outs, dim=1)

    other = Taps(torch.flip(inputs["taps"], (0,)))
    for rest_BTD, filters in ((u_BTD[:, 101:180], taps), (-u_BTD[:, 140:220], taps), (u_BTD[:, 101:180], other)):
        expected, _ = fft_convolution_loop(rest_BTD.double(), filters.taps_LD.double(), state=kept.double())
        assert rmse_ratio(decoded(rest_BTD, filters), expected) < 1e-5
    assert torch.equal(state, kept)


def test_many_single_steps_meet_few_inputs_each() -> None:
    """Counted, not timed: windows transformed per step grow like log^2 of the filter, not like its length."""
    L, D = 4096, 1
    taps, state = Taps(torch.randn(L, D)), torch.randn(1, L - 1, D)
    work: list[int] = []
    original = torch.fft.rfft

    def counted(x: Tensor, **options: int) -> Tensor:
        work.append(x.shape[-1])
        found: Tensor = original(x, **options)
        return found

    ahead = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.fft, "rfft", counted)
        for _ in range(2048):
            _, state, ahead = fft_convolution_step(torch.randn(1, 1, D), taps, state=state, ahead=ahead, path="torch")
    assert sum(work) / 2048 < 12**2 / 4 < L / 100


def test_the_spectrum_of_kept_filters_is_computed_once(path: Path) -> None:
    inputs = pieces(64, L=64, D=8)
    taps = Taps(inputs["taps"])
    first, _ = fft_convolution(inputs["u_BTD"], taps, path=path)
    with torch.no_grad():
        inputs["taps"].zero_()  # a spectrum computed anew would be zero
    assert torch.equal(fft_convolution(inputs["u_BTD"], taps, path=path)[0], first)


def test_no_steps_are_refused(path: Path) -> None:
    inputs = pieces(1, L=4, D=6)
    with pytest.raises(ValueError, match="at least one"):
        fft_convolution(inputs["u_BTD"][:, :0], inputs["taps"], path=path)


def test_what_is_loud_or_no_number_in_one_document_or_channel_costs_no_other_its_digits(path: Path) -> None:
    inputs = pieces(130, L=60, D=35, before=20, B=3)
    inputs["u_BTD"][1] *= 1e6
    inputs["u_BTD"][:, :, 2] *= 1e6
    inputs["u_BTD"][0, 70, 30] = inputs["u_BTD"][2, 0, 31] = torch.nan
    found = outputs_and_gradients(partial(fft_convolution, path=path), inputs)
    expected = outputs_and_gradients(plain, inputs, dtype=torch.float64)
    quiet = [(b, d) for b in range(3) for d in range(35) if (b, d) not in [(0, 30), (2, 31)]]
    for name in ("out.0", "grad.u_BTD", "grad.state"):
        for b, d in quiet:
            assert rmse_ratio(found[name][b, :, d], expected[name][b, :, d]) < 1e-6
    for b, d in ((0, 30), (2, 31)):
        assert found["out.0"][b, -1, d].isnan()
