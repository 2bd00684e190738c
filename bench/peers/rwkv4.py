"""RWKV-4's time mixing against transformers' CPU form, which indexes each token from the whole (its backward pass is quadratic), and a loop
that unbinds its tokens once and is linear. Shapes: see kernels/rwkv4.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from bench.peer_speed import Contest, Form, Peer
from kernels.paths import Path
from kernels.rwkv4 import rwkv4, rwkv4_loop

B, T, E = 4, 2048, 256


def contests() -> Iterator[Contest]:
    """The operator alone, with and without a compiler; inputs are those of transformers, whose decay is -exp(w)."""
    races: tuple[tuple[str, Path, float | None], ...] = (("rwkv4-2k", "auto", 15.0), ("rwkv4-2k-torch", "torch", None))
    for name, path, wanted in races:
        yield Contest(
            name=name,
            ours=partial(_ours, path=path),
            peers={
                "transformers CPU loop": Peer(form=_transformers, at_least=wanted),
                "unbound token loop": Peer(form=lambda: lambda k, v, w, u: rwkv4_loop(k, v, -w.exp(), u)[0]),
            },
            inputs=_inputs,
        )


def _ours(k: Tensor, v: Tensor, w: Tensor, u: Tensor, *, path: Path) -> Tensor:
    return rwkv4(k, v, -w.exp(), u, path=path)[0]


def _transformers() -> Form:
    from transformers.models.rwkv.modeling_rwkv import rwkv_linear_attention_cpu

    def form(k: Tensor, v: Tensor, w: Tensor, u: Tensor) -> Tensor:
        out: Tensor = rwkv_linear_attention_cpu(w, u, k, v)[0]
        return out

    return form


def _inputs() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    k, v = (torch.randn(B, T, E, generator=random) for _ in range(2))
    return {"k": k, "v": v, "w": torch.linspace(-5, 1, E), "u": 0.3 * torch.randn(E, generator=random)}
