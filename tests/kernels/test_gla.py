"""Vector-decay linear attention: every path is the recurrence, in outputs and gradients, with and without a bonus, under any decay."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import partial
from pathlib import Path as File

import pytest
import torch

from kernels import native
from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.gla import gla, gla_loop
from kernels.paths import Path, PathUnavailable
from kernels.simple_gla import simple_gla_loop

compiled = pytest.param("compiled", marks=pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler"))
PATHS = ["torch", compiled]
STREAMS = ("q_BTHK", "k_BTHK", "v_BTHV", "g_BTHK")


def inputs(
    T: int, B: int = 2, H: int = 3, K: int = 20, V: int = 33, *, bonus: bool = False, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Sizes that no vector and no tile divides; decays from 1 to 1/e."""
    random = torch.Generator().manual_seed(seed)
    shapes = {"q_BTHK": (B, T, H, K), "k_BTHK": (B, T, H, K), "v_BTHV": (B, T, H, V), "state": (B, H, K, V)}
    if bonus:
        shapes["bonus_HK"] = (H, K)
    x = {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}
    return x | {"g_BTHK": -torch.rand(B, T, H, K, generator=random)}


def hold(x: dict[str, torch.Tensor], path: Path, *, scale: float = 1.0) -> None:
    """Outputs to 1e-5 and gradients to 1e-4 of the loop in float64; what is nothing there is nothing here."""
    fast = outputs_and_gradients(partial(gla, path=path, scale=scale), x)
    plain = outputs_and_gradients(partial(gla_loop, scale=scale), x, dtype=torch.float64)
    for name in [name for name in plain if plain[name].abs().max() < 1e-30]:
        assert name in ("grad.g_BTHK", "grad.state")  # where the memory is gone, these are below float32's smallest number
        assert plain.pop(name).abs().max() < 1e-30
        assert fast.pop(name).abs().max() < 1e-30
    for kind, within in (("out", 1e-5), ("grad", 1e-4)):
        found, wanted = ({name: x for name, x in each.items() if name.startswith(kind)} for each in (fast, plain))
        assert_agrees(found, wanted, within=within)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("T", [1, 2, 31, 63, 64, 65, 200])
@pytest.mark.parametrize("sizes", [{}, {"K": 64, "V": 64}, {"H": 2, "K": 5, "V": 130, "bonus": True}, {"bonus": True}])
def test_outputs_and_gradients_are_those_of_the_recurrence_in_float64(path: Path, T: int, sizes: dict[str, int]) -> None:
    hold(inputs(T, **sizes), path, scale=0.3)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("bonus", [False, True])
