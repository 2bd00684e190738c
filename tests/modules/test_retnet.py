"""RetNet is the paper's formula, written out a second time here without chunks, states or rotations of the memory."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from kernels.agreement import assert_agrees, rmse_ratio
from modules.contract import check
from modules.decoder import Decoder
from modules.retnet import Config, Retention, RetNet

SMALL = Config(d_model=32, heads=4)


def build(config: Config = SMALL, seed: int = 0) -> RetNet:
    torch.manual_seed(seed)
    return RetNet(config)


def by_the_paper(net: RetNet, x: torch.Tensor) -> torch.Tensor:
    """Eq. 5 and 8 in float64 with complex rotations and absolute positions, head by head."""
    mixer = net.mixer
    x = x.double()
    h = F.rms_norm(x, (x.shape[-1],), net.mixer_norm.weight.double(), 1e-6)
    T, D, H = x.shape[1], x.shape[2], mixer.heads
    weights = torch.split(mixer.project_in.weight.double(), [D, D, 2 * D, 2 * D])
    q, k, v, gate = (h @ w.T for w in weights)
    heads = []
    age = torch.arange(T)[:, None] - torch.arange(T)
    for i in range(H):
        decay = 1 - 2.0 ** -(5 + i)
        K, V = D // H, 2 * D // H
        turn = 10000.0 ** -torch.linspace(0, 1, K // 2, dtype=torch.float64)
        spin = torch.polar(torch.ones(T, K // 2, dtype=torch.float64), torch.arange(T)[:, None] * turn)
        qi, ki = (t[..., i * K : (i + 1) * K] for t in (q, k))
        qc, kc = (torch.complex(t[..., ::2], t[..., 1::2]) * spin for t in (qi, ki))
        scores = (qc @ kc.conj().mT).real / math.sqrt(K) * torch.where(age >= 0, decay**age, 0.0)
        heads.append(scores @ v[..., i * V : (i + 1) * V])
    normed = [(o - o.mean(-1, keepdim=True)) / (o.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt() for o in heads]
    x = x + (F.silu(gate) * torch.cat(normed, -1)) @ mixer.project_out.weight.double().T
    assert net.ffn is not None
    h = F.rms_norm(x, (D,), net.ffn_norm.weight.double(), 1e-6)
    return x + F.gelu(h @ net.ffn.widen.weight.double().T) @ net.ffn.narrow.weight.double().T


@pytest.mark.parametrize("T", [1, 2, 63, 64, 65, 100, 200])
def test_the_block_is_the_papers_formula(T: int) -> None:
    net, x = build(), torch.randn(2, T, 32, generator=torch.Generator().manual_seed(1))
    assert_agrees({"out": net(x)[0].detach()}, {"out": by_the_paper(net, x).detach()}, within=1e-5)


@pytest.mark.parametrize(
    "overrides", [{}, {"conv_width": 3}, {"ffn_multiple": 0.0, "heads": 2, "value_multiple": 1.0, "shortest_memory": 2.0}]
)
def test_the_contract_holds_for_every_kind_of_config(overrides: dict[str, float]) -> None:
    assert check("retnet", config=overrides) == []


@pytest.mark.parametrize("width", [1, 3])
def test_the_short_convolution_mixes_each_channel_of_the_normed_input_with_its_own_last_tokens(width: int) -> None:
    net, plain = build(Config(d_model=32, conv_width=width)), build()
    plain.load_state_dict({name: p for name, p in net.state_dict().items() if "conv" not in name})
    conv, x = net.mixer.conv, torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(1))
    assert conv is not None
    h, mixed = net.mixer_norm(x), torch.zeros_like(x) + conv.bias
    for t in range(9):
        for lag in range(min(width, t + 1)):
            mixed[:, t] += conv.weight[:, 0, width - 1 - lag] * h[:, t - lag]
    expected = plain.mixer(mixed, None)[0]
    assert_agrees({"out": net.mixer(h, None)[0].detach()}, {"out": expected.detach()}, within=1e-5)


def test_chunks_with_a_carried_state_give_the_gradients_of_the_whole() -> None:
    x = torch.randn(2, 200, 32)
    gradients = []
    for cuts in ([200], [65, 1, 134]):
        net, state, outs = build(), None, []
        for part in torch.split(x, cuts, dim=1):
            out, state = net(part, state)
            outs.append(out)
        torch.cat(outs, dim=1).pow(2).sum().backward()
        gradients.append({name: p.grad for name, p in net.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == dict(build().named_parameters()).keys()
    assert_agrees(gradients[1], gradients[0], within=1e-5)


def test_a_late_document_part_means_what_an_early_one_means() -> None:
    """The memory is turned, no position is counted: after a long silence the block answers as at the start."""
    net, x = build(), torch.randn(1, 20, 32)
    with torch.no_grad():
        state = net(torch.zeros(1, 5000, 32))[1]
        assert_agrees({"out": net(x, state)[0]}, {"out": net(x)[0]}, within=1e-6)


def test_a_width_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a multiple of 2 x `heads` = 10"):
        RetNet(Config(d_model=32, heads=5))


@pytest.mark.slow
def test_the_memory_stays_bounded_and_exact_over_100_000_steps_of_decoding() -> None:
    """pytest -m slow tests/modules/test_retnet.py"""
    net, random = build(), torch.Generator().manual_seed(3)
    state, sizes = None, []
    with torch.no_grad():
        for step in range(100_000):
            x = torch.randn(1, 1, 32, generator=random)
            out, state = net(x, state)
            if step % 1000 == 999:
                sizes.append(state.memory_BHKV.norm().item())
                assert out.isfinite().all()
        assert max(sizes[10:]) < 2 * max(sizes[:10])
        # the memory has kept no rounding: the last 6000 steps alone, in one pass, lead to the same one
        random.manual_seed(3)
        xs = torch.cat([torch.randn(1, 1, 32, generator=random) for _ in range(100_000)], dim=1)[:, -6000:]
        assert_agrees({"memory": state.memory_BHKV}, {"memory": net(xs)[1].memory_BHKV}, within=1e-4)


def test_in_bfloat16_a_long_document_is_as_near_to_float32_as_the_rounded_weights_allow() -> None:
    torch.manual_seed(0)
    narrow = Retention(Config(d_model=32, heads=2, shortest_memory=512.0)).bfloat16()
    wide = copy.deepcopy(narrow).float()
    x = torch.randn(1, 900, 32).bfloat16()
    with torch.no_grad():
        out, _ = narrow(x, None)
        reference, _ = wide(x.float(), None)
    assert out.dtype == torch.bfloat16
    assert rmse_ratio(out, reference) < 0.01  # angles rounded to bfloat16 make it 0.024


def test_in_bfloat16_the_state_has_the_size_that_is_claimed() -> None:
    model = Decoder.build("retnet", config={"d_model": 32, "heads": 2, "conv_width": 3}, seed=0).to(torch.bfloat16)
    with torch.no_grad():
        _, states = model(torch.zeros(2, 40, dtype=torch.int64))
    assert sum(t.numel() * t.element_size() for block in states.blocks for t in block) == model.state_bytes(2, 40)
