"""The head of a large vocabulary with its cross-entropy, a chunk of tokens at a time, against torch's linear map and cross-entropy.

`python -m bench.peers.cross_entropy` tells the peaks of memory too: what torch's allocator held at most above the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bench.peer_speed import Contest, Form, Peer
from bench.suites.memory_growth import peak_bytes
from kernels.cross_entropy import linear_cross_entropy, plain_cross_entropy

SIZES = ((1024, 128, 32768), (2048, 128, 8192))
"""Tokens, width, vocabulary."""


def contests() -> Iterator[Contest]:
    """A vocabulary of a small language model, and that of the recall probes."""
    for tokens, width, vocabulary in SIZES:
        target_N = _targets(tokens, vocabulary)
        yield Contest(
            name=f"cross-entropy-{vocabulary}",
            ours=partial(linear_cross_entropy, target_N=target_N),
            peers={"torch linear and cross-entropy": Peer(form=partial(_torch, target_N), at_least=1.0)},
            inputs=partial(_inputs, tokens, width, vocabulary),
        )


def peak(form: Form, inputs: dict[str, Tensor]) -> int:
    """Bytes that a training step of `form` holds at most beyond its inputs; their gradients are counted."""
    leaves = {name: x.detach().requires_grad_() for name, x in inputs.items()}
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        nats = form(**leaves)
        assert isinstance(nats, Tensor)
        torch.autograd.backward(nats)
    events = profiler.profiler.kineto_results.events()
    return peak_bytes([(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"])


def _torch(target_N: Tensor) -> Form:
    return partial(plain_cross_entropy, target_N=target_N)


def _inputs(tokens: int, width: int, vocabulary: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight_VD = torch.randn(vocabulary, width, generator=generator) * width**-0.5
    return {"x_ND": torch.randn(tokens, width, generator=generator), "weight_VD": weight_VD}


def _targets(tokens: int, vocabulary: int) -> Tensor:
    return torch.randint(vocabulary, (tokens,), generator=torch.Generator().manual_seed(1))


def main() -> None:
    """The command."""
    for contest in contests():
        ours, theirs = (peak(form, contest.inputs()) for form in (contest.ours, next(iter(contest.peers.values())).form()))
        print(f"{contest.name:28} {ours / 2**20:8.0f} MiB, torch {theirs / 2**20:8.0f} MiB: {theirs / ours:.1f}x")


if __name__ == "__main__":
    main()
