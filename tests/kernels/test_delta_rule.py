"""The delta rule family: every path is the recurrence, in outputs and gradients, whatever length, decay and cut."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path as File

import pytest
import torch
import torch.nn.functional as F

from kernels import native
from kernels.agreement import assert_agrees, outputs_and_gradients, rmse_ratio
from kernels.delta_rule import delta_rule, delta_rule_loop, dplr, dplr_loop
from kernels.paths import Path, PathUnavailable

compiled = pytest.param("compiled", marks=pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler"))
PATHS = ["torch", compiled]
KINDS = ["delta", "gated", "kda", "dplr"]
LENGTHS = [1, 2, 63, 64, 65, 200]
Form = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def form(kind: str, path: Path = "auto") -> Form:
    return partial(dplr if kind == "dplr" else delta_rule, path=path)


def loop(kind: str) -> Form:
    return dplr_loop if kind == "dplr" else delta_rule_loop


def inputs(kind: str, T: int, B: int = 2, H: int = 3, K: int = 20, V: int = 33, seed: int = 0) -> dict[str, torch.Tensor]:
    """Sizes that no vector and no tile divides; keys of length 1, beta up to 2, decays from 1 to 1/e."""
    random = torch.Generator().manual_seed(seed)
    x = {name: torch.randn(B, T, H, size, generator=random) for name, size in (("q_BTHK", K), ("k_BTHK", K), ("v_BTHV", V))}
    x |= {"k_BTHK": F.normalize(x["k_BTHK"], dim=-1), "state": torch.randn(B, H, K, V, generator=random)}
    if kind == "dplr":
        direction = F.normalize(torch.randn(B, T, H, K, generator=random), dim=-1)
        x |= {"a_BTHK": -direction, "b_BTHK": direction * torch.rand(B, T, H, K, generator=random)}
    else:
        x["beta_BTH"] = 2 * torch.rand(B, T, H, generator=random)
    return x if kind == "delta" else x | {"g": -torch.rand(B, T, H, *(() if kind == "gated" else (K,)), generator=random)}


def hold(kind: str, path: Path, x: dict[str, torch.Tensor], *, scale: float = 1.0) -> None:
    """Outputs to 1e-5 and gradients to 1e-4 of the loop in float64; what is nothing there is nothing here."""
    fast = outputs_and_gradients(partial(form(kind, path), scale=scale), x)
    plain = outputs_and_gradients(partial(loop(kind), scale=scale), x, dtype=torch.float64)
    for name in [name for name in plain if plain[name].abs().max() < 1e-30]:
        assert name in (
            "grad.g",
            "grad.state",
            "grad.beta_BTH",
            "grad.a_BTHK",
            "grad.b_BTHK",
        )  # what only a memory or a second step can reach
        assert plain.pop(name).abs().max() < 1e-30
        assert fast.pop(name).abs().max() < 1e-30
    for part, within in (("out", 1e-5), ("grad", 1e-4)):
        found, wanted = ({name: x for name, x in each.items() if name.startswith(part)} for each in (fast, plain))
        assert_agrees(found, wanted, within=within)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("sizes", [{}, {"H": 2, "K": 64, "V": 64}, {"H": 2, "K": 5, "V": 130}])
def test_outputs_and_gradients_are_those_of_the_recurrence_in_float64(
    path: Path, kind: str, T: int, sizes: dict[str, int]
) -> None:
    hold(kind, path, inputs(kind, T, **sizes), scale=0.3)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["gated", "kda", "dplr"])
@pytest.mark.parametrize("g", [0.0, -1e-7, -5.0, -20.0, -50.0, -1e4])
def test_decays_from_never_to_at_once_are_exact_and_finite(path: Path, kind: str, g: float) -> None:
    x = inputs(kind, 100)
    hold(kind, path, x | {"g": torch.full_like(x["g"], g)})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["gated", "kda", "dplr"])
def test_decays_of_every_kind_beside_each_other_are_exact(path: Path, kind: str) -> None:
    x, random = inputs(kind, 200), torch.Generator().manual_seed(3)
    kinds = torch.tensor([0.0, -1e-6, -0.1, -3.0, -50.0, -1e4])
    hold(kind, path, x | {"g": kinds[torch.randint(6, x["g"].shape, generator=random)]})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["gated", "kda", "dplr"])
def test_a_slow_decay_is_exact_over_a_long_sequence(path: Path, kind: str) -> None:
    """exp(-1e-4) rounds to a neighbour in float32; 2000 equal steps of the rounded one would be off by several 1e-5."""
    x = inputs(kind, 2000, B=1, H=1, K=8, V=8)
    x |= {name: x[name] * 1e-3 for name in ("k_BTHK", "a_BTHK", "v_BTHV") if name in x}
    x["g"] = torch.full_like(x["g"], -1e-4)
    found, wanted = form(kind, path)(**x), loop(kind)(**{name: t.double() for name, t in x.items()})
    assert_agrees(dict(zip("os", found, strict=True)), dict(zip("os", wanted, strict=True)))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("per_key", [False, True])
@pytest.mark.parametrize("g", [-3e-7, -3e-6, -1e-4, -1e-2])
def test_a_memory_that_nothing_is_written_to_fades_without_drift_of_its_rounding(path: Path, per_key: bool, g: float) -> None:
    T, K, state = 3000, 16, torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    nothing, g_T = torch.zeros(1, T, 1, K), torch.full((1, T, 1, K) if per_key else (1, T, 1), g)
    _, last = delta_rule(nothing, nothing, nothing, nothing[..., 0], g_T, state=state, path=path)
    wanted = state.double() * (T * g_T.double().flatten()[0]).exp()
    assert rmse_ratio(last, wanted) < 8e-6


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_long_sequence_is_exact(path: Path, kind: str) -> None:
    x = inputs(kind, 700, B=1, H=1, K=16, V=8)
    hold(kind, path, x := x | ({"g": x["g"] * 1e-3} if "g" in x else {}))
    with torch.no_grad():
        found, wanted = form(kind, path)(**x), loop(kind)(**{name: tensor.double() for name, tensor in x.items()})
    assert_agrees(dict(zip(("out", "state"), found, strict=True)), dict(zip(("out", "state"), wanted, strict=True)))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cuts", [[100, 100], [1, 63, 136], [65, 1, 1, 133]])
def test_carrying_the_state_over_any_cut_changes_nothing(path: Path, kind: str, cuts: list[int]) -> None:
    x = inputs(kind, 200)
    whole, last = loop(kind)(**{name: t.double() for name, t in x.items()})
    state, outs, names = x.pop("state"), [], list(x)
    for part in zip(*(torch.split(x[name], cuts, dim=1) for name in names), strict=True):
        out, state = form(kind, path)(**dict(zip(names, part, strict=True)), state=state)
        outs.append(out)
    assert_agrees({"out": torch.cat(outs, dim=1), "state": state}, {"out": whole, "state": last})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_flow_through_a_carried_state(path: Path, kind: str) -> None:
    def in_two(**x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state = x.pop("state")
        first, state = form(kind, path)(**{name: t[:, :70] for name, t in x.items()}, state=state)
        second, state = form(kind, path)(**{name: t[:, 70:] for name, t in x.items()}, state=state)
        return torch.cat((first, second), dim=1), state

    x = inputs(kind, 150)
    assert_agrees(outputs_and_gradients(in_two, x), outputs_and_gradients(loop(kind), x, dtype=torch.float64), within=1e-5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_future_does_not_reach_the_past(path: Path, kind: str) -> None:
    x = inputs(kind, 100)
    changed = {name: t if name == "state" else torch.cat((t[:, :70], t[:, 70:] - 0.1), dim=1) for name, t in x.items()}
    before, after = form(kind, path)(**x)[0], form(kind, path)(**changed)[0]
    assert torch.equal(before[:, :64], after[:, :64])
    assert_agrees({"out": after[:, :70]}, {"out": before[:, :70]}, within=1e-6)
    assert not torch.allclose(before[:, 70:], after[:, 70:])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("autocast", [False, True])
def test_narrow_inputs_are_computed_in_float32_and_answered_in_their_own_dtype(path: Path, kind: str, autocast: bool) -> None:
    x = {name: t.bfloat16() for name, t in inputs(kind, 100).items()}
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out, state = form(kind, path)(**x)
    reference, last = loop(kind)(**{name: t.double() for name, t in x.items()})
    assert (out.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert_agrees({"out": out}, {"out": reference.bfloat16()}, within=1e-3)  # a rare last bit of bfloat16 rounds the other way
    assert_agrees({"state": state}, {"state": last})
    gradients = outputs_and_gradients(form(kind, path), x)
    assert {gradients[f"grad.{name}"].dtype for name in x} == {torch.bfloat16}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
def test_the_bits_are_the_same_on_any_number_of_threads(kind: str) -> None:
    x, before = inputs(kind, 70), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(outputs_and_gradients(form(kind, "compiled"), x))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(other[name], found[0][name]) for other in found for name in other)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_in_float64_over_several_chunks_and_segments(kind: str) -> None:
    x = {name: t.double().requires_grad_() for name, t in inputs(kind, 140, B=1, H=1, K=2, V=1).items()}
    assert torch.autograd.gradcheck(
        lambda *values: form(kind)(**dict(zip(x, values, strict=True))), tuple(x.values()), fast_mode=True
    )


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_inputs_need_not_be_contiguous(path: Path, kind: str) -> None:
    x = inputs(kind, 70)
    strided = {name: t.mT.contiguous().mT for name, t in x.items()}
    assert not strided["q_BTHK"].is_contiguous()
    assert torch.equal(form(kind, path)(**strided)[0], form(kind, path)(**x)[0])


@pytest.mark.parametrize("path", PATHS)
def test_without_g_nothing_decays_and_one_g_per_channel_may_be_the_same_for_all(path: Path) -> None:
    x = inputs("gated", 100)
    g = x.pop("g")
    plain = outputs_and_gradients(form("delta", path), x)
    assert_agrees({"out": form("gated", path)(**x, g=0 * g)[0]}, {"out": plain["out.0"]}, within=1e-6)
    shared, spread = form("gated", path)(**x, g=g)[0], form("kda", path)(**x, g=g[..., None].expand(-1, -1, -1, 20))[0]
    assert_agrees({"out": spread}, {"out": shared}, within=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_the_delta_rule_is_diagonal_plus_rank_one(path: Path) -> None:
    x = inputs("kda", 100)
    k, beta, g = x["k_BTHK"], x["beta_BTH"][..., None], x["g"]
    found = form("dplr", path)(x["q_BTHK"], beta * k, x["v_BTHV"], -k * g.exp(), beta * k, g, state=x["state"])
    out, state = form("kda", path)(**x)
    assert_agrees(dict(zip("os", found, strict=True)), {"o": out, "s": state}, within=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_a_written_value_is_read_back_whole_and_only_its_key_is_rewritten(path: Path) -> None:
    """With beta = 1 a second value under a key replaces the first; linear attention would answer with their sum."""
    keys = torch.eye(3)[[0, 1, 0, 2, 1]]
    values = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    _, memory = delta_rule(keys[None, :, None], keys[None, :, None], values[None, :, None], torch.ones(1, 5, 1), path=path)
    assert_agrees({"memory": memory[0, 0]}, {"memory": values[[2, 4, 3]]}, within=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_beta_of_two_counts_parity_for_ever_and_beta_up_to_one_cannot(path: Path) -> None:
    """Each 1 reflects the memory along one key, so its sign is the parity; with beta <= 1 no token ever changes the sign."""
    random, T = torch.Generator().manual_seed(0), 5000
    bits = torch.randint(2, (1, T, 1), generator=random).float()
    key, nothing, start = torch.ones(1, T, 1, 1), torch.zeros(1, T, 1, 1), torch.ones(1, 1, 1, 1)
    out, _ = delta_rule(key, key, nothing, 2 * bits, state=start, path=path)
    assert torch.equal(out[0, :, 0, 0], 1 - 2 * (bits[0, :, 0].cumsum(0) % 2))
    for small in (bits, torch.rand(1, T, 1, generator=random)):
        assert (delta_rule(key, key, nothing, small, state=start, path=path)[0] > -1e-6).all()


@pytest.mark.parametrize("path", PATHS)
def test_two_reflections_per_step_rotate_so_swaps_of_three_things_compose(path: Path) -> None:
    """A swap of things i and j is the reflection along e_i - e_j, beta = 2: S3, which no diagonal transition can follow."""
    random, T = torch.Generator().manual_seed(1), 400
    swaps = torch.tensor([[0, 1], [1, 2], [0, 2]])[torch.randint(3, (T,), generator=random)]
    basis = torch.eye(3)
    keys = (basis[swaps[:, 0]] - basis[swaps[:, 1]]) / 2**0.5
    _, found = delta_rule(
        keys[None, :, None],
        keys[None, :, None],
        torch.zeros(1, T, 1, 3),
        torch.full((1, T, 1), 2.0),
        state=basis[None, None],
        path=path,
    )
    places = [0, 1, 2]
    for i, j in swaps.tolist():
        places[i], places[j] = places[j], places[i]
    assert torch.allclose(found[0, 0], basis[places], atol=1e-4)


def test_the_compiled_form_says_that_it_takes_float32() -> None:
    with pytest.raises(PathUnavailable, match="float32 on the CPU"):
        form("delta", "compiled")(**{name: t.double() for name, t in inputs("delta", 5).items()})


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("gated", {"q_BTHK": torch.zeros(2, 0, 3, 20)}, r"no steps \(T = 0\)"),
        ("gated", {"k_BTHK": torch.zeros(2, 5, 3, 21)}, r"`k` of shape \(2, 5, 3, 21\)"),
        ("gated", {"g": torch.zeros(2, 5, 2)}, r"`g` of shape \(2, 5, 2\)"),
        ("kda", {"g": torch.zeros(2, 5, 3, 19)}, r"`g` of shape \(2, 5, 3, 19\) does not fit \(2, 5, 3, 20\)"),
        ("delta", {"beta_BTH": torch.zeros(2, 5, 3, 1)}, r"`beta` of shape"),
        ("dplr", {"a_BTHK": torch.zeros(2, 5, 3)}, r"`a` of shape"),
        ("dplr", {"state": torch.zeros(2, 3, 33, 20)}, r"does not fit \(2, 3, 20, 33\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(kind: str, change: dict[str, torch.Tensor], words: str) -> None:
    for each in (form(kind), loop(kind)):
        with pytest.raises(ValueError, match=words):
            each(**(inputs(kind, 5) | change))


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("kind", KINDS)
def test_torch_sees_one_well_formed_operator(kind: str) -> None:
    x = {name: t.requires_grad_() for name, t in inputs(kind, 70).items()}
    optional = [x.get(name) for name in ("g", "beta_BTH", "a_BTHK", "b_BTHK")]
    values = [x["q_BTHK"], x["k_BTHK"], x["v_BTHV"], *optional, x["state"], 0.5, True]
    torch.library.opcheck(torch.ops.touchstone.delta_rule.default, tuple(values))


INTERPRETED = """
import tests.kernels.test_delta_rule as tests
tests.hold("dplr", "triton", tests.inputs("dplr", 35, B=1, H=1), scale=0.3)
tests.hold("delta", "triton", tests.inputs("delta", 18, B=1, H=2, K=5, V=3))
kinds = tests.torch.tensor([0.0, -1e-6, -0.1, -3.0, -50.0])
for kind in ("gated", "kda"):
    x = tests.inputs(kind, 18, B=1, H=1, K=5, V=3)
    tests.hold(kind, "triton", x | {"g": kinds[tests.torch.arange(x["g"].numel()) % 5].view(x["g"].shape)})
print("agrees")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_the_triton_form_agrees_under_the_interpreter() -> None:
    """In a process of its own: the interpreter is chosen before triton is imported."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    root = File(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, cwd=root, capture_output=True, text=True)
    assert done.stdout == "agrees\n", done.stderr
