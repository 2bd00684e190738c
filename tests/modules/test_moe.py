"""Experts compute what a loop over tokens computes, nothing is lost unsaid, and loads even out."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from kernels.agreement import rmse_ratio
from modules.contract import Subject, causality, check, independence
from modules.decoder import Decoder
from modules.moe import Config, Experts, MixtureOfExperts, expert_utilization, load_balance_std
from modules.routing import BLOCK, OPEN, ExpertChoiceRouter, HashRouter, SwitchRouter
from modules.trainer import next_token


def routed(tokens: int = 40, experts: int = 6, top_k: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x_ND = torch.randn(tokens, 8, dtype=torch.float64)
    chosen_NK = torch.stack([torch.randperm(experts)[:top_k] for _ in range(tokens)])
    return x_ND, chosen_NK, torch.rand(tokens, top_k, dtype=torch.float64)


def some_experts(*, capacity: float = 0.0, own_rate: float = 0.0) -> Experts:
    return Experts(8, 6, multiple=2.0, capacity=capacity, own_rate=own_rate).double()


def one_expert(layer: Experts, e: int, x_D: Tensor) -> Tensor:
    widen_DF, narrow_FD = layer.widen_EDF[e], layer.narrow_EFD[e]
    if layer.common is not None:
        widen_DF, narrow_FD = layer.common[0] + 0.3 * widen_DF, layer.common[1] + 0.3 * narrow_FD
    h_F = x_D @ widen_DF
    return (h_F * 0.5 * (1 + torch.erf(h_F / math.sqrt(2)))) @ narrow_FD


@pytest.mark.parametrize("own_rate", [0.0, 0.3])
@pytest.mark.parametrize("top_k", [1, 2])
def test_each_token_gets_the_weighted_sum_of_its_experts(top_k: int, own_rate: float) -> None:
    x_ND, chosen_NK, weight_NK = routed(top_k=top_k)
    layer = some_experts(own_rate=own_rate)
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
    layer = some_experts()
    layer(x_ND, torch.full((40, 1), 4), weight_NK)[0].sum().backward()
    touched = [bool(grad.any()) for grad in layer.widen_EDF.grad]  # type: ignore[union-attr]
    assert touched == [False, False, False, False, True, False]


def test_a_new_mixture_is_almost_the_dense_feed_forward_that_its_experts_share() -> None:
    torch.manual_seed(0)
    block, x_BTD = MixtureOfExperts(Config(d_model=32)), torch.randn(4, 50, 32)
    seen: list[Tensor] = []
    block.ffn_norm.register_forward_hook(lambda *hooked: seen.append(hooked[2]))
    y_BTD, _ = block(x_BTD)
    bare, _ = block.mixer(block.mixer_norm(x_BTD))
    assert block.experts.common is not None
    widen_DF, narrow_FD = block.experts.common
    dense_BTD = F.gelu(seen[0] @ widen_DF) @ narrow_FD
    assert rmse_ratio(y_BTD - x_BTD - bare, dense_BTD) < 0.3


def test_capacity_is_filled_step_by_step_over_all_documents_so_that_no_later_token_takes_an_earlier_ones_room() -> None:
    x_ND, _, weight_NK = routed(top_k=1)
    layer = some_experts(capacity=0.3).train()
    y_ND, _, dropped_E = layer(x_ND, torch.zeros(40, 1, dtype=torch.int64), weight_NK, documents=4)
    kept = y_ND.abs().amax(1).view(4, 10) > 0
    assert kept.tolist() == [[True] + [False] * 9, [True] + [False] * 9] + [[False] * 10] * 2  # room for two
    assert dropped_E[0] == 38


def test_capacity_drops_the_latest_tokens_in_training_alone_and_counts_them() -> None:
    x_ND, chosen_NK, weight_NK = routed(top_k=1)
    layer = some_experts(capacity=0.9)
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


def test_chosen_by_experts_every_load_is_equal_and_each_expert_has_its_best_tokens() -> None:
    torch.manual_seed(0)
    router, x_ND = ExpertChoiceRouter(8, 5, top_k=2), torch.randn(40, 8)
    token_M, weight_M, load_E, unserved = router(x_ND)
    odds_NE = (x_ND @ router.score.weight.T).softmax(-1)
    best_CE = odds_NE.argsort(dim=0, descending=True)[:16]
    assert load_E.tolist() == [16] * 5
    assert torch.equal(token_M, best_CE.T.flatten())
    torch.testing.assert_close(weight_M, odds_NE.gather(0, best_CE).T.flatten() * 2.5)
    assert unserved.item() == 40 - len(set(token_M.tolist()))


def test_the_contract_refuses_expert_choice_because_it_sees_the_future_and_other_documents() -> None:
    subject = Subject(block=MixtureOfExperts, config=Config(d_model=16, heads=2, router="expert-choice"), metrics={})
    assert list(causality(subject))
    assert list(independence(subject))


def test_the_hash_router_refuses_to_guess_token_values() -> None:
    block = MixtureOfExperts(Config(d_model=8, heads=2, router="hash"))
    with pytest.raises(ValueError, match="call the block with `tokens_BT`"):
        block(torch.randn(1, 4, 8))


def a_router(experts: int = 8, *, top_k: int = 1, std: float = 1.0, **rates: float) -> SwitchRouter:
    torch.manual_seed(0)
    router = SwitchRouter(8, experts, top_k=top_k, **{"bias_rate": 0.0, "even_rate": 0.0, **rates})
    nn.init.normal_(router.score.weight, std=std)
    return router


def logits(router: SwitchRouter, x_BTD: Tensor) -> Tensor:
    """By the formula: a token's own score, and what the token before says of it."""
    own_EwD, next_EwD = router.score.weight.chunk(2)
    before_BTD = torch.cat([torch.zeros_like(x_BTD[:, :1]), x_BTD[:, :-1]], dim=1)
    return x_BTD @ own_EwD.T + before_BTD @ next_EwD.T


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_switch_router_weighs_by_a_softmax_over_the_token_and_the_one_before(top_k: int) -> None:
    router, x_BTD = a_router(5, top_k=top_k), torch.randn(3, 17, 8)
    chosen_NK, weight_NK, _ = router(x_BTD, None, seen=0)
    odds_NE = torch.exp(logits(router, x_BTD)).flatten(0, 1)
    best_NK = odds_NE.sort(descending=True).indices[:, :top_k]
    assert torch.equal(chosen_NK, best_NK)
    picked_NK = odds_NE.gather(1, best_NK)
    total = odds_NE.mean(1, keepdim=True) if top_k == 1 else picked_NK.sum(1, keepdim=True)
    torch.testing.assert_close(weight_NK, picked_NK / total)


