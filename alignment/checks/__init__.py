"""Checks on facts: each looks at one decision and says what breaks it, or nothing. Clauses of the constitution are bound to them by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

from alignment.facts import Facts

Check = Callable[[Facts], str]
"""Why the decision breaks what is checked, with the place; empty when it does not."""
_KNOWN: dict[str, Check] = {}

AT_RUN_TIME = {
    "one-result": "the guard process takes one signed result of the worker itself, and vets it again (bench/autobench/channel.py, measure.py)",
    "plain-numbers": "only finite numbers under declared names are results (bench/autobench/measure.py)",
    "whole-process": "a result counts only when the process then ends as it should (bench/autobench/guard.py)",
    "nothing-survives": "every descendant is killed before a result is read (bench/autobench/tree.py)",
    "code-is-the-keys": "each source and file of the house is compared with the run's key when it is read (bench/autobench/witness.py)",
    "instruments-are-whole": "what judges inside the worker is compared with what it was before a candidate ran (bench/autobench/instruments.py)",
    "answers-stand": "the scored model gives its answers once more, in pieces and for a few of the batch (bench/autobench/replays.py)",
    "corpus-is-the-harness's": "only the benchmark itself may open what it measures on (bench/autobench/warden.py)",
    "acts-are-the-harness's": "programs, sockets, foreign files and looks into the harness are refused where a candidate asks (bench/autobench/warden.py)",
}
"""What the harness holds while a candidate runs, and where."""
AT_START = {"goalposts-stand": "a plan that is weaker than the ledger's last needs a person's word (alignment/goalposts.py)"}
"""What is held before a session begins."""


def check(name: str) -> Callable[[Check], Check]:
    """Register a check under the name that clauses call it by."""

    def register(function: Check) -> Check:
        if name in _KNOWN and _KNOWN[name] is not function:
            raise ValueError(f"two checks are called `{name}`")
        _KNOWN[name] = function
        return function

    return register


@cache
def checks() -> dict[str, Check]:
    """Every check of a decision, by name: the files of this folder."""
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}")
    return dict(sorted(_KNOWN.items()))


def known() -> tuple[str, ...]:
    """Every name that a clause may be bound to."""
    return (*checks(), *AT_RUN_TIME, *AT_START)
