"""Every operation on every path is its plain reference in float64: one table, in which a new operation must stand."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import kernels
from kernels import native
from kernels.agreement import assert_agrees
from kernels.fft_convolution import Taps, fft_convolution, fft_convolution_loop, fft_convolution_step
from kernels.quantised import quantised_linear
from tests.kernels.operations import OPERATIONS, Form, Inputs, Operation, attention_inputs, normal

LENGTHS = [1, 63, 64, 65, 200]
NOTHING = 1e-15
"""Below it a gradient is the rounding of what is exactly nothing: of a memory that is gone."""
INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None


def cells(which: Callable[[Operation], bool] = lambda operation: True) -> list[Any]:
    """Every operation with each of its paths that can run here; `triton` in a process of its own only."""
    marks = {
        "compiled": pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler"),
        "triton": pytest.mark.skipif(
            not INTERPRETING, reason="its interpreter must be chosen before it is imported; see the last test"
        ),
    }
    return [
        pytest.param(name, path, marks=marks.get(path, ()), id=f"{name}-{path or 'auto'}")
        for name, operation in OPERATIONS.items()
        if which(operation)
        for path in operation.paths
    ]


@functools.cache
def expected(name: str, T: int, decay: float | None = None) -> tuple[Inputs, Inputs]:
    """Inputs, and the reference's outputs and gradients; a decay of 1 stands for decays of every kind beside each other."""
    operation = OPERATIONS[name]
    x = operation.inputs(T)
    if decay is not None:
        kinds = torch.tensor([0.0, -1e-6, -0.1, -3.0, -50.0])
        usual = x[operation.decay]
        x[operation.decay] = (
            torch.full_like(usual, decay) if decay <= 0 else kinds[torch.arange(usual.numel()) % 5].view(usual.shape)
        )
    return x, operation.plain(T, x)


def hold(found: Inputs, wanted: Inputs) -> None:
    """Outputs to 1e-5 and gradients to 1e-4; what is nothing in the reference is nothing here."""
    gone = [name for name in wanted if name.startswith("grad") and wanted[name].abs().max() < NOTHING]
    assert all(found[name].abs().max() < NOTHING for name in gone)
    for kind, within in (("out", 1e-5), ("grad", 1e-4)):
        here, there = ({n: t for n, t in x.items() if n.startswith(kind) and n not in gone} for x in (found, wanted))
        assert_agrees(here, there, within=within)


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize(("name", "path"), cells())
def test_a_path_is_the_reference_in_outputs_and_gradients(name: str, path: str, T: int) -> None:
    x, wanted = expected(name, T)
    hold(OPERATIONS[name].found(T, x, path), wanted)


@pytest.mark.parametrize("decay", [0.0, -1e-6, -50.0, 1.0])
@pytest.mark.parametrize(("name", "path"), cells(lambda operation: bool(operation.decay)))
def test_a_path_is_the_reference_under_extreme_decays(name: str, path: str, decay: float) -> None:
    x, wanted = expected(name, 100, decay)
    hold(OPERATIONS[name].found(100, x, path), wanted)


@pytest.mark.parametrize(("name", "path"), cells(lambda operation: operation.narrow is not None))
def test_narrow_inputs_are_computed_in_float32_and_answered_in_their_own_dtype(name: str, path: str) -> None:
    operation = OPERATIONS[name]
    x = {name: t.bfloat16() for name, t in operation.inputs(65).items()}
    found, wanted = operation.found(65, x, path), operation.plain(65, x)
    assert {t.dtype for name, t in found.items() if name.startswith("grad")} == {torch.bfloat16}
    assert_agrees(found, wanted, within=operation.narrow or 0)


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.narrow is None])
def test_narrow_inputs_computed_in_their_own_dtype_stay_within_its_rounding(name: str) -> None:
    x = {name: t.bfloat16() for name, t in OPERATIONS[name].inputs(65).items()}
    found, wanted = OPERATIONS[name].found(65, x, ""), OPERATIONS[name].plain(65, x)
    assert_agrees(found, wanted, within=1e-2)


def along_time(x: Inputs) -> dict[str, int]:
    """Inputs that have a place for each step, and the axis of it."""
    axes = {name: next((i for i, letter in enumerate(name.split("_")[-1]) if letter in "TS"), -1) for name in x}
    return {name: 1 if name == "g" else axis for name, axis in axes.items() if axis >= 0 or name == "g"}


@pytest.mark.parametrize(("name", "path"), cells(lambda operation: operation.fast is not quantised_linear))
@torch.no_grad()
def test_no_number_moves_on_as_in_the_reference_and_reaches_no_earlier_step(name: str, path: str) -> None:
    operation, T, late = OPERATIONS[name], 100, 30
    chosen = {"path": path} if path else {}
    fast = functools.partial(operation.fast_of(functools.partial(operation.fast, **chosen)), **operation.given(T))
    plain = functools.partial(operation.reference_of(operation.reference), **operation.given(T))
    for input_name, axis in along_time(x := operation.inputs(T)).items():
        spoilt = x[input_name].clone()
        spoilt.select(axis, -late).flatten()[:1] = torch.nan
        spoilt.select(axis, -late)[(0,) * (spoilt.ndim - 1)] = torch.nan
        found, wanted = (form(**x | {input_name: spoilt}) for form in (fast, plain))
        found, wanted = (out if isinstance(out, tuple) else (out,) for out in (found, wanted))
        time = 2 if operation.inputs is attention_inputs else 1
        early = found[0].narrow(time, 0, T - late)
        assert early.isfinite().all() or path in operation.backwards, f"{input_name} reaches earlier outputs"
        for here, there in zip(found, wanted, strict=True):
            assert here.isnan()[there.isnan()].all(), f"{input_name} vanishes"
            assert there.isnan().any() or input_name.startswith("q") or here.isfinite().all()