@pytest.mark.parametrize("top_k", [1, 2])
def test_without_look_back_and_by_probability_it_is_the_switch_router_of_the_paper(top_k: int) -> None:
    torch.manual_seed(0)
    router = SwitchRouter(8, 5, top_k=top_k, bias_rate=0.0, even_rate=0.0, look_back=False, gate="probability")
    x_BTD = torch.randn(3, 17, 8)
    chosen_NK, weight_NK, past = router(x_BTD, None, seen=0)
    odds_NE = (x_BTD.flatten(0, 1) @ router.score.weight.T).softmax(-1)
    best_NK = odds_NE.sort(descending=True).indices[:, :top_k]
    assert router.score.weight.shape == (5, 8)
    assert torch.equal(chosen_NK, best_NK)
    torch.testing.assert_close(weight_NK, odds_NE.gather(1, best_NK))
    assert past.score_BX.shape == (3, 0)


PAPER = {"look_back": False, "gate": "probability", "own_rate": 0.0, "bias_rate": 0.0, "even_rate": 0.0, "capacity": 1.25}


def test_the_papers_own_form_is_the_paper_s_layer_and_keeps_the_contract() -> None:
    block = MixtureOfExperts(Config(d_model=16, heads=2, **PAPER)).train()  # type: ignore[arg-type]
    x_BTD = torch.randn(2, 60, 16)
    seen: list[Tensor] = []
    block.ffn_norm.register_forward_hook(lambda *hooked: seen.append(hooked[2]))
    y_BTD, _ = block(x_BTD)
    bare, _ = block.mixer(block.mixer_norm(x_BTD))
    odds_BTE = (seen[0] @ block.router.score.weight.T).softmax(-1)  # type: ignore[union-attr, operator]
    room, taken, expected = math.ceil(1.25 * 120 / 8), [0] * 8, torch.zeros(2, 60, 16)
    for t in range(60):
        for b in range(2):
            e = int(odds_BTE[b, t].argmax())
            taken[e] += 1
            h_F = seen[0][b, t] @ block.experts.widen_EDF[e]
            if taken[e] <= room:
                expected[b, t] = odds_BTE[b, t, e] * (F.gelu(h_F) @ block.experts.narrow_EFD[e])
    assert max(taken) > room  # some are left out
    torch.testing.assert_close(y_BTD - x_BTD - bare, expected, atol=1e-5, rtol=1e-4)
    assert [str(failure) for failure in check("moe", config=PAPER)] == []


