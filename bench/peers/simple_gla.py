"""Scalar-decay linear attention against what runs it on a CPU elsewhere, and the blocks made of it against theirs.

Two references are on no package index, so their algorithms are written down here anew, with the chunk of 64 steps they default to and with what
costs them time: flash-linear-attention's `naive_chunk_simple_gla` walks the chunks under autograd, indexing each from the whole, and
mamba_ssm's `ssd_minimal_discrete` combines the states of all pairs of chunks in one product. Shapes: see kernels/simple_gla.py; N chunks of C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

import modules.mamba2
import modules.retnet
import modules.transformer
from bench.peer_speed import Contest, Form, Peer
from kernels.simple_gla import simple_gla
from modules.mamba2 import SSD
from modules.retnet import RetNet
from modules.transformer import Transformer

B, T, H, K, V = 4, 2048, 4, 64, 64
CHUNK = 64
WIDTH = 256
retnet_config, transformer_config = modules.retnet.Config(d_model=WIDTH), modules.transformer.Config(d_model=WIDTH)
mamba2_config = modules.mamba2.Config(d_model=WIDTH, heads=8)
NAMES = {"in_proj.weight": "project_in.weight", "out_proj.weight": "project_out.weight", "norm.weight": "norm_weight_E"}
NAMES |= {"conv1d.weight": "conv.weight", "conv1d.bias": "conv.bias", "A_log": "A_log_H", "dt_bias": "dt_bias_H", "D": "skip_H"}
"""A parameter of transformers' mixer -> ours."""


def contests() -> Iterator[Contest]:
    """Simple GLA on given q, k, v and log decays; SSD on Mamba-2's own inputs."""
    yield Contest(
        name="simple-gla-2k",
        ours=lambda q, k, v, g: simple_gla(q, k, v, g)[0],
        peers={
            "fla chunk reference": Peer(form=lambda: chunk_by_chunk, at_least=4.0),
            "ssd_minimal": Peer(form=lambda: all_chunks_at_once, at_least=2.2),
        },
        inputs=lambda: _inputs(("q", "k", "v", "g")),
    )
    yield Contest(
        name="ssd-2k",
        ours=_ssd,
        peers={f"transformers mamba2_chunk_scan {size}": Peer(form=_transformers(size), at_least=2.2) for size in (64, 256)},
        inputs=lambda: _inputs(("C", "B", "x", "dt")) | {"A": -torch.linspace(1.0, 16.0, H)},
    )
    yield Contest(
        name="simple-gla-2k-torch",
        ours=lambda q, k, v, g: simple_gla(q, k, v, g, path="torch")[0],
        peers={"fla chunk reference": Peer(form=lambda: chunk_by_chunk), "ssd_minimal": Peer(form=lambda: all_chunks_at_once)},
        inputs=lambda: _inputs(("q", "k", "v", "g")),
    )
    torch.manual_seed(0)
    retnet, mamba2, transformer = RetNet(retnet_config), SSD(mamba2_config), Transformer(transformer_config)
    yield Contest(
        name="retnet-block-2k",
        ours=lambda x: retnet(x)[0],
        peers={"transformer block (SDPA)": Peer(form=lambda: lambda x: transformer(x)[0], at_least=1.0, within=float("inf"))},
        inputs=lambda: {"x": torch.randn(B, T, WIDTH)},
        parameters=tuple(retnet.parameters()),
    )
    yield Contest(
        name="mamba2-mixer-2k",
        ours=lambda x: mamba2(x, None)[0],
        peers={"transformers Mamba2Mixer": Peer(form=lambda: _mamba2_mixer(mamba2), at_least=1.5)},
        inputs=lambda: {"x": torch.randn(B, T, WIDTH)},
        parameters=tuple(mamba2.parameters()),
    )


def _inputs(names: tuple[str, str, str, str]) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(B, T, H, size, generator=random) for size in (K, K, V))
    steps = torch.rand(B, T, H, generator=random) * 0.1
    return dict(zip(names, (q, k * K**-0.5, v, steps if names[-1] == "dt" else -steps), strict=True))


def _ssd(C: Tensor, B: Tensor, x: Tensor, dt: Tensor, A: Tensor) -> Tensor:
    return simple_gla(C, B, x * dt[..., None], dt * A)[0]


