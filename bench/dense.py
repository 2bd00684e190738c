"""The dense transformer that a module is compared with inside one measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.request import Bench
from bench.subject import TermsError
from modules.decoder import Decoder
from plan import catalogue

CLOSE = 0.05
"""Largest relative difference that still counts as an equal number of parameters."""


def counterpart(bench: Bench) -> Decoder:
    """The transformer with the same value of every Config key that both have, the same decoder table and the same seed.

    A mixture of experts so meets the transformer whose feed-forward is one expert.
    """
    return _build(bench, {})


def of_equal_size(bench: Bench, *, parameters: int) -> Decoder:
    """The `counterpart` with a feed-forward as wide as makes the whole decoder have about `parameters` of them.

    Raises TermsError when no width comes within 5 %.
    """
    one, two = (_build(bench, {"ffn_multiple": multiple}).parameters_count for multiple in (1.0, 2.0))
    multiple = max(0.0, 1.0 + (parameters - one) / (two - one))
    dense = _build(bench, {"ffn_multiple": multiple})
    if abs(dense.parameters_count - parameters) > CLOSE * parameters:
        raise TermsError(
            f"no transformer of the same width has about {parameters} parameters like `{bench.request.module}`: "
            f"the nearest has {dense.parameters_count}; give the module a feed-forward or compare it otherwise"
        )
    return dense


def _build(bench: Bench, own: Mapping[str, Any]) -> Decoder:
    request, shelf = bench.request, catalogue.shelf("module")
    theirs = shelf[request.module].fields
    shared = {key: request.config.get(key, theirs[key].default) for key in shelf["transformer"].fields if key in theirs}
    return Decoder.build(
        "transformer",
        config={**shared, **own},
        decoder=request.config.get("decoder", {}),
        seed=request.seed,
        device=request.device,
    )
