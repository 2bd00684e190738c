"""What routing costs, against what its formulas say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.request import Bench
from bench.subject import TermsError
from bench.suites.router_cost import measure
from modules.routing import HashRouter, Past, SwitchRouter
from plan.nouns import Request

D, E, WIDTH = 32, 8, 64
SHORT = {"tokens": 2048, "short": 64, "experts": 256, "pairs": 5}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "options", property(lambda self: SHORT))


def bench_for(folder: Path, **config: object) -> Bench:
    wanted = {"d_model": D, "heads": 2, "experts": E, "ffn_multiple": WIDTH / D, **config}
    request = Request(benchmark="router-cost-v1", module="moe", seed=0, config=wanted, steps=1)
    return Bench(request=request, folder=folder)


@pytest.mark.parametrize("look_back", [True, False])
def test_the_share_is_that_of_the_two_formulas(tmp_path: Path, look_back: bool) -> None:
    bench = bench_for(tmp_path, look_back=look_back)
    told = measure(bench)
    router, expert = 2 * D * E * (1 + look_back), 2 * 2 * D * WIDTH
    assert bench.facts["router_flops"] == router
    assert bench.facts["experts_flops"] == expert
    assert told["router_share"] == pytest.approx(router / (router + expert))


def test_a_router_that_looks_at_all_pairs_of_a_document_is_seen_to_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pointwise = SwitchRouter.forward

    def of_pairs(self: SwitchRouter, x_BTD: Tensor, past: Past | None, *, seen: int | Tensor) -> tuple[Tensor, Tensor, Past]:
        for _ in range(40):
            torch.cdist(x_BTD, x_BTD)
        return pointwise(self, x_BTD, past, seen=seen)

    monkeypatch.setattr(SwitchRouter, "forward", of_pairs)
    assert measure(bench_for(tmp_path))["length_ratio"] > 2


def test_a_hash_that_asks_every_expert_is_seen_to_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_arithmetic = HashRouter.forward

    def by_search(self: HashRouter, x_ND: Tensor, tokens_N: Tensor) -> tuple[Tensor, Tensor]:
        torch.rand(len(tokens_N), 64 * self.experts).argmax(-1)
        return by_arithmetic(self, x_ND, tokens_N)

    monkeypatch.setattr(HashRouter, "forward", by_search)
    assert measure(bench_for(tmp_path))["hash_ratio"] > 4


def test_a_router_by_hash_has_no_share_to_tell(tmp_path: Path) -> None:
    with pytest.raises(TermsError, match="leave `router` at"):
        measure(bench_for(tmp_path, router="hash"))