def _mamba2_mixer(ours: SSD) -> Form:
    """transformers' mixer with the weights of ours, at the chunk that is fastest here."""
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    c = mamba2_config
    shape = {"hidden_size": WIDTH, "num_heads": c.heads, "head_dim": WIDTH * c.expand // c.heads, "state_size": c.d_state}
    settings = Mamba2Config(
        **shape, n_groups=c.groups, expand=c.expand, conv_kernel=c.conv_width, chunk_size=CHUNK, num_hidden_layers=1
    )
    theirs: nn.Module = Mamba2Mixer(settings, layer_idx=0)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.copy_(dict(ours.named_parameters())[NAMES.get(name, name)])
    return lambda x: theirs(x)


def _transformers(chunk: int) -> Callable[[], Form]:
    def form() -> Form:
        from transformers.models.mamba2.modeling_mamba2 import mamba2_chunk_scan

        return lambda C, B, x, dt, A: mamba2_chunk_scan(x, dt, A, B, C, chunk_size=chunk)

    return form


def chunk_by_chunk(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
    """The loop over chunks of flash-linear-attention's reference."""
    q_BHNCK, k_BHNCK, v_BHNCV, g_BHNC = (torch.unflatten(x.transpose(1, 2), 2, (-1, CHUNK)) for x in (q, k, v, g))
    sums_BHNC = g_BHNC.cumsum(-1)
    between_BHNCC = (sums_BHNC[..., :, None] - sums_BHNC[..., None, :]).tril().exp().tril()
    later_CC = torch.ones(CHUNK, CHUNK, dtype=torch.bool).triu(1)
    state_BHKV = k.new_zeros(B, H, K, V)
    out_BHNCV = torch.zeros_like(v_BHNCV)
    for i in range(T // CHUNK):
        q_BHCK, k_BHCK, v_BHCV, sums_BHC = q_BHNCK[:, :, i], k_BHNCK[:, :, i], v_BHNCV[:, :, i], sums_BHNC[:, :, i]
        scores_BHCC = (q_BHCK @ k_BHCK.mT * between_BHNCC[:, :, i]).masked_fill(later_CC, 0)
        from_state_BHCV = (q_BHCK * sums_BHC[..., None].exp()) @ state_BHKV
        out_BHNCV[:, :, i] = from_state_BHCV + scores_BHCC @ v_BHCV
        end_BH1 = sums_BHC[..., -1:]
        left_BHKC = (k_BHCK * (end_BH1 - sums_BHC).exp()[..., None]).mT
        state_BHKV = state_BHKV * end_BH1[..., None].exp() + left_BHKC @ v_BHCV
    return out_BHNCV.flatten(2, 3).transpose(1, 2)


def all_chunks_at_once(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
    """The block decomposition of mamba_ssm's minimal SSD, a product over all pairs of chunks included."""
    q_BNCHK, k_BNCHK, v_BNCHV, g_BNCH = (torch.unflatten(x, 1, (-1, CHUNK)) for x in (q, k, v, g))
    g_BHNC = g_BNCH.permute(0, 3, 1, 2)
    sums_BHNC = g_BHNC.cumsum(-1)
    between_BHNCC = _segment_sums(g_BHNC).exp()
    within = torch.einsum("ntihk,ntjhk,nhtij,ntjhv->ntihv", q_BNCHK, k_BNCHK, between_BHNCC, v_BNCHV)
    until_end_BHNC = (sums_BHNC[..., -1:] - sums_BHNC).exp()
    added = torch.einsum("ntihk,nhti,ntihv->nthvk", k_BNCHK, until_end_BHNC, v_BNCHV)
    states = torch.cat([torch.zeros_like(added[:, :1]), added], dim=1)
    across_BHNN = _segment_sums(torch.nn.functional.pad(sums_BHNC[..., -1], (1, 0))).exp()
    before = torch.einsum("nhts,nshvk->nthvk", across_BHNN, states)[:, :-1]
    entering = torch.einsum("ntihk,nthvk,nhti->ntihv", q_BNCHK, before, sums_BHNC.exp())
    return (within + entering).flatten(1, 2)


def _segment_sums(x: Tensor) -> Tensor:
    """Sums of x over (column, row], -inf above the diagonal; by masked running sums, not by differences."""
    steps = x.shape[-1]
    lower = torch.ones(steps, steps, dtype=torch.bool).tril()
    sums = x[..., None].repeat(*(1,) * x.ndim, steps).masked_fill(~lower.tril(-1), 0).cumsum(-2)
    return sums.masked_fill(~lower, -torch.inf)
