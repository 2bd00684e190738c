"""Experts: every path is the sum over single assignments, in outputs and gradients, however uneven the loads are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import kernels.experts
from kernels import native
from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.experts import Kind, by_expert, experts, experts_loop
from kernels.paths import Path, PathUnavailable

compiled = pytest.param("compiled", marks=pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler"))
PATHS = ["torch", compiled]
D, WIDTH, E = 12, 21, 6


def inputs(kind: Kind, N: int, *, seed: int = 0) -> dict[str, Any]:
    random = torch.Generator().manual_seed(seed)
    wide = WIDTH * (2 if kind == "swiglu" else 1)
    shapes = {"x_ND": (N, D), "weight_M": (2 * N,), "widen_EDH": (E, D, wide), "narrow_EFD": (E, WIDTH, D)}
    return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}


def routes(N: int, *, seed: int = 0) -> dict[str, Any]:
    """Two distinct experts per token out of the first five; most go to expert 1, and the last has none."""
    random = torch.Generator().manual_seed(seed)
    odds_E = torch.tensor([1.0, 8.0, 1.0, 0.5, 0.2, 0.0])
    chosen_N2 = torch.stack([torch.multinomial(odds_E, 2, generator=random) for _ in range(N)])
    order_M, load_E = by_expert(chosen_N2, E)
    assert load_E[-1] == 0
    return {"token_M": order_M // 2, "load_E": load_E}


@pytest.mark.parametrize("kind", ["gelu", "swiglu"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("N", [1, 2, 63, 64, 65, 200])
def test_a_path_is_the_loop_over_assignments(kind: Kind, path: Path, N: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.experts, "BLOCK", 17)
    x, where = inputs(kind, N), routes(N)
    fast = outputs_and_gradients(partial(experts, **where, kind=kind, path=path), x)
    plain = outputs_and_gradients(partial(experts_loop, **where, kind=kind), x, dtype=torch.float64)
    assert_agrees(fast, plain, within=2e-6)
    assert not fast["grad.widen_EDH"][-1].any()
    with torch.no_grad():
        assert_agrees({"y": experts(**x, **where, kind=kind, path=path)}, {"y": fast["out.0"]}, within=1e-6)


def with_shared(form: Callable[..., Tensor], **given: Any) -> Callable[..., Tensor]:
    return lambda widen_DH, narrow_FD, **x: form(**x, shared=(widen_DH, narrow_FD), scale=0.3, **given)


@pytest.mark.parametrize("kind", ["gelu", "swiglu"])
@pytest.mark.parametrize("path", PATHS)
def test_what_experts_share_is_added_to_each_and_learns_from_all(kind: Kind, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.experts, "BLOCK", 17)
    x, where = inputs(kind, 90), routes(90)
    x |= {"widen_DH": x["widen_EDH"].flip(0)[0] * 2, "narrow_FD": x["narrow_EFD"].flip(0)[0] * 2}
    fast = outputs_and_gradients(with_shared(experts, **where, kind=kind, path=path), x)
    plain = outputs_and_gradients(with_shared(experts_loop, **where, kind=kind), x, dtype=torch.float64)
    assert_agrees(fast, plain, within=2e-6)


@pytest.mark.parametrize("kind", ["gelu", "swiglu"])
def test_experts_wider_than_a_slice_of_the_products_are_exact(kind: Kind) -> None:
    """The kernel's products go 256 deep at a time: here inputs, widths and rows of an expert are all more."""
    random, where = torch.Generator().manual_seed(0), routes(500)
    wide = 530 * (2 if kind == "swiglu" else 1)
    shapes = {"x_ND": (500, 270), "weight_M": (1000,), "widen_EDH": (E, 270, wide), "narrow_EFD": (E, 530, 270)}
    x = {name: torch.randn(shape, generator=random) * shape[-1] ** -0.25 for name, shape in shapes.items()}
    assert where["load_E"].max() > 256
    fast = outputs_and_gradients(partial(experts, **where, kind=kind), x)
    plain = outputs_and_gradients(partial(experts, **where, kind=kind, path="torch"), x, dtype=torch.float64)
    assert_agrees(fast, plain, within=2e-6)


