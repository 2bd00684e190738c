"""AutoBench: every measurement in a process of its own, of which nothing survives but its outcome."""

from bench.autobench.client import AutoBench, Child
from bench.autobench.outcome import Outcome, Progress

__all__ = ["AutoBench", "Child", "Outcome", "Progress"]
