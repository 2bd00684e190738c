"""MegaByte is its formula position by position, and its global model works once for every patch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.agreement import rmse_ratio
from modules.attention import rotate, rotation
from modules.contract import check
from modules.decoder import Decoder
from modules.megabyte import Config, MegaByte
from modules.settings import ConfigError


def formula(block: Any, x_TD: Tensor) -> Tensor:
    """Outputs of one document, each computed alone from the paddings and the bytes that it may see; the local model byte by byte."""
    c = block.config
    (T, D), P = x_TD.shape, c.patch
    if block.conv is not None:
        longer = F.pad(x_TD, (0, 0, c.conv_width - 1, 0))
        mixed = [(longer[t : t + c.conv_width] * block.conv.weight[:, 0].T).sum(0) + block.conv.bias for t in range(T)]
        x_TD = x_TD + torch.stack(mixed)

    def told(k: int) -> Tensor:
        """(P, D): what the global model says to patch k, from a global document of its own."""
        whole = [block.global_pad_G, *(block.embed_patch(x_TD[i * P : i * P + P].flatten()) for i in range(k))]
        y_1nG = torch.stack(whole)[None]
        for layer in block.global_layers:
            y_1nG = layer(y_1nG)[0]
        said: Tensor = block.to_local(block.global_norm(y_1nG[0, -1])).view(P, D)
        return said

    stream = []
    for s in range(T + 1):
        padded = s == 0 or (c.pad_patches and s % P == 0)
        stream.append((block.local_pad_D if padded else x_TD[s - 1]) + told(s // P)[s % P])
    for layer in block.local_layers:
        qkv = [layer.mixer.project_in(layer.mixer_norm(h)).view(3, c.local_heads, 1, -1) for h in stream]
        turns = [rotation(s, 1, D // c.local_heads, base=1e4, like=x_TD) for s in range(T + 1)]
        next_stream = []
        for s, h in enumerate(stream):
            begin = s // P * P - c.reach
            q = rotate(qkv[s][0], turns[s])
            seen = [(rotate(qkv[i][1], turns[i]), qkv[i][2]) if i >= 0 else (0 * q, 0 * q) for i in range(begin, s + 1)]
            k, v = (torch.cat([pair[j] for pair in seen], dim=1) for j in (0, 1))
            y = ((q @ k.mT) * q.shape[-1] ** -0.5).softmax(-1) @ v
            h = h + layer.mixer.project_out(y.flatten())
            next_stream.append(h + layer.ffn(layer.ffn_norm(h)))
        stream = next_stream
    return torch.stack(stream[1:])


VARIANTS: list[dict[str, Any]] = [
    {"patch": 4},
    {"patch": 3, "reach": 5, "local_layers": 2},
    {"patch": 5, "conv_width": 4, "pad_patches": False},
]


@pytest.mark.parametrize("config", VARIANTS, ids=str)
def test_every_output_is_the_formula_of_the_paper(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    block = MegaByte(Config(d_model=16, global_width=16, local_heads=2, **config)).double()
    x_TD = torch.randn(21, 16, dtype=torch.float64)
    with torch.no_grad():
        assert rmse_ratio(block(x_TD[None])[0][0], formula(block, x_TD)) < 1e-12


@pytest.mark.parametrize("config", [*VARIANTS, {"patch": 1}, {"patch": 128}, {"patch": 32, "reach": 40}], ids=str)
def test_other_patches_and_reaches_keep_the_contract(config: dict[str, Any]) -> None:
    assert [str(failure) for failure in check("megabyte", config=config)] == []


def test_generation_asks_the_global_model_once_for_every_patch() -> None:
    model = Decoder.build("megabyte", config={"d_model": 16, "patch": 4, "global_width": 32}, decoder={"layers": 1}).eval()
    asked: list[int] = []
    block: Any = model.blocks[0]
    block.global_layers[0].register_forward_hook(lambda layer, inputs, output: asked.append(inputs[0].shape[1]))
    tokens_BT = torch.randint(256, (2, 43))
    with torch.no_grad():
        _, state = model(tokens_BT[:, :10])  # the padding and two whole patches
        for t in range(10, 43):
            _, state = model.step(tokens_BT[:, t], state)
    assert asked == [3] + [1] * 8


def test_the_first_byte_of_a_patch_is_told_by_the_global_model_alone_unless_patches_are_not_padded() -> None:
    """Without a way from patch to patch but the global model, a byte that ends a patch changes the next output through it only."""
    torch.manual_seed(0)
    x_BTD = torch.randn(1, 8, 16)
    changed = x_BTD.clone()
    changed[:, 7] += 1
    for padded in (True, False):
        block = MegaByte(Config(d_model=16, patch=4, global_width=16, pad_patches=padded))
        with torch.no_grad():
            block.embed_patch.weight.zero_()  # the global model sees no byte
            assert torch.equal(block(x_BTD)[0][:, 7], block(changed)[0][:, 7]) == padded


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="`d_model` 20 must be a multiple of 2 x `local_heads` = 8"):
        MegaByte(Config(d_model=20))
