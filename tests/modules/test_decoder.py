"""The decoder gives the same logits however a document is cut, and is built the same from the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kernels import native
from modules.decoder import Decoder, DecoderConfig
from modules.settings import ConfigError


def tokens(batch: int = 2, length: int = 21, vocabulary: int = 256) -> Tensor:
    return torch.randint(vocabulary, (batch, length), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("position", ["none", "learned"])
@pytest.mark.parametrize("module", ["transformer", "moe"])
def test_steps_and_chunks_give_the_logits_of_the_whole_document(module: str, position: str) -> None:
    model = Decoder.build(module, config={"d_model": 32}, decoder={"position": position}, seed=1).eval()
    text_BT = tokens()
    whole, state = model(text_BT)
    assert sum(part.numel() * part.element_size() for block in state.blocks for part in block) == model.state_bytes(2, 21)
    first, state = model(text_BT[:, :8])
    middle, state = model(text_BT[:, 8:19], state)
    ends = []
    for token_B in text_BT[:, 19:].unbind(1):
        logits_BV, state = model.step(token_B, state)
        ends.append(logits_BV)
    torch.testing.assert_close(torch.cat([first, middle, torch.stack(ends, 1)], dim=1), whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("module", ["transformer", "mamba"])
def test_a_compact_state_holds_the_bytes_it_claims_and_goes_on_to_the_same_logits(module: str) -> None:
    model, text_BT = Decoder.build(module, config={"d_model": 32}, seed=1).eval(), tokens()
    with torch.no_grad():
        state = model.step(text_BT[:, 15], model(text_BT[:, :15])[1])[1]
        small = state.compact()
        assert sum(part.untyped_storage().nbytes() for block in small.blocks for part in block) == model.state_bytes(2, 16)
        assert torch.equal(model(text_BT[:, 16:], small)[0], model(text_BT[:, 16:], state)[0])


def test_blocks_that_want_token_values_are_given_them() -> None:
    model = Decoder.build("moe", config={"d_model": 32, "router": "hash"}).eval()
    shown: list[Tensor] = []
    model.blocks[1].router.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[1]))  # type: ignore[union-attr]
    model(tokens())
    assert torch.equal(shown[0], tokens().flatten())


def test_logits_at_chosen_positions_are_those_of_the_whole() -> None:
    model = Decoder.build("transformer", config={"d_model": 32})
    whole_BTV, _ = model(tokens())
    mask_BT = tokens() > 128
    torch.testing.assert_close(model(tokens(), positions=mask_BT)[0], whole_BTV[mask_BT])
    torch.testing.assert_close(model(tokens(), positions=torch.tensor([3, 20]))[0], whole_BTV[:, [3, 20]])
    rows_BK = torch.tensor([[0, 5, 5], [20, 1, 7]])
    expected = torch.stack([whole_BTV[0, rows_BK[0]], whole_BTV[1, rows_BK[1]]])
    torch.testing.assert_close(model(tokens(), positions=rows_BK)[0], expected)


def test_the_same_seed_builds_the_same_bits_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one = Decoder.build("transformer", seed=4).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(7)
    again, other = Decoder.build("transformer", seed=4).state_dict(), Decoder.build("transformer", seed=5).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])


@dataclass(frozen=True)
class Config:
    d_model: int = 8


class Careful(nn.Module):
    """A block whose initialisation means something."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.linspace(1, 2, config.d_model))
        self.inner, self.out = (nn.Parameter(torch.full((config.d_model, config.d_model), 0.5)) for _ in range(2))

    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        return x_BTD + x_BTD * self.decay @ self.inner @ self.out, ()

    def residual_weights(self) -> list[Tensor]:
        return [self.out]

    def state_bytes(self, batch: int, length: int) -> int:
        return 0

    def auxiliary_loss(self) -> Tensor:
        return self.out.sum() * 0 + 0.25

    def diagnostics(self) -> dict[str, float]:
        return {"depth": float(self.decay.detach().sum())}


