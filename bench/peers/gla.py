"""Vector-decay linear attention against what runs it on a CPU elsewhere: gated linear attention and RWKV-6.

The references are on no package index, so their algorithms are written down here anew, with what costs them time. flash-linear-attention's
reference of RWKV-6 (chunks of 32) multiplies exponentials of differences for one position of all chunks after the other; published, it writes
its results into one tensor and so cannot be differentiated, which is mended here by stacking them. Its reference of gated
linear attention goes token by token and indexes the whole under autograd, so that its backward pass is quadratic; it is raced forward only, and
in training by the same loop over unbound tokens, which is linear. Shapes: see kernels/gla.py; N chunks of C.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.peer_speed import Contest, Peer
from kernels.gla import gla, gla_loop

B, T, H, K, V = 4, 2048, 4, 64, 64
CHUNK = 32


def contests() -> Iterator[Contest]:
    """Both forms in training, compiled and in torch; the published token loop forward only."""
    for path in ("auto", "torch"):
        wanted = 10.0 if path == "auto" else None
        suffix = "" if path == "auto" else "-torch"
        yield Contest(
            name=f"gla-2k{suffix}",
            ours=lambda q, k, v, g, path=path: gla(q, k, v, g, path=path)[0],
            peers={
                "fla chunk reference": Peer(form=lambda: chunk_by_position, at_least=wanted),
                "unbound token loop": Peer(form=lambda: lambda q, k, v, g: gla_loop(q, k, v, g)[0], at_least=wanted),
            },
            inputs=lambda: _inputs(),
        )
        yield Contest(
            name=f"rwkv6-2k{suffix}",
            ours=lambda q, k, v, g, u, path=path: gla(q, k, v, g, bonus_HK=u, path=path)[0],
            peers={
                "fla chunk reference": Peer(form=lambda: chunk_by_position, at_least=wanted),
                "unbound token loop": Peer(
                    form=lambda: lambda q, k, v, g, u: gla_loop(q, k, v, g, bonus_HK=u)[0], at_least=wanted
                ),
            },
            inputs=lambda: _inputs() | {"u": 0.1 * torch.randn(H, K, generator=torch.Generator().manual_seed(1))},
        )
    yield Contest(
        name="gla-2k-forward",
        ours=lambda q, k, v, g: gla(q, k, v, g)[0],
        peers={"fla recurrent reference": Peer(form=lambda: token_by_token, within=float("inf"))},
        inputs=_inputs,
        directions=("forward",),
    )


def _inputs() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    q, k, v, g = (torch.randn(B, T, H, size, generator=random) for size in (K, K, V, K))
    return {"q": q * K**-0.5, "k": k, "v": v, "g": torch.nn.functional.logsigmoid(g) / 16}


def chunk_by_position(q: Tensor, k: Tensor, v: Tensor, g: Tensor, u: Tensor | None = None) -> Tensor:
    """The walk over the positions of all chunks at once; with `u` as RWKV-6 reads, without as gated linear attention does."""
    q, k, v, g = (torch.unflatten(x.transpose(1, 2), 2, (-1, CHUNK)) for x in (q, k, v, g))
    sums = g.cumsum(-2)
    until_reading = sums if u is None else sums - g
    added = (k * (sums[..., -1, None, :] - sums).exp()).mT @ v
    states = [torch.zeros_like(added[:, :, 0])]
    for i in range(added.shape[2] - 1):
        states.append(states[i] * sums[:, :, i, -1, :, None].exp() + added[:, :, i])
    across = (q * until_reading.exp()) @ torch.stack(states, dim=2)
    within = []
    for i in range(CHUNK):
        scores = (q[..., i, None, :] * k * (until_reading[..., i, None, :] - sums).exp()).sum(-1)
        last = i + 1 if u is None else i
        row = (scores.masked_fill(torch.arange(CHUNK) >= last, 0)[..., None] * v).sum(-2)
        if u is not None:
            row = row + (q[..., i, :] * u[:, None] * k[..., i, :]).sum(-1, keepdim=True) * v[..., i, :]
        within.append(row)
    return (across + torch.stack(within, dim=-2)).flatten(2, 3).transpose(1, 2)


def token_by_token(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
    """One token after the other, indexed from the whole and written into it."""
    q, k, v, g = (x.transpose(1, 2) for x in (q, k, v, g))
    out, state = torch.zeros_like(v), q.new_zeros(B, H, K, V)
    for i in range(q.shape[2]):
        state = state * g[:, :, i].exp()[..., None] + k[:, :, i, :, None] * v[:, :, i, None, :]
        out[:, :, i] = (q[:, :, i, :, None] * state).sum(-2)
    return out.transpose(1, 2)