def test_overruled_is_the_share_of_tokens_that_the_biases_keep_from_their_first_choice() -> None:
    block = MixtureOfExperts(Config(d_model=8, heads=2, experts=4, even_rate=0.0)).eval()
    x_BTD = torch.randn(2, 50, 8)
    block(x_BTD)
    assert block.diagnostics()["overruled"] == 0
    assert isinstance(block.router, SwitchRouter)
    block.router.settled_E[3] = 100.0  # all are sent to the last expert
    seen: list[Tensor] = []
    block.ffn_norm.register_forward_hook(lambda *hooked: seen.append(hooked[2]))
    block(x_BTD)
    first_BT = logits(block.router, seen[0]).argmax(-1)
    assert block.diagnostics()["overruled"] == pytest.approx(float((first_BT != 3).float().mean()))
    hashed = MixtureOfExperts(Config(d_model=8, heads=2, router="hash"))
    hashed(x_BTD, tokens_BT=torch.zeros(2, 50, dtype=torch.int64))
    assert "overruled" not in hashed.diagnostics()


def test_a_mixture_can_be_copied_and_pickled_after_a_training_forward() -> None:
    block = MixtureOfExperts(Config(d_model=8, heads=2)).train()
    x_BTD = torch.randn(2, 50, 8)
    block(x_BTD)
    loss = block.auxiliary_loss()
    copies = [copy.deepcopy(block), pickle.loads(pickle.dumps(block))]
    loss.backward()  # the original keeps its graph
    there, _ = block.eval()(x_BTD)
    for copied in copies:
        assert copied.auxiliary_loss() == loss
        assert torch.equal(copied.eval()(x_BTD)[0], there)
    assert block.router.score.weight.grad is not None  # type: ignore[union-attr]


def test_a_new_router_hands_on_one_expert_in_full() -> None:
    router = SwitchRouter(64, 16, top_k=1, bias_rate=0.2, even_rate=0.1)
    _, weight_NK, _ = router(torch.randn(4, 100, 64), None, seen=0)
    assert 0.5 < weight_NK.min() < weight_NK.max() < 2


def test_the_balance_loss_is_one_when_even_and_grows_with_concentration() -> None:
    router, x_BTD = a_router(4, std=0.0), torch.rand(2, 50, 8)
    router(x_BTD, None, seen=0)
    assert router.balance_loss().item() == pytest.approx(1.0)  # even probabilities, whatever the load
    with torch.no_grad():
        router.score.weight[2] = 5.0
    router(x_BTD, None, seen=0)
    mean_E = logits(router, x_BTD).softmax(-1).mean((0, 1))
    assert router.balance_loss().item() == pytest.approx(4 * mean_E[2].item())
    assert router.balance_loss().item() > 3.9


def test_the_z_loss_is_the_mean_square_of_the_log_sum_and_part_of_the_auxiliary_loss() -> None:
    router, x_BTD = a_router(4), torch.randn(2, 9, 8)
    router(x_BTD, None, seen=0)
    torch.testing.assert_close(router.size_loss(), logits(router, x_BTD).exp().sum(-1).log().square().mean())
    block = MixtureOfExperts(Config(d_model=8, heads=2, balance_weight=0.0, size_weight=0.25)).train()
    block(x_BTD)
    assert isinstance(block.router, SwitchRouter)
    torch.testing.assert_close(block.auxiliary_loss(), 0.25 * block.router.size_loss())


