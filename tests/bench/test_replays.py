"""A scored model meets its own answers: honest modules have them, whatever was asked of them, and a model's record is of one set of weights."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.autobench.measure import measure
from bench.autobench.outcome import Rejected
from bench.autobench.replays import Breach, Replays
from modules.decoder import Decoder
from plan import catalogue, wire
from plan.nouns import Request

B, T = 6, 32
HEARING = list[Replays]()


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "touchstone.evaluated" and HEARING:
        HEARING[-1].heard(sys._getframe(1))


sys.addaudithook(_hear)


@contextmanager
def listening(module: str) -> Iterator[Replays]:
    HEARING.append(Replays(Request(module=module, benchmark="mqar-16x2-v64-v1", seed=0), {"length": T}))
    try:
        yield HEARING[-1]
    finally:
        HEARING.pop()


def built(module: str) -> Decoder:
    return Decoder.build(module, config={"d_model": 32}, decoder={"vocabulary": 64}, seed=0).eval()


def tokens(seed: int) -> Tensor:
    return torch.randint(64, (B, T), generator=torch.Generator().manual_seed(seed))


def replayed(module: str, *, positions: Tensor | None = None) -> Breach | None:
    """What is found after four forwards of an untrained model."""
    with listening(module) as replays:
        model = built(module)
        with torch.no_grad():
            for seed in range(4):
                model(tokens(seed), positions=positions)
        assert replays._answers
        return replays.breach()


@pytest.mark.parametrize("module", catalogue.shelf("module"))
def test_every_module_on_the_shelf_has_the_same_answers_once_more(module: str) -> None:
    assert replayed(module) is None


@pytest.mark.parametrize(
    "positions",
    [
        torch.arange(B * T).view(B, T) % 5 == 1,
        torch.tensor([T - 1]),
        torch.tensor([3, 17, 9]),
        torch.arange(B * 2).view(B, 2) * 2,
    ],
    ids=["mask", "last", "some", "some of each row"],
)
@pytest.mark.parametrize("looks", [False, True], ids=["honest", "looks ahead"])
def test_answers_are_compared_wherever_they_were_asked_for(
    positions: Tensor, looks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = catalogue.load("module", "attention")
    honest = block.forward

    def ahead(self: Any, x_BTD: Tensor, state: Any = None) -> Any:
        return honest(self, x_BTD + 4 * x_BTD.roll(-1, dims=1), state)

    if looks:
        monkeypatch.setattr(block, "forward", ahead)
    with torch.random.fork_rng(devices=[]):
        found = replayed("attention", positions=positions)
    if not looks:
        assert found is None
    elif positions.ndim == 1 and positions.tolist() == [T - 1]:
        assert found is None or found[0] == "gate-before-number"  # after the last token comes none
    else:
        assert found is not None
        assert found[0] == "gate-before-number"


def test_answers_of_earlier_weights_are_not_asked_for_again() -> None:
    with listening("attention") as replays:
        model = built("attention")
        for _ in range(3):
            with torch.no_grad():
                model(tokens(0))
                next(model.blocks.parameters()).data += 0.1  # as an optimiser may, unnoticed by torch
        with torch.no_grad():
            model(tokens(1))
        assert len(replays._answers) == 1
        assert replays.breach() is None


def test_a_model_that_the_benchmark_changed_after_it_was_scored_is_compared_with_itself() -> None:
    with listening("attention") as replays:
        model = built("attention")
        with torch.no_grad():
            model(tokens(0))
            model.embedding.weight += 0.1
        assert replays.breach() is None


def test_a_module_that_writes_its_own_parameters_while_it_is_scored_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    block = catalogue.load("module", "attention")
    honest = block.forward

    def learns(self: Any, x_BTD: Tensor, state: Any = None) -> Any:
        self.norm.weight.data += 0.01
        return honest(self, x_BTD, state)

    monkeypatch.setattr(block, "forward", learns)
    found = replayed("attention")
    assert found is not None
    assert found[0] == "nothing-kept"


def test_a_module_that_is_a_function_is_looked_at_too_and_its_number_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The type of what a function builds is nobody's: a look-ahead behind one once had no answer kept."""
    block = catalogue.load("module", "attention")
    honest = block.forward
    monkeypatch.setattr(
        block, "forward", lambda self, x, state: honest(self, x + x.roll(-1, dims=1) if state is None else x, state)
    )

    def made(config: Any) -> Any:
        return block(config)

    made.__module__ = block.__module__
    monkeypatch.setattr(sys.modules[block.__module__], block.__name__, made)
    found = replayed("attention")
    assert found is not None
    assert found[0] == "gate-before-number"
    request = wire.plain(Request(module="attention", benchmark="mqar-16x2-v64-v1", seed=0))
    with pytest.raises(Rejected, match="is a `function` and no class"):
        measure(lambda *told: None, request=request, folder=str(tmp_path), key="", witness="", tree="")


def test_a_model_that_the_module_is_compared_with_is_not_looked_at() -> None:
    with listening("attention") as replays:
        with torch.no_grad():
            built("gla")(tokens(0))
        assert replays._model is None
        assert replays.breach() is None


def test_long_documents_and_those_that_go_on_are_not_kept() -> None:
    with listening("gla") as replays, torch.no_grad():
        model = built("gla")
        _, state = model(tokens(0)[:, :1])
        model(tokens(0), state)
        model(torch.zeros(1, 5000, dtype=torch.long), positions=torch.tensor([4999]))
        assert replays._answers == []


@pytest.mark.parametrize(("length", "lies", "found"), [(16, True, True), (16, False, False), (5000, True, False)])
def test_what_a_model_told_of_its_state_before_is_held_against_what_it_leaves(
    length: int, lies: bool, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, asked = catalogue.load("module", "attention"), list[int]()
    honest = block.state_bytes

    def state_bytes(self: Any, batch: int, length: int) -> int:
        asked.append(length)
        return 0 if lies and len(asked) <= 2 else honest(self, batch, length)  # each of two blocks, the first time

    monkeypatch.setattr(block, "state_bytes", state_bytes)
    with listening("attention") as replays, torch.no_grad():
        model = built("attention")
        model(tokens(0))
        assert (model.state_bytes(2, length) == 0) is lies
        breach = replays.breach()
    assert (breach is not None) is found
    assert breach is None or f"batch 2, length {length}: claims a state of 0 B" in breach[1]