@pytest.mark.parametrize("kind", ["gelu", "swiglu"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scale", [1e-4, 30.0])
def test_tiny_and_saturated_activations_are_exact(kind: Kind, path: Path, scale: float) -> None:
    x, where = inputs(kind, 40), routes(40)
    x["x_ND"] *= scale
    fast = outputs_and_gradients(partial(experts, **where, kind=kind, path=path), x)
    plain = outputs_and_gradients(partial(experts_loop, **where, kind=kind), x, dtype=torch.float64)
    assert_agrees(fast, plain, within=5e-6)


@pytest.mark.parametrize("path", PATHS)
def test_threads_change_nothing(path: Path) -> None:
    x, where, before = inputs("swiglu", 300), routes(300), torch.get_num_threads()
    found = []
    for threads in (1, 2, 4):  # of four, several share the expert that has most
        torch.set_num_threads(threads)
        found.append(outputs_and_gradients(partial(experts, **where, kind="swiglu", path=path), x))
    torch.set_num_threads(before)
    for more in found[1:]:
        assert_agrees(more, found[0], within=1e-6)


@pytest.mark.parametrize("path", [compiled])
@pytest.mark.parametrize("load", [[2, 2, 2, 2, 2, 1], [2, 2, 2, 2, 4, -2]])
def test_loads_that_are_not_those_of_the_assignments_are_a_fault(path: Path, load: list[int]) -> None:
    x, where = inputs("gelu", 5), routes(5)
    with pytest.raises(ValueError, match="loads that add up to"):
        experts(**x, **where | {"load_E": torch.tensor(load)}, path=path)


@pytest.mark.parametrize("path", [compiled])
def test_a_token_that_is_not_there_is_a_fault(path: Path) -> None:
    x, where = inputs("gelu", 5), routes(5)
    with pytest.raises(ValueError, match="a token that is none of 5"):
        experts(**x, **where | {"token_M": where["token_M"] + 1}, path=path)


def test_bfloat16_is_computed_in_float32() -> None:
    x, where = inputs("gelu", 60), routes(60)
    half = {name: value.bfloat16() for name, value in x.items()}
    y_ND = experts(**half, **where)
    exact = experts_loop(**{name: value.double() for name, value in half.items()}, **where)
    assert y_ND.dtype == torch.bfloat16
    assert torch.equal(y_ND, exact.bfloat16()) or (y_ND.double() - exact).abs().max() <= 2**-8 * exact.abs().max()


def test_the_counted_operations_are_those_of_the_matrix_products_inside() -> None:
    x, where = inputs("swiglu", 50), routes(50)
    leaves = [value.requires_grad_() for value in x.values()]
    with FlopCounterMode(display=False) as outside:
        experts(**x, **where, kind="swiglu", path="torch").sum().backward()
    weight_M = x["weight_M"].detach()
    plain = [leaf.detach() for leaf in leaves]
    given = (plain[0], where["token_M"], weight_M, where["load_E"], plain[2], plain[3], None, None)
    with FlopCounterMode(display=False) as inside:
        _, h_MH = kernels.experts._forward._init_fn(*given, 1.0, "swiglu", True, "torch")
        kernels.experts._backward._init_fn(torch.ones(50, D), *given, h_MH, 1.0, "swiglu", "torch")
    assert outside.get_total_flops() == inside.get_total_flops() > 0


def test_to_other_code_it_is_one_operator_with_a_sound_fake_and_gradient() -> None:
    x, where = inputs("gelu", 9), routes(9)
    matrices = (x["widen_EDH"], x["narrow_EFD"], torch.randn(D, WIDTH), torch.randn(WIDTH, D))
    given = (x["x_ND"], where["token_M"], x["weight_M"], where["load_E"], *matrices, 0.5, "gelu", True, "torch")
    torch.library.opcheck(torch.ops.touchstone.experts.default, given, test_utils=("test_schema", "test_faketensor"))
    for tensor in (*x.values(), *matrices):
        tensor.requires_grad_()
    torch.library.opcheck(torch.ops.touchstone.experts.default, given, test_utils="test_autograd_registration")


def test_memory_is_linear_in_tokens_and_nothing_is_gathered_per_token() -> None:
    """What autograd keeps is the inputs and M rows of H numbers, whatever the balance."""
    x, where = inputs("swiglu", 200), routes(200)
    leaves = {name: value.requires_grad_() for name, value in x.items()}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        experts(**leaves, **where, kind="swiglu")
    own = {t.data_ptr() for t in (*leaves.values(), *where.values())}
    assert sum(t.numel() for t in kept if t.data_ptr() not in own) <= 400 * 2 * WIDTH


def test_shapes_that_do_not_fit_and_unknown_paths_are_refused() -> None:
    x, where = inputs("gelu", 8), routes(8)
    with pytest.raises(ValueError, match="do not fit"):
        experts(**x, **where, kind="swiglu")
    with pytest.raises(ValueError, match="of no tokens"):
        experts(**{**x, "x_ND": x["x_ND"][:0]}, **where)
    with pytest.raises(PathUnavailable, match="no Triton form"):
        experts(**x, **where, path="triton")
