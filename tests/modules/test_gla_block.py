"""Gated linear attention is the paper's recurrence, written out here a second time token by token."""

from __future__ import annotations

import pytest
import torch

from kernels.agreement import assert_agrees
from modules.contract import check
from modules.gla import GLA, Config

CONFIGS = [Config(d_model=24, heads=3, rank=4), Config(d_model=32, heads=2, key_multiple=1.5, temperature=2.0)]


def build(config: Config, seed: int = 0) -> GLA:
    """A block whose constants differ from each other and from their first values."""
    torch.manual_seed(seed)
    net = GLA(config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def by_the_paper(net: GLA, config: Config, x: torch.Tensor) -> torch.Tensor:
    """Float64, one token and one head after the other."""
    x, w = x.double(), {name: p.double() for name, p in net.named_parameters()}
    B, T, D = x.shape
    H, keys = config.heads, round(config.d_model * config.key_multiple)
    K, V = keys // H, D // H

    def rms(x: torch.Tensor, eps: float) -> torch.Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()

    memory, outs = x.new_zeros(B, H, K, V), []
    for t in range(T):
        h = rms(x[:, t], 1e-6) * w["mixer_norm.weight"]
        q, k, v = torch.split(h @ w["mixer.project_in.weight"].T, [keys, keys, D], -1)
        low = h @ w["mixer.decay_in.weight"].T @ w["mixer.decay_out.weight"].T + w["mixer.decay_out.bias"]
        decay = torch.sigmoid(low) ** (1 / config.temperature)
        parts = []
        for head in range(H):
            at, to = slice(head * K, (head + 1) * K), slice(head * V, (head + 1) * V)
            memory[:, head] = decay[:, at, None] * memory[:, head] + k[:, at, None] * v[:, None, to]
            out = (q[:, None, at] @ memory[:, head]).squeeze(1) / K**0.5
            parts.append(rms(out, 1e-5) * w["mixer.norm_weight_V"])
        gate = h @ w["mixer.gate.weight"].T + w["mixer.gate.bias"]
        outs.append((gate * torch.sigmoid(gate) * torch.cat(parts, -1)) @ w["mixer.project_out.weight"].T)
    x = x + torch.stack(outs, dim=1)
    gate, up = (rms(x, 1e-6) * w["ffn_norm.weight"] @ w["ffn.widen.weight"].T).chunk(2, -1)
    return x + (gate * torch.sigmoid(gate) * up) @ w["ffn.narrow.weight"].T


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("T", [1, 2, 70])
def test_the_block_is_the_papers_recurrence(config: Config, T: int) -> None:
    net, x = build(config), torch.randn(2, T, config.d_model, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_agrees({"out": net(x)[0]}, {"out": by_the_paper(net, config, x)})


@pytest.mark.parametrize("overrides", [{"heads": 8, "key_multiple": 2.0, "rank": 1}, {"ffn_multiple": 0.0}])
def test_the_contract_holds_for_every_kind_of_config(overrides: dict[str, float]) -> None:
    assert check("gla", config=overrides) == []


def test_a_key_channel_that_forgets_does_not_make_its_neighbour_forget() -> None:
    net = build(CONFIGS[0])
    with torch.no_grad():
        net.mixer.decay_out.weight.zero_()
        net.mixer.decay_out.bias.copy_(torch.tensor([-800.0, 800.0] * 6))
        x = torch.randn(1, 50, 24)
        memory = net(x)[1].memory_BHKV
        changed = net(torch.cat((torch.randn(1, 49, 24), x[:, 49:]), dim=1))[1].memory_BHKV
    even, odd = memory[:, :, 0::2], memory[:, :, 1::2]
    assert torch.allclose(even, changed[:, :, 0::2], atol=1e-6)
    assert not torch.allclose(odd, changed[:, :, 1::2], atol=1e-2)


@pytest.mark.parametrize("wrong", [{"d_model": 33, "heads": 4}, {"d_model": 36, "heads": 4, "key_multiple": 0.5}])
def test_heads_that_do_not_divide_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be multiples of `heads` = 4"):
        GLA(Config(**wrong))  # type: ignore[arg-type]
