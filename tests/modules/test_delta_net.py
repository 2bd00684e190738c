"""DeltaNet and Gated DeltaNet are their papers' recurrences, written out here a second time, and follow parity where eigenvalues may be -1."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import modules.delta_net as plain
import modules.gated_delta_net as gated
from kernels.agreement import assert_agrees, outputs_and_gradients
from modules.contract import check

CONFIGS: list[Any] = [
    plain.Config(d_model=32, heads=4),
    plain.Config(d_model=24, heads=3, conv_width=2, negative_eigenvalues=True),
    gated.Config(d_model=32, heads=4),
    gated.Config(
        d_model=24, heads=2, conv_width=1, negative_eigenvalues=True, key_multiple=1.0, value_multiple=0.5, ffn_multiple=0
    ),
]


def build(config: Any, seed: int = 0) -> Any:
    """A block whose constants differ from each other and from their first values."""
    torch.manual_seed(seed)
    net = plain.DeltaNet(config) if isinstance(config, plain.Config) else gated.GatedDeltaNet(config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def normed(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def by_the_paper(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Float64, one token and one head after the other, each transition as a matrix."""
    c, x = net.config, x.double()
    w = {name: p.double() for name, p in net.named_parameters()}
    fades = isinstance(c, gated.Config)
    keys, values = (round(c.d_model * c.key_multiple), round(c.d_model * c.value_multiple)) if fades else (c.d_model, c.d_model)
    K, V = keys // c.heads, values // c.heads
    h = normed(x, w["mixer_norm.weight"], 1e-6)
    projected = h @ w["mixer.project_in.weight"].T
    u, rest = projected[..., : 2 * keys + values], projected[..., 2 * keys + values :]
    strength = rest[..., values : values + c.heads] if fades else h @ w["mixer.project_beta.weight"].T
    beta = torch.sigmoid(strength) * (2 if c.negative_eigenvalues else 1)
    kernel = w["mixer.conv.conv.weight"][:, 0]
    memory = [x.new_zeros(len(x), K, V) for _ in range(c.heads)]
    mixed_outs = []
    for t in range(x.shape[1]):
        mixed = sum(kernel[:, -1 - lag] * u[:, t - lag] for lag in range(min(c.conv_width, t + 1)))
        mixed = mixed * torch.sigmoid(mixed)
        heads = []
        for i in range(c.heads):
            q, k = (mixed[:, start + i * K :][:, :K] for start in (0, keys))
            q, k = (y / (y.pow(2).sum(-1, keepdim=True) + 1e-6).sqrt() for y in (q, k))
            v = mixed[:, 2 * keys + i * V :][:, :V]
            fade = torch.ones(len(x), 1, 1, dtype=x.dtype)
            if fades:
                step = torch.log1p(torch.exp(rest[:, t, values + c.heads + i] + w["mixer.dt_bias_H"][i]))
                fade = torch.exp(-step * torch.exp(w["mixer.A_log_H"][i]))[:, None, None]
            b = beta[:, t, i, None, None]
            transition = fade * (torch.eye(K, dtype=x.dtype) - b * k[:, :, None] * k[:, None, :])
            memory[i] = transition @ memory[i] + b * k[:, :, None] * v[:, None, :]
            out = (q[:, None] @ memory[i]).squeeze(1) / K**0.5
            heads.append(normed(out, w["mixer.norm_weight_V" if fades else "mixer.norm_weight_K"], 1e-5))
        y = torch.cat(heads, -1)
        mixed_outs.append(y * rest[:, t, :values] * torch.sigmoid(rest[:, t, :values]) if fades else y)
    x = x + torch.stack(mixed_outs, 1) @ w["mixer.project_out.weight"].T
    if not c.ffn_multiple:
        return x
    gate, wide = (normed(x, w["ffn_norm.weight"], 1e-6) @ w["ffn.widen.weight"].T).chunk(2, -1)
    y_BTD: torch.Tensor = x + (gate * torch.sigmoid(gate) * wide) @ w["ffn.narrow.weight"].T
    return y_BTD


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("T", [1, 3, 65, 130])
def test_the_block_is_the_papers_recurrence(config: Any, T: int) -> None:
    net, x = build(config), torch.randn(2, T, config.d_model, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_agrees({"out": net(x)[0]}, {"out": by_the_paper(net, x)})


@pytest.mark.parametrize("name", ["delta_net", "gated_delta_net"])
def test_the_contract_holds_with_negative_eigenvalues(name: str) -> None:
    assert check(name, config={"negative_eigenvalues": True, "heads": 2, "conv_width": 1}) == []


@pytest.mark.parametrize("negative_eigenvalues", [True, False])
def test_hand_set_weights_follow_parity_over_two_thousand_tokens_if_and_only_if_eigenvalues_may_be_negative(
    negative_eigenvalues: bool,
) -> None:
    """Tokens: start (writes 1), zero (beta = 0), one (beta = 2, reflects). The output's sign is the parity; without reflections it never turns."""
    mixer = plain.DeltaRule(plain.Config(d_model=4, heads=1, conv_width=1, negative_eigenvalues=negative_eigenvalues))
    start, zero, one, always = range(4)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.zero_()
        mixer.conv.conv.weight.fill_(1.0)
        mixer.norm_weight_K.fill_(1.0)
        mixer.project_out.weight.copy_(torch.eye(4))
        q, k, v = mixer.project_in.weight.view(3, 4, 4)
        q[0, always] = k[0, always] = v[0, start] = 10.0
        mixer.project_beta.weight[0] = torch.tensor([0.0, -60.0, 60.0, 0.0])
        bits = torch.randint(2, (2000,), generator=torch.Generator().manual_seed(0))
        tokens = torch.cat((torch.tensor([start]), torch.where(bits == 1, one, zero)))
        x = torch.nn.functional.one_hot(tokens, 4).float()
        x[:, always] = 1.0
        y, _ = mixer(x[None], None)
    wanted = 1 - 2 * (bits.cumsum(0) % 2)
    assert torch.equal(y[0, 1:, 0].sign(), wanted.sign().float()) == negative_eigenvalues
    if not negative_eigenvalues:
        assert (y[0, :, 0] > -1e-6).all()


def test_outputs_and_gradients_are_those_of_transformers_with_the_same_weights() -> None:
    qwen = pytest.importorskip("transformers.models.qwen3_next", reason="transformers is not installed")
    config = gated.Config(d_model=32, heads=4)
    ours = build(config).mixer
    settings = qwen.Qwen3NextConfig(
        hidden_size=32,
        linear_num_value_heads=4,
        linear_num_key_heads=4,
        linear_key_head_dim=6,
        linear_value_head_dim=12,
        linear_conv_kernel_dim=4,
        rms_norm_eps=1e-5,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
    )
    theirs = qwen.modeling_qwen3_next.Qwen3NextGatedDeltaNet(settings, layer_idx=0)
    with torch.no_grad():
        q, k, v, z, beta, dt = torch.split(ours.project_in.weight, [24, 24, 48, 48, 4, 4])
        by_head = torch.cat([part.view(4, -1, 32) for part in (q, k, v, z)], dim=1)
        theirs.in_proj_qkvz.weight.copy_(by_head.flatten(0, 1))
        theirs.in_proj_ba.weight.copy_(torch.stack((beta, dt), dim=1).flatten(0, 1))
        theirs.conv1d.weight.copy_(ours.conv.conv.weight)
        theirs.norm.weight.copy_(ours.norm_weight_V)
        theirs.out_proj.weight.copy_(ours.project_out.weight)
        theirs.A_log.copy_(ours.A_log_H)
        theirs.dt_bias.copy_(ours.dt_bias_H)
    x = {"x": torch.randn(2, 100, 32, generator=torch.Generator().manual_seed(1))}
    assert_agrees(outputs_and_gradients(lambda x: ours(x, None)[0], x), outputs_and_gradients(lambda x: theirs(x), x))
    assert_agrees({"A": ours.A_log_H.grad, "dt": ours.dt_bias_H.grad}, {"A": theirs.A_log.grad, "dt": theirs.dt_bias.grad})


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[2]])
def test_in_bfloat16_the_state_has_the_size_that_is_claimed_and_outputs_stay_near(config: Any) -> None:
    narrow, wide = build(config).bfloat16(), build(config)
    wide.load_state_dict(narrow.state_dict())
    x = torch.randn(2, 300, 32).bfloat16()
    with torch.no_grad():
        out, state = narrow(x)
        reference, _ = wide(x.float())
    assert out.dtype == torch.bfloat16
    assert_agrees({"out": out}, {"out": reference}, within=0.03)
    assert sum(part.numel() * part.element_size() for part in state) == narrow.state_bytes(2, 300)


def test_widths_that_the_heads_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="`d_model` = 32 must be a multiple of `heads` = 5"):
        plain.DeltaNet(plain.Config(d_model=32, heads=5))
    with pytest.raises(ValueError, match="24 channels of keys and 48 of values must be multiples of `heads` = 5"):
        gated.GatedDeltaNet(gated.Config(d_model=32, heads=5))
