"""Runs untrusted Python behind every wall that Linux offers this user: `run`, `run_async`, `start`, and `layers` for which walls stand."""

from agents.sandbox.client import Options, Sandbox, Unconfined, layers, run, run_async, start
from agents.sandbox.order import Layer, Outcome, neutral

__all__ = ["Layer", "Options", "Outcome", "Sandbox", "Unconfined", "layers", "neutral", "run", "run_async", "start"]
