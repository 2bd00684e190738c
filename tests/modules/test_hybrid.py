"""A hybrid is its blocks one after the other, and nothing of what they offer is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.identity import Identifier
from modules.attention import AttentionBlock
from modules.attention import Config as AttentionConfig
from modules.decoder import Decoder
from modules.gla import GLA
from modules.gla import Config as GLAConfig
from modules.hybrid import Config, Hybrid
from modules.settings import ConfigError, build_config
from modules.trainer import next_token
from plan.nouns import Request


def hybrid(pattern: str, **settings: Any) -> Hybrid:
    torch.manual_seed(0)
    return Hybrid(Config(d_model=16, pattern=pattern, settings=settings)).eval()


def document(length: int) -> Tensor:
    return torch.randn(2, length, 16, generator=torch.Generator().manual_seed(1))


def test_a_hybrid_computes_what_its_blocks_compute_in_the_order_of_the_pattern() -> None:
    mixed = hybrid("gla attention gla", attention={"heads": 4, "kv_heads": 2, "window": 5}, gla={"heads": 2})
    y_BTD, gla = document(20), GLAConfig(d_model=16, heads=2)
    for i, block in enumerate((GLA(gla), AttentionBlock(AttentionConfig(d_model=16, heads=4, kv_heads=2, window=5)), GLA(gla))):
        block.load_state_dict(mixed.blocks[i].state_dict())
        y_BTD, _ = block(y_BTD)
    assert torch.equal(mixed(document(20))[0], y_BTD)


def test_decoding_with_a_hybrid_writes_into_the_room_of_its_caches() -> None:
    mixed, x_BTD = hybrid("attention gla"), document(200)
    places, state = set(), None
    with torch.no_grad():
        for t in range(200):
            state = mixed(x_BTD[:, t : t + 1], state)[1]
            places.add(state[0].untyped_storage().data_ptr())
    assert len(places) <= 9


def test_a_state_that_is_tensors_alone_goes_on_to_the_same_bits_and_one_of_another_pattern_does_not() -> None:
    mixed, x_BTD = hybrid("attention gla megabyte"), document(20)
    state = mixed(x_BTD[:, :11])[1]
    assert torch.equal(mixed(x_BTD[:, 11:], tuple(state))[0], mixed(x_BTD[:, 11:], state)[0])
    fresh = hybrid("attention gla megabyte")  # has never seen what states its blocks leave
    fresh.load_state_dict(mixed.state_dict())
    assert torch.equal(fresh(x_BTD[:, 11:], tuple(state))[0], mixed(x_BTD[:, 11:], state)[0])
    with pytest.raises(ValueError, match=r"a state of pattern `gla` has 1 tensors, this one has"):
        hybrid("gla")(x_BTD, tuple(state))


def test_a_window_bounds_the_state_of_a_hybrid_whatever_the_length() -> None:
    mixed = hybrid("gla attention", attention={"window": 8})
    sizes = [sum(part.numel() * part.element_size() for part in mixed(document(length))[1]) for length in (7, 50, 100)]
    assert sizes == [mixed.state_bytes(2, length) for length in (7, 50, 10**9)]
    assert len(set(sizes)) == 1


def test_truncated_training_gives_the_loss_of_the_whole_document() -> None:
    model = Decoder.build("hybrid", config={"d_model": 16, "pattern": "gla attention"})
    tokens_BT = torch.randint(256, (2, 33), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(next_token(model, tokens_BT, chunk=8)[0], next_token(model, tokens_BT)[0])


def test_what_experts_ask_for_and_report_goes_through_a_hybrid() -> None:
    mixed = hybrid("gla moe moe", moe={"experts": 4}).train()
    alone: list[Any] = list(mixed.blocks)[1:]
    mixed(document(20))
    assert mixed.auxiliary_loss() > 0
    assert mixed.auxiliary_loss() == sum(block.auxiliary_loss() for block in alone)
    assert 0 < mixed.diagnostics()["expert_utilization"] <= 1


def test_blocks_that_want_tokens_are_given_them_by_the_decoder() -> None:
    routed = {"moe": {"router": "hash", "experts": 4}}
    model = Decoder.build("hybrid", config={"d_model": 16, "pattern": "gla moe", "settings": routed})
    assert model(torch.tensor([[1, 2, 3]]))[0].isfinite().all()
    with pytest.raises(ValueError, match="call the block with `tokens_BT`"):
        model.blocks[0](document(3))


def test_every_fault_of_a_pattern_is_told_at_once_with_a_suggestion() -> None:
    table = {"pattern": "manba hybrid gla", "settings": {"attention": {}, "gla": {"d_model": 3}}}
    with pytest.raises(ConfigError) as caught:
        build_config(Config, table, where="module `hybrid`")
    for part in (
        "`pattern` holds `manba`, which is no module; did you mean `mamba`?",
        "`pattern` holds `hybrid` itself",
        "`settings` has a table for `attention`, which `pattern` does not hold",
        "`settings` of `gla` must be a table of its Config's keys, without `d_model`",
    ):
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match="`pattern` names no module"):
        Config(pattern=" ")
    with pytest.raises(ConfigError, match="module `gla` of a hybrid: no key `haeds`; did you mean `heads`"):
        hybrid("gla", gla={"haeds": 2})


def test_the_modules_of_a_pattern_belong_to_the_code_of_the_run_and_no_others_do() -> None:
    def files(**config: Any) -> set[str]:
        request = Request(module="hybrid", benchmark="contract-v1", seed=0, config=config)
        return {name for name in Identifier().identify(request).code.files if name.startswith("modules/")}

    assert {"modules/mamba.py", "modules/attention.py"} <= files()
    own = files(pattern="gla retnet")
    assert {"modules/gla.py", "modules/retnet.py"} <= own
    assert "modules/mamba.py" not in own