@pytest.mark.parametrize("top_k", [1, 2])
def test_every_document_is_routed_almost_evenly_by_the_loads_of_its_earlier_blocks(top_k: int) -> None:
    x_BTD = torch.randn(5, 640, 8) + 2 * torch.randn(5, 1, 8)  # each document has a bent of its own
    loads = {}
    for rate in (0.0, 0.5):
        router = a_router(8, top_k=top_k, even_rate=rate).eval()
        router.spread.copy_(logits(router, x_BTD).std(dim=(0, 1)).mean())
        chosen_NK, _, _ = router(x_BTD, None, seen=0)
        loads[rate] = [load_balance_std(torch.bincount(c.flatten(), minlength=8).double()) for c in chosen_NK.view(5, -1)]
    assert min(loads[0.0]) > 0.4
    assert max(loads[0.5]) < 0.1


def test_blocks_are_routed_by_the_formula() -> None:
    router, x_BTD = a_router(4, even_rate=0.8).eval(), torch.randn(1, 70, 8)
    logit_TE, load_E, chosen = logits(router, x_BTD)[0], torch.zeros(4), []
    for start in range(0, 70, BLOCK):
        biased_tE = logit_TE[start : start + BLOCK] - 0.8 * 0.1 * (load_E - load_E.mean()) / (BLOCK / 4)
        chosen += biased_tE.argmax(-1).tolist()
        load_E = torch.bincount(torch.tensor(chosen), minlength=4).float()
    assert router(x_BTD, None, seen=0)[0].flatten().tolist() == chosen
    parts, past = [], None
    for start, end in ((0, 5), (5, 16), (16, 17), (17, 70)):
        part, _, past = router(x_BTD[:, start:end], past, seen=start)
        parts += part.flatten().tolist()
    assert parts == chosen


def test_balance_and_utilisation_of_known_loads() -> None:
    assert load_balance_std(torch.tensor([5.0, 5, 5, 5])) == 0
    assert load_balance_std(torch.tensor([1.0, 3])) == pytest.approx(0.5)
    assert load_balance_std(torch.tensor([4.0, 0, 0, 0])) == pytest.approx(math.sqrt(3))
    assert expert_utilization(torch.tensor([5.0, 5, 5, 5])) == pytest.approx(1)
    assert expert_utilization(torch.tensor([4.0, 0, 0, 0])) == pytest.approx(0.25)
    assert expert_utilization(torch.tensor([2.0, 2, 0, 0])) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0])
def test_balancing_by_bias_evens_a_lopsided_router_at_any_scale_without_a_gradient(scale: float) -> None:
    router, x_BTD = a_router(std=scale, bias_rate=0.05), torch.randn(8, 256, 8) + 1

    def imbalance() -> float:
        chosen_NK, _, _ = router.eval()(x_BTD, None, seen=0)
        return load_balance_std(torch.bincount(chosen_NK.flatten(), minlength=8).double())

    before = imbalance()
    router.train()
    for _ in range(250):
        router(x_BTD, None, seen=0)
    assert before > 0.5
    assert imbalance() < 0.03
    settled = router.settled_E.clone()
    router.eval()(x_BTD, None, seen=0)
    assert torch.equal(router.settled_E, settled)


def test_a_recomputation_that_cannot_be_routed_as_before_is_an_error() -> None:
    block, x_BTD = MixtureOfExperts(Config(d_model=8, heads=2)).train(), torch.randn(2, 20, 8, requires_grad=True)
    y_BTD = checkpoint(lambda x: block(x)[0], x_BTD, use_reentrant=True)
    for _ in range(OPEN):
        block(torch.randn(2, 20, 8))
    with pytest.raises(RuntimeError, match=f"not among its latest {OPEN}"):
        y_BTD.sum().backward()


def test_after_a_transform_of_torch_func_the_block_goes_on_as_before() -> None:
    block, x_BTD = MixtureOfExperts(Config(d_model=8, heads=2)).eval(), torch.randn(2, 20, 8)
    there = torch.func.vmap(lambda x_TD: block(x_TD[None])[0][0])(x_BTD)
    torch.testing.assert_close(block(x_BTD)[0], there)
    assert block.diagnostics()["drop_rate"] == 0


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
