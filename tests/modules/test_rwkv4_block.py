"""RWKV-4 is the paper's equations, written out here a second time, and transformers' blocks with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels.agreement import assert_agrees, outputs_and_gradients
from modules.contract import check
from modules.rwkv4 import RWKV4, Config


def build(d_model: int = 24, seed: int = 0) -> RWKV4:
    """A block whose constants differ from each other and from their first values."""
    torch.manual_seed(seed)
    net = RWKV4(Config(d_model=d_model, ffn_multiple=2.5))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def by_the_paper(net: RWKV4, x: torch.Tensor) -> torch.Tensor:
    """Float64; each average as the quotient of two sums over all tokens before."""
    x = x.double()
    w = {name: p.double() for name, p in net.named_parameters()}

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    def mixed(h: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
        earlier = torch.zeros_like(h)
        earlier[:, 1:] = h[:, :-1]
        return mix * h + (1 - mix) * earlier

    h = norm(x, "time_norm")
    r, k, v = (mixed(h, w["time.mix_3D"][i]) @ w[f"time.project_{name}.weight"].T for i, name in enumerate("rkv"))
    decay, outs = torch.exp(-torch.exp(w["time.decay_D"])), []
    for t in range(x.shape[1]):
        own = torch.exp(w["time.bonus_D"] + k[:, t])
        above, below = own * v[:, t], own
        for s in range(t):
            weight = decay ** (t - 1 - s) * torch.exp(k[:, s])
            above, below = above + weight * v[:, s], below + weight
        outs.append(above / below)
    x = x + (torch.sigmoid(r) * torch.stack(outs, dim=1)) @ w["time.project_out.weight"].T
    h = norm(x, "channel_norm")
    r, k = mixed(h, w["channel.mix_2D"][0]), mixed(h, w["channel.mix_2D"][1])
    hidden = (k @ w["channel.widen.weight"].T).clamp(min=0) ** 2
    return x + torch.sigmoid(r @ w["channel.project_r.weight"].T) * (hidden @ w["channel.narrow.weight"].T)


@pytest.mark.parametrize("T", [1, 2, 70])
def test_the_block_is_the_papers_equations(T: int) -> None:
    net, x = build(), torch.randn(2, T, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_agrees({"out": net(x)[0]}, {"out": by_the_paper(net, x)})


def in_transformers(net: RWKV4) -> Any:
    """transformers' block with our weights."""
    rwkv = pytest.importorskip("transformers.models.rwkv.modeling_rwkv", reason="transformers is not installed")
    D, F = net.channel.widen.weight.T.shape  # type: ignore[union-attr]
    theirs = rwkv.RwkvBlock(rwkv.RwkvConfig(hidden_size=D, intermediate_size=F, num_hidden_layers=2), layer_id=1)
    names = {"time_norm": "ln1", "channel_norm": "ln2", "time": "attention", "channel": "feed_forward", "project_r": "receptance"}
    names |= {"project_k": "key", "project_v": "value", "project_out": "output", "widen": "key", "narrow": "value"}
    names |= {"decay_D": "time_decay", "bonus_D": "time_first"}
    weights = {}
    for name, value in net.state_dict().items():
        parts = [names.get(part, part) for part in name.split(".")]
        if parts[-1].startswith("mix"):
            for i, role in enumerate(("receptance", "key", "value")[: len(value)]):
                weights[f"{parts[0]}.time_mix_{role}"] = value[i].view(1, 1, -1)
        else:
            weights[".".join(parts)] = value
    theirs.load_state_dict(weights)
    return theirs


def test_outputs_and_gradients_are_those_of_transformers_with_the_same_weights() -> None:
    theirs, ours = in_transformers(build()), build()
    x = {"x": torch.randn(2, 50, 24, generator=torch.Generator().manual_seed(1))}
    assert_agrees(outputs_and_gradients(lambda x: ours(x)[0], x), outputs_and_gradients(lambda x: theirs(x)[0], x), within=1e-5)


def test_the_contract_holds_without_channel_mixing() -> None:
    assert check("rwkv4", config={"ffn_multiple": 0.0}) == []


def test_in_bfloat16_the_past_stays_wide_and_the_state_has_the_size_that_is_claimed() -> None:
    narrow, wide = build().bfloat16(), build()
    wide.load_state_dict(narrow.state_dict())
    x = torch.randn(2, 300, 24).bfloat16()
    with torch.no_grad():
        out, state = narrow(x)
        reference, _ = wide(x.float())
    assert_agrees({"out": out}, {"out": reference}, within=0.03)
    assert state.average_BD.dtype == torch.float32
    assert sum(part.numel() * part.element_size() for part in state) == narrow.state_bytes(2, 300)


def test_memories_start_from_less_than_a_token_up_to_150_tokens() -> None:
    memory = 1 / RWKV4(Config(d_model=128)).time.decay_D.exp()
    assert 0.04 < memory.min() < 0.06
    assert 140 < memory.max() < 150
