"""Probes of a module as a function: what it puts out, and how its loss slopes, for parameters and tokens drawn from a seed.

Two implementations of one function, started from the same seed, give the same probes up to rounding; `bench.parity` compares them. Each
implementation is measured by itself, with the code of its own tree. Shapes: B documents, T tokens, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.request import Bench
from modules.decoder import Decoder
from plan.catalogue import benchmark

DOCUMENTS = 2


@benchmark(
    "parity-v1",
    metrics={"probes": ""},
    source="design/0002, a candidate of the kind `refactor`",
    options={"lengths": [1, 63, 160], "vocabulary": 64, "projections": 16},
)
def measure(bench: Bench) -> dict[str, float]:
    """Number of probes: random projections of the parameters, of the logits at several lengths, and of every parameter's gradient."""
    own = {key: value for key, value in bench.request.config.items() if key not in ("decoder", "recipe")}
    vocabulary, many = bench.options["vocabulary"], bench.options["projections"]
    table = {"layers": 1, "vocabulary": vocabulary}
    model = Decoder.build(bench.request.module, config=own, decoder=table, seed=bench.request.seed, device=bench.request.device)
    generator = torch.Generator().manual_seed(bench.request.seed)
    for name, parameter in sorted(model.named_parameters()):
        _probe(bench, f"start {name}", parameter.detach(), many)
    for length in bench.options["lengths"]:
        tokens_BT = torch.randint(vocabulary, (DOCUMENTS, length), generator=generator).to(bench.request.device)
        model.zero_grad()
        logits_BTV, _ = model(tokens_BT)
        _probe(bench, f"logits of {length}", logits_BTV.detach(), many)
        (_directions(logits_BTV, 1)[0] * logits_BTV.float()).sum().backward()
        for name, parameter in sorted(model.named_parameters()):
            if parameter.grad is not None:
                _probe(bench, f"gradient of {name} over {length}", parameter.grad, many)
    return {"probes": float(sum(map(len, bench.series.values())))}


def _probe(bench: Bench, name: str, t: Tensor, many: int) -> None:
    """Record `many` projections of `t` on random directions, each of the size of a typical entry."""
    told = (_directions(t, many) * t.float()).flatten(1).double().sum(1) / t.numel() ** 0.5
    bench.series[name] = [(float(place), value) for place, value in enumerate(told.tolist())]


def _directions(t: Tensor, many: int) -> Tensor:
    """The same random directions for every tensor of this shape."""
    generator = torch.Generator().manual_seed(t.numel())
    return torch.randn((many, *t.shape), generator=generator).to(t.device)
