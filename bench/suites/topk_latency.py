"""Latency of one decoding step over a long cache: attention to the best keys against attention to all of them.

Both read the same cache, 32,768 keys and values of four heads of 64, without gradients, in interleaved pairs. Before anything is
timed the chosen keys must be those of the formula.
"""

from __future__ import annotations

import torch

from bench.pairs import speedup
from bench.request import Bench
from kernels.agreement import assert_agrees
from kernels.attention import attention
from kernels.topk_attention import topk_attention_loop, topk_sparse_attention
from plan.catalogue import benchmark


@benchmark(
    "topk-decode-32k-v1",
    metrics={"latency_ratio": "x"},
    source="interleaved pairs: one query over 32768 keys, all of them against the 64 best; four heads of 64",
    options={"keys": 32768, "heads": 4, "width": 64, "k_top": 64, "pairs": 51},
    modules=("topk_attention",),
    alone=True,
)
def measure(bench: Bench) -> dict[str, float]:
    """How many times longer a step over all keys takes."""
    options, device = bench.options, bench.request.device
    generator = torch.Generator().manual_seed(bench.request.seed)
    q_BHTD, k_BHSD, v_BHSD = (
        torch.randn(1, options["heads"], length, options["width"], generator=generator).to(device)
        for length in (1, options["keys"], options["keys"])
    )
    k_top: int = options["k_top"]
    with torch.no_grad():
        chosen = {"out": topk_sparse_attention(q_BHTD, k_BHSD, v_BHSD, k_top=k_top)}
        assert_agrees(chosen, {"out": topk_attention_loop(q_BHTD, k_BHSD, v_BHSD, k_top=k_top)})
        measured = speedup(
            lambda: attention(q_BHTD, k_BHSD, v_BHSD),
            lambda: topk_sparse_attention(q_BHTD, k_BHSD, v_BHSD, k_top=k_top),
            pairs=options["pairs"],
            device=device,
            progress=lambda done, total: bench.progress(done, total, {}),
        )
    bench.facts.update(interval_95=[measured.low, measured.high], clock=measured.clock, threads=torch.get_num_threads())
    bench.series["ratio"] = [(float(i), a / b) for i, (a, b) in enumerate(measured.pairs, start=1)]
    return {"latency_ratio": measured.ratio}
