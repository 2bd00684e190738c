"""Every module on the shelf keeps the contract, and the contract's checks see what they are for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.request import Bench
from bench.suites.contract import measure
from modules.contract import Subject, causality, check, check_block, independence, resumption, shapes, state_size
from plan import catalogue
from plan.nouns import Request

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "transformer": [{"kv_heads": 2, "ffn": "swiglu"}, {"window": 17, "heads": 2}, {"ffn_multiple": 0.0, "rope": False}],
    "attention": [{"heads": 4, "kv_heads": 1, "window": 9}],
    "moe": [{"top_k": 2}, {"router": "hash", "top_k": 2, "capacity": 1.0}],
    "hybrid": [
        {"pattern": "gla attention", "settings": {"attention": {"window": 17}}},
        {"pattern": "retnet megabyte delta_net rwkv4"},
        {"pattern": "mamba2 moe", "settings": {"moe": {"router": "hash"}}},
    ],
}


@pytest.mark.parametrize(
    ("name", "config"),
    [(name, {}) for name in catalogue.shelf("module")] + [(name, c) for name, cs in VARIANTS.items() for c in cs],
    ids=str,
)
def test_every_module_on_the_shelf_keeps_the_contract(name: str, config: dict[str, Any]) -> None:
    assert [str(failure) for failure in check(name, config=config)] == []


@pytest.mark.parametrize("name", catalogue.shelf("module"))
def test_decoding_without_gradients_keeps_the_contract_too(name: str) -> None:
    block = catalogue.load("module", name)
    subject = Subject(block=block, config=sys.modules[block.__module__].Config(d_model=32), metrics={})
    with torch.no_grad():
        for look in (shapes, causality, state_size, independence, resumption):
            assert list(look(subject)) == []


@pytest.mark.parametrize(("benchmark", "steps"), [("flops-v1", None), ("in-context-recall-128-v1", 1)])
def test_facts_of_a_run_tell_the_size_of_its_model_and_the_path_of_its_attention(
    benchmark: str, steps: int | None, tmp_path: Path
) -> None:
    request = Request(module="attention", benchmark=benchmark, seed=0, steps=steps, config={"d_model": 16})
    bench = Bench(request=request, folder=tmp_path)
    numbers = catalogue.load("benchmark", benchmark)(bench)
    assert bench.facts["parameters"] == numbers["parameters"]
    assert bench.facts["attention_path"] == "sdpa"


def test_the_gate_counts_and_names_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = Request(module="transformer", benchmark="contract-v1", seed=0, config={"heads": 5, "decoder": {"layers": 1}})
    bench = Bench(request=request, folder=tmp_path)
    assert measure(bench)["failures"] == len(bench.facts["failures"]) > 0
    assert "`d_model` 128 must be a multiple of `heads` 5" in capsys.readouterr().err
    sound = Bench(request=Request(module="transformer", benchmark="contract-v1", seed=0), folder=tmp_path)
    assert measure(sound) == {"failures": 0.0}


@dataclass(frozen=True)
class Config:
    d_model: int = 32


class Decay(nn.Module):
    """A sound block to break: an exponential moving sum with a linear read-out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.mix = nn.Linear(config.d_model, config.d_model)

    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        sum_BD = x_BTD.new_zeros(x_BTD[:, 0].shape) if state is None else state[0]
        sums = []
        for x_BD in x_BTD.unbind(1):
            sum_BD = 0.5 * sum_BD + x_BD
            sums.append(sum_BD)
        y_BTD: Tensor = x_BTD + self.mix(torch.stack(sums, dim=1))
        return y_BTD, (sum_BD,)

    def state_bytes(self, batch: int, length: int) -> int:
        return batch * self.mix.in_features * 4


