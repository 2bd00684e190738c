"""The selective scan with its hand-written backward is the plain loop, in every output and every gradient."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from kernels import scan
from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.scan import selective_scan, selective_scan_loop


def inputs(T: int, B: int = 2, E: int = 5, N: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    shapes = {"x_BTE": (B, T, E), "B_BTN": (B, T, N), "C_BTN": (B, T, N), "D_E": (E,), "state": (B, E, N)}
    x = {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}
    A_EN = -torch.arange(1.0, N + 1).repeat(E, 1)
    return x | {"dt_BTE": 0.001 + 0.2 * torch.rand((B, T, E), generator=random), "A_EN": A_EN}


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four steps per chunk, so that small tests cross many of them."""
    monkeypatch.setattr(scan, "CHUNK_FLOATS", 1)


@pytest.mark.parametrize("T", [1, 2, 63, 64, 65, 100, 200])
def test_outputs_and_gradients_are_those_of_the_loop_in_float64(T: int) -> None:
    x = inputs(T)
    assert_agrees(
        outputs_and_gradients(selective_scan, x), outputs_and_gradients(selective_scan_loop, x, dtype=torch.float64), within=1e-5
    )


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("T", [1, 3, 4, 5, 63, 100])
def test_the_chunk_length_is_only_a_matter_of_speed(T: int) -> None:
    x = inputs(T)
    assert_agrees(
        outputs_and_gradients(selective_scan, x), outputs_and_gradients(selective_scan_loop, x, dtype=torch.float64), within=1e-5
    )


def test_one_channel_by_hand() -> None:
    x, dt, B, C = (torch.tensor(t).view(1, 2, 1) for t in ([1.0, 3.0], [1.0, 2.0], [4.0, 5.0], [1.0, 2.0]))
    half = torch.tensor([[0.5]]).log()
    for form in (selective_scan, selective_scan_loop):
        y, state = form(x, dt, half, B, C, torch.tensor([10.0]), state=torch.tensor([[[8.0]]]))
        # 8/2 + 1*4*1 = 8, then 8/4 + 2*5*3 = 32; the skip adds 10 x
        torch.testing.assert_close(y.flatten(), torch.tensor([18.0, 94.0]))
        torch.testing.assert_close(state.flatten(), torch.tensor([32.0]))


@pytest.mark.parametrize("cuts", [[100, 100], [1, 63, 136], [65, 1, 1, 133]])
def test_carrying_the_state_over_any_cut_changes_nothing(cuts: list[int]) -> None:
    x = inputs(200)
    whole, last = selective_scan_loop(**{name: t.double() for name, t in x.items()})
    timed = [name for name in x if "T" in name]
    outs, state = [], x["state"]
    for part in zip(*(torch.split(x[name], cuts, dim=1) for name in timed), strict=True):
        out, state = selective_scan(**dict(zip(timed, part, strict=True)), A_EN=x["A_EN"], D_E=x["D_E"], state=state)
        outs.append(out)
    assert_agrees({"out": torch.cat(outs, dim=1), "state": state}, {"out": whole, "state": last})


@pytest.mark.usefixtures("short_chunks")
def test_gradcheck_in_float64() -> None:
    x = {name: t.double().requires_grad_() for name, t in inputs(10, B=1, E=2, N=2).items()}
    assert torch.autograd.gradcheck(lambda *values: selective_scan(**dict(zip(x, values, strict=True))), tuple(x.values()))


@pytest.mark.parametrize("dt", [1e-8, 1.0, 30.0, 1e4])
def test_steps_from_tiny_to_huge_are_exact_and_finite(dt: float) -> None:
    x = inputs(100) | {"dt_BTE": torch.full((2, 100, 5), dt)}
    fast, plain = outputs_and_gradients(selective_scan, x), outputs_and_gradients(selective_scan_loop, x, dtype=torch.float64)
    vanished = [name for name in plain if plain[name].abs().max() < 1e-30]
    assert set(vanished) <= {"grad.A_EN", "grad.state"}  # a memory that is wiped out at once teaches its rate nothing
    for name in vanished:
        assert plain.pop(name).abs().max() < 1e-30
        assert fast.pop(name).abs().max() < 1e-30
    assert_agrees(fast, plain, within=1e-5)


def test_the_future_does_not_reach_the_past() -> None:
    x = inputs(100)
    changed = x | {name: torch.cat((x[name][:, :70], x[name][:, 70:] + 1), dim=1) for name in x if "T" in name}
    before, after = selective_scan(**x)[0], selective_scan(**changed)[0]
    assert torch.equal(before[:, :70], after[:, :70])
    assert not torch.allclose(before[:, 70:], after[:, 70:])


def test_without_a_state_it_starts_from_zeros() -> None:
    x = inputs(65)
    out, last = selective_scan(**(x | {"state": torch.zeros_like(x["state"])}))
    del x["state"]
    none_out, none_last = selective_scan(**x)
    assert torch.equal(none_out, out)
    assert torch.equal(none_last, last)


GROWTH = r"""
import re, sys, torch
from kernels.scan import selective_scan, selective_scan_loop
form, T = {"fast": selective_scan, "loop": selective_scan_loop}[sys.argv[1]], int(sys.argv[2])
# not ru_maxrss, which a child inherits from its parent
peak = lambda: int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1])
def go(T):
    x, dt = torch.randn(4, T, 256, requires_grad=True), torch.rand(4, T, 256, requires_grad=True)
    A = -torch.ones(256, 16, requires_grad=True)
    B, C = (torch.randn(4, T, 16, requires_grad=True) for _ in range(2))
    form(x, dt, A, B, C, torch.ones(256))[0].sum().backward()
go(4)
before = peak()
go(T)
print(peak() - before)
"""


def growth(form: str, T: int) -> int:
    """KiB by which the peak of a fresh process grows in one forward and backward pass."""
    return int(subprocess.run([sys.executable, "-c", GROWTH, form, str(T)], capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_training_memory_is_linear_in_length_and_a_fifth_of_the_loops() -> None:
    """pytest -m slow tests/kernels/test_scan.py"""
    assert growth("fast", 2048) / growth("fast", 1024) < 2.3
    assert growth("fast", 1024) < growth("loop", 1024) / 5
