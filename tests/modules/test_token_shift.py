"""The dense block that looks back is the transformer's while its gate is even, and looks one token back and no further."""

from __future__ import annotations

import torch

from modules.token_shift import Config, TokenShift
from modules.transformer import Config as DenseConfig
from modules.transformer import Transformer


def test_with_an_even_gate_it_is_the_transformer() -> None:
    block, dense = TokenShift(Config(d_model=32, heads=4)), Transformer(DenseConfig(d_model=32, heads=4))
    torch.nn.init.zeros_(list(block.gate.parameters())[-1])
    dense.load_state_dict({name: weight for name, weight in block.state_dict().items() if not name.startswith("gate")})
    x_BTD = torch.randn(2, 19, 32)
    torch.testing.assert_close(block(x_BTD)[0], dense(x_BTD)[0])


def test_the_feed_forward_hears_of_the_token_before_and_of_none_earlier() -> None:
    block = TokenShift(Config(d_model=32, heads=4))
    torch.nn.init.zeros_(block.mixer.project_out.weight)  # so that nothing else looks back
    x_BTD = torch.randn(1, 8, 32, requires_grad=True)
    (slope_BTD,) = torch.autograd.grad(block(x_BTD)[0][0, 5].square().sum(), x_BTD)
    assert slope_BTD.abs().sum(-1)[0].nonzero().flatten().tolist() == [4, 5]
