"""Refuses forward-mode derivatives where an operator would drop them without a word."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def no_tangents(operation: str, *tensors: Tensor | None) -> None:
    """NotImplementedError where a tensor carries a tangent: torch would drop it at an operator without a word.

    Reverse mode is what every operation has; the plain references take either.
    """
    if torch.compiler.is_compiling() or forward_ad._current_level < 0:
        return
    if any(x is not None and _dual(x) for x in tensors):
        raise NotImplementedError(
            f"`{operation}` has no forward-mode derivative (torch.func.jvp, jacfwd, forward_ad); use "
            "`backward`, or the operation's plain reference, which has both"
        )


def _dual(x: Tensor) -> bool:
    while forward_ad.unpack_dual(x).tangent is None:  # type: ignore[no-untyped-call]
        if not torch._C._functorch.is_functorch_wrapped_tensor(x):
            return False
        x = torch._C._functorch.get_unwrapped(x)
    return True