def test_initialisation_scales_what_writes_the_residual_stream_and_touches_nothing_else_in_a_block() -> None:
    model = Decoder(Careful, Config(), DecoderConfig(layers=4))
    for block in model.blocks:
        assert isinstance(block, Careful)
        assert torch.equal(block.decay, torch.linspace(1, 2, 8))
        assert block.inner.unique().tolist() == [0.5]
        assert block.out.unique().tolist() == [0.25]
    assert model.embedding.weight.std().item() == pytest.approx(0.1, rel=0.1)


def test_auxiliary_losses_add_up_and_diagnostics_average() -> None:
    model = Decoder(Careful, Config(), DecoderConfig(layers=3))
    assert model.auxiliary_loss().item() == 0.75
    assert model.diagnostics() == {"depth": pytest.approx(12.0)}
    assert Decoder.build("transformer").auxiliary_loss().item() == 0


def test_with_small_embeddings_a_fresh_language_model_is_about_as_unsure_as_a_uniform_one() -> None:
    for module in ("transformer", "attention", "moe"):
        logits_BTV, _ = Decoder.build(module, config={"d_model": 64}, decoder={"layers": 6, "embedding_std": 0.02})(tokens())
        entropy = torch.distributions.Categorical(logits=logits_BTV).entropy().mean().item()
        assert entropy == pytest.approx(torch.tensor(256.0).log().item(), abs=0.1)


def test_the_last_gain_shrinks_the_first_logits_and_leaves_the_rest_as_it_was() -> None:
    whole, half = (Decoder.build("transformer", config={"d_model": 32}, decoder={"last_gain": gain}) for gain in (1.0, 0.5))
    torch.testing.assert_close(half(tokens())[0], whole(tokens())[0] / 2)
    assert all(torch.equal(a, b) for a, b in zip(whole.blocks.parameters(), half.blocks.parameters(), strict=True))


@pytest.mark.parametrize(("tie", "heads"), [(True, 0), (False, 1)])
def test_parameters_are_counted_once(tie: bool, heads: int) -> None:
    model = Decoder.build("transformer", config={"d_model": 32}, decoder={"tie": tie, "layers": 3})
    block = 4 * 32**2 + 8 * 32**2 + 2 * 32
    assert model.parameters_count == 3 * block + 32 + (1 + heads) * 256 * 32
    assert model.facts()["parameters"] == model.parameters_count


def test_a_run_tells_which_way_each_of_its_kernels_was_computed() -> None:
    model = Decoder.build("mamba", config={"d_model": 16})
    model(tokens())
    assert model.facts()["kernels"]["scan"] == ("torch" if native.compiler() is None else "compiled")
    model.double()(tokens())
    assert model.facts()["kernels"]["scan"] == "torch"


def test_a_document_longer_than_the_learned_positions_is_refused() -> None:
    model = Decoder.build("transformer", decoder={"position": "learned", "context": 16})
    _, state = model(tokens(length=16))
    with pytest.raises(ValueError, match=r"document of 17 tokens outgrows `context` = 16"):
        model.step(tokens()[:, 0], state)


def test_every_fault_of_a_config_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Decoder.build("transformer", config={"d_mode": 3, "heads": "4", "rope": 1, "ffn": "relu", "ffn_multiple": 2})
    assert str(caught.value) == (
        "config of module `transformer`: no key `d_mode`; did you mean `d_model`?; `heads` wants `int`, got '4'; "
        "`rope` wants `bool`, got 1; `ffn` wants one of `gelu`, `swiglu`, got 'relu'"
    )
    with pytest.raises(ConfigError, match=r"config of `\[decoder\]`: no key `depth`; keys are `vocabulary`"):
        Decoder.build("transformer", decoder={"depth": 3})
    with pytest.raises(KeyError, match="did you mean `transformer`"):
        Decoder.build("transfomer")
