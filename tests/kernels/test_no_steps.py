"""No steps at all are one clear ValueError in every kernel and block, with and without a past, before any work is done."""

from __future__ import annotations

import pytest
import torch

from kernels.attention import attention
from kernels.convolution import short_convolution
from kernels.scan import selective_scan, selective_scan_loop
from modules.decoder import Decoder
from modules.moe import Experts

MODULES = ["attention", "mamba", "megabyte", "moe", "retnet", "rwkv4", "rwkv6", "rwkv7", "transformer"]
REFUSED = r"T = 0"


@pytest.mark.parametrize("keys", [0, 5])
def test_attention_wants_a_query(keys: int) -> None:
    q, k = torch.randn(2, 4, 0, 8), torch.randn(2, 4, keys, 8)
    with pytest.raises(ValueError, match=REFUSED):
        attention(q, k, k)


@pytest.mark.parametrize("seen", [0, 3])
def test_a_convolution_wants_a_window(seen: int) -> None:
    weight = torch.randn(6, 4)
    with pytest.raises(ValueError, match=REFUSED):
        short_convolution(torch.randn(2, seen, 6), weight, None)
    assert short_convolution(torch.randn(2, 4, 6), weight, None).shape == (2, 1, 6)


@pytest.mark.parametrize("form", [selective_scan, selective_scan_loop])
@pytest.mark.parametrize("past", [False, True])
def test_a_scan_wants_a_step(form: type, past: bool) -> None:
    x, B = torch.randn(2, 0, 6, requires_grad=True), torch.randn(2, 0, 4)
    with pytest.raises(ValueError, match=REFUSED):
        form(x, x, -torch.ones(6, 4), B, B, torch.ones(6), state=torch.zeros(2, 6, 4) if past else None)


def test_experts_want_a_token() -> None:
    experts = Experts(8, 4, multiple=2.0, capacity=0.0)
    with pytest.raises(ValueError, match=REFUSED):
        experts(torch.randn(0, 8), torch.zeros(0, 1, dtype=torch.int64), torch.zeros(0, 1))


@pytest.mark.parametrize("module", MODULES)
def test_a_block_and_a_decoder_want_a_token_and_go_on_from_the_state_they_had(module: str) -> None:
    model = Decoder.build(module, config={"d_model": 16}, seed=0).eval()
    tokens = torch.randint(256, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, _ = model(tokens)
        _, states = model(tokens[:, :5])
        for past in (None, states):
            with pytest.raises(ValueError, match=REFUSED):
                model(tokens[:, :0], past)
            with pytest.raises(ValueError, match=REFUSED):
                model.blocks[0](torch.randn(2, 0, 16), None if past is None else past.blocks[0])
        rest, _ = model(tokens[:, 5:], states)
    assert torch.allclose(rest, whole[:, 5:], atol=1e-4)


@pytest.mark.parametrize("module", ["megabyte", "moe"])
def test_blocks_that_want_a_document_say_so_before_any_work_is_done(module: str) -> None:
    block = Decoder.build(module, config={"d_model": 16}, seed=0).train().blocks[0]
    before = {name: x.clone() for name, x in block.state_dict().items()}
    with pytest.raises(ValueError, match="B = 0 documents"):
        block(torch.randn(0, 5, 16))
    assert all(torch.equal(x, before[name]) for name, x in block.state_dict().items())


def test_mamba2_answers_no_documents_with_none() -> None:
    assert Decoder.build("mamba2", config={"d_model": 16}, seed=0).blocks[0](torch.randn(0, 5, 16))[0].shape == (0, 5, 16)
