"""The mixture's experts against transformers' Mixtral block, router included, and against a dense layer of equal active FLOPs.

All three are gated (SwiGLU) feed-forwards: 8 experts, top 2, equal weights. The peer's two ways to compute experts that do not gather a
copy of the weights per token are raced; the third does, and runs out of memory at this size. Beside them run the matrix products that no form
can leave out: a peer's ratio over theirs is the most that a layer on these products could reach.
Shapes: N tokens, D width, F expert width, E experts, K experts per token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bench.peer_speed import Contest, Form, Peer
from kernels.experts import by_expert, experts
from modules.transformer import FeedForward

N, D, WIDTH, E, K = 8192, 256, 512, 8, 2


def contests() -> Iterator[Contest]:
    """One layer at 4 x 2048 tokens; all weights are trained."""
    torch.manual_seed(0)
    ours, dense = Layer(), FeedForward(D, multiple=K * WIDTH / D, kind="swiglu")
    yield Contest(
        name="moe-layer-2k",
        ours=ours,
        peers={
            "transformers Mixtral eager": Peer(form=_mixtral(ours, "eager"), at_least=1.7),
            "transformers Mixtral grouped_mm": Peer(form=_mixtral(ours, "grouped_mm"), at_least=1.7),
            "dense, equal active FLOPs": Peer(form=lambda: _fresh(dense, dense), at_least=1 / 1.15, within=float("inf")),
            "the six products alone": Peer(form=_floor, within=float("inf")),
        },
        inputs=lambda: {"x": torch.randn(N, D, generator=torch.Generator().manual_seed(1))},
        parameters=tuple(ours.parameters()),
    )


class Layer(nn.Module):
    """Mixtral's layer on the house's kernel: the top two of a softmax, weights that add up to one."""

    def __init__(self) -> None:
        super().__init__()
        self.score_DE = nn.Parameter(torch.randn(D, E) * D**-0.5)
        self.widen_EDH = nn.Parameter(torch.randn(E, D, 2 * WIDTH) * D**-0.5)
        self.narrow_EFD = nn.Parameter(torch.randn(E, WIDTH, D) * WIDTH**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        probability_NK, chosen_NK = (x @ self.score_DE).softmax(-1).topk(K)
        order_M, load_E = by_expert(chosen_NK, E)
        weight_M = (probability_NK / probability_NK.sum(-1, keepdim=True)).flatten()[order_M]
        return experts(x, order_M // K, weight_M, load_E, self.widen_EDH, self.narrow_EFD, kind="swiglu")


def _mixtral(ours: Layer, way: str) -> Callable[[], Form]:
    """transformers' block with the weights of ours."""

    def form() -> Form:
        from transformers import MixtralConfig
        from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

        config = MixtralConfig(
            hidden_size=D, intermediate_size=WIDTH, num_local_experts=E, num_experts_per_tok=K, experts_implementation=way
        )
        theirs: nn.Module = MixtralSparseMoeBlock(config).train()
        copied = {
            "gate.weight": ours.score_DE.mT,
            "experts.gate_up_proj": ours.widen_EDH.mT,
            "experts.down_proj": ours.narrow_EFD.mT,
        }
        with torch.no_grad():
            for name, parameter in theirs.named_parameters():
                parameter.copy_(copied[name])
        return _fresh(lambda x: theirs(x[None])[0], theirs)

    return form


class _Products(torch.autograd.Function):
    """The layer's products for one even share an expert, without routing, gathering, activations or adding up; not the map."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, widen_DH: Tensor, narrow_FD: Tensor) -> Tensor:
        ctx.matrices, x_BD = (widen_DH, narrow_FD), x_ND[: N * K // E]
        for _ in range(E):
            h_BH = x_BD @ widen_DH
            y_BD = h_BH[:, :WIDTH] @ narrow_FD
        ctx.save_for_backward(x_BD, h_BH)
        return y_BD

    @staticmethod
    def backward(ctx: Any, dy_BD: Tensor) -> tuple[Tensor, None, None]:
        (widen_DH, narrow_FD), (x_BD, h_BH) = ctx.matrices, ctx.saved_tensors
        out = [torch.empty(shape) for shape in ((*dy_BD.shape[:1], WIDTH), narrow_FD.shape, widen_DH.shape, dy_BD.shape)]
        for _ in range(E):
            torch.mm(dy_BD, narrow_FD.mT, out=out[0])
            torch.mm(h_BH[:, :WIDTH].mT, dy_BD, out=out[1])
            torch.mm(x_BD.mT, h_BH, out=out[2])
            torch.mm(h_BH, widen_DH.mT, out=out[3])
        return out[3].repeat(E // K, 1), None, None


def _floor() -> Form:
    widen_DH, narrow_FD = torch.randn(D, 2 * WIDTH), torch.randn(WIDTH, D)
    return lambda x: _Products.apply(x, widen_DH, narrow_FD)  # type: ignore[no-untyped-call]


def _fresh(run: Callable[[Tensor], Tensor], of: nn.Module) -> Form:
    """`run` from no gradients, so that none are added up over the rounds."""

    def form(x: Tensor) -> Tensor:
        of.zero_grad(set_to_none=True)
        return run(x)

    return form