def pushed(form: Form, x: Inputs, how: str) -> tuple[Tensor, ...]:
    """Derivatives of the outputs along a fixed direction, in forward mode."""
    along = {name: normal(*t.shape, seed=i).to(t.dtype) for i, (name, t) in enumerate(x.items())}

    def outputs(*values: Tensor) -> tuple[Tensor, ...]:
        out = form(**dict(zip(x, values, strict=True)))
        return out if isinstance(out, tuple) else (out,)

    if how == "torch.func.jvp":
        return tuple(torch.func.jvp(outputs, tuple(x.values()), tuple(along.values()))[1])
    with forward_ad.dual_level():
        duals = (forward_ad.make_dual(t, along[name]) for name, t in x.items())  # type: ignore[no-untyped-call]
        tangents = [forward_ad.unpack_dual(out).tangent for out in outputs(*duals)]  # type: ignore[no-untyped-call]
    assert all(t is not None for t in tangents), "a derivative was dropped"
    return tuple(tangents)


@pytest.mark.parametrize("how", ["torch.func.jvp", "dual numbers"])
@pytest.mark.parametrize(("name", "path"), cells())
def test_a_derivative_in_forward_mode_is_the_references_or_refused(name: str, path: str, how: str) -> None:
    operation = OPERATIONS[name]
    x, chosen = operation.inputs(65), {"path": path} if path else {}
    fast = functools.partial(operation.fast_of(functools.partial(operation.fast, **chosen)), **operation.given(65))
    refusal, found = "", tuple[Tensor, ...]()
    try:
        found = pushed(fast, x, how)
    except (NotImplementedError, RuntimeError) as error:
        refusal = str(error)
    if refusal:
        assert "forward" in refusal or "autograd.Function" in refusal
        assert path != "compiled" or "has no forward-mode derivative" in refusal
        return
    plain = functools.partial(operation.reference_of(operation.reference), **operation.given(65))
    wanted = pushed(plain, {name: t.double() for name, t in x.items()}, how)
    assert_agrees(*({str(i): t for i, t in enumerate(tangents)} for tangents in (found, wanted)), within=1e-4)


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize(("name", "path"), cells(lambda operation: operation.fast is fft_convolution))
@torch.no_grad()
def test_single_steps_that_work_ahead_are_the_reference(name: str, path: Any, T: int) -> None:
    x = OPERATIONS[name].inputs(T)
    taps, outs, state, ahead = Taps(x["taps"]), [], x["state"], None
    for u_BD in x["u_BTD"].unbind(1):
        out, state, ahead = fft_convolution_step(u_BD[:, None], taps, state=state, ahead=ahead, path=path)
        outs.append(out)
    wanted, last = fft_convolution_loop(x["u_BTD"].double(), x["taps"].double(), state=x["state"].double())
    assert_agrees({"out": torch.cat(outs, dim=1), "state": state}, {"out": wanted, "state": last})


def public_functions() -> Iterator[tuple[str, Form]]:
    for entry in pkgutil.iter_modules(kernels.__path__):
        module = importlib.import_module(f"kernels.{entry.name}")
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                yield name, value


def test_every_reference_and_every_function_with_paths_is_in_the_table() -> None:
    there = {form for operation in OPERATIONS.values() for form in (operation.reference, operation.fast)} | {fft_convolution_step}
    wanted = {
        name: value
        for name, value in public_functions()
        if name.endswith("_loop")
        or name.startswith("plain_")
        or ("path" in (given := inspect.signature(value).parameters) and given["path"].kind is inspect.Parameter.KEYWORD_ONLY)
    }
    assert len(wanted) > 20
    assert [name for name, value in wanted.items() if value not in there] == []


def test_every_library_and_every_triton_form_is_a_path_in_the_table() -> None:
    for path, files in (
        ("compiled", native.names()),
        ("triton", [e.name for e in pkgutil.iter_modules([f"{kernels.__path__[0]}/triton"])]),
    ):
        tested = {operation.fast.__module__ for operation in OPERATIONS.values() if path in operation.paths}
        assert {f"kernels.{name}" for name in files} - {"kernels.ceiling"} <= tested  # which is no operation


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or INTERPRETING, reason="`triton`, whose interpreter is used, is not installed"
)
def test_the_triton_paths_are_the_references_under_the_interpreter() -> None:
    """pytest -m slow tests/kernels/test_every_operation.py; the kernels' own tests do less of it by default."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", __file__, "-k", "triton and not under_the_interpreter"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
