"""RWKV-4's averages: every path is the recurrence and the paper's sum, in outputs and gradients, for keys and decays of any size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from kernels import native
from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.paths import Path, PathUnavailable
from kernels.rwkv4 import rwkv4, rwkv4_loop

compiled = pytest.param("compiled", marks=pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler"))
PATHS = ["torch", compiled]
DECAYS = torch.tensor([0.0, -1e-6, -0.1, -0.999, -1.001, -3.0, -50.0, -1e4])


def inputs(T: int, B: int = 2, E: int = 37, *, state: bool = True, seed: int = 0) -> dict[str, torch.Tensor]:
    """Channels that no vector divides; decays from 1 to 1/e."""
    random = torch.Generator().manual_seed(seed)
    x = {name: torch.randn(B, T, E, generator=random) for name in ("k", "v")}
    x |= {"w": -torch.rand(E, generator=random), "u": torch.randn(E, generator=random)}
    return x | ({name: torch.randn(B, E, generator=random) for name in ("average", "weight")} if state else {})


def flat(form: Callable[..., Any]) -> Callable[..., tuple[torch.Tensor, ...]]:
    def run(average: Any = None, weight: Any = None, **x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out, state = form(x["k"], x["v"], x["w"], x["u"], state=None if average is None else (average, weight))
        return out, *state

    return run


def hold(x: dict[str, torch.Tensor], path: Path, *, within: float = 1e-5) -> None:
    """Outputs to `within` and gradients to 1e-4 of the loop in float64; what is nothing there, by its own rounding, is nothing here."""
    fast = outputs_and_gradients(flat(partial(rwkv4, path=path)), x)
    plain = outputs_and_gradients(flat(rwkv4_loop), x, dtype=torch.float64)
    for name in [name for name in plain if plain[name].abs().max() < 1e-15]:
        assert name in ("grad.w", "grad.u", "grad.average", "grad.weight")  # where there is no past, or all of it is forgotten
        assert plain.pop(name).abs().max() < 1e-15
        assert fast.pop(name).abs().max() < 1e-15
    for kind, bound in (("out", within), ("grad", 1e-4)):
        found, wanted = ({name: t for name, t in each.items() if name.startswith(kind)} for each in (fast, plain))
        assert_agrees(found, wanted, within=bound)


def by_the_sum(x: dict[str, torch.Tensor]) -> torch.Tensor:
    """Equation 16 in float64: all pairs of tokens."""
    k, v, w, u = (x[name].double() for name in ("k", "v", "w", "u"))
    T = k.shape[1]
    lag_TT = torch.arange(T)[:, None] - torch.arange(T)
    logs = (lag_TT - 1)[..., None] * w + k[:, None]
    logs = torch.where((lag_TT == 0)[..., None], k[:, None] + u, logs).masked_fill((lag_TT < 0)[..., None], -torch.inf)
    shares: torch.Tensor = logs.softmax(dim=2)
    return (shares * v[:, None]).sum(2)


@pytest.mark.parametrize("path", PATHS)
def test_outputs_and_gradients_are_the_papers_sum(path: Path) -> None:
    x = inputs(70, state=False)
    x["w"] = DECAYS[torch.arange(37) % 8]
    plain = outputs_and_gradients(lambda **x: by_the_sum(x), x, dtype=torch.float64)
    assert_agrees(outputs_and_gradients(lambda **x: flat(partial(rwkv4, path=path))(**x)[0], x), plain, within=1e-5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("T", [1, 2, 63, 64, 65, 200])
def test_outputs_and_gradients_are_those_of_the_recurrence_in_float64(path: Path, state: bool, T: int) -> None:
    hold(inputs(T, state=state), path)
    hold(inputs(T, E=150, state=state) | {"w": DECAYS[torch.arange(150) % 8]}, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("w", DECAYS.tolist())
def test_decays_from_never_to_at_once_are_exact_and_finite(path: Path, w: float) -> None:
    hold(inputs(150) | {"w": torch.full((37,), w)}, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("low", "high"), [(-300.0, 300.0), (-90.0, -80.0), (200.0, 210.0)])
def test_keys_of_any_size_are_safe(path: Path, low: float, high: float) -> None:
    x = inputs(150)
    x["k"] = low + (high - low) * torch.rand(x["k"].shape, generator=torch.Generator().manual_seed(1))
    x["u"] *= 10
    hold(x | {"w": DECAYS[torch.arange(37) % 8]}, path, within=1e-4)  # a float32 near 300 is itself known to 3e-5 only


@pytest.mark.parametrize("path", PATHS)
def test_a_decay_that_is_tiny_beside_the_log_weight_is_not_lost(path: Path) -> None:
    x = {"k": torch.cat((torch.full((1, 1, 2), 12.0), torch.full((1, 20_000, 2), -30.0)), dim=1), "u": torch.zeros(2)}
    x |= {"v": torch.zeros(1, 20_001, 2), "w": torch.tensor([-4e-7, 0.0])}  # to float32, 12 + w is 12
    weight = flat(partial(rwkv4, path=path))(**x)[2]
    assert weight[0, 0] == pytest.approx(12 - 4e-7 * 20_000, abs=2e-4)
    assert weight[0, 1] == pytest.approx(12, abs=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_a_long_sequence_agrees(path: Path) -> None:
    x = inputs(5000, B=1, E=16)
    hold(x | {"w": -torch.logspace(-6, 0, 16)}, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cuts", [[100, 100], [1, 63, 136], [65, 1, 1, 133]])
def test_carrying_the_state_over_any_cut_changes_nothing(path: Path, cuts: list[int]) -> None:
    def in_parts(k: Any, v: Any, w: Any, u: Any, *, state: Any) -> tuple[torch.Tensor, Any]:
        outs = []
        for part in zip(torch.split(k, cuts, dim=1), torch.split(v, cuts, dim=1), strict=True):
            out, state = rwkv4(*part, w, u, state=state, path=path)
            outs.append(out)
        return torch.cat(outs, dim=1), state

    for state in (False, True):
        x = inputs(200, state=state)
        plain = outputs_and_gradients(flat(rwkv4_loop), x, dtype=torch.float64)
        assert_agrees(outputs_and_gradients(flat(in_parts), x), plain, within=1e-5)


@pytest.mark.parametrize("path", PATHS)
def test_narrow_inputs_are_computed_in_float32_and_answered_in_their_own_dtype(path: Path) -> None:
    x = {name: t.bfloat16() for name, t in inputs(100).items()}
    with torch.autocast("cpu", torch.bfloat16):
        out, average, weight = flat(partial(rwkv4, path=path))(**x)
    reference, *last = flat(rwkv4_loop)(**{name: t.double() for name, t in x.items()})
    assert (out.dtype, average.dtype, weight.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert_agrees({"out": out}, {"out": reference.bfloat16()}, within=1e-3)  # a rare last bit of bfloat16 rounds the other way
    assert_agrees({"average": average, "weight": weight}, {"average": last[0], "weight": last[1]})


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
def test_the_bits_are_the_same_on_any_number_of_threads() -> None:
    x, before = inputs(130, E=150), torch.get_num_threads()
    form = flat(partial(rwkv4, path="compiled"))
    expected = outputs_and_gradients(form, x)
    try:
        torch.set_num_threads(3)
        found = outputs_and_gradients(form, x)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_gradcheck_in_float64() -> None:
    x = {name: t.double().requires_grad_() for name, t in inputs(20, B=1, E=2).items()}
    form = flat(rwkv4)
    assert torch.autograd.gradcheck(lambda *values: form(**dict(zip(x, values, strict=True))), tuple(x.values()), fast_mode=True)


def test_the_compiled_form_says_that_it_takes_float32() -> None:
    with pytest.raises(PathUnavailable, match="float32 on the CPU"):
        flat(partial(rwkv4, path="compiled"))(**{name: t.double() for name, t in inputs(5).items()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": torch.zeros(2, 0, 37)}, r"no steps \(T = 0\)"),
        ({"v": torch.zeros(2, 5, 36)}, r"\(2, 5, 36\)"),
        ({"u": torch.zeros(1, 37)}, r"\(1, 37\)"),
        ({"weight": torch.zeros(2, 36)}, r"does not fit \(2, 37\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, torch.Tensor], words: str) -> None:
    for form in (rwkv4, rwkv4_loop):
        with pytest.raises(ValueError, match=words):
            flat(form)(**(inputs(5) | change))


@pytest.mark.parametrize("path", ["torch", "auto"])
def test_torch_sees_one_well_formed_operator(path: Path) -> None:
    values = [t.requires_grad_() for t in inputs(70).values()]
    torch.library.opcheck(torch.ops.touchstone.rwkv4.default, (*values, path))


def test_outputs_and_gradients_are_those_of_transformers() -> None:
    rwkv = pytest.importorskip("transformers.models.rwkv.modeling_rwkv", reason="transformers is not installed")
    x = inputs(60, state=False)
    plain = outputs_and_gradients(lambda k, v, w, u: rwkv.rwkv_linear_attention_cpu(w, u, k, v)[0], x)
    assert_agrees(outputs_and_gradients(lambda k, v, w, u: rwkv4(k, v, -w.exp(), u)[0], x), plain, within=1e-5)
