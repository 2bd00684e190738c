"""How an operation is shown to the rest of torch: one operator with a gradient, which torch.func and vmap see through as well.

torch's own registration of a gradient serves `backward` and torch.compile; torch.func refuses it. So an operation calls what `operator` returns: the operator
itself, or, within a transform of torch.func, the same two passes as a function whose gradient may be batched. A batch of vmap is a loop over its samples, each of which
is a call that keeps all cores busy; handing over documents as one batch is faster. Derivatives are of first order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef
from torch.utils.checkpoint import checkpoint


def operator(
    forward: CustomOpDef, backward: CustomOpDef, *, remember: Callable[..., None], pull_back: Callable[..., Any]
) -> Callable[..., Any]:
    """Register `pull_back`, which calls `backward` on what `remember` kept, as the gradient of `forward`; the function to call for it."""
    forward.register_autograd(pull_back, setup_context=remember)
    for each in (forward, backward):
        each.register_vmap(_by_sample(each))

    passes = {"forward": staticmethod(lambda *inputs: forward(*inputs)), "setup_context": staticmethod(remember)}
    passes["backward"] = staticmethod(pull_back)
    function: Any = type(forward._name, (torch.autograd.Function,), {**passes, "generate_vmap_rule": True})

    def call(*inputs: Any) -> Any:
        return function.apply(*inputs) if transformed() else forward(*inputs)

    return call


def transformed() -> bool:
    """Whether a transform of torch.func is at work, outside of a compiler, which has its own ways."""
    return torch._C._are_functorch_transforms_active() and not torch.compiler.is_compiling()


def recorded(*tensors: Tensor | None) -> bool:
    """Whether a gradient may be asked for; within torch.func nobody can tell, since a sample of a batch does not say it."""
    return torch.is_grad_enabled() and (transformed() or any(t is not None and t.requires_grad for t in tensors))


def recomputed(function: Callable[..., Any], *inputs: Any) -> Any:
    """`function(*inputs)`, computed again for its gradient instead of kept; torch.func has no such thing and keeps it."""
    if transformed():
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)


def _by_sample(op: CustomOpDef) -> Callable[..., Any]:
    def rule(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        def sample(i: int) -> Any:
            return op(*(x if at is None else x.select(at, i).contiguous() for x, at in zip(inputs, in_dims, strict=True)))

        samples = [sample(i) for i in range(info.batch_size)]
        if isinstance(samples[0], Tensor):
            return torch.stack(samples), 0
        outs = type(samples[0])(torch.stack(parts) for parts in zip(*samples, strict=True))
        return outs, type(outs)(0 for _ in outs)

    return rule
