"""Quantised fine-tuning: what is packed, what learns, and that it can be saved, merged and taken apart again."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kernels.quantised import dequantise, quantise
from modules.decoder import Decoder
from modules.quant_lora import Kind, QuantLinear, apply_quant_lora, merge, quant_layers, unmerge
from modules.settings import ConfigError
from modules.trainer import Recipe, next_token, train

KINDS: tuple[Kind, ...] = ("nf4", "int4", "bf16")


def small(device: str = "cpu", **decoder: object) -> Decoder:
    with torch.device(device):
        return Decoder.build("transformer", config={"d_model": 64, "heads": 2}, decoder=decoder, seed=3, device=device)


def tokens(step: int = 0) -> Tensor:
    return torch.randint(256, (2, 33), generator=torch.Generator().manual_seed(step))


@pytest.mark.parametrize("kind", KINDS)
def test_at_first_the_model_is_its_packed_self(kind: Kind) -> None:
    plain, model = small(), small()
    assert len(apply_quant_lora(model, kind=kind)) == 8
    for name, layer in plain.named_modules():
        if isinstance(layer, torch.nn.Linear) and name != "head":
            rough = layer.weight.detach()
            read = rough.bfloat16().float() if kind == "bf16" else dequantise(quantise(rough, kind=kind), columns=rough.shape[1])
            layer.weight = torch.nn.Parameter(read)
    with torch.no_grad():
        assert torch.allclose(model(tokens())[0], plain(tokens())[0], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_only_adapters_learn_and_the_loss_falls(kind: Kind) -> None:
    model = small()
    apply_quant_lora(model, kind=kind, rank=4)
    before = {name: part.clone() for name, part in model.state_dict().items()}
    recipe = Recipe(lr=1e-2, warmup=0.0, weight_decay=0.0)
    log = train(model, lambda step: tokens(), loss=next_token, recipe=recipe, steps=12, seed=0)
    moved = {name for name, part in model.state_dict().items() if not torch.equal(part, before[name])}
    assert moved == {name for name in before if name.endswith((".A_RI", ".B_OR"))}
    assert {name for name, p in model.named_parameters() if p.requires_grad} == moved
    assert log.loss[-1] < log.loss[0] - 0.2


def test_gradients_of_the_adapters_are_those_of_a_dense_model() -> None:
    model = small()
    apply_quant_lora(model, rank=4)
    for layer in quant_layers(model):
        torch.nn.init.normal_(layer.B_OR, std=0.02)
    torch.autograd.backward(next_token(model, tokens())[0])
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    # The same model with each map written out: `weight` is a function of the adapter.
    for layer in quant_layers(model):
        layer.forward = lambda x, layer=layer: torch.nn.functional.linear(x, layer.weight)  # type: ignore[method-assign]
    torch.autograd.backward(next_token(model, tokens())[0])
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            assert torch.allclose(found[name], parameter.grad, atol=1e-6, rtol=1e-3), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_is_loaded_without_ever_holding_full_weights(kind: Kind, tmp_path: Path) -> None:
    model = small()
    apply_quant_lora(model, kind=kind, seed=5)
    for layer in quant_layers(model):
        torch.nn.init.normal_(layer.B_OR, std=0.02)
    torch.save(model.state_dict(), tmp_path / "packed.pt")
    empty = small("meta")
    apply_quant_lora(empty, kind=kind)
    empty.load_state_dict(torch.load(tmp_path / "packed.pt"), assign=True)
    assert not any(part.is_meta for part in empty.state_dict().values())
    with torch.no_grad():
        assert torch.equal(empty(tokens())[0], model(tokens())[0])


def test_merging_changes_nothing_but_speed_and_is_undone_to_the_bit() -> None:
    model = small().eval()
    apply_quant_lora(model)
    for layer in quant_layers(model):
        torch.nn.init.normal_(layer.B_OR, std=0.02)
    kept = {name: part.clone() for name, part in model.state_dict().items()}
    with torch.no_grad():
        apart = model(tokens())[0]
        merge(model)
        assert torch.allclose(model(tokens())[0], apart, atol=1e-4)
        assert all(torch.equal(part, kept[name]) for name, part in model.state_dict().items())
        unmerge(model)
        assert torch.equal(model(tokens())[0], apart)
        merge(model)
    assert all(layer.merged_OI is None for layer in quant_layers(model.train()))


def test_a_tied_head_is_left_alone_and_an_untied_one_is_packed() -> None:
    assert "head" not in apply_quant_lora(small(tie=True))
    assert "head" in apply_quant_lora(small(tie=False))


def test_names_choose_what_is_packed_and_what_else_learns() -> None:
    model = small()
    assert apply_quant_lora(model, names=("*.widen", "*.narrow"), also_train=("*norm*",)) == [
        f"blocks.{i}.ffn.{name}" for i in (0, 1) for name in ("widen", "narrow")
    ]
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert "blocks.0.mixer_norm.weight" in learning
    assert "blocks.0.mixer.project_in.weight" not in learning


def test_a_bias_is_kept_and_frozen() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(70, 30))
    bias = model[0].bias.detach().clone()
    apply_quant_lora(model, rank=2)
    with torch.no_grad():
        assert torch.equal(model(torch.zeros(3, 70)), bias.expand(3, 30))
    assert isinstance(model[0], QuantLinear)
    assert sum(p.numel() for p in model.parameters()) == 2 * 100


@pytest.mark.parametrize(
    ("settings", "told"), [({"names": ("nothing",)}, "no linear map"), ({"rank": 0}, "`rank` = 0"), ({"kind": "fp4"}, "'fp4'")]
)
def test_a_setting_that_makes_no_sense_leaves_the_model_untouched(settings: dict[str, object], told: str) -> None:
    model = small()
    with pytest.raises(ConfigError, match=told):
        apply_quant_lora(model, **settings)  # type: ignore[arg-type]
    assert all(p.requires_grad for p in model.parameters())
    assert not list(quant_layers(model))


def test_stacked_experts_stay_unpacked_with_a_word_and_nothing_else_has_one() -> None:
    model = Decoder.build("moe", config={"d_model": 64})
    with pytest.warns(
        UserWarning, match=r"stay unpacked and frozen: blocks\.0\.experts\.widen_EDF, blocks\.0\.experts\.narrow_EFD"
    ):
        apply_quant_lora(model)
    for module in ("transformer", "mamba", "delta_net", "rwkv6"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            apply_quant_lora(Decoder.build(module, config={"d_model": 64}))
