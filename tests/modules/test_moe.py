"""Experts compute what a loop over tokens computes, nothing is lost unsaid, and loads even out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from modules.decoder import Decoder
from modules.moe import Config, Experts, HashRouter, MixtureOfExperts, SwitchRouter, expert_utilization, load_balance_std
from modules.trainer import next_token


def routed(tokens: int = 40, experts: int = 6, top_k: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x_ND = torch.randn(tokens, 8, dtype=torch.float64)
    chosen_NK = torch.stack([torch.randperm(experts)[:top_k] for _ in range(tokens)])
    return x_ND, chosen_NK, torch.rand(tokens, top_k, dtype=torch.float64)


def one_expert(layer: Experts, e: int, x_D: Tensor) -> Tensor:
    h_F = x_D @ layer.widen_EDF[e]
    return (h_F * 0.5 * (1 + torch.erf(h_F / math.sqrt(2)))) @ layer.narrow_EFD[e]


@pytest.mark.parametrize("top_k", [1, 2])
def test_each_token_gets_the_weighted_sum_of_its_experts(top_k: int) -> None:
    x_ND, chosen_NK, weight_NK = routed(top_k=top_k)
    layer = Experts(8, 6, multiple=2.0, capacity=0.0).double()
    y_ND, load_E, dropped_E = layer(x_ND, chosen_NK, weight_NK)
    expected = [
        sum((w * one_expert(layer, int(e), x) for e, w in zip(chosen, weight, strict=True)), torch.zeros(8).double())
        for x, chosen, weight in zip(x_ND, chosen_NK, weight_NK, strict=True)
    ]
    torch.testing.assert_close(y_ND, torch.stack(expected))
    assert load_E.tolist() == [int((chosen_NK == e).sum()) for e in range(6)]
    assert dropped_E.sum() == 0


def test_an_expert_without_tokens_has_a_zero_gradient() -> None:
    x_ND, _, weight_NK = routed(top_k=1)
    layer = Experts(8, 6, multiple=2.0, capacity=0.0).double()
    layer(x_ND, torch.full((40, 1), 4), weight_NK)[0].sum().backward()
    touched = [bool(grad.any()) for grad in layer.widen_EDF.grad]  # type: ignore[union-attr]
    assert touched == [False, False, False, False, True, False]


def test_capacity_drops_the_latest_tokens_in_training_alone_and_counts_them() -> None:
    x_ND, chosen_NK, weight_NK = routed(top_k=1)
    layer = Experts(8, 6, multiple=2.0, capacity=0.9).double()
    whole_ND = layer.eval()(x_ND, chosen_NK, weight_NK)[0]
    y_ND, load_E, dropped_E = layer.train()(x_ND, chosen_NK, weight_NK)
    room, seen = math.ceil(0.9 * 40 / 6), [0] * 6
    for n, (e,) in enumerate(chosen_NK.tolist()):
        seen[e] += 1
        torch.testing.assert_close(y_ND[n], whole_ND[n] if seen[e] <= room else torch.zeros(8).double())
    assert dropped_E.tolist() == [max(count - room, 0) for count in seen]
    assert dropped_E.sum() > 0
    assert load_E.tolist() == seen


def test_the_hash_router_sends_a_token_value_to_the_same_distinct_experts_whatever_surrounds_it() -> None:
    router = HashRouter(12, top_k=2)
    tokens_N = torch.randint(50_000, (4000,))
    chosen_NK, weight_NK = router(torch.randn(4000, 3), tokens_N)
    shuffle = torch.randperm(4000)
    assert torch.equal(router(torch.randn(4000, 3), tokens_N[shuffle])[0], chosen_NK[shuffle])
    assert (chosen_NK[:, 0] != chosen_NK[:, 1]).all()
    assert weight_NK.unique().tolist() == [0.5]


@pytest.mark.parametrize("top_k", [1, 2])
def test_hashed_values_spread_as_evenly_as_chance(top_k: int) -> None:
    chosen_NK, _ = HashRouter(16, top_k=top_k)(torch.zeros(1), torch.arange(65_536))
    load_E = torch.bincount(chosen_NK.flatten(), minlength=16).double()
    chi_squared = ((load_E - load_E.mean()) ** 2 / load_E.mean()).sum().item()
    assert chi_squared < 60  # 15 degrees of freedom: beyond this once in 10 million


def test_the_hash_router_refuses_to_guess_token_values() -> None:
    block = MixtureOfExperts(Config(d_model=8, heads=2, router="hash"))
    with pytest.raises(ValueError, match="call the block with `tokens_BT`"):
        block(torch.randn(1, 4, 8))


def test_the_switch_router_weighs_by_softmax() -> None:
    torch.manual_seed(0)
    x_ND = torch.randn(50, 8)
    for top_k in (1, 2):
        router = SwitchRouter(8, 5, top_k=top_k, bias_rate=0.0)
        nn.init.normal_(router.score.weight)
        chosen_NK, weight_NK = router(x_ND)
        odds_NE = torch.exp(x_ND @ router.score.weight.T)
        best_NK = odds_NE.sort(descending=True).indices[:, :top_k]
        assert torch.equal(chosen_NK, best_NK)
        picked_NK = odds_NE.gather(1, best_NK)
        total = odds_NE.sum(1, keepdim=True) if top_k == 1 else picked_NK.sum(1, keepdim=True)
        torch.testing.assert_close(weight_NK, picked_NK / total)


def test_the_balance_loss_is_one_when_even_and_grows_with_concentration() -> None:
    router = SwitchRouter(8, 4, top_k=1, bias_rate=0.0)
    nn.init.zeros_(router.score.weight)
    router(torch.randn(100, 8))
    assert router.balance_loss().item() == pytest.approx(1.0)  # even probabilities, whatever the load
    with torch.no_grad():
        router.score.weight[2] = 5.0
    x_ND = torch.rand(100, 8)
    router(x_ND)
    mean_E = (x_ND @ router.score.weight.T).softmax(1).mean(0)
    assert router.balance_loss().item() == pytest.approx(4 * mean_E[2].item())
    assert router.balance_loss().item() > 3.9


def test_balance_and_utilisation_of_known_loads() -> None:
    assert load_balance_std(torch.tensor([5.0, 5, 5, 5])) == 0
    assert load_balance_std(torch.tensor([1.0, 3])) == pytest.approx(0.5)
    assert load_balance_std(torch.tensor([4.0, 0, 0, 0])) == pytest.approx(math.sqrt(3))
    assert expert_utilization(torch.tensor([5.0, 5, 5, 5])) == pytest.approx(1)
    assert expert_utilization(torch.tensor([4.0, 0, 0, 0])) == pytest.approx(0.25)
    assert expert_utilization(torch.tensor([2.0, 2, 0, 0])) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0])
def test_balancing_by_bias_evens_a_lopsided_router_at_any_scale_without_a_gradient(scale: float) -> None:
    torch.manual_seed(0)
    router = SwitchRouter(8, 8, top_k=1, bias_rate=0.05)
    nn.init.normal_(router.score.weight, std=scale)
    x_ND = torch.randn(2048, 8) + 1

    def imbalance() -> float:
        chosen_NK, _ = router.eval()(x_ND)
        return load_balance_std(torch.bincount(chosen_NK.flatten(), minlength=8).double())

    before = imbalance()
    router.train()
    for _ in range(250):
        router(x_ND)
    assert before > 0.5
    assert imbalance() < 0.03
    settled = router.settled_E.clone()
    router.eval()(x_ND)
    assert torch.equal(router.settled_E, settled)


def test_diagnostics_cover_the_forwards_since_the_last_call() -> None:
    block = MixtureOfExperts(Config(d_model=8, heads=2, experts=4, capacity=0.5)).train()
    assert block.diagnostics() == {}
    block(torch.randn(2, 50, 8))
    told = block.diagnostics()
    assert told["drop_rate"] >= 1 - 4 * math.ceil(0.5 * 100 / 4) / 100
    assert told["load_share_std"] == pytest.approx(told["load_balance_std"] / 4)
    block.eval()(torch.randn(2, 50, 8))
    assert block.diagnostics()["drop_rate"] == 0
    assert block.diagnostics() == {}


def test_ten_times_the_parameters_cost_hardly_more_floating_point_operations() -> None:
    def cost(module: str, config: dict[str, int]) -> tuple[int, int]:
        model = Decoder.build(module, config={"d_model": 64, **config})
        with FlopCounterMode(display=False) as counter:
            loss, _ = next_token(model, torch.randint(256, (2, 65)))
            (loss + model.auxiliary_loss()).backward()
        return counter.get_total_flops(), model.parameters_count - model.embedding.weight.numel()

    dense_flops, dense_parameters = cost("transformer", {})
    sparse_flops, sparse_parameters = cost("moe", {"experts": 16})
    assert sparse_parameters > 10 * dense_parameters
    assert sparse_flops < 1.05 * dense_flops


def test_one_unbalanced_layer_does_not_hide_behind_a_balanced_one() -> None:
    model = Decoder.build("moe", config={"d_model": 16, "heads": 2, "experts": 4, "router": "hash"}, decoder={"layers": 2})
    even, uneven = (block for block in model.blocks if isinstance(block, MixtureOfExperts))
    even._load_E, even._dropped_E = torch.tensor([5, 5, 5, 5]), torch.tensor([0, 0, 0, 0])
    uneven._load_E, uneven._dropped_E = torch.tensor([20, 0, 0, 0]), torch.tensor([15, 0, 0, 0])
    told = model.diagnostics()
    assert told["load_balance_std"] == pytest.approx(math.sqrt(3))
    assert told["load_share_std"] == pytest.approx(math.sqrt(3) / 4)
    assert told["expert_utilization"] == pytest.approx(1 / 4)
    assert told["drop_rate"] == pytest.approx(3 / 4)
