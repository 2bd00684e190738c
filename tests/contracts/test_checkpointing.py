"""Activation checkpointing: every block of the shelf computed twice has the gradients of the block computed once."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kernels.agreement import assert_agrees
from plan import catalogue

SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {"moe": ({"top_k": 2}, {"router": "hash"}, {"capacity": 1.25})}


def blocks() -> list[Any]:
    """Every block of the shelf, by its usual path and in plain torch."""
    return [
        pytest.param(name, settings, id=f"{name}-{settings or ''}")
        for name in catalogue.shelf("module")
        for settings in ({}, {"path": "torch"}, *SETTINGS.get(name, ()))
        if settings.keys() <= {field.name for field in fields(config_of(name))}
    ]


def config_of(name: str) -> Any:
    return sys.modules[catalogue.load("module", name).__module__].Config


def after_two_steps(block: nn.Module, through: Callable[..., Tensor], *, auxiliary: bool) -> dict[str, Tensor]:
    """The gradients of two steps of two forwards each, the second forward on what came out of the first, and all buffers after."""
    x_BTD, tokens_BT = torch.randn(2, 100, 32, generator=torch.Generator().manual_seed(1)), torch.arange(200).view(2, 100)
    x_BTD.requires_grad_()
    told = {"tokens_BT": tokens_BT} if getattr(block, "wants_tokens", False) else {}

    def run(x_BTD: Tensor) -> Tensor:
        y_BTD: Tensor = block(x_BTD, None, **told)[0]
        return y_BTD

    for _ in range(2):
        loss = through(run, through(run, x_BTD)).square().sum()
        (loss + block.auxiliary_loss() if auxiliary else loss).backward()
    kept = {name: x.grad for name, x in (("x", x_BTD), *block.named_parameters()) if x.grad is not None}
    return kept | {name: x for name, x in block.named_buffers() if x.is_floating_point()}


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize(("name", "settings"), blocks())
def test_checkpointed_gradients_are_those_without(name: str, settings: dict[str, Any], reentrant: bool) -> None:
    torch.manual_seed(0)
    block = catalogue.load("module", name)(config_of(name)(d_model=32, **settings)).train()
    twice = copy.deepcopy(block)
    auxiliary = hasattr(block, "auxiliary_loss") and not reentrant  # which sees the first pass alone, where nothing is recorded
    wanted = after_two_steps(block, lambda run, x: run(x), auxiliary=auxiliary)
    found = after_two_steps(twice, lambda run, x: checkpoint(run, x, use_reentrant=reentrant), auxiliary=auxiliary)
    assert_agrees(found, wanted, within=1e-6)
    if hasattr(block, "diagnostics"):
        assert twice.diagnostics() == block.diagnostics()
