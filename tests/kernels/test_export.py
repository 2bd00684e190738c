"""A program whose operators are written out has none of ours, gives the same numbers, and runs outside torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kernels.agreement import assert_agrees
from kernels.export import plain
from tests.kernels.test_every_operation_in_graphs import Layer, inputs

FORMS = ["simple_gla", "retention", "gla with a bonus", "selective_scan", "gated delta_rule", "dplr", "rwkv4", "silu_convolution"]


@pytest.mark.parametrize("name", FORMS)
def test_a_program_written_out_has_none_of_our_operators_and_gives_the_same_numbers(name: str) -> None:
    x, _ = inputs(name, 2)
    layer = Layer(name, "auto")
    program = plain(torch.export.export(layer, (), x))
    assert not [node for node in program.graph.nodes if "touchstone" in str(node.target)]
    found, wanted = program.module()(**x), layer(**x)
    assert_agrees(*({str(i): t for i, t in enumerate(outs)} for outs in (found, wanted)), within=1e-5)


def test_an_operator_without_a_plain_form_is_named() -> None:
    x, given = inputs("experts", 5)
    with pytest.raises(ValueError, match=r"no plain form for touchstone\.experts\.default"):
        plain(torch.export.export(Layer("experts", "auto"), (), {**x, **given}))


@pytest.mark.parametrize("name", ["retention", "gla with a bonus", "selective_scan", "gated delta_rule", "rwkv4", "attention"])
def test_a_step_of_decoding_gives_the_same_numbers_in_an_onnx_runtime(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    x, _ = inputs(name, 1)
    layer = Layer(name, "" if name == "attention" else "auto")
    file = str(tmp_path / "step.onnx")
    torch.onnx.export(plain(torch.export.export(layer, (), x)), (), dynamo=True, verbose=False).save(file)
    session = runtime.InferenceSession(file)
    lower = {key.lower(): t.numpy() for key, t in x.items()}  # as the exporter writes names
    outs = session.run(None, {each.name: lower[each.name.lower()] for each in session.get_inputs()})
    found = {str(i): torch.from_numpy(out) for i, out in enumerate(outs)}
    assert_agrees(found, {str(i): out for i, out in enumerate(layer(**x))}, within=1e-5)
