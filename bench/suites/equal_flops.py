"""Bits per byte when every training costs the same arithmetic, whatever the architecture.

Equal steps give a module that computes more per byte the larger budget. Here `steps` are those of the default transformer on batches of 8 x 256
bytes, and a module trains for as many steps of its own as cost what these cost: at equal parameters too, if its config says so. Everything
else is `bytes-stdlib-v1`: the text, the windows that are scored, the recipe of the module's file.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from bench.dense import CLOSE
from bench.flops import training_flops
from bench.request import Bench
from bench.subject import TermsError, recipe, subject
from bench.suites import bytes as plain
from modules.decoder import Decoder
from modules.trainer import next_token
from plan.catalogue import benchmark


@benchmark(
    "bytes-stdlib-flops-v2",
    metrics={
        "val_bpb": "bpb",
        "train_bpb": "bpb",
        "training_flops": "FLOP",
        "own_steps": "",
        "parameters": "",
        "state_bytes": "B",
        "active_flops": "FLOP",
        "train_flops": "FLOP",
        "gradient_norm": "",
    },
    source="bytes-stdlib-v1, trained for the FLOPs that the default transformer spends in so many steps",
    options={"windows": 256, "batch": 8, "length": 256, "corpus": "bytes-stdlib"},
    data="bytes-stdlib",
    steps=120,
)
def measure(bench: Bench) -> dict[str, float]:
    """Bits per byte on held-out text after as many FLOPs of training as the default transformer spends in `steps` steps.

    `own_steps` is how many steps that makes for this module, `training_flops` what they cost; the rest is as in `bytes-stdlib-v1`.
    """
    steps, budget, step = own_steps(bench)
    inner = replace(bench, request=replace(bench.request, steps=steps))
    bench.facts["flops_budget"] = budget
    return {**plain.measure(inner), "own_steps": float(steps), "training_flops": steps * step}


def own_steps(bench: Bench) -> tuple[int, float, float]:
    """Steps, the budget in FLOPs, and what one step costs; TermsError when no number of steps comes within 5 % of the budget."""
    plan = recipe(bench, default={"batch": bench.options["batch"], "length": bench.options["length"]})
    bar = Decoder.build("transformer", config={}, decoder={"vocabulary": 256}, device=bench.request.device)
    own = subject(bench, fixed={"vocabulary": 256})
    budget = bench.steps * _of_a_batch(bar, bench, bench.options["batch"], bench.options["length"])
    step = plan.accumulate * _of_a_batch(own, bench, plan.batch, plan.length)
    steps = max(1, round(budget / step))
    if abs(steps * step - budget) > CLOSE * budget:
        raise TermsError(
            f"a step of `{bench.request.module}` costs {step:.3g} FLOPs, so that no number of them comes within {CLOSE:.0%} of the "
            f"{budget:.3g} that {bench.steps} steps of the default transformer cost; ask for more steps, or set `recipe.batch` lower"
        )
    return steps, budget, step


def _of_a_batch(model: Decoder, bench: Bench, batch: int, length: int) -> int:
    """FLOPs of one step on `batch` documents, which are fewer than as many steps on one where a block draws its filters once a batch."""
    generator = torch.Generator().manual_seed(bench.request.seed)
    tokens_BT = torch.randint(256, (batch, length + 1), generator=generator).to(bench.request.device)
    return training_flops(lambda: next_token(model, tokens_BT)[0] + model.auxiliary_loss())[1]
