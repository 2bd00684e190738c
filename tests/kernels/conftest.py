"""Fresh memory is filled with NaN in every kernel test, so an output that was never written cannot pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """torch's own fill: every `torch.empty`, `empty_like` and resize under deterministic mode is NaN."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(1000).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)
