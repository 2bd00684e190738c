"""Top-k sparse attention against x-transformers' (all scores, then a mask) and against torch's full fused attention.

x-transformers keeps every score that equals the k-th, the house exactly k. On random numbers
none are equal, but of 32,768 queries a few have a k-th and a next score so close that rounding decides between them, hence the wider
agreement (1e-3; the tests hold the house's form to the formula). torch's full attention computes another map: it stands there because a sparse one that is slower has no point.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from bench.peer_speed import Contest, Form, Peer
from kernels.topk_attention import topk_sparse_attention

BATCH, HEADS, LENGTH, WIDTH, K_TOP = 4, 4, 2048, 64, 64


def contests() -> Iterator[Contest]:
    """Training on 2048 tokens, and one decoding step over 32,768 keys."""
    yield Contest(
        name="topk-attention-2k",
        ours=_ours,
        peers={
            "x-transformers sparse top-k": Peer(form=_x_transformers, at_least=2.0, within=1e-3),
            "torch SDPA, all keys": Peer(form=partial(_all_keys, causal=True), at_least=1.0, within=float("inf")),
        },
        inputs=partial(_inputs, BATCH, LENGTH, LENGTH),
    )
    for name, queries, wanted in (("decode", 1, 1.25), ("prefill", 256, 1.25)):
        yield Contest(
            name=f"topk-attention-{name}-32k",
            ours=_ours,
            peers={"torch SDPA, all keys": Peer(form=partial(_all_keys, causal=False), at_least=wanted, within=float("inf"))},
            inputs=partial(_inputs, 1, queries, 32768),
            directions=("forward",),
            spared=4 * HEADS * WIDTH * (32768 - min(32768, queries * K_TOP)),
        )


def _ours(q_BHTD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor) -> Tensor:
    return topk_sparse_attention(q_BHTD, k_BHSD, v_BHSD, k_top=K_TOP)


def _inputs(batch: int, queries: int, keys: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = {"q_BHTD": queries, "k_BHSD": keys, "v_BHSD": keys}
    return {name: torch.randn(batch, HEADS, length, WIDTH, generator=generator) for name, length in lengths.items()}


def _x_transformers() -> Form:
    from x_transformers.attend import Attend

    attend = Attend(causal=True, heads=HEADS, sparse_topk=K_TOP)

    def form(q_BHTD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor) -> Tensor:
        y_BHTD: Tensor = attend(q_BHTD, k_BHSD, v_BHSD)[0]
        return y_BHTD

    return form


def _all_keys(*, causal: bool) -> Form:
    """`causal` where queries and keys are as many; a chunk behind a cache goes unmasked, which spares torch a mask."""
    return lambda q_BHTD, k_BHSD, v_BHSD: scaled_dot_product_attention(q_BHTD, k_BHSD, v_BHSD, is_causal=causal)