@pytest.mark.parametrize("g", [0.0, -1e-7, -5.0, -20.0, -50.0, -1e4])
def test_decays_from_never_to_at_once_are_exact_and_finite(path: Path, bonus: bool, g: float) -> None:
    hold(inputs(100, bonus=bonus) | {"g_BTHK": torch.full((2, 100, 3, 20), g)}, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("bonus", [False, True])
def test_decays_of_every_kind_beside_each_other_are_exact(path: Path, bonus: bool) -> None:
    random = torch.Generator().manual_seed(3)
    kinds = torch.tensor([0.0, -1e-6, -0.1, -3.0, -50.0])
    hold(inputs(200, bonus=bonus) | {"g_BTHK": kinds[torch.randint(5, (2, 200, 3, 20), generator=random)]}, path)


@pytest.mark.parametrize("path", PATHS)
def test_the_gradient_of_a_long_memory_is_not_lost_in_a_sum_over_a_long_sequence(path: Path) -> None:
    x = inputs(3000, B=1, H=1, K=8, V=8)
    hold(x | {"g_BTHK": x["g_BTHK"] * 1e-3}, path)


@pytest.mark.parametrize("path", PATHS)
def test_a_slow_constant_decay_does_not_drift(path: Path) -> None:
    x = inputs(3000, B=1, H=1, K=8, V=8)
    x |= {name: torch.zeros_like(x[name]) for name in ("k_BTHK",)} | {"g_BTHK": torch.full_like(x["g_BTHK"], -1e-4)}
    _, last = gla(**x, path=path)
    assert_agrees({"last": last}, {"last": x["state"] * torch.tensor(-0.3, dtype=torch.float64).exp()})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("g", [-3e-7, -3e-6, -1e-2])
def test_a_memory_that_nothing_is_written_to_fades_without_drift_of_its_rounding(path: Path, g: float) -> None:
    nothing, state = torch.zeros(1, 3000, 1, 16), torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    _, last = gla(nothing, nothing, nothing, torch.full_like(nothing, g), state=state, path=path)
    wanted = state.double() * (3000 * torch.tensor(g).double()).exp()
    assert ((last.double() - wanted).norm() / wanted.norm()) < 5e-6


@pytest.mark.parametrize("path", PATHS)
def test_one_decay_for_all_keys_is_the_scalar_decay_operation(path: Path) -> None:
    x = inputs(100)
    x["g_BTHK"] = x["g_BTHK"][..., :1].expand_as(x["g_BTHK"])
    out, last = gla(**x, path=path)
    values = (x[name].double() for name in STREAMS[:3])
    wanted, final = simple_gla_loop(*values, x["g_BTHK"][..., 0].double(), state=x["state"].double())
    assert_agrees({"out": out, "last": last}, {"out": wanted, "last": final})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("bonus", [False, True])
@pytest.mark.parametrize("cuts", [[100, 100], [1, 63, 136], [65, 1, 1, 133]])
def test_carrying_the_state_over_any_cut_changes_nothing(path: Path, bonus: bool, cuts: list[int]) -> None:
    def in_parts(**x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state, outs = x["state"], []
        for part in zip(*(torch.split(x[name], cuts, dim=1) for name in STREAMS), strict=True):
            out, state = gla(*part, bonus_HK=x.get("bonus_HK"), state=state, path=path)
            outs.append(out)
        return torch.cat(outs, dim=1), state

    x = inputs(200, bonus=bonus)
    assert_agrees(outputs_and_gradients(in_parts, x), outputs_and_gradients(gla_loop, x, dtype=torch.float64), within=1e-5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("bonus", [False, True])
def test_the_future_does_not_reach_the_past(path: Path, bonus: bool) -> None:
    x = inputs(100, bonus=bonus)
    changed = x | {name: torch.cat((x[name][:, :70], x[name][:, 70:] - 1), dim=1) for name in STREAMS}
    before, after = gla(**x, path=path)[0], gla(**changed, path=path)[0]
    assert torch.equal(before[:, :70], after[:, :70])
    assert not torch.allclose(before[:, 70:], after[:, 70:])


@pytest.mark.parametrize("path", PATHS)
def test_narrow_inputs_are_computed_in_float32_and_answered_in_their_own_dtype(path: Path) -> None:
    x = {name: t.bfloat16() for name, t in inputs(100, bonus=True).items()}
    with torch.autocast("cpu", torch.bfloat16):
        out, state = gla(**x, path=path)
    reference, last = gla_loop(**{name: t.double() for name, t in x.items()})
    assert (out.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert_agrees({"out": out}, {"out": reference.bfloat16()}, within=1e-3)  # a rare last bit of bfloat16 rounds the other way
    assert_agrees({"state": state}, {"state": last})
    gradients = outputs_and_gradients(partial(gla, path=path), x)
    assert {gradients[f"grad.{name}"].dtype for name in x} == {torch.bfloat16}


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
def test_the_bits_are_the_same_on_any_number_of_threads() -> None:
    x, before = inputs(130, bonus=True), torch.get_num_threads()
    expected = outputs_and_gradients(partial(gla, path="compiled"), x)
    try:
        torch.set_num_threads(3)
        found = outputs_and_gradients(partial(gla, path="compiled"), x)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("bonus", [False, True])
def test_gradcheck_in_float64_over_several_chunks(bonus: bool) -> None:
    x = {name: t.double().requires_grad_() for name, t in inputs(66, B=1, H=2, K=2, V=1, bonus=bonus).items()}
    assert torch.autograd.gradcheck(lambda *values: gla(**dict(zip(x, values, strict=True))), tuple(x.values()), fast_mode=True)


@pytest.mark.parametrize("path", PATHS)
def test_inputs_need_not_be_contiguous(path: Path) -> None:
    x = inputs(70)
    strided = {name: t.mT.contiguous().mT for name, t in x.items()}
    assert not strided["q_BTHK"].is_contiguous()
    assert torch.equal(gla(**strided, path=path)[0], gla(**x, path=path)[0])


def test_the_compiled_form_says_that_it_takes_float32() -> None:
    with pytest.raises(PathUnavailable, match="float32 on the CPU"):
        gla(**{name: t.double() for name, t in inputs(5).items()}, path="compiled")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"q_BTHK": torch.zeros(2, 0, 3, 20)}, r"no steps \(T = 0\)"),
        ({"g_BTHK": torch.zeros(2, 5, 3, 1)}, r"\(2, 5, 3, 1\)"),
        ({"v_BTHV": torch.zeros(2, 4, 3, 33)}, r"\(2, 4, 3, 33\)"),
        ({"bonus_HK": torch.zeros(20)}, r"\(20,\)"),
        ({"state": torch.zeros(2, 3, 33, 20)}, r"does not fit \(2, 3, 20, 33\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, torch.Tensor], words: str) -> None:
    for form in (gla, gla_loop):
        with pytest.raises(ValueError, match=words):
            form(**(inputs(5) | change))


@pytest.mark.parametrize("bonus", [False, True])
@pytest.mark.parametrize("path", ["torch", "auto"])
def test_torch_sees_one_well_formed_operator(path: Path, bonus: bool) -> None:
    x = inputs(70, bonus=bonus)
    values = [x[name].requires_grad_() if name in x else None for name in (*STREAMS, "bonus_HK", "state")]
    torch.library.opcheck(torch.ops.touchstone.gla.default, (*values, 0.5, path))


INTERPRETED = """
import tests.kernels.test_gla as tests
kinds = tests.torch.tensor([0.0, -1e-6, -0.1, -3.0, -50.0])
for bonus in (False, True):
    tests.hold(tests.inputs(35, B=1, H=2, K=17, V=9, bonus=bonus), "triton", scale=0.3)
    x = tests.inputs(18, B=1, H=1, K=5, V=3, bonus=bonus)
    tests.hold(x | {"g_BTHK": kinds[tests.torch.arange(90) % 5].view(1, 18, 1, 5)}, "triton")
print("agrees")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_the_triton_form_agrees_under_the_interpreter() -> None:
    """In a process of its own: the interpreter is chosen before triton is imported."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    root = File(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, cwd=root, capture_output=True, text=True)
    assert done.stdout == "agrees\n", done.stderr
