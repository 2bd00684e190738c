"""Retention: three forms, one map, in outputs and in every gradient, whatever the length, the chunks and the decay."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.retention import Retention, retention_chunkwise, retention_parallel, retention_recurrent

FORMS = [retention_recurrent, retention_parallel, retention_chunkwise, partial(retention_chunkwise, path="torch")]
LENGTHS = [1, 2, 63, 64, 65, 100, 200]


def inputs(T: int, B: int = 2, H: int = 3, K: int = 8, V: int = 12, seed: int = 0) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    shapes = {"q_BTHK": (B, T, H, K), "k_BTHK": (B, T, H, K), "v_BTHV": (B, T, H, V), "state": (B, H, K, V)}
    x = {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}
    return x | {"log_decay_H": torch.log1p(-(2.0 ** -(5.0 + torch.arange(H))))}


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("form", FORMS)
def test_outputs_and_gradients_are_those_of_the_recurrence_in_float64(form: Retention, T: int) -> None:
    x = inputs(T)
    assert_agrees(outputs_and_gradients(form, x), outputs_and_gradients(retention_recurrent, x, dtype=torch.float64), within=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_one_head_by_hand(form: Retention) -> None:
    q, k, v = (torch.tensor(x).view(1, 3, 1, 1) for x in ([1.0, 2.0, 3.0], [1.0, 1.0, 2.0], [5.0, 7.0, 1.0]))
    out, state = form(q, k, v, torch.tensor([0.5]).log(), state=torch.tensor(4.0).view(1, 1, 1, 1), scale=1.0)
    # states: 4/2+5 = 7, 7/2+7 = 10.5, 10.5/2+2 = 7.25
    torch.testing.assert_close(out.flatten(), torch.tensor([7.0, 21.0, 21.75]))
    torch.testing.assert_close(state.flatten(), torch.tensor([7.25]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cuts", [[100, 100], [1, 63, 136], [65, 1, 1, 133]])
def test_carrying_the_state_over_any_cut_changes_nothing(form: Retention, cuts: list[int]) -> None:
    x = inputs(200)
    decay, state = x.pop("log_decay_H"), x.pop("state")
    whole, last = retention_recurrent(*(t.double() for t in x.values()), decay.double(), state=state.double())
    outs = []
    for part in zip(*(torch.split(t, cuts, dim=1) for t in x.values()), strict=True):
        out, state = form(*part, decay, state=state)
        outs.append(out)
    assert_agrees({"out": torch.cat(outs, dim=1), "state": state}, {"out": whole, "state": last})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("log_decay", [0.0, -1e-7, -5.0, -80.0, -1e4])
def test_decays_from_never_to_at_once_are_exact_and_finite(form: Retention, log_decay: float) -> None:
    x = inputs(200) | {"log_decay_H": torch.full((3,), log_decay)}
    fast, plain = outputs_and_gradients(form, x), outputs_and_gradients(retention_recurrent, x, dtype=torch.float64)
    # where the memory is gone, what reaches the decay is below float32's smallest number
    vanished = [name for name in plain if plain[name].abs().max() < 1e-30]
    assert set(vanished) <= {"grad.log_decay_H", "grad.state"}
    for name in vanished:
        assert plain.pop(name).abs().max() < 1e-30
        assert fast.pop(name).abs().max() < 1e-30
    assert_agrees(fast, plain, within=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck_in_float64(form: Retention) -> None:
    x = {name: t.double().requires_grad_() for name, t in inputs(5, B=1, H=2, K=2, V=3).items()}
    assert torch.autograd.gradcheck(lambda *values: form(**dict(zip(x, values, strict=True))), tuple(x.values()))


@pytest.mark.parametrize("form", FORMS)
def test_the_future_does_not_reach_the_past(form: Retention) -> None:
    x = inputs(100)
    changed = x | {name: torch.cat((x[name][:, :70], x[name][:, 70:] + 1), dim=1) for name in ("q_BTHK", "k_BTHK", "v_BTHV")}
    before, after = form(**x)[0], form(**changed)[0]
    assert torch.equal(before[:, :70], after[:, :70])
    assert not torch.allclose(before[:, 70:], after[:, 70:])


@pytest.mark.parametrize("form", FORMS)
def test_without_a_state_it_starts_from_zeros(form: Retention) -> None:
    x = inputs(65)
    out, last = form(**(x | {"state": torch.zeros_like(x["state"])}))
    del x["state"]
    none_out, none_last = form(**x)
    assert_agrees({"out": none_out, "last": none_last}, {"out": out, "last": last}, within=1e-7)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("autocast", [False, True])
def test_narrow_inputs_beside_a_wide_decay_are_computed_and_answered_in_the_wide_dtype(form: Retention, autocast: bool) -> None:
    x = {name: t if name == "log_decay_H" else t.bfloat16() for name, t in inputs(100).items()}
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out, state = form(**x)
    reference, last = retention_recurrent(**{name: t.double() for name, t in x.items()})
    assert out.dtype == state.dtype == torch.float32
    assert_agrees({"out": out, "state": state}, {"out": reference, "state": last}, within=1e-5)
    assert {name: t.dtype for name, t in x.items()} == {
        name.removeprefix("grad."): t.dtype for name, t in outputs_and_gradients(form, x).items() if name.startswith("grad.")
    }


@pytest.mark.parametrize("form", FORMS)
def test_no_steps_are_refused(form: Retention) -> None:
    with pytest.raises(ValueError, match=r"no steps \(T = 0\)"):
        form(**inputs(0))
