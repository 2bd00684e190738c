"""The top-k block: what it can and what it shares with full attention. (Its contract is tested with everybody's.)"""

from __future__ import annotations

import pytest
import torch

from modules.decoder import Decoder
from modules.settings import ConfigError


def test_with_room_for_every_key_the_block_is_the_transformer() -> None:
    sparse = Decoder.build("topk_attention", config={"d_model": 32, "k_top": 64}, seed=1)
    dense = Decoder.build("transformer", config={"d_model": 32}, seed=2)
    dense.load_state_dict(sparse.state_dict())
    tokens = torch.randint(256, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(sparse(tokens)[0], dense(tokens)[0], atol=1e-4)


def test_few_keys_make_another_map_and_its_path_is_told() -> None:
    tokens = torch.randint(256, (1, 64), generator=torch.Generator().manual_seed(0))
    few, all_ = (Decoder.build("topk_attention", config={"d_model": 32, "k_top": k_top}, seed=1) for k_top in (4, 64))
    with torch.no_grad():
        few_BTV, all_BTV = few(tokens)[0], all_(tokens)[0]
    assert torch.allclose(few_BTV[:, :4], all_BTV[:, :4], atol=1e-5), "four tokens are all there are"
    assert not torch.allclose(few_BTV[:, 4:], all_BTV[:, 4:], atol=1e-3)
    assert few.facts()["topk_attention_path"] in ("compiled", "torch")


def test_sizes_that_do_not_fit_are_told() -> None:
    with pytest.raises(ConfigError, match="must be a multiple of `heads`"):
        Decoder.build("topk_attention", config={"d_model": 30, "heads": 4})
    with pytest.raises(ConfigError, match="`k_top` = 0"):
        Decoder.build("topk_attention", config={"k_top": 0})
