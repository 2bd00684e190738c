"""What it costs to choose a token's experts: beside what the experts themselves compute, and as documents and the number of experts grow.

A learned router scores every expert from the token's features, 2 D E FLOPs a token (twice that where it reads the token before): constant in
the document's length, and small beside an expert as long as E is small beside the expert's width. A router by hash computes from the token's
value alone, so it does not grow with E either (Roller et al. 2021, arXiv:2106.04426).

Shapes: B documents, T tokens each, N = B T, D model width.
"""

from __future__ import annotations

import torch

from bench.flops import count_flops
from bench.pairs import speedup
from bench.request import Bench
from bench.subject import TermsError, subject
from modules.moe import MixtureOfExperts
from modules.routing import HashRouter, SwitchRouter
from plan.catalogue import benchmark


@benchmark(
    "router-cost-v1",
    metrics={"router_share": "", "length_ratio": "x", "hash_ratio": "x"},
    source="torch.utils.flop_counter on router and experts apart (arXiv:2101.03961); interleaved times (hash: arXiv:2106.04426)",
    options={"tokens": 4096, "short": 256, "experts": 1024, "pairs": 61},
    modules=("moe",),
)
def measure(bench: Bench) -> dict[str, float]:
    """`router_share`: FLOPs of the learned router over those of router and experts. `length_ratio`: its time for one document of `tokens` over
    that for as many tokens in documents of `short`, one by one. `hash_ratio`: time in which the router by hash places as many tokens among
    `experts` experts, over its time for the request's own number.

    Raises TermsError where the request's router is another than `switch`: the hash has no FLOPs that anybody counts.
    """
    options = bench.options
    block = subject(bench).eval().blocks[0]
    if not isinstance(block, MixtureOfExperts) or not isinstance(block.router, SwitchRouter):
        raise TermsError('the share is that of the learned router: leave `router` at "switch"')
    config, router = block.config, block.router
    generator = torch.Generator(bench.request.device).manual_seed(bench.request.seed)
    x_ND = torch.randn(options["tokens"], config.d_model, generator=generator, device=bench.request.device)
    tokens_N = torch.randint(256, (options["tokens"],), generator=generator, device=bench.request.device)

    with torch.inference_mode():
        chosen_NK, weight_NK, _ = router(x_ND.unsqueeze(0), None, seen=0)
        scored = count_flops(lambda: router(x_ND.unsqueeze(0), None, seen=0))
        computed = count_flops(lambda: block.experts(x_ND, chosen_NK, weight_NK))
        many, own = (HashRouter(experts, top_k=config.top_k).to(x_ND.device) for experts in (options["experts"], config.experts))
        pairs, device = options["pairs"], bench.request.device
        longer = speedup(
            lambda: router(x_ND.unsqueeze(0), None, seen=0),
            lambda: [router(part_tD.unsqueeze(0), None, seen=0) for part_tD in torch.split(x_ND, options["short"])],
            pairs=pairs,
            device=device,
            progress=lambda done, total: bench.progress(done, 2 * total, {}),
        )
        more = speedup(
            lambda: many(x_ND, tokens_N),
            lambda: own(x_ND, tokens_N),
            pairs=pairs,
            device=device,
            progress=lambda done, total: bench.progress(total + done, 2 * total, {}),
        )
    bench.facts.update(
        router_flops=scored / len(x_ND),
        experts_flops=computed / len(x_ND),
        intervals_95={"length_ratio": [longer.low, longer.high], "hash_ratio": [more.low, more.high]},
        clock=more.clock,
    )
    return {"router_share": scored / (scored + computed), "length_ratio": longer.ratio, "hash_ratio": more.ratio}
