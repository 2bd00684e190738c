"""RWKV-7 is the paper's recurrence, written out here a second time token by token and head by head."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kernels.agreement import assert_agrees
from modules.contract import check
from modules.rwkv7 import RWKV7, Config, State, TimeMixing

CONFIGS = [Config(d_model=32), Config(d_model=24, heads=3, rank=5, ffn_multiple=0)]


def build(config: Config, seed: int = 0) -> RWKV7:
    """A block whose constants differ from each other and from their first values."""
    torch.manual_seed(seed)
    net = RWKV7(config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def by_the_paper(net: RWKV7, config: Config, x: torch.Tensor) -> torch.Tensor:
    """Float64; the memory as the paper writes it, values by keys, each transition as a matrix on its right."""
    w = {name: p.double() for name, p in net.named_parameters()}
    x, D, K = x.double(), config.d_model, config.d_model // config.heads

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * w[name + ".weight"] + w[name + ".bias"]

    def lora(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ w[f"time.{name}_out.weight"].T

    memory = [torch.zeros(len(x), K, K, dtype=torch.float64) for _ in range(config.heads)]
    last = last_channels = torch.zeros(len(x), D, dtype=torch.float64)
    outs = []
    for x_t in x.unbind(1):
        h = norm(x_t, "time_norm")
        mixed = [h * (1 - mu) + last * mu for mu in w["time.mix_6D"]]
        last = h
        r, k, v = (m @ w[f"time.project_{n}.weight"].T for m, n in ((mixed[0], "r"), (mixed[2], "k"), (mixed[3], "v")))
        d = torch.tanh(mixed[1] @ w["time.decay_in.weight"].T) @ w["time.decay_out.weight"].T + w["time.decay_out.bias"]
        decay = torch.exp(-torch.exp(torch.tensor(-0.5).double()) * torch.sigmoid(d))
        a = torch.sigmoid(lora(mixed[4] @ w["time.rate_in.weight"].T, "rate") + w["time.rate_out.bias"])
        g = lora(torch.sigmoid(mixed[5] @ w["time.gate_in.weight"].T), "gate")
        kappa = k * w["time.erased_D"]
        k = k * (1 + (a - 1) * w["time.rated_D"])
        heads = []
        for i in range(config.heads):
            part = slice(i * K, (i + 1) * K)
            e = kappa[:, part] / kappa[:, part].norm(dim=-1, keepdim=True)
            transition = torch.diag_embed(decay[:, part]) - e[:, :, None] * (a[:, part] * e)[:, None, :]
            memory[i] = memory[i] @ transition + v[:, part, None] * k[:, None, part]
            y = (memory[i] @ r[:, part, None]).squeeze(-1)
            y = y - y.mean(-1, keepdim=True)
            y = y / (y.pow(2).mean(-1, keepdim=True) + 64e-5).sqrt() * w["time.norm.weight"][part] + w["time.norm.bias"][part]
            bonus = (r[:, part] * k[:, part] * w["time.bonus_HK"][i]).sum(-1, keepdim=True)
            heads.append(y + bonus * v[:, part])
        x_t = x_t + (torch.cat(heads, -1) * g) @ w["time.project_out.weight"].T
        if config.ffn_multiple:
            h = norm(x_t, "channel_norm")
            mixed_t = h * (1 - w["channels.mix_D"]) + last_channels * w["channels.mix_D"]
            last_channels = h
            x_t = x_t + (mixed_t @ w["channels.widen.weight"].T).clamp(min=0) ** 2 @ w["channels.narrow.weight"].T
        outs.append(x_t)
    return torch.stack(outs, 1)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("T", [1, 3, 65, 130])
def test_the_block_is_the_papers_recurrence(config: Config, T: int) -> None:
    net, x = build(config), torch.randn(2, T, config.d_model, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_agrees({"out": net(x)[0]}, {"out": by_the_paper(net, config, x)})


def test_the_contract_holds_without_channel_mixing_too() -> None:
    assert check("rwkv7", config={"ffn_multiple": 0.0, "heads": 2, "rank": 3}) == []


def test_a_state_of_fixed_size_is_all_that_a_step_needs_after_three_thousand_tokens() -> None:
    net, x = build(CONFIGS[0]), torch.randn(1, 3001, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, _ = net(x)
        _, state = net(x[:, :3000])
        step, _ = net(x[:, 3000:], State(*(part.clone() for part in state)))
    assert sum(part.numel() * part.element_size() for part in state) == net.state_bytes(1, 3000) == net.state_bytes(1, 1)
    assert_agrees({"out": step[:, 0]}, {"out": whole[:, 3000]})


def test_a_memory_that_nothing_is_written_to_fades_whatever_the_keys_say() -> None:
    torch.manual_seed(0)
    mixer = TimeMixing(Config(d_model=16, heads=2))
    with torch.no_grad():
        mixer.project_k.weight.mul_(30)
        mixer.project_v.weight.zero_()
        x = torch.randn(1, 500, 16)
        sizes = []
        memory = torch.randn(1, 2, 8, 8)
        before = None
        for x_BTD in torch.split(x, 1, dim=1):
            _, memory = mixer(x_BTD, before, memory)
            before = x_BTD[:, -1]
            sizes.append(memory.norm())
    assert torch.stack(sizes).isfinite().all()
    assert sizes[-1] < 0.05 * sizes[0]


def test_in_bfloat16_the_state_has_the_size_that_is_claimed_and_outputs_stay_near() -> None:
    narrow, wide = build(CONFIGS[0]).bfloat16(), build(CONFIGS[0])
    wide.load_state_dict(narrow.state_dict())
    x = torch.randn(2, 300, 32).bfloat16()
    with torch.no_grad():
        out, state = narrow(x)
        reference, _ = wide(x.float())
    assert out.dtype == torch.bfloat16
    assert_agrees({"out": out}, {"out": reference}, within=0.05)
    assert sum(part.numel() * part.element_size() for part in state) == narrow.state_bytes(2, 300)


def test_decays_start_between_a_few_tokens_and_a_thousand() -> None:
    mixer = TimeMixing(Config(d_model=64))
    half_life = torch.log(torch.tensor(0.5)) / (-torch.exp(torch.tensor(-0.5)) * mixer.decay_out.bias.detach().sigmoid())
    assert F.relu(half_life - 1000).sum() == 0
    assert half_life.min() < 7
    assert half_life.max() > 700


def test_a_width_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="`d_model` = 32 must be a multiple of `heads` = 5"):
        RWKV7(Config(d_model=32, heads=5))
