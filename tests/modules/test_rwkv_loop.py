"""Training on documents longer than memory carries the state on and only the state, and resumes in the middle of a document."""

from __future__ import annotations

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
    part = windows(TEXT, window=32, document=128, batch=3, seed=1)
    assert [part(i).begins for i in range(9)] == [True, False, False, False] * 2 + [True]
    for b in range(3):
        whole = np.concatenate([part(i).tokens_BT[b, :-1] for i in range(4)])
        (start,) = [at for at in range(len(TEXT) - 128) if (TEXT[at : at + 128] == whole).all()]
        assert part(3).tokens_BT[b, -1] == TEXT[start + 128]
    assert not torch.equal(part(0).tokens_BT, part(4).tokens_BT)
    assert torch.equal(part(5).tokens_BT, windows(TEXT, window=32, document=128, batch=3, seed=1)(5).tokens_BT)


@pytest.mark.parametrize(("window", "document"), [(32, 100), (64, 6400), (64, 0)])
def test_documents_that_do_not_fit_are_refused(window: int, document: int) -> None:
    with pytest.raises(ValueError, match="must be a multiple of `window`"):
        windows(TEXT, window=window, document=document, batch=1, seed=0)


@pytest.mark.parametrize("module", ["rwkv4", "rwkv6", "gla", "mamba"])
def test_losses_and_gradients_are_those_of_truncated_back_propagation_over_the_whole_document(module: str) -> None:
    model, part, loss = small(module), windows(TEXT, window=32, document=128, batch=2, seed=1), Carried()
    value = sum(loss(model, part(i))[0] for i in range(4)) / 4
    torch.autograd.backward(value)
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    tokens = torch.cat([part(i).tokens_BT[:, :-1] for i in range(4)] + [part(3).tokens_BT[:, -1:]], dim=1)
    whole, _ = next_token(model, tokens, chunk=32)
    torch.autograd.backward(whole)
    assert float(value.detach()) == pytest.approx(float(whole.detach()), rel=1e-6)
    for ours, p in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(ours, p.grad, rtol=1e-4, atol=1e-7)


def test_the_past_counts_within_a_document_and_not_across_documents() -> None:
    model, part = small(), windows(TEXT, window=32, document=64, batch=2, seed=1)

    def last(first: Window, second: Window) -> float:
        loss = Carried()
        loss(model, first)
        return float(loss(model, second)[0])

    assert last(part(0), part(1)) != last(part(2), part(1))
    assert last(part(0), part(2)) == last(part(1), part(2))


@pytest.mark.parametrize("at", [1, 3, 5, 10])
@pytest.mark.parametrize("module", ["rwkv4", "mamba"])
def test_a_training_killed_in_the_middle_of_a_document_resumes_to_the_same_bits(tmp_path: Path, module: str, at: int) -> None:
    part, place = windows(TEXT, window=16, document=64, batch=2, seed=1), tmp_path / "checkpoint"

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


def test_a_document_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT.tobytes())
    mapped = np.memmap(tmp_path / "text", dtype=np.uint8, mode="r")
    ours, theirs = (windows(text, window=32, document=2048, batch=2, seed=5) for text in (mapped, TEXT))
    assert all(torch.equal(ours(i).tokens_BT, theirs(i).tokens_BT) for i in range(70))
