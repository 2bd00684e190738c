"""Runs untrusted Python behind every wall that Linux offers this user: `run`, `run_async`, `start`, and `layers` for which walls stand.

Names are loaded on use, because the sandbox's own processes import this package too and should start fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.sandbox.client import Options, Sandbox, Unconfined, layers, run, run_async, start
    from agents.sandbox.outcome import Layer, Outcome, neutral

__all__ = ["Layer", "Options", "Outcome", "Sandbox", "Unconfined", "layers", "neutral", "run", "run_async", "start"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"`agents.sandbox` has no `{name}`")
    where = "outcome" if name in ("Layer", "Outcome", "neutral") else "client"
    return getattr(importlib.import_module(f"agents.sandbox.{where}"), name)
