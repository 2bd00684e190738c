"""RWKV-6 is the paper's equations, written out here a second time token by token."""

from __future__ import annotations

import pytest
import torch

from kernels.agreement import assert_agrees
from modules.contract import check
from modules.rwkv6 import RWKV6, Config

CONFIGS = [Config(d_model=24, heads=3, shift_rank=4, decay_rank=5), Config(d_model=32, heads=2, ffn_multiple=1.5)]


def build(config: Config, seed: int = 0) -> RWKV6:
    """A block whose constants differ from each other and from their first values."""
    torch.manual_seed(seed)
    net = RWKV6(config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def by_the_paper(net: RWKV6, x: torch.Tensor, heads: int) -> torch.Tensor:
    """Float64, one token and one head after the other."""
    x = x.double()
    w = {name: p.double() for name, p in net.named_parameters()}

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    B, T, D = x.shape
    K, R = D // heads, net.time.shift_out_5RD.shape[1]
    h, outs = norm(x, "time_norm"), []
    memory = x.new_zeros(B, heads, K, K)
    for t in range(T):
        here, before = h[:, t], h[:, t - 1] if t else torch.zeros_like(h[:, 0])
        seen = torch.tanh((here + (before - here) * w["time.mix_D"]) @ w["time.shift_in.weight"].T)
        views = []
        for i in range(5):
            share = w["time.mix_5D"][i] + seen[:, i * R : (i + 1) * R] @ w["time.shift_out_5RD"][i]
            views.append(here + (before - here) * share)
        rate = torch.tanh(views[0] @ w["time.decay_in.weight"].T) @ w["time.decay_out.weight"].T + w["time.decay_out.bias"]
        decay = torch.exp(-torch.exp(rate)).view(B, heads, K)
        names = ("project_k", "project_v", "project_r")
        k, v, r = ((view @ w[f"time.{name}.weight"].T).view(B, heads, K) for view, name in zip(views[1:4], names, strict=True))
        gate = views[4] @ w["time.gate.weight"].T
        new = torch.einsum("bhk,bhv->bhkv", k, v)
        out = torch.einsum("bhk,bhkv->bhv", r, memory + w["time.bonus_HK"][..., None] * new)
        memory = decay[..., None] * memory + new
        out = (out - out.mean(-1, keepdim=True)) / (out.var(-1, unbiased=False, keepdim=True) + 64e-5).sqrt()
        out = out.reshape(B, D) * w["time.norm.weight"] + w["time.norm.bias"]
        outs.append((gate * torch.sigmoid(gate) * out) @ w["time.project_out.weight"].T)
    x = x + torch.stack(outs, dim=1)
    h = norm(x, "channel_norm")
    earlier = torch.zeros_like(h)
    earlier[:, 1:] = h[:, :-1]
    r, k = (mix * h + (1 - mix) * earlier for mix in w["channel.mix_2D"])
    hidden = (k @ w["channel.widen.weight"].T).clamp(min=0) ** 2
    return x + torch.sigmoid(r @ w["channel.project_r.weight"].T) * (hidden @ w["channel.narrow.weight"].T)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("T", [1, 2, 70])
def test_the_block_is_the_papers_equations(config: Config, T: int) -> None:
    net, x = build(config), torch.randn(2, T, config.d_model, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_agrees({"out": net(x)[0]}, {"out": by_the_paper(net, x, config.heads)})


@pytest.mark.parametrize("overrides", [{"heads": 8, "shift_rank": 1}, {"ffn_multiple": 0.0}])
def test_the_contract_holds_for_every_kind_of_config(overrides: dict[str, float]) -> None:
    assert check("rwkv6", config=overrides) == []


def test_how_much_of_the_token_before_is_seen_and_how_fast_memory_fades_depend_on_the_token() -> None:
    net, x = build(CONFIGS[0]), torch.randn(1, 3, 24)
    changed = x.clone()
    changed[:, 1] *= -1
    with torch.no_grad():
        first = net.time(net.time_norm(x), None, None)[1]
        second = net.time(net.time_norm(changed), None, None)[1]
        frozen = build(CONFIGS[0])
        frozen.time.shift_out_5RD.zero_()
        frozen.time.decay_out.weight.zero_()
        assert not torch.allclose(frozen.time(frozen.time_norm(x), None, None)[1], first)
    assert not torch.allclose(first, second)


def test_in_bfloat16_decays_stay_exact_and_the_state_has_the_size_that_is_claimed() -> None:
    narrow, wide = build(CONFIGS[0]).bfloat16(), build(CONFIGS[0])
    wide.load_state_dict(narrow.state_dict())
    x = torch.randn(2, 200, 24).bfloat16()
    with torch.no_grad():
        out, state = narrow(x)
        reference, _ = wide(x.float())
    assert_agrees({"out": out}, {"out": reference}, within=0.05)
    assert state.memory_BHKV.dtype == torch.float32
    assert sum(part.numel() * part.element_size() for part in state) == narrow.state_bytes(2, 200)


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="`d_model` = 24 must be a multiple of `heads` = 5"):
        RWKV6(Config(d_model=24, heads=5))
