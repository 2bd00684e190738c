"""Scalar-decay linear attention: every path is the recurrence, in outputs and gradients, whatever length, decay, grouping and cut."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from kernels import native, paths
from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.paths import PathUnavailable
from kernels.simple_gla import simple_gla, simple_gla_loop

compiled = pytest.param("compiled", marks=pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler"))
PATHS = ["torch", compiled]
TRITON = importlib.util.find_spec("triton") is not None
LENGTHS = [1, 2, 63, 64, 65, 200]
NAMES = ("q_BTGK", "k_BTGK", "v_BTHV")


def inputs(T: int, B: int = 2, H: int = 4, G: int = 2, K: int = 20, V: int = 33, seed: int = 0) -> dict[str, torch.Tensor]:
    """Sizes that no vector and no tile divides; decays from 1 to 1/e."""
    random = torch.Generator().manual_seed(seed)
    shapes = {"q_BTGK": (B, T, G, K), "k_BTGK": (B, T, G, K), "v_BTHV": (B, T, H, V), "state": (B, H, K, V)}
    x = {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}
    return x | {"g_BTH": -torch.rand(B, T, H, generator=random)}


def hold(x: dict[str, torch.Tensor], path: paths.Path, *, scale: float = 1.0) -> None:
    """Outputs to 1e-5 and gradients to 1e-4 of the loop in float64; what is nothing there is nothing here."""
    fast = outputs_and_gradients(partial(simple_gla, path=path, scale=scale), x)
    plain = outputs_and_gradients(partial(simple_gla_loop, scale=scale), x, dtype=torch.float64)
    for name in [name for name in plain if plain[name].abs().max() < 1e-30]:
        assert name in (
            "grad.g_BTH",
            "grad.state",
        )  # where the memory is gone, what reaches these is below float32's smallest number
        assert plain.pop(name).abs().max() < 1e-30
        assert fast.pop(name).abs().max() < 1e-30
    for kind, within in (("out", 1e-5), ("grad", 1e-4)):
        found, wanted = ({name: x for name, x in each.items() if name.startswith(kind)} for each in (fast, plain))
        assert_agrees(found, wanted, within=within)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("sizes", [{}, {"H": 3, "G": 3, "K": 64, "V": 64}, {"H": 2, "G": 1, "K": 5, "V": 130}])
def test_outputs_and_gradients_are_those_of_the_recurrence_in_float64(path: paths.Path, T: int, sizes: dict[str, int]) -> None:
    hold(inputs(T, **sizes), path, scale=0.3)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("g", [0.0, -1e-7, -5.0, -20.0, -50.0, -1e4])
def test_decays_from_never_to_at_once_are_exact_and_finite(path: paths.Path, g: float) -> None:
    hold(inputs(200) | {"g_BTH": torch.full((2, 200, 4), g)}, path)


@pytest.mark.parametrize("path", PATHS)
def test_decays_of_every_kind_beside_each_other_are_exact(path: paths.Path) -> None:
    random = torch.Generator().manual_seed(3)
    kinds = torch.tensor([0.0, -1e-6, -0.1, -3.0, -50.0])
    hold(inputs(200) | {"g_BTH": kinds[torch.randint(5, (2, 200, 4), generator=random)]}, path)


@pytest.mark.parametrize("path", PATHS)
def test_the_gradient_of_a_long_memory_is_not_lost_in_a_sum_over_a_long_sequence(path: paths.Path) -> None:
    """The sequence is long enough that the torch form takes it in three parts."""
    x = inputs(1400, B=2, H=4, G=2, K=8, V=8)
    hold(x | {"g_BTH": x["g_BTH"] * 1e-3}, path)


@pytest.mark.parametrize("path", PATHS)
def test_a_sum_of_a_quarter_million_steps_that_never_fades_does_not_drift(path: paths.Path) -> None:
    """A step that comes again and again is rounded to the same side every time by a sum that outgrew it; only chunks may be added to that."""
    k_BTGK = torch.tensor([0.9, 0.7, 1.1, 0.33]).expand(1, 2**18, 1, 4)
    v_BTHV = torch.ones(1, 2**18, 1, 3)
    _, last_BHKV = simple_gla(k_BTGK, k_BTGK, v_BTHV, torch.zeros(1, 2**18, 1), path=path)
    expected = torch.einsum("btgk,btgv->bgkv", k_BTGK.double(), v_BTHV.double())
    assert_agrees({"state": last_BHKV}, {"state": expected}, within=1e-4)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cuts", [[100, 100], [1, 63, 136], [65, 1, 1, 133]])
def test_carrying_the_state_over_any_cut_changes_nothing(path: paths.Path, cuts: list[int]) -> None:
    x = inputs(200)
    whole, last = simple_gla_loop(**{name: t.double() for name, t in x.items()})
    state, outs = x["state"], []
    for part in zip(*(torch.split(x[name], cuts, dim=1) for name in (*NAMES, "g_BTH")), strict=True):
        out, state = simple_gla(*part, state=state, path=path)
        outs.append(out)
    assert_agrees({"out": torch.cat(outs, dim=1), "state": state}, {"out": whole, "state": last})


@pytest.mark.parametrize("path", PATHS)
def test_gradients_flow_through_a_carried_state(path: paths.Path) -> None:
    def in_two(**x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state = x.pop("state")
        first, state = simple_gla(**{name: t[:, :70] for name, t in x.items()}, state=state, path=path)
        second, state = simple_gla(**{name: t[:, 70:] for name, t in x.items()}, state=state, path=path)
        return torch.cat((first, second), dim=1), state

    x = inputs(150)
    assert_agrees(outputs_and_gradients(in_two, x), outputs_and_gradients(simple_gla_loop, x, dtype=torch.float64), within=1e-5)


@pytest.mark.parametrize("path", PATHS)
def test_the_future_does_not_reach_the_past(path: paths.Path) -> None:
    x = inputs(100)
    changed = x | {name: torch.cat((x[name][:, :70], x[name][:, 70:] - 1), dim=1) for name in (*NAMES, "g_BTH")}
    before, after = simple_gla(**x, path=path)[0], simple_gla(**changed, path=path)[0]
    assert torch.equal(before[:, :70], after[:, :70])
    assert not torch.allclose(before[:, 70:], after[:, 70:])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("autocast", [False, True])
def test_narrow_inputs_are_computed_in_float32_and_answered_in_their_own_dtype(path: paths.Path, autocast: bool) -> None:
    x = {name: t.bfloat16() for name, t in inputs(100).items()}
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out, state = simple_gla(**x, path=path)
    reference, last = simple_gla_loop(**{name: t.double() for name, t in x.items()})
    assert (out.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert_agrees({"out": out}, {"out": reference.bfloat16()}, within=1e-3)  # a rare last bit of bfloat16 rounds the other way
    assert_agrees({"state": state}, {"state": last})
    gradients = outputs_and_gradients(partial(simple_gla, path=path), x)
    assert {gradients[f"grad.{name}"].dtype for name in x} == {torch.bfloat16}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_bits_are_the_same_on_any_number_of_threads(path: paths.Path, threads: int) -> None:
    x, before = inputs(130), torch.get_num_threads()
    expected = outputs_and_gradients(partial(simple_gla, path=path), x)
    try:
        torch.set_num_threads(threads)
        found = outputs_and_gradients(partial(simple_gla, path=path), x)
    finally:
        torch.set_num_threads(before)
    if path == "compiled" or threads == before:
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert_agrees(found, expected, within=1e-6)


def test_gradcheck_in_float64_over_several_chunks() -> None:
    x = {name: t.double().requires_grad_() for name, t in inputs(66, B=1, H=2, G=1, K=1, V=2).items()}
    assert torch.autograd.gradcheck(
        lambda *values: simple_gla(**dict(zip(x, values, strict=True))), tuple(x.values()), fast_mode=True
    )


@pytest.mark.parametrize("path", PATHS)
def test_inputs_need_not_be_contiguous(path: paths.Path) -> None:
    x = inputs(70)
    strided = {name: t.mT.contiguous().mT for name, t in x.items()}
    assert not strided["q_BTGK"].is_contiguous()
    assert torch.equal(simple_gla(**strided, path=path)[0], simple_gla(**x, path=path)[0])


def test_the_compiled_form_says_that_it_takes_float32() -> None:
    with pytest.raises(PathUnavailable, match="float32 on the CPU"):
        simple_gla(**{name: t.double() for name, t in inputs(5).items()}, path="compiled")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"q_BTGK": torch.zeros(2, 0, 2, 20)}, r"no steps \(T = 0\)"),
        ({"q_BTGK": torch.zeros(2, 5, 3, 20), "k_BTGK": torch.zeros(2, 5, 3, 20)}, "G dividing H"),
        ({"k_BTGK": torch.zeros(2, 5, 2, 21)}, r"\(2, 5, 2, 21\)"),
        ({"g_BTH": torch.zeros(2, 5, 3)}, r"\(2, 5, 3\)"),
        ({"state": torch.zeros(2, 4, 33, 20)}, r"does not fit \(2, 4, 20, 33\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, torch.Tensor], words: str) -> None:
    for form in (simple_gla, simple_gla_loop):
        with pytest.raises(ValueError, match=words):
            form(**(inputs(5) | change))


def test_torch_sees_one_well_formed_operator() -> None:
    x = inputs(70)
    for path in ("torch", "auto"):
        values = [x[name].requires_grad_() for name in (*NAMES, "g_BTH", "state")]
        torch.library.opcheck(torch.ops.touchstone.simple_gla.default, (*values, 0.5, path))


INTERPRETED = """
import sys
import tests.kernels.test_simple_gla as tests
tests.hold(tests.inputs(130, H=2, G=1), "triton", scale=0.3)
x = tests.inputs(65, B=1, H=2, G=2, K=16, V=16)
for g in (0.0, -1e-6, -50.0):
    tests.hold(x | {"g_BTH": tests.torch.full((1, 65, 2), g)}, "triton")
x["g_BTH"][:, ::7] = -50.0
tests.hold(x, "triton")
print("agrees")
"""


@pytest.mark.skipif(not TRITON, reason="triton is not installed")
def test_the_triton_form_agrees_under_the_interpreter() -> None:
    """In a process of its own: the interpreter is chosen before triton is imported."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, cwd=root, capture_output=True, text=True)
    assert done.stdout == "agrees\n", done.stderr
