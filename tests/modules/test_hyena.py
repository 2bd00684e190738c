"""Hyena is its formula, decodes like it was trained past the length of its filters, and never decodes with filters of older weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.agreement import rmse_ratio
from modules.contract import check
from modules.hyena import Config, Hyena, HyenaOperator
from modules.settings import ConfigError


def formula(operator: HyenaOperator, x_BTD: Tensor, config: Config) -> Tensor:
    """The operator as products with lower-triangular Toeplitz matrices, filters drawn position by position, in float64."""
    (_, T, D), L, weights = x_BTD.shape, config.filter_length, dict(operator.named_parameters())
    projected = F.linear(x_BTD, weights["project_in.weight"], weights["project_in.bias"])
    mixed = torch.zeros_like(projected) + weights["conv.bias"]
    for back in range(min(config.conv_width, T)):
        mixed[:, back:] += projected[:, : T - back] * weights["conv.weight"][:, 0, config.conv_width - 1 - back]
    parts = [mixed[..., i * D : (i + 1) * D] for i in range(config.order + 1)]
    value = parts[-1]
    bands = (config.features - 1) // 2
    for n in range(config.order - 1):
        channels = torch.arange(n * D, (n + 1) * D)
        taps = []
        for t in range(min(L, T)):
            waves = [(1e-4 + (bands - 1 - 1e-4) * i / max(bands - 1, 1)) * 2 * math.pi * t / L for i in range(bands)]
            z = torch.tensor([t / (L - 1), *map(math.cos, waves), *(-math.sin(w) for w in waves)], dtype=torch.float64)
            for layer in operator.filters.network:
                z = layer(z)
            share = channels / (D * (config.order - 1) - 1)
            rate = math.log(100) * (1 / config.slow_decay + share * (1 / config.fast_decay - 1 / config.slow_decay))
            tap = z[channels] * (torch.exp(-rate * t / (L - 1)) + config.window_bias)
            taps.append(tap + weights["filters.bias_X"][channels] if t == 0 else tap)
        toeplitz = torch.zeros(T, T, D, dtype=torch.float64)
        for t in range(T):
            for s in range(max(0, t - len(taps) + 1), t + 1):
                toeplitz[t, s] = taps[t - s]
        value = torch.einsum("tsd,bsd->btd", toeplitz, parts[config.order - 1 - n] * value)
    return F.linear(parts[0] * value, weights["project_out.weight"], weights["project_out.bias"])


@pytest.mark.parametrize(
    "config",
    [
        Config(d_model=6, filter_length=40),
        Config(d_model=4, order=3, filter_length=9, conv_width=4),
        Config(d_model=4, filter_length=20, window_bias=0.05),
    ],
)
def test_the_operator_is_the_formula_of_the_paper(config: Config) -> None:
    torch.manual_seed(0)
    operator = HyenaOperator(config).double()
    x_BTD = torch.randn(2, 30, config.d_model, dtype=torch.float64)
    with torch.no_grad():
        assert rmse_ratio(operator(x_BTD, None)[0], formula(operator, x_BTD, config)) < 1e-6  # the window is kept in float32


def test_decoding_far_beyond_the_filters_equals_one_pass_and_its_state_stops_growing() -> None:
    torch.manual_seed(0)
    block = Hyena(Config(d_model=8, filter_length=100, order=3))
    x_BTD = torch.randn(2, 400, 8)
    with torch.no_grad():
        whole_BTD, _ = block(x_BTD)
        y_BTD, state = block(x_BTD[:, :50])
        outs = [y_BTD]
        for x_B1D in torch.split(x_BTD[:, 50:], 1, dim=1):
            y_B1D, state = block(x_B1D, state)
            outs.append(y_B1D)
    assert rmse_ratio(torch.cat(outs, dim=1), whole_BTD) < 1e-5
    assert block.state_bytes(2, 400) == block.state_bytes(2, 99) == sum(part.nbytes for part in state)


def by_optimiser(block: Hyena, bias_X: Tensor, wanted_X: Tensor) -> None:
    bias_X.grad = bias_X.detach() - wanted_X
    torch.optim.SGD([bias_X], lr=1.0, foreach=True).step()


CHANGES: dict[str, Callable[[Hyena, Tensor, Tensor], object]] = {
    "in place": lambda block, bias_X, wanted_X: bias_X.copy_(wanted_X),
    "through .data": lambda block, bias_X, wanted_X: bias_X.data.copy_(wanted_X),
    "through numpy": lambda block, bias_X, wanted_X: bias_X.detach().numpy().__setitem__(slice(None), wanted_X.numpy()),
    "other data": lambda block, bias_X, wanted_X: setattr(bias_X, "data", wanted_X.clone()),
    "a loaded state": lambda block, bias_X, wanted_X: block.load_state_dict(
        block.state_dict() | {"mixer.filters.bias_X": wanted_X.clone()}
    ),
    "an optimiser": by_optimiser,
}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_filters_are_drawn_again_as_soon_as_a_weight_has_changed(how: str, mode: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    block, x_BTD = Hyena(Config(d_model=8, filter_length=64)), torch.randn(2, 80, 8)
    with mode():
        _, state = block(x_BTD[:, :78])
        stepped = block(x_BTD[:, 78:79], state)[1]
        assert block.mixer.filters(1) is block.mixer.filters(2)
    bias_X = block.mixer.filters.bias_X
    with torch.no_grad():
        CHANGES[how](block, bias_X, -bias_X.detach().clone())
    with mode():
        after, _ = block(x_BTD[:, 79:], stepped)
        fresh = Hyena(Config(d_model=8, filter_length=64))
        fresh.load_state_dict(block.state_dict())
        expected, _ = fresh(x_BTD[:, 79:], type(stepped)(*stepped))
        assert rmse_ratio(after, expected) < 1e-5
        assert block.mixer.filters(1) is block.mixer.filters(2)


@pytest.mark.parametrize(("frequency", "low", "high"), [(10.0, 0.8, 1.25), (1.0, 0.01, 0.2)])
def test_filters_start_with_unit_energy_at_most_and_fade_at_their_own_rates(frequency: float, low: float, high: float) -> None:
    """Rough filters have unit energy and smooth ones less; the last channel forgets five times faster than the first."""
    torch.manual_seed(0)
    operator = HyenaOperator(Config(d_model=256, filter_length=512, frequency=frequency))
    with torch.no_grad():
        operator.filters.bias_X.zero_()
        taps_LD = operator.filters(512)[0].taps_LD
        age_L1 = torch.arange(512.0)[:, None]
        energy_LD = taps_LD.square()
        assert low < energy_LD.sum(0).mean() < high
        age_D = (energy_LD * age_L1).sum(0) / energy_LD.sum(0)
    assert 2.5 < age_D[:64].mean() / age_D[-64:].mean() < 10


@pytest.mark.parametrize(
    "config", [{"order": 3, "filter_length": 40}, {"filter_length": 1}, {"conv_width": 1, "features": 1}], ids=str
)
def test_other_orders_and_filters_shorter_than_a_document_keep_the_contract(config: dict[str, int]) -> None:
    assert [str(failure) for failure in check("hyena", config=config)] == []


def test_an_even_number_of_features_is_refused() -> None:
    with pytest.raises(ConfigError, match="`features` = 4 must be odd"):
        Config(features=4)
