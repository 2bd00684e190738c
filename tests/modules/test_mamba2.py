"""Mamba-2 is the paper's recurrence, written out here a second time token by token, and transformers' mixer with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kernels.agreement import assert_agrees, outputs_and_gradients
from modules.contract import check
from modules.mamba2 import SSD, Config, Mamba2

CONFIGS = [
    Config(d_model=32, d_state=8, heads=4),
    Config(d_model=24, d_state=16, heads=6, groups=3, conv_width=2, expand=3),
]


def build(config: Config, seed: int = 0) -> Mamba2:
    """A block whose constants differ from each other and from their first values."""
    torch.manual_seed(seed)
    net = Mamba2(config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def by_the_paper(net: Mamba2, x: torch.Tensor) -> torch.Tensor:
    """Float64, one token and one head after the other."""
    c, m = net.config, net.mixer
    w = {name: p.double() for name, p in m.named_parameters()}
    x = x.double()
    B, T, D = x.shape
    E, GN, H = D * c.expand, c.groups * c.d_state, c.heads
    P = E // H
    h = x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * net.norm.weight.double()
    z, u, dt = torch.split(h @ w["project_in.weight"].T, [E, E + 2 * GN, H], -1)
    kernel, outs = w["conv.weight"][:, 0], []
    state = x.new_zeros(B, H, P, c.d_state)
    for t in range(T):
        mixed = w["conv.bias"] + sum(kernel[:, -1 - lag] * u[:, t - lag] for lag in range(min(c.conv_width, t + 1)))
        mixed = mixed * torch.sigmoid(mixed)
        y = []
        for head in range(H):
            group = head // (H // c.groups)
            v = mixed[:, head * P : (head + 1) * P]
            b = mixed[:, E + group * c.d_state :][:, : c.d_state]
            read = mixed[:, E + GN + group * c.d_state :][:, : c.d_state]
            step = torch.log1p(torch.exp(dt[:, t, head] + w["dt_bias_H"][head]))[:, None, None]
            fade = torch.exp(-step * torch.exp(w["A_log_H"][head]))
            state[:, head] = fade * state[:, head] + step * v[:, :, None] * b[:, None, :]
            y.append((state[:, head] @ read[:, :, None]).squeeze(-1) + w["skip_H"][head] * v)
        gated = (torch.cat(y, -1) * z[:, t] * torch.sigmoid(z[:, t])).view(B, c.groups, -1)
        normed = gated / (gated.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        outs.append((normed.view(B, E) * w["norm_weight_E"]) @ w["project_out.weight"].T)
    return x + torch.stack(outs, 1)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("T", [1, 3, 65, 130])
def test_the_block_is_the_papers_recurrence(config: Config, T: int) -> None:
    net, x = build(config), torch.randn(2, T, config.d_model, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_agrees({"out": net(x)[0]}, {"out": by_the_paper(net, x)})


@pytest.mark.parametrize("overrides", [{}, {"heads": 8, "groups": 4, "conv_width": 1}])
def test_the_contract_holds_for_every_kind_of_config(overrides: dict[str, int]) -> None:
    assert check("mamba2", config=overrides) == []


@pytest.mark.parametrize("config", CONFIGS)
def test_outputs_and_gradients_are_those_of_transformers_with_the_same_weights(config: Config) -> None:
    theirs = in_transformers(config, build(config).mixer)
    x = {"x": torch.randn(2, 100, config.d_model, generator=torch.Generator().manual_seed(1))}
    ours = build(config).mixer
    assert_agrees(
        outputs_and_gradients(lambda x: ours(x, None)[0], x), outputs_and_gradients(lambda x: theirs(x), x), within=1e-5
    )
    wanted = {name: p.grad for name, p in theirs.named_parameters()}
    found = {name: p.grad.view_as(wanted[name]) for name, p in renamed(ours).items() if p.grad is not None}
    assert_agrees(found, wanted, within=1e-5)  # type: ignore[arg-type]


def renamed(mixer: SSD) -> dict[str, torch.nn.Parameter]:
    """Our parameters by transformers' names."""
    names = {"project_in": "in_proj", "project_out": "out_proj", "conv": "conv1d", "norm_weight_E": "norm.weight"}
    names |= {"A_log_H": "A_log", "dt_bias_H": "dt_bias", "skip_H": "D"}
    return {".".join(names.get(part, part) for part in name.split(".")): p for name, p in mixer.named_parameters()}


def in_transformers(config: Config, mixer: SSD) -> Any:
    """transformers' mixer with our weights."""
    mamba2 = pytest.importorskip("transformers.models.mamba2", reason="transformers is not installed")
    E = config.d_model * config.expand
    settings = mamba2.Mamba2Config(
        hidden_size=config.d_model,
        num_heads=config.heads,
        head_dim=E // config.heads,
        state_size=config.d_state,
        expand=config.expand,
        n_groups=config.groups,
        conv_kernel=config.conv_width,
        chunk_size=32,
        use_bias=False,
        use_conv_bias=True,
        num_hidden_layers=1,
    )
    theirs = mamba2.modeling_mamba2.Mamba2Mixer(settings, layer_idx=0)
    theirs.load_state_dict({name: p.detach() for name, p in renamed(mixer).items()})
    return theirs


def test_in_bfloat16_decays_stay_exact_and_the_state_has_the_size_that_is_claimed() -> None:
    narrow = build(CONFIGS[0]).bfloat16()
    wide = build(CONFIGS[0])
    wide.load_state_dict(narrow.state_dict())
    x = torch.randn(2, 300, 32).bfloat16()
    with torch.no_grad():
        out, state = narrow(x)
        reference, _ = wide(x.float())
    assert out.dtype == torch.bfloat16
    assert_agrees({"out": out}, {"out": reference}, within=0.02)
    assert sum(part.numel() * part.element_size() for part in state) == narrow.state_bytes(2, 300)


def test_heads_start_with_the_step_sizes_and_decays_that_the_config_asks_for() -> None:
    torch.manual_seed(0)
    mixer = Mamba2(Config(d_model=512, heads=512, dt_min=0.01, dt_max=0.02, A_max=3.0)).mixer
    steps, rates = F.softplus(mixer.dt_bias_H.detach()), mixer.A_log_H.detach().exp()
    assert 0.00999 < steps.min() < 0.0105
    assert 0.0195 < steps.max() < 0.02001
    assert 1 <= rates.min() < 1.1
    assert 2.9 < rates.max() < 3.0001


@pytest.mark.parametrize("wrong", [{"d_model": 33, "heads": 4}, {"heads": 4, "groups": 3}])
def test_heads_and_groups_that_do_not_divide_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="inner channels must be a multiple of `heads` = 4"):
        Config(**wrong)
