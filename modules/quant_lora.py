"""Fine-tuning a frozen four-bit model: `apply_quant_lora` swaps its linear maps for packed ones with low-rank adapters beside them.

    y = x W' + b + (alpha / rank) (x A') B'          W packed and frozen; only A and B learn       (QLoRA, arXiv:2305.14314, eq. 5)

W is kept in NF4 or int4 with doubly quantised scales (4.13 bits a weight, see kernels/quantised.py) or, for comparison, in bfloat16; it
is decoded a panel at a time in the forward pass and again in the backward. B starts at zero, so the model starts as its packed self.

Shapes: O outputs, I inputs, R rank.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.quantised import Packed, dequantise, linear_by_panels, quantise, quantised_linear
from modules.settings import ConfigError

Kind = Literal["nf4", "int4", "bf16"]


class QuantLinear(nn.Module):
    """A linear map with a packed frozen weight and an adapter of low rank."""

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float, kind: Kind) -> None:
        super().__init__()
        self.inputs, self.outputs, self.kind, self.scaling = linear.in_features, linear.out_features, kind, alpha / rank
        weight_OI = linear.weight.detach()
        kept = {"half_OI": weight_OI.to(torch.bfloat16)} if kind == "bf16" else quantise(weight_OI, kind=kind)._asdict()
        for name, part in kept.items():
            self.register_buffer(name, part)
        self.bias: Tensor | None
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())
        self.A_RI = nn.Parameter(torch.randn(rank, self.inputs, device=weight_OI.device) * self.inputs**-0.5)
        self.B_OR = nn.Parameter(torch.zeros(self.outputs, rank, device=weight_OI.device))
        self.merged_OI: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.merged_OI is not None:
            return F.linear(x, self.merged_OI, self.bias)
        y = linear_by_panels(x, self.outputs, self._rows) if self.kind == "bf16" else quantised_linear(x, self._packed())
        y = y + F.linear(F.linear(x, self.A_RI), self.B_OR) * self.scaling
        return y if self.bias is None else y + self.bias

    @property
    def weight(self) -> Tensor:
        """The whole map as one (O, I) matrix, decoded for the occasion; differentiable in the adapter."""
        return self._rows(slice(0, self.outputs), self.A_RI.dtype) + self.scaling * self.B_OR @ self.A_RI

    def _packed(self) -> Packed:
        return Packed(*(self.get_buffer(name) for name in Packed._fields))

    def _rows(self, rows: slice, dtype: torch.dtype) -> Tensor:
        if self.kind == "bf16":
            return self.get_buffer("half_OI")[rows].to(dtype)
        return dequantise(self._packed(), columns=self.inputs, rows=rows, dtype=dtype)

    def merge(self) -> None:
        """Compute with the sum of weight and adapter, held in float32, until `unmerge`. What is saved does not change."""
        with torch.no_grad():
            self.merged_OI = self.weight

    def unmerge(self) -> None:
        """Compute from the packed weight and the adapter again, to the same bits as before `merge`."""
        self.merged_OI = None

    def train(self, mode: bool = True) -> QuantLinear:
        """As nn.Module's; a merged map is unmerged for training, since nothing of it could learn."""
        if mode:
            self.unmerge()
        super().train(mode)
        return self

    def extra_repr(self) -> str:
        """Sizes, for print(model)."""
        return f"{self.inputs}, {self.outputs}, kind={self.kind}, rank={self.A_RI.shape[0]}, bias={self.bias is not None}"


def apply_quant_lora(
    model: nn.Module,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    kind: Kind = "nf4",
    names: Sequence[str] = ("*",),
    also_train: Sequence[str] = (),
    seed: int = 0,
) -> list[str]:
    """Freeze `model` and replace, in place, each nn.Linear whose dotted name matches one of `names`; returns the names replaced.

    `also_train`: patterns of parameters that go on learning at full precision, such as `*norm*`. A weight that another module shares (a
    tied head) is left alone. The adapters' first values follow from `seed`. A model on the meta device gets the shapes only,
    to be filled by `load_state_dict(..., assign=True)`: the way to load without ever holding the full weights.
    Raises ConfigError, with the model untouched, where nothing matches or a setting makes no sense; warns of weights as large as any it
    packed that are no linear map of their own, such as stacked experts, which stay as they are, frozen.
    """
    if kind not in get_args(Kind):
        raise ConfigError(f"`kind` = {kind!r} must be one of {', '.join(get_args(Kind))}; the model is untouched")
    chosen = [name for name, module in _own_linears(model) if any(fnmatchcase(name, pattern) for pattern in names)]
    if not chosen:
        raise ConfigError(f"no linear map of the model is called {' or '.join(map(repr, names))}; the model is untouched")
    if rank < 1:
        raise ConfigError(f"`rank` = {rank} must be at least 1; the model is untouched")
    packed = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name in chosen:
            packed[name] = QuantLinear(model.get_submodule(name), rank=rank, alpha=alpha, kind=kind)  # type: ignore[arg-type]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in also_train))
    for name, module in packed.items():
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, module.train(model.training))
    sizes = [layer.outputs * layer.inputs for layer in packed.values()]
    left = {name: x.numel() for name, x in _unmapped(model) if not x.requires_grad and x.numel() >= max(sizes)}
    if left:
        warnings.warn(
            f"`apply_quant_lora` packs linear maps, here {sum(sizes):,} weights; {sum(left.values()):,} in stacks and other forms stay "
            f"unpacked and frozen: {', '.join(left)}",
            stacklevel=2,
        )
    return chosen


def merge(model: nn.Module) -> None:
    """Merge every adapter of `model`: one product per map, at the memory of the full weights."""
    for layer in quant_layers(model):
        layer.merge()


def unmerge(model: nn.Module) -> None:
    """Take every merged adapter of `model` out again, to the same bits."""
    for layer in quant_layers(model):
        layer.unmerge()


def quant_layers(model: nn.Module) -> Iterator[QuantLinear]:
    """Every packed map of `model`."""
    return (module for module in model.modules() if isinstance(module, QuantLinear))


def _unmapped(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The matrices and stacks of matrices, by name, that belong to no linear map, embedding or adapter."""
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Linear, nn.Embedding, QuantLinear)):
            yield from ((f"{name}.{own}", x) for own, x in module.named_parameters(recurse=False) if x.ndim > 1)


def _own_linears(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The linear maps, by name, whose weight nobody else holds."""
    holders: dict[int, int] = {}
    for _, module in model.named_modules(remove_duplicate=False):
        for parameter in module.parameters(recurse=False):
            holders[id(parameter)] = holders.get(id(parameter), 0) + 1
    for name, module in model.named_modules():
        if name and type(module) is nn.Linear and holders[id(module.weight)] == 1:
            yield name, module
