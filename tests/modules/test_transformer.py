"""The transformer block is the published formula, written out here a second time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from modules.attention import Attention, AttentionBlock, rotate, rotation
from modules.attention import Config as AttentionConfig
from modules.decoder import Decoder
from modules.trainer import Recipe, next_token, train
from modules.transformer import Config, Transformer


def rotated(x_E: Tensor, place: int) -> Tensor:
    """Each pair as a complex number, turned by place / 10000 ** (2 i / E)."""
    half = len(x_E) // 2
    turned = torch.complex(x_E[:half], x_E[half:]) * torch.exp(
        1j * place * 10000.0 ** (-torch.arange(half) * 2 / len(x_E)).double()
    )
    return torch.cat([turned.real, turned.imag])


def attended(mixer: Attention, x_TD: Tensor, window: int) -> Tensor:
    """Attention one query, one head, one key at a time."""
    T, E = len(x_TD), mixer.width
    project_in, project_out = mixer.project_in.weight, mixer.project_out.weight
    q, k, v = (x_TD @ project_in.T).split([mixer.heads * E, mixer.kv_heads * E, mixer.kv_heads * E], dim=1)
    rows = []
    for t in range(T):
        heads = []
        for h in range(mixer.heads):
            g = h * mixer.kv_heads // mixer.heads
            seen = range(max(0, t - window + 1), t + 1)
            query = rotated(q[t, h * E : (h + 1) * E], t)
            scores = torch.stack([query @ rotated(k[s, g * E : (g + 1) * E], s) / math.sqrt(E) for s in seen])
            heads.append(scores.softmax(0) @ v[list(seen), g * E : (g + 1) * E])
        rows.append(torch.cat(heads) @ project_out.T)
    return torch.stack(rows)


def normed(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


@pytest.mark.parametrize(("kv_heads", "window", "ffn"), [(0, 0, "gelu"), (2, 0, "swiglu"), (1, 3, "gelu")])
def test_the_block_is_the_formula(kv_heads: int, window: int, ffn: str) -> None:
    torch.manual_seed(0)
    config = Config(d_model=16, heads=4, kv_heads=kv_heads, window=window, ffn=ffn, ffn_multiple=2.0)  # type: ignore[arg-type]
    block = Transformer(config).double()
    x_TD = torch.randn(9, 16, dtype=torch.float64)
    h_TD = x_TD + attended(block.mixer, normed(x_TD), window or 9)
    assert block.ffn is not None
    wide_TF = normed(h_TD) @ block.ffn.widen.weight.T
    if ffn == "swiglu":
        gate, value = wide_TF[:, :32], wide_TF[:, 32:]
        wide_TF = gate / (1 + torch.exp(-gate)) * value
    else:
        wide_TF = wide_TF * 0.5 * (1 + torch.erf(wide_TF / math.sqrt(2)))
    torch.testing.assert_close(block(x_TD.unsqueeze(0))[0][0], h_TD + wide_TF @ block.ffn.narrow.weight.T, rtol=1e-9, atol=1e-9)


def test_rotary_scores_depend_on_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 64, dtype=torch.float64)
    turned = [rotate(x, rotation(at, 1, 64, base=1e4, like=x)) for x, at in ((q, 12), (k, 5), (q, 30_012), (k, 30_005))]
    near, far = (turned[0] * turned[1]).sum(), (turned[2] * turned[3]).sum()
    torch.testing.assert_close(near, far)
    assert not torch.isclose(near, (turned[0] * turned[3]).sum())


def test_a_window_bounds_the_cache_and_frees_what_it_drops() -> None:
    block = AttentionBlock(AttentionConfig(d_model=16, window=8)).eval()
    with torch.no_grad():
        _, state = block(torch.randn(1, 1, 16), block(torch.randn(1, 499, 16))[1])
        assert state.room is None
        held = {id(part.untyped_storage()): part.untyped_storage().nbytes() for part in state}
        assert sum(held.values()) == block.state_bytes(1, 500) == block.state_bytes(1, 7) == 2 * 7 * 16 * 4 + 8
    assert block.facts() == {"attention_path": "sdpa"}


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="`d_model` 30 must be a multiple of `heads` 4"):
        Transformer(Config(d_model=30))
    with pytest.raises(ValueError, match="rotary positions need an even head width"):
        Transformer(Config(d_model=12, heads=4))


@pytest.mark.parametrize("module", ["transformer", "moe"])
def test_two_layers_learn_to_repeat_what_they_read_once(module: str) -> None:
    def batches(i: int) -> Tensor:
        once = torch.randint(16, (32, 8), generator=torch.Generator().manual_seed(i))
        return torch.cat([once, once], dim=1)

    model = Decoder.build(module, config={"d_model": 32, "heads": 2}, decoder={"vocabulary": 16}, seed=0)
    train(model, batches, loss=next_token, recipe=Recipe(lr=2e-2, weight_decay=0.01), steps=120, seed=0)
    text_BT = batches(10_000)
    guesses_BT = model.eval()(text_BT)[0][:, 7:-1].argmax(-1)
    assert (guesses_BT == text_BT[:, 8:]).double().mean().item() > 0.9