class SeesTheFuture(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, state = super().forward(x_BTD, state)
        return y_BTD + 0.001 * x_BTD.roll(-1, dims=1), state


class SeesTheFutureInTraining(SeesTheFuture):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        return super().forward(x_BTD, state) if self.training else Decay.forward(self, x_BTD, state)


class NormalisesOverTime(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, state = super().forward(x_BTD, state)
        return y_BTD / y_BTD.square().mean(dim=(1, 2), keepdim=True).sqrt(), state


class ForgetsItsState(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        return super().forward(x_BTD, None)


class StopsGradientsAtChunks(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, (sum_BD,) = super().forward(x_BTD, state)
        return y_BTD, (sum_BD.detach(),)


class HidesItsState(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, state = super().forward(x_BTD, getattr(self, "hidden", None))
        self.hidden = (state[0].detach(),)
        return y_BTD, state


class OverwritesTheState(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, (sum_BD,) = super().forward(x_BTD, state)
        if state is not None:
            state[0].data.copy_(sum_BD)
        return y_BTD, (sum_BD,)


class Grown(tuple[Tensor, ...]):
    """The sums so far, as a view of storage with room for more."""

    room: Tensor | None = None


class OverwritesABranch(Decay):
    """Keeps all sums; without gradients in one storage that it goes on in, whoever went on from the same state before."""

    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        past = 0 if state is None else state[0].shape[1]
        sums: list[Tensor] = []
        for t in range(x_BTD.shape[1]):
            y_BTD, (sum_BD,) = super().forward(x_BTD[:, t : t + 1], (sums[-1],) if sums else state and (state[0][:, -1],))
            sums.append(sum_BD)
        total, whole_BTD = past + len(sums), torch.stack(sums, dim=1)
        y_BTD = x_BTD + self.mix(whole_BTD)
        if state is None:
            return y_BTD, Grown((whole_BTD,))
        if torch.is_grad_enabled():
            return y_BTD, Grown((torch.cat([state[0], whole_BTD], dim=1),))
        room = getattr(state, "room", None)
        if room is None or room.shape[1] < total:
            room = x_BTD.new_zeros(x_BTD.shape[0], 2 * total, x_BTD.shape[2])
            room[:, :past] = state[0]
        room[:, past:total] = whole_BTD
        after = Grown((room[:, :total],))
        after.room = room
        return y_BTD, after

    def state_bytes(self, batch: int, length: int) -> int:
        return super().state_bytes(batch, length) * length


class KeepsItsDocumentAlive(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, (sum_BD,) = super().forward(x_BTD, state)
        return y_BTD, (torch.cat([x_BTD, sum_BD.unsqueeze(1)], dim=1)[:, -1],)


class MixesTheBatch(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, state = super().forward(x_BTD, state)
        return y_BTD + 0.001 * y_BTD.mean(dim=0, keepdim=True), state


class UnderstatesItsState(Decay):
    def state_bytes(self, batch: int, length: int) -> int:
        return self.mix.in_features * 4


class HasNaNGradients(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, state = super().forward(x_BTD, state)
        return y_BTD + (self.mix.weight[0, 0] * 0).abs().sqrt(), state


class LeavesAParameterOut(Decay):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.idle = nn.Parameter(torch.zeros(3))


class Scaled(torch.autograd.Function):
    """The identity, whose gradient is too large by a thousandth."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, dx: Tensor) -> Tensor:
        return 1.001 * dx


class HasAWrongGradient(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, state = super().forward(x_BTD, state)
        return y_BTD + Scaled.apply(x_BTD), state  # type: ignore[no-untyped-call]


class LosesAPartOfAGradient(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, state = super().forward(x_BTD, state)
        return y_BTD + x_BTD * self.mix.weight[0].detach(), state


class HasAFastPathOfItsOwn(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, state = super().forward(x_BTD, state)
        return y_BTD * (1.0001 if x_BTD.dtype == torch.float32 else 1), state


class IsNoisy(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, state = super().forward(x_BTD, state)
        return y_BTD + 1e-6 * torch.rand(()), state


class KeepsParametersOutOfSight(Decay):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.secret = torch.rand(config.d_model)

    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        return super().forward(x_BTD + self.secret, state)


class ReturnsDouble(Decay):
    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y_BTD, state = super().forward(x_BTD, state)
        return y_BTD.double(), state


class ReportsUndeclared(Decay):
    def diagnostics(self) -> dict[str, float]:
        return {"depth": float("nan")}


@cache
def claims(block: Callable[..., nn.Module]) -> frozenset[str]:
    return frozenset(failure.claim for failure in check_block(block, Config()))


def test_a_sound_block_breaks_no_promise() -> None:
    assert claims(Decay) == set()


@pytest.mark.parametrize(
    ("block", "claim"),
    [
        (SeesTheFuture, "causality"),
        (SeesTheFutureInTraining, "causality"),
        (NormalisesOverTime, "causality"),
        (NormalisesOverTime, "chunks"),
        (ForgetsItsState, "chunks"),
        (StopsGradientsAtChunks, "chunks"),
        (HidesItsState, "independence"),
        (OverwritesTheState, "independence"),
        (OverwritesABranch, "independence"),
        (MixesTheBatch, "independence"),
        (KeepsItsDocumentAlive, "state_size"),
        (UnderstatesItsState, "state_size"),
        (HasNaNGradients, "gradients"),
        (LeavesAParameterOut, "gradients"),
        (HasAWrongGradient, "slopes"),
        (LosesAPartOfAGradient, "slopes"),
        (HasAFastPathOfItsOwn, "precision"),
        (IsNoisy, "same_bits"),
        (KeepsParametersOutOfSight, "resumption"),
        (ReturnsDouble, "shapes"),
        (ReportsUndeclared, "reports"),
    ],
)
def test_a_broken_promise_is_caught_by_its_check(block: Callable[..., nn.Module], claim: str) -> None:
    assert claim in claims(block)


@pytest.mark.parametrize(
    ("block", "claim"),
    [
        (StopsGradientsAtChunks, "chunks"),
        (OverwritesABranch, "independence"),
        (UnderstatesItsState, "state_size"),
        (KeepsItsDocumentAlive, "state_size"),
        (LeavesAParameterOut, "gradients"),
        (HasAWrongGradient, "slopes"),
        (LosesAPartOfAGradient, "slopes"),
        (HasAFastPathOfItsOwn, "precision"),
        (KeepsParametersOutOfSight, "resumption"),
        (ReportsUndeclared, "reports"),
    ],
)
def test_a_check_names_only_the_promise_that_was_broken(block: Callable[..., nn.Module], claim: str) -> None:
    assert claims(block) == {claim}


def test_a_block_that_raises_is_a_failure_that_says_what_it_raised() -> None:
    class Raises(Decay):
        def state_bytes(self, batch: int, length: int) -> int:
            raise RuntimeError("not counted yet")

    (failure,) = check_block(Raises, Config())
    assert str(failure) == "state_size: raised RuntimeError: not counted yet"
