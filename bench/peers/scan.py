"""Mamba's selective scan and whole mixer against mamba.py, a plain loop, and softmax attention of the same width.

mamba.py (PyPI `mambapy`) runs Blelloch's parallel scan in torch: the fastest published form of Mamba that trains on a CPU. The loop is
the reference of `kernels.scan`, which unbinds its inputs once: forms that index `x[:, t]` under autograd are quadratic in T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.peer_speed import Contest, Form, Peer
from kernels.paths import Path
from kernels.scan import selective_scan, selective_scan_loop
from modules.mamba import Config, SelectiveSSM

BATCH, LENGTH, WIDTH, HEADS = 4, 2048, 256, 4


def contests() -> Iterator[Contest]:
    """The scan alone, with and without a compiler, and the mixer."""
    races: tuple[tuple[Path, float | None, float | None], ...] = (("compiled", 25.0, 6.0), ("torch", None, None))
    for path, against_pscan, against_loop in races:
        yield Contest(
            name=f"scan-{path}",
            ours=_outputs(partial(selective_scan, path=path)),
            peers={
                "mambapy pscan": Peer(form=_pscan, at_least=against_pscan),
                "unbind loop": Peer(form=lambda: _outputs(selective_scan_loop), at_least=against_loop),
            },
            inputs=_scan_inputs,
        )
    torch.manual_seed(0)
    mixer = SelectiveSSM(Config(d_model=WIDTH))
    yield Contest(
        name="mamba-mixer",
        ours=lambda x_BTD: mixer(x_BTD, None)[0],
        peers={
            "mambapy MambaBlock": Peer(form=partial(_mambapy_block, mixer), at_least=8.0),
            "torch SDPA attention, 4 heads": Peer(form=_attention, at_least=1.0, within=float("inf")),
        },
        inputs=lambda: {"x_BTD": torch.randn(BATCH, LENGTH, WIDTH)},
        parameters=tuple(mixer.parameters()),
    )


def _scan_inputs() -> dict[str, Tensor]:
    torch.manual_seed(0)
    E, N = 2 * WIDTH, 16
    return {
        "x_BTE": torch.randn(BATCH, LENGTH, E),
        "dt_BTE": F.softplus(torch.randn(BATCH, LENGTH, E) - 4),
        "A_EN": -torch.arange(1.0, N + 1).repeat(E, 1),
        "B_BTN": torch.randn(BATCH, LENGTH, N),
        "C_BTN": torch.randn(BATCH, LENGTH, N),
        "D_E": torch.ones(E),
    }


def _pscan() -> Form:
    from mambapy.mamba import MambaBlock

    def form(x_BTE: Tensor, dt_BTE: Tensor, A_EN: Tensor, B_BTN: Tensor, C_BTN: Tensor, D_E: Tensor) -> Tensor:
        y_BTE: Tensor = MambaBlock.selective_scan(None, x_BTE, dt_BTE, A_EN, B_BTN, C_BTN, D_E)
        return y_BTE

    return form


def _outputs(scan: Callable[..., tuple[Tensor, Tensor]]) -> Form:
    """`scan` without its final state, which mamba.py does not give."""
    return lambda **inputs: scan(**inputs)[0]


def _mambapy_block(mixer: SelectiveSSM) -> Form:
    from mambapy.mamba import MambaBlock, MambaConfig

    block = MambaBlock(MambaConfig(d_model=WIDTH, n_layers=1))
    names = {
        "project_in.weight": "in_proj.weight",
        "conv.weight": "conv1d.weight",
        "conv.bias": "conv1d.bias",
        "project_x.weight": "x_proj.weight",
        "project_dt.weight": "dt_proj.weight",
        "project_dt.bias": "dt_proj.bias",
        "project_out.weight": "out_proj.weight",
        "A_log_EN": "A_log",
        "D_E": "D",
    }
    block.load_state_dict({names[name]: value for name, value in mixer.state_dict().items()})
    return _fresh(block)


def _attention() -> Form:
    return _fresh(_Attention())


class _Attention(nn.Module):
    """Causal softmax attention between its projections, nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.project_in, self.project_out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        q, k, v = self.project_in(x_BTD).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        out_BTD: Tensor = self.project_out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return out_BTD


def _fresh(block: nn.Module) -> Form:
    """`block` with no gradients of an earlier round to add to."""

    def form(x_BTD: Tensor) -> Tensor:
        block.zero_grad(set_to_none=True)
        out: Tensor = block(x_BTD)
        return out

    return form
