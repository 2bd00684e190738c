"""The delta rule family against what runs it on a CPU elsewhere.

The gated delta rule meets transformers' chunk form, which Qwen3-Next falls back to. The forms with a decay per key channel exist as torch code in
flash-linear-attention only, which is not importable without a GPU; `naive_chunk_kda` and `dplr_chunkwise` are written down here anew: the same
chunks of 64 and 32 steps, one column or row of each chunk's matrix at a time, an inverse by forward substitution over rows, and a
walk over the chunks that indexes them from the whole, which is what costs their training its time. Shapes: see kernels/delta_rule.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.peer_speed import Contest, Form, Peer
from kernels.delta_rule import delta_rule, dplr

B, T, H, K = 4, 2048, 4, 64
SCALE = K**-0.5


def contests() -> Iterator[Contest]:
    """Each kind on given inputs, keys of length 1; the decays are mild, for the KDA reference overflows on strong ones."""
    gated = Peer(form=_transformers, at_least=3.0)
    yield Contest(
        name="gated-delta-rule-2k",
        ours=lambda q, k, v, beta, g: delta_rule(q, k, v, beta, g, scale=SCALE)[0],
        peers={"transformers chunk form": gated},
        inputs=lambda: _inputs("beta", "g"),
    )
    yield Contest(
        name="gated-delta-rule-2k-torch",
        ours=lambda q, k, v, beta, g: delta_rule(q, k, v, beta, g, scale=SCALE, path="torch")[0],
        peers={"transformers chunk form": Peer(form=_transformers)},
        inputs=lambda: _inputs("beta", "g"),
    )
    yield Contest(
        name="kda-2k",
        ours=lambda q, k, v, beta, g: delta_rule(q, k, v, beta, g, scale=SCALE)[0],
        peers={"fla chunk reference": Peer(form=lambda: kda_by_chunks, at_least=10.0)},
        inputs=lambda: _inputs("beta", "g_per_channel"),
    )
    yield Contest(
        name="dplr-2k",
        ours=lambda q, k, v, a, b, g: dplr(q, k, v, a, b, g, scale=SCALE)[0],
        peers={"fla chunk reference": Peer(form=lambda: dplr_by_chunks, at_least=10.0)},
        inputs=lambda: _inputs("a", "b", "g_per_channel"),
    )


def _inputs(*names: str) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    q, k, v, direction = (torch.randn(B, T, H, K, generator=random) for _ in range(4))
    direction = F.normalize(direction, dim=-1)
    x = {"q": F.normalize(q, dim=-1), "k": F.normalize(k, dim=-1), "v": v}
    given = {
        "beta": torch.rand(B, T, H, generator=random),
        "g": -torch.rand(B, T, H, generator=random),
        "g_per_channel": -torch.rand(B, T, H, K, generator=random),
        "a": -direction,
        "b": direction * torch.rand(B, T, H, K, generator=random),
    }
    return x | {name.removesuffix("_per_channel"): given[name] for name in names}


def _transformers() -> Form:
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    def form(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor) -> Tensor:
        out: Tensor = torch_chunk_gated_delta_rule(q, k, v, g=g, beta=beta)[0]
        return out

    return form


def _chunks(x_BTHX: Tensor, size: int) -> Tensor:
    """(B, H, N, C, X)."""
    return torch.unflatten(x_BTHX, 1, (-1, size)).permute(0, 3, 1, 2, 4)


def _inverse(lower_CC: Tensor) -> Tensor:
    """Of 1 - `lower_CC`, strictly lower, row by row in place with copies, as the references do."""
    for row in range(1, lower_CC.shape[-1]):
        here = lower_CC[..., row, :row].clone()
        lower_CC[..., row, :row] = here + (lower_CC[..., row, :, None].clone() * lower_CC[..., :, :row].clone()).sum(-2)
    return lower_CC + torch.eye(lower_CC.shape[-1])


def kda_by_chunks(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, size: int = 64) -> Tensor:
    """flash-linear-attention's chunk reference of Kimi delta attention."""
    q, k, v, sums = (_chunks(x, size) for x in (q * SCALE, k, v, g))
    beta, sums = _chunks(beta[..., None], size)[..., 0], sums.cumsum(-2)
    future = torch.ones(size, size, dtype=torch.bool).triu()
    overlap = torch.zeros(*beta.shape, size)
    for t in range(size):
        overlap[..., t] = torch.einsum("...ck,...k->...c", k * (sums - sums[..., t : t + 1, :]).exp(), k[..., t, :])
    solved = _inverse(-(overlap * beta[..., None]).masked_fill(future, 0)) * beta[..., None, :]
    erase, fresh = solved @ (sums.exp() * k), solved @ v
    state, out = q.new_zeros(B, H, K, K), torch.zeros_like(v)
    for n in range(q.shape[2]):
        q_n, k_n, sums_n = q[:, :, n], k[:, :, n], sums[:, :, n]
        scores = torch.zeros(B, H, size, size)
        for t in range(size):
            scores[..., t] = torch.einsum("...ck,...k->...c", q_n * (sums_n - sums[:, :, n, t : t + 1]).exp(), k[:, :, n, t])
        written = fresh[:, :, n] - erase[:, :, n] @ state
        out[:, :, n] = (q_n * sums_n.exp()) @ state + scores.masked_fill(future.triu(1), 0) @ written
        state = state * sums_n[:, :, -1, :, None].exp() + ((sums_n[:, :, -1:] - sums_n).exp() * k_n).mT @ written
    return out.permute(0, 2, 3, 1, 4).flatten(1, 2)


def dplr_by_chunks(q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, g: Tensor, size: int = 32) -> Tensor:
    """flash-linear-attention's chunk reference of the diagonal plus low rank rule."""
    q, k, v, a, b, g = (_chunks(x, size) for x in (q * SCALE, k, v, a, b, g))
    sums, order = g.cumsum(-2), torch.arange(size)[:, None]
    out_k, out_b, sees_k, sees_b = (torch.zeros(*q.shape[:-1], size) for _ in range(4))
    for t in range(size):
        sums_t = sums[..., t, None, :]
        decay = (sums_t - sums).masked_fill(order > t, -torch.inf).exp()
        out_k[..., t, :] = (q[..., t, None, :] * k * decay).sum(-1)
        out_b[..., t, :] = (q[..., t, None, :] * b * decay).sum(-1)
        decay = (sums_t - g[..., t, None, :] - sums).masked_fill(order >= t, -torch.inf).exp()
        sees_b[..., t, :] = (a[..., t, None, :] * b * decay).sum(-1)
        sees_k[..., t, :] = (a[..., t, None, :] * k * decay).sum(-1)
    solved = _inverse(sees_b)
    inside, reads = solved @ (sees_k @ v), solved @ ((sums - g).exp() * a)
    state, out = q.new_zeros(B, H, K, K), torch.zeros_like(v)
    for n in range(q.shape[2]):
        sums_n, v_n = sums[:, :, n], v[:, :, n]
        seen = inside[:, :, n] + reads[:, :, n] @ state
        out[:, :, n] = out_k[:, :, n] @ v_n + out_b[:, :, n] @ seen + (q[:, :, n] * sums_n.exp()) @ state
        left = (sums_n[:, :, -1, None] - sums_n).exp()
        added = (k[:, :, n] * left).mT @ v_n + (b[:, :, n] * left).mT @ seen
        state = state * sums_n[:, :, -1, :, None].exp() + added
    return out.permute(0, 2, 3, 1, 4).flatten(1, 2)
