"""Every operation is one operator to torch.compile and torch.export, for any length, and torch.func sees through it, on every path."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kernels import native
from kernels.agreement import assert_agrees, outputs_and_gradients
from tests.kernels.operations import OPERATIONS, Inputs

ONE = {
    "gla with a bonus": "gla",
    "retention": "simple_gla",
    "gated delta_rule": "delta_rule",
    "delta_rule by channel": "delta_rule",
    "dplr": "delta_rule",
    "causal_convolution": "silu_convolution",
    "topk_sparse_attention": "topk_attention",
}
"""Whose operator an operation is, where it has another name."""


def cells(*, torch_too: bool = True) -> list[Any]:
    compiled = pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
    return [
        pytest.param(name, path, marks=compiled if path == "compiled" else (), id=f"{name}-{path or 'auto'}")
        for name, operation in OPERATIONS.items()
        for path in operation.paths
        if path != "triton" and (torch_too or path != "torch")
    ]


class Layer(nn.Module):
    """An operation as a module; tensors that say where things go are inputs too, but get no gradient."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__()
        operation = OPERATIONS[name]
        self.form = operation.fast_of(functools.partial(operation.fast, **({"path": path} if path else {})))
        self.settings = {key: value for key, value in operation.given(5).items() if not isinstance(value, Tensor)}

    def forward(self, **x: Tensor) -> tuple[Tensor, ...]:
        out = self.form(**x, **self.settings)
        return out if isinstance(out, tuple) else (out,)


def inputs(name: str, T: int) -> tuple[Inputs, Inputs]:
    """Those that get a gradient, and those that do not."""
    operation = OPERATIONS[name]
    return operation.inputs(T), {key: value for key, value in operation.given(T).items() if isinstance(value, Tensor)}


@pytest.mark.parametrize(("name", "path"), cells(torch_too=False))
def test_one_compiled_graph_serves_every_length_with_the_same_outputs_and_gradients(name: str, path: str) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    layer = Layer(name, path)
    graph = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    for T in (75, 130):
        x, given = inputs(name, T)
        found, wanted = (outputs_and_gradients(functools.partial(form, **given), x) for form in (graph, layer))
        assert_agrees(found, wanted, within=1e-6)
    by_length = 2 if name.startswith(("attention", "fft_convolution")) else 1  # blocks, or a window, that follow from the length
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= by_length


@pytest.mark.parametrize(("name", "path"), cells(torch_too=False))
def test_an_exported_program_holds_one_operator_and_gives_the_same_bits(name: str, path: str) -> None:
    x, given = inputs(name, 70)
    program = torch.export.export(Layer(name, path), (), {**x, **given})
    targets = [str(node.target) for node in program.graph.nodes if "touchstone" in str(node.target)]
    own = [f"touchstone.{ONE.get(name, name)}.default"]
    extra = ["touchstone.fft_spectrum.default"] if name == "fft_convolution" else []
    assert targets == ([] if name.startswith("attention") else extra + own)
    for found, wanted in zip(program.module()(**x, **given), Layer(name, path)(**x, **given), strict=True):
        assert torch.equal(found, wanted)


def pulled(name: str, path: str, transform: str) -> tuple[Any, Any]:
    """What a transform of torch.func finds, and the same by `backward`, of two samples."""
    x, given = inputs(name, 65)
    layer, batch = Layer(name, path), [torch.stack((t, 0.9 * t)) for t in x.values()]

    def outputs(*values: Tensor) -> tuple[Tensor, ...]:
        return layer(**dict(zip(x, values, strict=True)), **given)

    def gradients(*values: Tensor) -> tuple[Tensor, ...]:
        outs, pull = torch.func.vjp(outputs, *values)
        return outs + pull(tuple(torch.cos(out) for out in outs))

    def plain(i: int) -> tuple[Tensor, ...]:
        leaves = [t[i].clone().requires_grad_() for t in batch]
        outs = outputs(*leaves)
        grads = torch.autograd.grad(outs, leaves, tuple(torch.cos(out.detach()) for out in outs))
        return tuple(out.detach() for out in outs) + grads

    wanted = [plain(0), plain(1)]
    if transform == "vjp":
        return gradients(*(t[0] for t in batch)), wanted[0]
    both = tuple(torch.stack(pair) for pair in zip(*wanted, strict=True))
    if transform == "vmap of vjp":
        return torch.func.vmap(gradients)(*batch), both
    outs, pull = torch.func.vjp(torch.func.vmap(outputs), *batch)
    return outs + pull(tuple(torch.cos(out) for out in outs)), both


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("transform", ["vjp", "vmap of vjp", "vjp of vmap"])
@pytest.mark.parametrize(("name", "path"), cells())
def test_transforms_of_functions_give_what_backward_gives_sample_by_sample(name: str, path: str, transform: str) -> None:
    found, wanted = pulled(name, path, transform)
    assert_agrees(*({str(i): t for i, t in enumerate(each)} for each in (found, wanted)), within=1e-6)
