"""Mamba is the paper's algorithm 2, written out a second time here step by step in float64."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from kernels import native
from kernels.agreement import assert_agrees
from modules.contract import check
from modules.mamba import Config, Mamba

SMALL = Config(d_model=16, d_state=8)


def build(config: Config = SMALL, seed: int = 0) -> Mamba:
    torch.manual_seed(seed)
    return Mamba(config)


def by_the_paper(net: Mamba, u: torch.Tensor) -> torch.Tensor:
    """One document position and one channel group at a time; convolution and recurrence by their definitions."""
    m = net.mixer
    w = {name: p.detach().double() for name, p in m.named_parameters()}
    u = u.double()
    h = F.rms_norm(u, (u.shape[-1],), net.norm.weight.detach().double(), 1e-6)
    E, N, W = 32, 8, 4
    inner = h @ w["project_in.weight"].T
    x, z = inner[..., :E], inner[..., E:]
    state, outs = torch.zeros(u.shape[0], E, N, dtype=torch.float64), []
    for t in range(u.shape[1]):
        c = w["conv.bias"].expand(u.shape[0], E)
        for lag in range(min(W, t + 1)):
            c = c + w["conv.weight"][:, 0, W - 1 - lag] * x[:, t - lag]
        c = F.silu(c)
        dt_low, B, C = torch.split(c @ w["project_x.weight"].T, [1, N, N], dim=-1)
        dt = F.softplus(dt_low @ w["project_dt.weight"].T + w["project_dt.bias"])
        if net.config.norm:
            B, C = (F.rms_norm(x, (N,), w[f"norm_{name}.weight"], 1e-6) for name, x in (("B", B), ("C", C)))
        A = -w["A_log_EN"].exp()
        state = torch.exp(dt[:, :, None] * A) * state + dt[:, :, None] * B[:, None, :] * c[:, :, None]
        y = (state * C[:, None, :]).sum(-1) + w["D_E"] * c
        outs.append((y * F.silu(z[:, t])) @ w["project_out.weight"].T)
    return u + torch.stack(outs, dim=1)


@pytest.mark.parametrize("T", [1, 2, 63, 64, 65, 100, 200])
def test_the_block_is_the_papers_algorithm(T: int) -> None:
    net, x = build(), torch.randn(2, T, 16, generator=torch.Generator().manual_seed(1))
    assert_agrees({"out": net(x)[0].detach()}, {"out": by_the_paper(net, x)}, within=1e-5)


def test_b_and_c_of_unit_size_are_the_papers_algorithm_between_two_norms() -> None:
    net, x = build(Config(d_model=16, d_state=8, norm=True, decay=0.1)), torch.randn(2, 65, 16)
    with torch.no_grad():
        net.mixer.norm_B.weight.uniform_(0.5, 2)
    assert_agrees({"out": net(x)[0].detach()}, {"out": by_the_paper(net, x)}, within=1e-5)
    assert torch.allclose(net.mixer.A_log_EN.exp(), torch.full((32, 8), 0.1))


@pytest.mark.parametrize(
    "overrides", [{}, {"norm": True, "decay": 0.1}, {"conv_width": 1, "d_state": 3, "expand": 1, "dt_rank": 5}]
)
def test_the_contract_holds_for_every_kind_of_config(overrides: dict[str, float]) -> None:
    assert check("mamba", config=overrides) == []


def test_steps_begin_between_their_bounds_log_uniformly_and_a_as_in_s4d() -> None:
    mixer = build(Config(d_model=1024)).mixer
    dt = F.softplus(mixer.project_dt.bias)
    assert 1e-3 * 0.999 <= dt.min() <= 1.1e-3
    assert 0.09 <= dt.max() <= 0.1 * 1.001
    assert abs(dt.log10().mean().item() - -2.0) < 0.05
    assert torch.allclose(-mixer.A_log_EN.exp(), -torch.arange(1.0, 17).expand(2048, 16))


def heard(**overrides: float | bool) -> float:
    """Size of what the memory adds to the output at the start, over what the skip `D` adds."""
    mixer, x = build(Config(d_model=64, **overrides)).mixer, torch.randn(4, 16, 64)  # type: ignore[arg-type]
    with torch.no_grad():
        memory, skip = copy.deepcopy(mixer), copy.deepcopy(mixer)
        memory.D_E.zero_()
        skip.project_x.weight[-16:] = 0  # C reads nothing
        return (memory(x, None)[0].norm() / skip(x, None)[0].norm()).item()


def test_the_memory_is_hidden_by_the_skip_at_the_papers_start_and_heard_at_the_slow_one_of_unit_size() -> None:
    """docs/LOG.md: why recall was not learned."""
    assert heard() < 0.03
    assert heard(norm=True, decay=0.1, dt_min=0.1, dt_max=1.0) > 1


def test_chunks_with_a_carried_state_give_the_gradients_of_the_whole() -> None:
    x = torch.randn(2, 200, 16)
    gradients = []
    for cuts in ([200], [65, 1, 2, 132]):
        net, state, outs = build(), None, []
        for part in torch.split(x, cuts, dim=1):
            out, state = net(part, state)
            outs.append(out)
        torch.cat(outs, dim=1).pow(2).sum().backward()
        gradients.append({name: p.grad for name, p in net.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == dict(build().named_parameters()).keys()
    assert_agrees(gradients[1], gradients[0], within=1e-5)


def test_it_trains_under_bfloat16_autocast_with_the_recurrence_kept_in_float32() -> None:
    net, x = build(), torch.randn(2, 65, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, state = net(x)
    assert state.memory_BEN.dtype == torch.float32
    out.float().pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert_agrees({"out": out.detach()}, {"out": build()(x)[0].detach()}, within=0.01)


@pytest.mark.slow
def test_the_state_stays_bounded_over_100_000_steps_of_decoding() -> None:
    """pytest -m slow tests/modules/test_mamba.py"""
    net, random = build(), torch.Generator().manual_seed(3)
    state, sizes = None, []
    with torch.no_grad():
        for step in range(100_000):
            out, state = net(torch.randn(1, 1, 16, generator=random), state)
            if step % 1000 == 999:
                sizes.append(state.memory_BEN.norm().item())
                assert out.isfinite().all()
    assert max(sizes[10:]) < 2 * max(sizes[:10])


OPERATORS = ["touchstone.selective_scan.default", "touchstone.silu_convolution.default"]


def operators(graph: torch.fx.Graph) -> list[str]:
    return sorted(str(node.target) for node in graph.nodes if str(node.target).startswith("touchstone"))


@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
def test_torch_compile_sees_each_fused_operation_as_one_operator_without_a_break() -> None:
    net, x, graphs = build(), torch.randn(2, 65, 16), []

    def look(module: torch.fx.GraphModule, example: list[torch.Tensor]) -> torch.fx.GraphModule:
        graphs.append(operators(module.graph))
        return module

    compiled = torch.compile(net, backend=look, fullgraph=True)
    out = compiled(x)[0]
    out.pow(2).sum().backward()
    assert graphs == [OPERATORS]
    assert_agrees({"out": out.detach()}, {"out": build()(x)[0].detach()})
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
def test_torch_export_sees_each_fused_operation_as_one_operator() -> None:
    net, x = build().eval(), torch.randn(2, 65, 16)
    with torch.no_grad():
        program = torch.export.export(net, (x,))
        assert operators(program.graph) == OPERATORS
        assert torch.equal(program.module()(x)[0], net(x)[0])


def test_in_bfloat16_the_memory_is_kept_in_float32_and_claimed_so() -> None:
    net = build().bfloat16()
    out, state = net(torch.randn(2, 65, 16).bfloat16())
    assert (out.dtype, state.tail_BWE.dtype, state.memory_BEN.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    assert net.state_bytes(2, 65) == sum(part.numel() * part.element_size() for part in state)
