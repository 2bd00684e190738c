"""How close a fast kernel is to its reference: one number per tensor, and no softening.

The measure is the RMSE ratio, |fast - reference| / |reference| in the Euclidean norm. Unlike an
elementwise tolerance it cannot be passed by small outputs that are entirely wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def rmse_ratio(fast: Tensor, reference: Tensor) -> float:
    """|fast - reference| / |reference| in float64; infinite where shapes differ, a NaN appears, or only the reference is zero."""
    if fast.shape != reference.shape:
        return math.inf
    error = (fast.double() - reference.double()).norm().item()
    size = reference.double().norm().item()
    if not math.isfinite(error) or not math.isfinite(size):
        return math.inf
    return error / size if size else (0.0 if error == 0 else math.inf)


def assert_agrees(fast: Mapping[str, Tensor], reference: Mapping[str, Tensor], *, within: float = 1e-5) -> None:
    """AssertionError naming every tensor whose RMSE ratio exceeds `within`, or that one side lacks."""
    if fast.keys() != reference.keys():
        raise AssertionError(f"different tensors: {sorted(fast)} against {sorted(reference)}")
    ratios = {name: rmse_ratio(fast[name], reference[name]) for name in reference}
    off = {name: ratio for name, ratio in ratios.items() if not ratio <= within}
    if off:
        raise AssertionError(f"off by more than {within:g} (RMSE ratio): " + ", ".join(f"{n} {r:.3g}" for n, r in off.items()))


def outputs_and_gradients(
    function: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: Mapping[str, Tensor],
    *,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """Run `function(**inputs)`, pull a fixed random direction back, and return `out.i` and `grad.NAME` of every input.

    `dtype`: convert the inputs first (float64 for a reference); the random direction is the same in any dtype.
    """
    leaves = {name: x.detach().to(dtype or x.dtype).requires_grad_() for name, x in inputs.items()}
    result = function(**leaves)
    outs = result if isinstance(result, tuple) else (result,)
    generator = torch.Generator().manual_seed(seed)
    directions = [torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out) for out in outs]
    torch.autograd.backward(list(outs), directions)
    found = {f"out.{i}": out.detach() for i, out in enumerate(outs)}
    return found | {f"grad.{name}": torch.zeros_like(x) if x.grad is None else x.grad for name, x in leaves.items()}
