"""Four-bit weights: the format against the paper's numbers and a plain search, the products against float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import quantised
from kernels.agreement import assert_agrees, outputs_and_gradients, rmse_ratio
from kernels.paths import Path
from kernels.quantised import Kind, dequantise, floats, quantise, quantised_linear, table

KINDS: tuple[Kind, ...] = ("nf4", "int4")
PATHS: tuple[Path, ...] = ("torch", "compiled")
PAPER = (-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334)
PAPER += (-0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224)
PAPER += (0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0)
"""Appendix E of arXiv:2305.14314."""


def weights(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * columns**-0.5


def test_the_codes_of_nf4_are_the_papers() -> None:
    assert (table("nf4") - torch.tensor(PAPER)).abs().max() < 2e-7


def test_the_codes_of_int4_are_evenly_spaced_and_hold_zero() -> None:
    assert torch.allclose(table("int4") * 7, torch.arange(-8.0, 8.0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 5), (3, 64), (130, 200)])
def test_every_weight_has_the_nearest_code_under_its_blocks_scale(kind: Kind, rows: int, columns: int) -> None:
    weight_OI = weights(rows, columns)
    read_OI = dequantise(quantise(weight_OI, kind=kind), columns=columns)
    levels = table(kind)[1 if kind == "int4" else 0 :].double()
    for row, read in zip(weight_OI, read_OI, strict=True):
        for block, found in zip(row.split(64), read.split(64), strict=True):
            at = block.abs().argmax()
            scale = (found[at].double() / (1.0 if kind == "int4" else float(block[at].sign()))).abs()
            nearest = (block.double()[:, None] - scale * levels).abs().amin(1)
            assert ((block.double() - found).abs() <= nearest + 1e-6 * scale).all()
            assert abs(scale / block.abs().max() - 1) < 0.02, "the scale itself is read back from one byte"


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_takes_4_13_bits_and_is_off_by_a_tenth(kind: Kind) -> None:
    packed = quantise(weights(512, 512), kind=kind)
    stored = sum(part.numel() * part.element_size() for part in packed[:4])
    assert 8 * stored / 512**2 == pytest.approx(4 + 8 / 64 + 32 / (64 * 256), abs=1e-3)
    bound = {"nf4": 0.093, "int4": 0.109}[kind]
    assert rmse_ratio(dequantise(packed, columns=512), weights(512, 512)) < bound


def with_exact_scales(weight_OI: Tensor) -> Tensor:
    blocks = weight_OI.view(len(weight_OI), -1, 64)
    scales = blocks.abs().amax(-1, keepdim=True)
    nearest = ((blocks / scales).reshape(-1, 1) - table("nf4")).abs().argmin(1)
    return (table("nf4")[nearest].view(blocks.shape) * scales).view(weight_OI.shape)


@pytest.mark.parametrize(("largest", "more"), [(1.0, 1.001), (100.0, 1.03)])
def test_scales_in_a_byte_cost_little_of_the_error_also_beside_a_column_a_hundred_times_larger(
    largest: float, more: float
) -> None:
    weight_OI = weights(256, 1024)
    weight_OI[:, 7] *= largest
    twice, once = dequantise(quantise(weight_OI), columns=1024), with_exact_scales(weight_OI)
    assert rmse_ratio(twice, weight_OI) < more * rmse_ratio(once, weight_OI)
    usual = slice(64, None)  # the blocks without that column
    assert rmse_ratio(twice[:, usual], weight_OI[:, usual]) < more * rmse_ratio(once[:, usual], weight_OI[:, usual])


def test_the_floats_of_eight_bits_are_256_and_each_is_the_middle_of_its_own_range() -> None:
    values = floats()
    assert values.unique().numel() == 256
    assert (values.min() > -1, values.max(), values[127]) == (True, 1, 0)
    sign = values[values > 0]
    for e in range(7):  # 2 ** (6 - e) equal parts of 10 ** -(e + 1) to 10 ** -e
        ours = sign[(sign > 10.0 ** -(e + 1)) & (sign < 10.0**-e)].double()
        assert len(ours) == 2 ** (6 - e)
        wanted = 10.0**-e * torch.linspace(0.1, 1, 2 ** (7 - e) + 1, dtype=torch.float64)[1::2]
        assert torch.allclose(ours, wanted, rtol=1e-6)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns"), [(7, 5), (130, 200), (96, 256)])
def test_products_and_gradients_agree_with_the_decoded_weight_in_float64(path: Path, kind: Kind, rows: int, columns: int) -> None:
    packed = quantise(weights(rows, columns), kind=kind)
    dense_OI = dequantise(packed, columns=columns, dtype=torch.float64)
    for tokens in (1, 3, 4, 7, 12, 13, 65):
        given = {"x": torch.randn(tokens, columns, generator=torch.Generator().manual_seed(tokens))}
        expected = outputs_and_gradients(lambda x: F.linear(x, dense_OI), given, dtype=torch.float64)
        found = outputs_and_gradients(lambda x: quantised_linear(x, packed, path=path), given)
        assert_agrees(found, expected, within=1e-6)
        with torch.no_grad():
            assert_agrees({"out": quantised_linear(given["x"], packed, path=path)}, {"out": expected["out.0"]}, within=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_a_product_in_several_panels_is_the_product(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "PANEL", (1000, 2000))
    test_products_and_gradients_agree_with_the_decoded_weight_in_float64(path, "nf4", 130, 200)


def test_rows_are_decoded_alone_to_the_same_bits() -> None:
    packed = quantise(weights(50, 700))
    assert torch.equal(dequantise(packed, columns=700, rows=slice(17, 33)), dequantise(packed, columns=700)[17:33])


def test_half_precision_inputs_are_computed_in_float32() -> None:
    packed, x = quantise(weights(64, 128)), torch.randn(2, 9, 128, dtype=torch.bfloat16)
    found = quantised_linear(x, packed)
    assert found.dtype == torch.bfloat16
    assert found.shape == (2, 9, 64)
    assert torch.equal(found, quantised_linear(x.float(), packed).bfloat16())


def test_constant_rows_and_zeros_are_kept_exactly() -> None:
    weight_OI = torch.zeros(4, 128)
    weight_OI[1:] = 0.5
    packed = quantise(weight_OI[1:])
    assert torch.equal(dequantise(packed, columns=128), weight_OI[1:])
    assert not dequantise(quantise(torch.zeros(2, 64)), columns=64).any()


def test_no_full_weight_is_kept_for_the_backward() -> None:
    packed, x = quantise(weights(512, 512)), torch.randn(2, 512, requires_grad=True)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        quantised_linear(x, packed)
    assert sum(t.numel() * t.element_size() for t in saved) < 0.55 * 512**2


def test_the_operator_passes_torchs_own_checks_and_compiles_whole() -> None:
    packed, x = quantise(weights(24, 100)), torch.randn(5, 100, requires_grad=True)
    torch.library.opcheck(torch.ops.touchstone.quantised_linear, (x, *packed))
    exported = torch.export.export(_Map(packed), (x.detach(),))
    assert "touchstone.quantised_linear" in str(exported.graph)
    assert torch.equal(exported.module()(x.detach()), quantised_linear(x.detach(), packed))


class _Map(torch.nn.Module):
    def __init__(self, packed: quantised.Packed) -> None:
        super().__init__()
        for name, part in packed._asdict().items():
            self.register_buffer(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return quantised_linear(x, quantised.Packed(*(self.get_buffer(name) for name in quantised.Packed._fields)))


def test_what_cannot_be_quantised_is_refused() -> None:
    with pytest.raises(ValueError, match="a matrix is quantised"):
        quantise(torch.randn(3, 4, 5))
    with pytest.raises(ValueError, match="NaN or infinite"):
        quantise(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match="no four-bit kind `fp4`"):
        quantise(weights(2, 2), kind="fp4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inputs of width 65"):
        quantised_linear(torch.randn(1, 65), quantise(weights(4, 64)))
