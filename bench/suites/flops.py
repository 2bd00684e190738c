"""How many parameters and training FLOPs a module has, against the dense transformer with the same settings.

Both sides take one real training step on the same random bytes under torch's `FlopCounterMode`; see `bench.flops` for what
that counts. For a mixture of experts the other side is the transformer whose feed-forward is one expert.
"""

from __future__ import annotations

import torch

from bench.dense import counterpart
from bench.flops import training_flops
from bench.request import Bench
from bench.subject import subject
from modules.decoder import Decoder
from modules.trainer import next_token
from plan.catalogue import benchmark


@benchmark(
    "flops-v1",
    metrics={"parameters_ratio": "x", "flops_ratio": "x", "parameters": "", "train_flops": "FLOP"},
    source="torch.utils.flop_counter on one training step; ratios to the dense transformer of the same settings",
    options={"batch": 8, "length": 256},
)
def measure(bench: Bench) -> dict[str, float]:
    """Parameters and training FLOPs per token, as ratios to the dense counterpart."""
    batch, length = bench.options["batch"], bench.options["length"]
    generator = torch.Generator().manual_seed(bench.request.seed)
    tokens_BT = torch.randint(256, (batch, length + 1), generator=generator).to(bench.request.device)

    def per_token(model: Decoder) -> float:
        _, both = training_flops(lambda: next_token(model, tokens_BT)[0] + model.auxiliary_loss())
        return both / tokens_BT[:, 1:].numel()

    model, dense = subject(bench), counterpart(bench)
    own, other = per_token(model), per_token(dense)
    bench.facts.update(dense_parameters=dense.parameters_count, dense_train_flops=other)
    return {
        "parameters_ratio": model.parameters_count / dense.parameters_count,
        "flops_ratio": own / other,
        "parameters": float(model.parameters_count),
        "train_flops": own,
    }
