"""Training on documents longer than memory carries the state on and only the state, and resumes in the middle of a document."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modules.decoder import Decoder
from modules.rwkv_loop import Carried, Window, rwkv_loop, windows
from modules.trainer import Recipe, next_token

TEXT = np.random.default_rng(0).integers(0, 256, size=5000).astype(np.uint8)
RECIPE = Recipe(lr=1e-2, warmup=0)


def small(module: str = "rwkv4") -> Decoder:
    return Decoder.build(module, config={"d_model": 16}, decoder={"layers": 2}, seed=3)


def bits(model: torch.nn.Module) -> list[bytes]:
    return [parameter.detach().numpy().tobytes() for parameter in model.parameters()]


def test_windows_follow_each_other_and_a_new_document_begins_elsewhere() -> None:
    part = windows(TEXT, window=32, documents=[128], batch=1, seed=1)
    assert [bool(part(i).begins_B) for i in range(9)] == [True, False, False, False] * 2 + [True]
    whole = np.concatenate([part(i).tokens_BT[0, :-1] for i in range(4)])
    (start,) = [at for at in range(len(TEXT) - 128) if (TEXT[at : at + 128] == whole).all()]
    assert part(3).tokens_BT[0, -1] == TEXT[start + 128]
    assert not torch.equal(part(0).tokens_BT, part(4).tokens_BT)
    assert torch.equal(part(5).tokens_BT, windows(TEXT, window=32, documents=[128], batch=1, seed=1)(5).tokens_BT)


def test_rows_go_through_all_lengths_in_every_round_and_do_not_begin_together() -> None:
    part = windows(TEXT, window=32, documents=[32, 64, 160], batch=4, seed=1)
    begins = np.stack([part(i).begins_B.numpy() for i in range(33)])
    assert begins[0].all()
    assert not begins[1:].all(axis=1).any()
    for row in range(4):
        ahead = row * 8 // 4
        rounds = begins[8 - ahead : 32 - ahead, row]
        lengths = np.diff([*rounds.nonzero()[0], 24]).reshape(3, 3)
        assert rounds[0]
        assert (np.sort(lengths, axis=1) == [1, 2, 5]).all()


@pytest.mark.parametrize(("window", "document"), [(32, 100), (64, 6400), (64, 0)])
def test_documents_that_do_not_fit_are_refused(window: int, document: int) -> None:
    with pytest.raises(ValueError, match="must be a multiple of `window`"):
        windows(TEXT, window=window, documents=[document], batch=1, seed=0)


def documents(part: Callable[[int], Window], *, rows: int, steps: int) -> Iterator[torch.Tensor]:
    """Each document of the first `steps` windows, alone, with the token that is only predicted."""
    for row in range(rows):
        begins = [i for i in range(steps) if part(i).begins_B[row]]
        for first, end in pairwise([*begins, steps]):
            yield torch.cat([part(i).tokens_BT[row, :-1] for i in range(first, end)] + [part(end - 1).tokens_BT[row, -1:]])[None]


@pytest.mark.parametrize("module", ["rwkv4", "rwkv6", "rwkv7", "gla", "mamba", "retnet"])
@pytest.mark.parametrize("lengths", [[128], [32, 96]])
def test_losses_and_gradients_are_those_of_truncated_back_propagation_over_each_document_alone(
    module: str, lengths: list[int]
) -> None:
    model, part, loss = small(module), windows(TEXT, window=32, documents=lengths, batch=3, seed=1), Carried()
    value = sum(loss(model, part(i))[0] for i in range(6)) / 6
    torch.autograd.backward(value)
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    whole = sum(next_token(model, alone, chunk=32)[0] * (alone.shape[1] // 32) for alone in documents(part, rows=3, steps=6)) / 18
    torch.autograd.backward(whole)
    assert float(value.detach()) == pytest.approx(float(whole.detach()), rel=1e-6)
    for ours, p in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(ours, p.grad, rtol=1e-4, atol=1e-7)


def test_the_past_counts_within_a_document_and_not_across_documents() -> None:
    model, part = small(), windows(TEXT, window=32, documents=[64], batch=1, seed=1)

    def last(first: Window, second: Window, *, carry: bool = True) -> float:
        loss = Carried(carry=carry)
        loss(model, first)
        return float(loss(model, second)[0].detach())

    assert last(part(0), part(1)) != last(part(2), part(1))
    assert last(part(0), part(2)) == last(part(1), part(2))
    assert last(part(0), part(1), carry=False) == float(next_token(model, part(1).tokens_BT)[0].detach())


@pytest.mark.parametrize(("module", "decoder"), [("transformer", {}), ("rwkv4", {"position": "learned"})])
def test_states_that_count_tokens_are_not_mixed_with_others(module: str, decoder: dict[str, str]) -> None:
    model = Decoder.build(module, config={"d_model": 16}, decoder=decoder)
    part, loss = windows(TEXT, window=32, documents=[64], batch=2, seed=1), Carried()
    loss(model, part(0))
    with pytest.raises(ValueError, match="want a state of one size"):
        loss(model, part(1))


@pytest.mark.parametrize("at", [1, 3, 5, 10])
@pytest.mark.parametrize("module", ["rwkv4", "mamba"])
def test_a_training_killed_in_the_middle_of_a_document_resumes_to_the_same_bits(tmp_path: Path, module: str, at: int) -> None:
    part, place = windows(TEXT, window=16, documents=[32, 64], batch=3, seed=1), tmp_path / "checkpoint"

    def dying(i: int) -> Window:
        if i == at:
            raise InterruptedError
        return part(i)

    whole, resumed = small(module), small(module)
    expected = rwkv_loop(whole, part, recipe=RECIPE, steps=11, seed=1)
    options: dict[str, Any] = {"recipe": RECIPE, "steps": 11, "seed": 1, "checkpoint": place, "checkpoint_seconds": 0}
    with pytest.raises(InterruptedError):
        rwkv_loop(small(module), dying, **options)
    log = rwkv_loop(resumed, part, **options)
    assert (log.resumed_at, log.loss) == (at, expected.loss)
    assert bits(resumed) == bits(whole)


def test_a_step_leaves_next_to_nothing_behind_in_python() -> None:
    part, held = windows(TEXT, window=16, documents=[4096], batch=1, seed=1), dict[int, int]()

    def counted(i: int) -> Window:
        held[i] = sys.getallocatedblocks()
        return part(i)

    rwkv_loop(small(), counted, recipe=RECIPE, steps=193, seed=1)
    assert held[192] - held[64] < 6 * 128  # two are the log's; without tidying up there are fifteen
    assert gc.get_freeze_count() == 0


def test_a_document_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT.tobytes())
    mapped = np.memmap(tmp_path / "text", dtype=np.uint8, mode="r")
    ours, theirs = (windows(text, window=32, documents=[2048], batch=2, seed=5) for text in (mapped, TEXT))
    assert all(torch.equal(ours(i).tokens_BT, theirs(i).tokens_BT) for i in range(70))
