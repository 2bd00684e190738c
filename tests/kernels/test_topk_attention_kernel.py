"""Top-k sparse attention: every path against the formula in float64, ties, cuts, gradients, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.suites.memory_growth import allocator_peak
from kernels import native
from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.attention import plain_attention
from kernels.paths import Path
from kernels.topk_attention import topk_attention_loop, topk_sparse_attention

PATHS: tuple[Path, ...] = ("torch", "compiled")
SIZES = [
    (1, 1, 1, 1, 1),
    (2, 4, 2, 63, 63),
    (1, 2, 2, 64, 64),
    (1, 2, 1, 65, 65),
    (1, 2, 1, 200, 200),
    (2, 2, 1, 5, 77),
    (1, 1, 1, 40, 300),
]
"""B, H, G, T, S."""


def drawn(B: int, H: int, G: int, T: int, S: int, D: int = 12) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(T)
    shapes = {"q_BHTD": (B, H, T, D), "k_BGSD": (B, G, S, D), "v_BGSD": (B, G, S, D)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("k_top", [1, 8, 33])
@pytest.mark.parametrize("sizes", SIZES)
def test_outputs_and_gradients_agree_with_the_formula(path: Path, k_top: int, sizes: tuple[int, int, int, int, int]) -> None:
    given, k_top = drawn(*sizes), min(k_top, sizes[-1])
    expected = outputs_and_gradients(lambda **x: topk_attention_loop(**x, k_top=k_top), given, dtype=torch.float64)
    found = outputs_and_gradients(lambda **x: topk_sparse_attention(**x, k_top=k_top, path=path), given)
    assert_agrees(found, expected, within=1e-5)


@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("T", [1, 40])
@pytest.mark.parametrize("laid", ["room behind", "tokens first", "one for all heads", "values elsewhere"])
def test_keys_are_found_however_they_lie_in_memory(laid: str, T: int) -> None:
    for B, G in ((1, 1), (1, 3), (2, 1), (2, 3)):
        given = drawn(B, 2 * G, G, T, 70)
        if laid == "one for all heads":
            given |= {name: given[name][:, :1].expand(B, G, 70, 12) for name in ("k_BGSD", "v_BGSD")}
        expected = outputs_and_gradients(lambda **x: topk_attention_loop(**x, k_top=9), given, dtype=torch.float64)["out.0"]
        for name in ("k_BGSD", "v_BGSD")[laid == "values elsewhere" :]:
            if laid in ("room behind", "values elsewhere"):
                room = torch.full((B, G, 100, 12), math.nan)
                room[:, :, :70] = given[name]
                given[name] = room[:, :, :70]
            elif laid == "tokens first":
                given[name] = given[name].transpose(1, 2).contiguous().transpose(1, 2)
        found = topk_sparse_attention(**given, k_top=9, path="compiled")
        assert_agrees({"out": found}, {"out": expected})


@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
def test_a_cache_with_room_behind_it_is_not_copied() -> None:
    room = torch.randn(2, 1, 4, 70_000, 16)
    k, v = (part[:, :, :65_536] for part in room)
    with torch.no_grad():
        peak = allocator_peak(
            lambda: topk_sparse_attention(torch.randn(1, 4, 1, 16), k, v, k_top=8, path="compiled"), device="cpu"
        )
    assert peak < 2**20, "a copy of either would take 16 MiB"


@pytest.mark.parametrize("path", PATHS)
def test_reading_every_key_is_full_attention(path: Path) -> None:
    given = drawn(2, 4, 2, 70, 90)
    expected = outputs_and_gradients(lambda **x: plain_attention(**x), given, dtype=torch.float64)
    assert_agrees(
        outputs_and_gradients(lambda **x: topk_sparse_attention(**x, k_top=90, path=path), given), expected, within=1e-5
    )


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("T", [1, 20])
def test_of_equal_scores_the_earliest_keys_are_read(path: Path, T: int) -> None:
    S, k_top = 400, 6
    k = torch.zeros(1, 1, S, 4)
    k[:, :, 100:] = 1.0  # 300 keys tie for the best
    v = torch.arange(float(S))[:, None].expand(1, 1, S, 4)
    y = topk_sparse_attention(torch.ones(1, 1, T, 4), k, v, k_top=k_top, path=path)
    assert torch.allclose(y, torch.full_like(y, 100 + (k_top - 1) / 2))
    flat = topk_sparse_attention(-torch.ones(1, 1, T, 4), k, v, k_top=k_top, path=path)
    assert torch.allclose(flat, torch.full_like(flat, (k_top - 1) / 2)), "here the hundred zeros tie"


@pytest.mark.parametrize("D", [12, 17, 64])
@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
def test_scores_equal_but_for_rounding_are_chosen_alike_however_the_document_is_cut(D: int) -> None:
    random, S = torch.Generator().manual_seed(0), 203
    q = torch.ones(1, 2, S, D)
    k = torch.stack([torch.rand(D, generator=random)[torch.randperm(D, generator=random)]] * S)  # equal
    k = torch.stack([row[torch.randperm(D, generator=random)] for row in k])[None, None]  # but for the order of the sum
    v = torch.randn(1, 1, S, D, generator=random)
    whole = topk_sparse_attention(q, k, v, k_top=7, path="compiled")
    for T in (1, 2, 8, 9, 40):
        parts = [
            topk_sparse_attention(q[:, :, s : s + T], k[:, :, : s + T], v[:, :, : s + T], k_top=min(7, s + T), path="compiled")
            for s in range(0, S - S % T, T)
        ]
        assert torch.equal(torch.cat(parts, dim=2), whole[:, :, : S - S % T])


@pytest.mark.parametrize("path", PATHS)
def test_scores_of_many_equal_and_signed_values_are_chosen_as_a_stable_sort_does(path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    k = torch.randint(-3, 4, (2, 1, 500, 1), generator=generator).float()
    q, v = torch.randint(-2, 3, (2, 3, 50, 1), generator=generator).float(), torch.randn(2, 1, 500, 1, generator=generator)
    given = {"q_BHTD": q, "k_BGSD": k, "v_BGSD": v}
    expected = topk_attention_loop(**{name: t.double() for name, t in given.items()}, k_top=60, scale=1.0)
    assert_agrees({"y": topk_sparse_attention(**given, k_top=60, scale=1.0, path=path)}, {"y": expected})


@pytest.mark.parametrize("path", PATHS)
def test_any_cut_of_a_document_gives_the_whole(path: Path) -> None:
    given = drawn(1, 2, 1, 150, 150)
    whole = topk_sparse_attention(**given, k_top=16, path=path)
    start = 0
    for size in (1, 70, 7, 9, 63):
        end = start + size
        q, k, v = given["q_BHTD"][:, :, start:end], given["k_BGSD"][:, :, :end], given["v_BGSD"][:, :, :end]
        part = topk_sparse_attention(q, k, v, k_top=min(16, end), path=path)
        assert_agrees({"y": part}, {"y": whole[:, :, start:end]}, within=1e-6)
        start = end


@pytest.mark.parametrize("path", PATHS)
def test_a_long_document_with_extreme_scores_agrees(path: Path) -> None:
    given = drawn(1, 1, 1, 300, 3000)
    given["q_BHTD"] = given["q_BHTD"] * 30
    expected = outputs_and_gradients(lambda **x: topk_attention_loop(**x, k_top=64), given, dtype=torch.float64)
    found = outputs_and_gradients(lambda **x: topk_sparse_attention(**x, k_top=64, path=path), given)
    assert_agrees({"y": found["out.0"]}, {"y": expected["out.0"]}, within=1e-5)
    assert_agrees(found, expected, within=1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_a_key_that_is_no_number_spoils_only_queries_that_see_it(path: Path) -> None:
    given = drawn(1, 1, 1, 100, 100)
    given["k_BGSD"][:, :, 60] = math.nan
    y = topk_sparse_attention(**given, k_top=5, path=path)
    assert y[:, :, :60].isfinite().all()
    assert y[:, :, 60:].isnan().all()


def test_half_precision_is_computed_in_float32() -> None:
    given = {name: t.bfloat16() for name, t in drawn(1, 2, 1, 30, 30).items()}
    y = topk_sparse_attention(**given, k_top=4)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, topk_sparse_attention(**{name: t.float() for name, t in given.items()}, k_top=4).bfloat16())


def test_the_backward_keeps_indices_and_no_matrix_of_scores() -> None:
    given = {name: t.requires_grad_() for name, t in drawn(1, 1, 1, 1024, 1024).items()}
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        topk_sparse_attention(**given, k_top=8, path="compiled")
    assert sum(t.numel() for t in saved) < 1024 * (4 * 12 + 8 + 2)


def test_the_operator_passes_torchs_own_checks() -> None:
    given = tuple(t.requires_grad_() for t in drawn(1, 2, 1, 20, 30).values())
    torch.library.opcheck(torch.ops.touchstone.topk_attention, (*given, 4, 0.5))


@pytest.mark.parametrize(
    ("k_top", "T", "told"), [(31, 30, "`k_top` = 31"), (0, 30, "`k_top` = 0"), (4, 0, "0 causal"), (4, 31, "31 causal")]
)
def test_what_makes_no_sense_is_a_value_error(k_top: int, T: int, told: str) -> None:
    for function in (topk_attention_loop, topk_sparse_attention):
        with pytest.raises(ValueError, match=told):
            function(torch.zeros(1, 1, T, 4), torch.zeros(1, 1, 30, 4), torch.zeros(1, 1, 30, 4), k_top=k_top)
