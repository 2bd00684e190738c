"""The whole Hyena operator against the one that its authors publish, which is on no package index.

Their standalone operator is written down here anew, with what costs it time: channels before steps, so that each projection is transposed,
the filters drawn and transformed in every forward, windows of exactly twice the length, real transforms under autograd (which
transforms every spectrum's gradient and keeps every factor), and the weight of the present input as a product of its own.
Shapes: see modules/hyena.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

import modules.hyena
from bench.peer_speed import Contest, Form, Peer
from kernels.fft_convolution import fft_convolution
from modules.hyena import HyenaOperator

B, T, WIDTH = 4, 2048, 256


def contests() -> Iterator[Contest]:
    """The operator of order 2 with its projections, and the long convolution alone."""
    torch.manual_seed(0)
    operator = HyenaOperator(modules.hyena.Config(d_model=WIDTH, filter_length=T))
    yield Contest(
        name="hyena-operator-2k",
        ours=lambda x: operator(x, None)[0],
        peers={"paper's standalone operator": Peer(form=lambda: standalone(operator), at_least=1.2)},
        inputs=lambda: {"x": torch.randn(B, T, WIDTH)},
        parameters=tuple(operator.parameters()),
    )
    for path, wanted in (("compiled", 1.2), ("torch", None)):
        yield Contest(
            name=f"long-convolution-2k-{path}",
            ours=_ours(path),
            peers={"paper's fftconv": Peer(form=lambda: plain_convolution, at_least=wanted)},
            inputs=lambda: {"u": torch.randn(B, T, WIDTH), "taps": torch.randn(T, WIDTH), "bias": torch.randn(WIDTH)},
        )


def _ours(path: str) -> Form:
    def form(u: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
        return fft_convolution(u, torch.cat((taps[:1] + bias, taps[1:])), path="torch" if path == "torch" else "compiled")[0]

    return form


def plain_convolution(u: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    """Their convolution on our layout."""
    return _convolution(u.mT, taps.mT, bias).mT


def _convolution(u_BDT: Tensor, taps_DT: Tensor, bias_D: Tensor) -> Tensor:
    window = 2 * u_BDT.shape[-1]
    product = torch.fft.rfft(u_BDT, n=window) * (torch.fft.rfft(taps_DT, n=window) / window)
    out_BDT: Tensor = torch.fft.irfft(product, n=window, norm="forward")[..., : u_BDT.shape[-1]]
    return out_BDT + u_BDT * bias_D[:, None]


def standalone(ours: HyenaOperator) -> Callable[..., Tensor]:
    """Their operator of order 2 with copies of our weights, trained like ours."""
    copies = {name: parameter.detach().clone().requires_grad_() for name, parameter in ours.named_parameters()}
    linears = [name.removesuffix(".weight") for name in copies if name.startswith("filters.network") and name.endswith(".weight")]
    features_TP, window_TD = ours.filters.features_LP, ours.filters.window_LX

    def filters() -> Tensor:
        h_TM = features_TP
        for name in linears[:-1]:
            index = int(name.rsplit(".", 1)[1]) + 1
            h_TM = F.linear(h_TM, copies[f"{name}.weight"], copies[f"{name}.bias"])
            h_TM = torch.sin(copies[f"filters.network.{index}.frequency_M"] * h_TM)
        return F.linear(h_TM, copies[f"{linears[-1]}.weight"]) * window_TD

    def operator(x: Tensor) -> Tensor:
        for parameter in copies.values():
            parameter.grad = None
        projected_BXT = F.linear(x, copies["project_in.weight"], copies["project_in.bias"]).mT
        short = copies["conv.weight"]
        conv_BXT = F.conv1d(projected_BXT, short, copies["conv.bias"], padding=short.shape[-1] - 1, groups=short.shape[0])
        first_BDT, gate_BDT, v_BDT = torch.split(conv_BXT[..., : x.shape[1]], WIDTH, dim=1)
        mixed_BDT = _convolution(v_BDT * gate_BDT, filters().mT, copies["filters.bias_X"])
        return F.linear((mixed_BDT * first_BDT).mT, copies["project_out.weight"], copies["project_out.bias"])

    return operator
