"""AdamW with decoupled decay of matrices, one fused kernel call per group.

`torch.optim` computes the same, but its first optimiser imports the compiler, which costs a new process seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

EPSILON = 1e-8


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    Vectors, and parameters marked `_no_weight_decay`, do not decay. A parameter without gradient is left as it is.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, betas: tuple[float, float], weight_decay: float) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.betas = betas
        self.decays = [0.0 if p.ndim < 2 or getattr(p, "_no_weight_decay", False) else weight_decay for p in self.parameters]
        self.first = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.second = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def forget_gradients(self) -> None:
        """Drop the gradients, so that the next backward starts from none."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move each parameter that has a gradient."""
        for decay in dict.fromkeys(self.decays):
            chosen = [i for i, p in enumerate(self.parameters) if self.decays[i] == decay and p.grad is not None]
            steps = [self.steps[i] for i in chosen]
            for count in steps:
                count += 1
            torch._fused_adamw_(
                [self.parameters[i] for i in chosen],
                [_gradient(self.parameters[i]) for i in chosen],
                [self.first[i] for i in chosen],
                [self.second[i] for i in chosen],
                [],
                steps,
                lr=lr,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def state(self) -> dict[str, list[Tensor]]:
        """Moments and step counts, to be saved."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a saved `state`."""
        for name, tensors in self.state().items():
            for mine, saved in zip(tensors, state[name], strict=True):
                mine.copy_(saved)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
