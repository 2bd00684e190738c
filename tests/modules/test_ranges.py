"""Values that no model or training can have end in one clear line, and never in a number."""

from __future__ import annotations

from typing import Any

import pytest

from modules.decoder import Decoder
from modules.settings import ConfigError
from modules.trainer import Recipe, recipe_for
from plan import catalogue


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("length", -5, "`length` = -5 must lie between 1 and 16777216"),
        ("lr", -1.0, "`lr` = -1.0 must"),
        ("lr", float("nan"), "`lr` = nan must"),
        ("batch", 0, "`batch` = 0 must lie between 1 and 1048576"),
        ("accumulate", 0, "`accumulate` = 0 must"),
        ("betas", [0.9, 1.0], r"`betas` = \(0.9, 1.0\) must lie between 0 and 0.999999"),
        ("warmup", -0.1, "`warmup` = -0.1 must"),
        ("clip", -1.0, "`clip` = -1.0 must"),
        ("final_lr", float("inf"), "`final_lr` = inf must"),
    ],
)
def test_an_impossible_recipe_names_key_value_and_range(key: str, value: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"config of `\[recipe\]`: {told}"):
        recipe_for("transformer", {key: value})


def test_every_fault_of_a_recipe_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"`lr` = -1\.0 .*; `warmup` = -2\.0 "):
        Recipe(lr=-1.0, warmup=-2.0)


@pytest.mark.parametrize(("key", "value"), [("layers", -1), ("layers", 0), ("vocabulary", 0), ("context", 10**20)])
def test_an_impossible_decoder_names_key_value_and_range(key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"config of `\[decoder\]`: `{key}` = {value} must lie between 1 and "):
        Decoder.build("transformer", decoder={key: value})


@pytest.mark.parametrize("module", ["attention", "mamba", "moe", "retnet", "transformer"])
def test_a_module_as_wide_as_nothing_or_as_the_world_is_refused(module: str) -> None:
    assert module in catalogue.shelf("module")
    for value in (-8, 0, 10**20):
        with pytest.raises(ConfigError, match=rf"config of module `{module}`: `d_model` = {value} must lie between 1 and 65536"):
            Decoder.build(module, config={"d_model": value})


@pytest.mark.parametrize(
    ("module", "key", "value"),
    [
        ("attention", "heads", 0),
        ("attention", "kv_heads", -1),
        ("transformer", "heads", 0),
        ("transformer", "window", -1),
        ("transformer", "ffn_multiple", float("nan")),
        ("moe", "heads", 0),
        ("moe", "experts", 0),
        ("moe", "capacity", -0.5),
        ("retnet", "heads", 0),
        ("retnet", "shortest_memory", 1.0),
        ("retnet", "conv_width", -1),
        ("mamba", "d_state", 0),
        ("mamba", "conv_width", 0),
        ("mamba", "dt_min", 0.5),
    ],
)
def test_an_impossible_config_of_a_module_names_key_and_value(module: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"config of module `{module}`: `{key}` = {value} must lie between"):
        Decoder.build(module, config={key: value})


def test_sizes_that_do_not_divide_are_a_fault_of_the_config_too() -> None:
    for module, config in {
        "attention": {"d_model": 10, "heads": 3},
        "retnet": {"d_model": 10},
        "moe": {"experts": 1, "top_k": 2},
    }.items():
        with pytest.raises(ConfigError, match=r"must be a multiple|needs at least as many"):
            Decoder.build(module, config=config)
