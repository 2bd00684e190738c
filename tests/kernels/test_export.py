"""A program whose operators are written out has none of ours, gives the same numbers, and runs outside torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kernels.agreement import assert_agrees
from kernels.export import plain
from tests.kernels.operations import OPERATIONS
from tests.kernels.test_every_operation_in_graphs import Layer, inputs


def exported(name: str, T: int) -> tuple[torch.export.ExportedProgram, dict[str, Tensor], tuple[Tensor, ...]]:
    """The operation as a program written out, its inputs, and what it gives."""
    x, given = inputs(name, T)
    layer = Layer(name, "" if OPERATIONS[name].paths == ("",) else "auto")
    both = {**x, **given}
    return plain(torch.export.export(layer, (), both)), both, layer(**both)


def numbered(outs: Any) -> dict[str, Tensor]:
    return {str(i): torch.as_tensor(out) for i, out in enumerate(outs)}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_program_written_out_has_none_of_our_operators_and_gives_the_same_numbers(name: str) -> None:
    program, x, wanted = exported(name, 3)
    assert not [node for node in program.graph.nodes if "touchstone" in str(node.target)]
    assert_agrees(numbered(program.module()(**x)), numbered(wanted), within=1e-5)


class BackwardPass(nn.Module):
    """One of the operators that are called for a gradient."""

    def forward(self, grad: Tensor, grad_x_ND: Tensor, grad_weight_VD: Tensor) -> Any:
        return torch.ops.touchstone.linear_cross_entropy_backward(grad, grad_x_ND, grad_weight_VD)


def test_an_operator_without_a_plain_form_is_named() -> None:
    program = torch.export.export(BackwardPass(), (torch.ones(()), torch.ones(3, 4), torch.ones(5, 4)))
    with pytest.raises(ValueError, match=r"no plain form for touchstone\.linear_cross_entropy_backward\.default"):
        plain(program)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_step_of_decoding_gives_the_same_numbers_in_an_onnx_runtime(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    program, x, wanted = exported(name, 1)
    file = str(tmp_path / "step.onnx")
    torch.onnx.export(program, (), dynamo=True, verbose=False).save(file)
    session = runtime.InferenceSession(file)
    lower = {key.lower(): t.numpy() for key, t in x.items()}  # as the exporter writes names
    outs = session.run(None, {each.name: lower[each.name.lower()] for each in session.get_inputs()})
    assert_agrees(numbered(outs), numbered(wanted), within=1e-5)
