"""The cache of attention grows in place when it may, and nobody who holds an earlier state can tell."""

from __future__ import annotations

import copy
import io
import random

import pytest
import torch
from torch import Tensor

from modules.attention import AttentionBlock, Cache, Config
from modules.decoder import compact


def block(*, window: int = 0) -> AttentionBlock:
    torch.manual_seed(0)
    return AttentionBlock(Config(d_model=16, heads=4, kv_heads=2, window=window)).eval()


def document(length: int, *, seed: int = 1, batch: int = 2) -> Tensor:
    return torch.randn(batch, length, 16, generator=torch.Generator().manual_seed(seed))


def storages(state: Cache) -> set[int]:
    return {part.untyped_storage().data_ptr() for part in (state.k_BGSE, state.v_BGSE)}


@pytest.mark.parametrize("window", [0, 5])
@pytest.mark.parametrize("seed", range(4))
def test_any_tree_of_continuations_gives_every_branch_its_own_document(seed: int, window: int) -> None:
    model, draw = block(window=window), random.Random(seed)
    told: list[tuple[Tensor, Tensor, Cache]] = []
    with torch.no_grad():
        for turn in range(40):
            past = draw.choice(told[-4:]) if told and draw.random() < 0.9 else None
            new_BTD = document(draw.choice([1, 1, 1, 2, 7]), seed=turn)
            y_BTD, state = model(new_BTD, past[2] if past else None)
            told.append((torch.cat([past[0], new_BTD], dim=1) if past else new_BTD, y_BTD, state))
        for whole_BTD, y_BTD, state in told:
            expected_BTD, cache = model(whole_BTD)
            torch.testing.assert_close(y_BTD, expected_BTD[:, -y_BTD.shape[1] :], rtol=1e-4, atol=1e-5)
            for part, other in zip(state, cache, strict=True):
                torch.testing.assert_close(part, other, rtol=1e-4, atol=1e-5)


def test_a_document_moves_to_new_storage_only_when_it_has_doubled() -> None:
    model, x_BTD = block(), document(300)
    with torch.inference_mode():
        _, state = model(x_BTD[:, :1])
        kept, moves = [state], 0
        for t in range(1, 300):
            state = model(x_BTD[:, t : t + 1], state)[1]
            moves += storages(state) != storages(kept[-1])
            kept.append(state)
    assert moves <= 9


def test_one_branch_goes_on_in_place_and_the_other_pays_for_a_copy() -> None:
    model, x_BTD = block(), document(30)
    with torch.no_grad():
        fork = model(x_BTD[:, 9:10], model(x_BTD[:, :9])[1])[1]
        one, other = (model(x_BTD[:, 10:11], fork)[1] for _ in range(2))
    assert storages(one) == storages(fork)
    assert not storages(other) & storages(fork)


def test_a_state_saved_beyond_a_fork_revives_without_touching_the_branch_that_overtook_it() -> None:
    model, x_BTD = block(), document(30)
    file = io.BytesIO()
    with torch.no_grad():
        fork = model(x_BTD[:, 9:10], model(x_BTD[:, :9])[1])[1]
        ahead = model(x_BTD[:, 10:20], fork)[1]
        torch.save(tuple(fork), file)
        file.seek(0)
        revived = Cache(*torch.load(file, weights_only=True))
        for twin in (revived, copy.deepcopy(fork), Cache(*fork)):
            y_BTD, state = model(x_BTD[:, 20:], twin)
            expected_BTD, _ = model(torch.cat([x_BTD[:, :10], x_BTD[:, 20:]], dim=1))
            torch.testing.assert_close(y_BTD, expected_BTD[:, 10:], rtol=1e-4, atol=1e-5)
            assert not storages(state) & storages(ahead)
        torch.testing.assert_close(ahead.k_BGSE, model(x_BTD[:, :20])[1].k_BGSE, rtol=1e-4, atol=1e-5)


def test_a_compact_state_is_written_in_the_bytes_it_claims_and_goes_on_to_the_same_bits() -> None:
    model, x_BTD = block(), document(600)
    with torch.no_grad():
        state = model(x_BTD[:, 500:501], model(x_BTD[:, :500])[1])[1]
        claimed, written = model.state_bytes(2, 501), {}
        for name, kept in (("roomy", state), ("compact", compact(state))):
            file = io.BytesIO()
            torch.save(tuple(kept), file)
            written[name] = file.tell()
            file.seek(0)
            y_BTD, _ = model(x_BTD[:, 501:], Cache(*torch.load(file, weights_only=True)))
            assert torch.equal(y_BTD, model(x_BTD[:, 501:], state)[0])
    assert claimed <= written["compact"] <= claimed + 4096 < written["roomy"]


@pytest.mark.parametrize("rope", [True, False])
def test_a_cache_keeps_nothing_of_its_document_alive_but_keys_and_values(rope: bool) -> None:
    torch.manual_seed(0)
    model = AttentionBlock(Config(d_model=16, heads=2, rope=rope)).eval()
    with torch.no_grad():
        _, state = model(document(100))
    held = sum(part.untyped_storage().nbytes() for part in state)
    assert held == model.state_bytes(2, 100)


def test_gradients_flow_through_a_carried_cache_and_a_room_leaves_them_alone() -> None:
    model = block()
    x_BTD = document(12).requires_grad_()
    y_BTD, cut = model(x_BTD[:, :8])
    with torch.no_grad():
        model(document(3, seed=2), model(document(1, seed=3), cut)[1])
    middle_BTD, state = model(x_BTD[:, 8:10], cut)
    later_BTD, _ = model(x_BTD[:, 10:], state)
    (parts,) = torch.autograd.grad(sum(out.square().sum() for out in (y_BTD, middle_BTD, later_BTD)), x_BTD)
    (whole,) = torch.autograd.grad(model(x_BTD)[0].square().sum(), x_BTD)
    assert parts[:, :8].abs().min() > 0
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)


def test_a_state_made_for_inference_goes_on_outside_it() -> None:
    model, x_BTD = block(), document(12)
    with torch.inference_mode():
        state = model(x_BTD[:, 5:6], model(x_BTD[:, :5])[1])[1]
    with torch.no_grad():
        y_BTD, state = model(x_BTD[:, 6:], state)
        torch.testing.assert_close(y_BTD, model(x_BTD)[0][:, 6:], rtol=1e-4, atol=1e-5)


def test_a_batch_of_another_size_cannot_go_on_from_a_state() -> None:
    model, x_BTD = block(), document(12)
    with torch.no_grad():
        state = model(x_BTD[:, 5:6], model(x_BTD[:, :5])[1])[1]
        with pytest.raises(RuntimeError, match="must match"):
            model(x_BTD[:1, 6:], state)
