"""Cross-entropy in chunks is the plain formula, in its sum and both gradients, and never holds the logits of all tokens."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bench.suites.memory_growth import peak_bytes
from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.cross_entropy import CHUNK, IGNORED, LARGE, linear_cross_entropy, plain_cross_entropy, worthwhile
from modules.decoder import Decoder
from modules.trainer import next_token


def inputs(N: int, *, D: int = 20, V: int = 331, size: float = 1.0) -> tuple[dict[str, Tensor], Tensor]:
    random = torch.Generator().manual_seed(N)
    x = {"x_ND": size * torch.randn(N, D, generator=random), "weight_VD": torch.randn(V, D, generator=random)}
    return x, torch.randint(V, (N,), generator=random)


def hold(x: dict[str, Tensor], target_N: Tensor, *, chunk: int = 0) -> None:
    fast = outputs_and_gradients(partial(linear_cross_entropy, target_N=target_N, chunk=chunk), x)
    plain = outputs_and_gradients(partial(plain_cross_entropy, target_N=target_N), x, dtype=torch.float64)
    for kind, within in (("out", 1e-5), ("grad", 1e-4)):
        found, wanted = ({name: t for name, t in each.items() if name.startswith(kind)} for each in (fast, plain))
        assert_agrees(found, wanted, within=within)


@pytest.mark.parametrize("N", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("chunk", [0, 1, 64, 1000])
def test_the_sum_and_both_gradients_are_those_of_the_formula_in_float64(N: int, chunk: int) -> None:
    hold(*inputs(N), chunk=chunk)


@pytest.mark.parametrize("size", [1e-3, 30.0, 1e3])
def test_logits_from_flat_to_thousands_are_exact_and_finite(size: float) -> None:
    hold(*inputs(65, size=size), chunk=16)


@pytest.mark.parametrize("vocabulary", [331, 70_000])
def test_float16_neither_overflows_in_logits_nor_in_the_sum_over_a_large_vocabulary(vocabulary: int) -> None:
    x, target_N = inputs(40, V=vocabulary)
    x = {"x_ND": (300 * x["x_ND"] if vocabulary == 331 else 1e-2 * x["x_ND"]).half(), "weight_VD": (30 * x["weight_VD"]).half()}
    found = outputs_and_gradients(partial(linear_cross_entropy, target_N=target_N), x)
    wanted = outputs_and_gradients(partial(plain_cross_entropy, target_N=target_N), x, dtype=torch.float64)
    assert {found[name].dtype for name in ("grad.x_ND", "grad.weight_VD")} == {torch.float16}
    assert_agrees(found, wanted, within=1e-3)


def test_ignored_tokens_count_nothing_and_get_no_gradient() -> None:
    x, target_N = inputs(65)
    target_N[::3] = IGNORED
    hold(x, target_N, chunk=16)
    grad_ND = outputs_and_gradients(partial(linear_cross_entropy, target_N=target_N), x)["grad.x_ND"]
    assert grad_ND[::3].abs().max() == 0
    assert grad_ND[1::3].abs().min(dim=1).values.max() > 0
    assert linear_cross_entropy(x["x_ND"], x["weight_VD"], torch.full((65,), IGNORED)) == 0


@pytest.mark.parametrize("frozen", ["x_ND", "weight_VD"])
def test_a_frozen_side_leaves_the_gradient_of_the_other_alone(frozen: str) -> None:
    x, target_N = inputs(65)
    whole = outputs_and_gradients(partial(linear_cross_entropy, target_N=target_N, chunk=16), x)
    other = next(name for name in x if name != frozen)
    part = outputs_and_gradients(
        lambda t: linear_cross_entropy(**{frozen: x[frozen], other: t}, target_N=target_N, chunk=16), {"t": x[other]}
    )
    assert torch.equal(part["grad.t"], whole[f"grad.{other}"])


def test_gradients_scale_with_what_is_asked_and_can_be_taken_twice() -> None:
    x, target_N = inputs(10)
    leaf = x["x_ND"].requires_grad_()
    mean = linear_cross_entropy(leaf, x["weight_VD"], target_N) / 10
    first, again = (torch.autograd.grad(mean, leaf, retain_graph=True)[0] for _ in range(2))
    plain = torch.autograd.grad(plain_cross_entropy(leaf, x["weight_VD"], target_N) / 10, leaf)[0]
    assert torch.equal(first, again)
    torch.testing.assert_close(first, plain)


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_sums_in_float32_and_is_as_close_as_the_plain_form(autocast: bool) -> None:
    x, target_N = inputs(300)
    exact = outputs_and_gradients(partial(plain_cross_entropy, target_N=target_N), x, dtype=torch.float64)
    dtype = None if autocast else torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        fast = outputs_and_gradients(partial(linear_cross_entropy, target_N=target_N, chunk=64), x, dtype=dtype)
    assert fast["out.0"].dtype == torch.float32
    assert_agrees(fast, exact, within=0.02)


def test_the_peak_of_training_is_a_chunk_and_the_gradients_whatever_the_number_of_tokens() -> None:
    def peak(N: int) -> int:
        x, target_N = inputs(N, D=8, V=4096)
        leaves = [t.requires_grad_() for t in x.values()]
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            torch.autograd.backward(linear_cross_entropy(leaves[0], leaves[1], target_N, chunk=32))
        events = profiler.profiler.kineto_results.events()
        return peak_bytes([(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"])

    chunk, gradients = 4 * 32 * 4096, 4 * 8 * (4096 + 1024)
    assert peak(1024) < 3 * chunk + 3 * gradients < 4 * 1024 * 4096 / 3
    assert peak(1024) - peak(256) < chunk


def test_shapes_and_targets_that_do_not_fit_are_named() -> None:
    x, target_N = inputs(5)
    with pytest.raises(ValueError, match=r"targets \(N,\); got \[\(5, 20\), \(331, 20\), \(4,\)\]"):
        linear_cross_entropy(x["x_ND"], x["weight_VD"], target_N[:4])
    target_N[2] = 331
    with pytest.raises(IndexError, match="target 331 is outside a vocabulary of 331"):
        linear_cross_entropy(x["x_ND"], x["weight_VD"], target_N)


def test_bytes_are_never_chunked_and_a_large_vocabulary_is_from_its_second_chunk() -> None:
    assert not worthwhile(1 << 30, 256)
    assert not worthwhile(CHUNK // LARGE, LARGE)
    assert worthwhile(CHUNK // LARGE + 1, LARGE)


def test_a_decoder_of_a_large_vocabulary_trains_on_chunks_to_the_same_loss_and_gradients() -> None:
    model = Decoder.build("transformer", config={"d_model": 16}, decoder={"vocabulary": LARGE, "layers": 1})
    tokens_BT = torch.randint(LARGE, (3, CHUNK // LARGE // 3 + 20), generator=torch.Generator().manual_seed(0))
    chunked, _ = next_token(model, tokens_BT)
    plain = F.cross_entropy(model(tokens_BT[:, :-1])[0].flatten(0, 1), tokens_BT[:, 1:].flatten())
    assert "linear_cross_entropy" in str(_graph(chunked))
    assert "linear_cross_entropy" not in str(_graph(plain))
    for one, other in zip(
        torch.autograd.grad(chunked, list(model.parameters())), torch.autograd.grad(plain, list(model.parameters())), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(chunked, plain)


def _graph(loss: Tensor) -> list[Any]:
    """The first nodes of a loss's graph, from the loss on."""
    nodes: list[Any] = []
    node: Any = loss.grad_fn
    while node is not None and len(nodes) < 6:
        nodes.append(node)
        node = next((before for before, _ in node.next_functions if before is not None), None)
    return nodes
