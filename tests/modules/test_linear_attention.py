"""Linear attention is the paper's quadratic formula, and its normalised weights are weights: they sum to one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kernels.agreement import assert_agrees
from modules.contract import check
from modules.linear_attention import Config, LinearTransformer


def build(*, normalise: bool = True) -> LinearTransformer:
    torch.manual_seed(0)
    return LinearTransformer(Config(d_model=32, normalise=normalise))


def by_the_paper(net: LinearTransformer, x: torch.Tensor) -> torch.Tensor:
    """Eq. 4 with a causal mask and the feature map of eq. 7, in float64, head by head over all pairs of tokens."""
    x = x.double()
    h = F.rms_norm(x, (32,), net.mixer_norm.weight.double(), 1e-6)
    q, k, v = (h @ w.T for w in net.mixer.project_in.weight.double().chunk(3))
    heads = []
    for i in range(4):
        qi, ki, vi = (t[..., 8 * i : 8 * i + 8] for t in (q, k, v))
        qi, ki = (torch.where(t > 0, t + 1, t.exp()) for t in (qi, ki))
        weights = (qi @ ki.mT).tril()
        if net.config.normalise:
            heads.append(weights / weights.sum(-1, keepdim=True) @ vi)
        else:
            out = weights @ vi
            heads.append(out / (out.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt())
    x = x + torch.cat(heads, -1) @ net.mixer.project_out.weight.double().T
    assert net.ffn is not None
    h = F.rms_norm(x, (32,), net.ffn_norm.weight.double(), 1e-6)
    return x + F.gelu(h @ net.ffn.widen.weight.double().T) @ net.ffn.narrow.weight.double().T


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("T", [1, 63, 64, 65, 200])
def test_the_block_is_the_papers_formula(normalise: bool, T: int) -> None:
    net, x = build(normalise=normalise), torch.randn(2, T, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_agrees({"out": net(x)[0]}, {"out": by_the_paper(net, x)})


@pytest.mark.parametrize("normalise", [True, False])
def test_the_contract_holds_with_and_without_the_normaliser(normalise: bool) -> None:
    assert check("linear_attention", config={"normalise": normalise}) == []


def test_normalised_weights_sum_to_one_however_long_the_past() -> None:
    """Values that are the same for every token come out as they are, from a state that has summed 3000 of them."""
    mixer = build().mixer
    with torch.no_grad():
        mixer.project_in.weight[64:].zero_()
        mixer.project_in.weight[64:, 0] = 1.0
        mixer.project_out.weight.copy_(torch.eye(32))
        x = torch.randn(1, 3000, 32)
        x[..., 0] = 2.0
        out, _ = mixer(x, None)
    assert_agrees({"out": out}, {"out": torch.full_like(out, 2.0)}, within=1e-6)


def test_features_that_all_round_to_nothing_answer_with_nothing_and_not_with_nan() -> None:
    net = build()
    with torch.no_grad():
        net.mixer.project_in.weight *= 1e4
    assert net(torch.randn(2, 40, 32), None)[0].isfinite().all()


def test_a_width_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="`d_model` = 32 must be a multiple of `heads` = 5"):
        LinearTransformer(Config(d_model=32, heads=5))
