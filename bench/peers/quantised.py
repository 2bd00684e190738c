"""The four-bit linear map against bitsandbytes' NF4 on the CPU, computed in float32, and against the plain float32 map.

bitsandbytes' default compute type is bfloat16, which a CPU without the instructions emulates many times slower; asked for float32 it
computes in that while it is in training mode. It is raced on the weights that our codes stand for, with plain float scales, which spares
it the second dequantisation; quantised by itself as its users do; and, where only the forward pass counts, in evaluation mode, where it
rounds to bfloat16 whatever was asked for if the processor has products of that. Decoding is a document's tokens, one after the other,
through a few layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.peer_speed import Contest, Form, Peer
from kernels.quantised import dequantise, quantise, quantised_linear

WIDTH, LAYERS, DECODED = 1024, 4, 8


def contests() -> Iterator[Contest]:
    """1024 x 1024 NF4 weights: one at 2048 tokens in training, and four at one token at a time."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(WIDTH, WIDTH, generator=generator) * WIDTH**-0.5 for _ in range(LAYERS)]
    yield _contest(weights[:1], tokens=2048, step=2048, wanted=1.0, directions=("training", "forward"))
    yield _contest(weights, tokens=DECODED, step=1, wanted=4.0, directions=("forward",))


def _contest(weights: list[Tensor], *, tokens: int, step: int, wanted: float, directions: Sequence[str]) -> Contest:
    packed = [quantise(weight_OI) for weight_OI in weights]
    read = [dequantise(four_bits, columns=WIDTH) for four_bits in packed]
    chain = partial(_chain, step=step)
    return Contest(
        name=f"nf4-linear-{step}",
        ours=chain([partial(quantised_linear, packed=four_bits) for four_bits in packed]),
        peers={
            "bitsandbytes, our scales": Peer(form=lambda: chain(_bitsandbytes(read, nested=False)), at_least=wanted),
            "bitsandbytes": Peer(form=lambda: chain(_bitsandbytes(weights, nested=True)), at_least=wanted, within=0.1),
            "bitsandbytes, evaluating": Peer(
                form=lambda: chain(_bitsandbytes(weights, nested=True, training=False)), at_least=wanted, within=0.1
            ),
            "torch float32 linear": Peer(form=lambda: chain([partial(F.linear, weight=weight_OI) for weight_OI in read])),
        },
        inputs=lambda: {"x_MI": torch.randn(tokens, WIDTH, generator=torch.Generator().manual_seed(1))},
        directions=directions,
        reads=[(t, tokens // step) for four_bits in packed for t in four_bits if isinstance(t, Tensor)],
    )


def _chain(maps: Sequence[Callable[[Tensor], Tensor]], *, step: int) -> Form:
    """Through all the maps, `step` tokens at a time."""

    def form(x_MI: Tensor) -> Tensor:
        done = []
        for y in torch.split(x_MI, step):
            for one in maps:
                y = one(y)
            done.append(y)
        return torch.cat(done)

    return form


def _bitsandbytes(weights: Sequence[Tensor], *, nested: bool, training: bool = True) -> list[Callable[[Tensor], Tensor]]:
    from bitsandbytes.functional import quantize_4bit
    from bitsandbytes.nn import Linear4bit, Params4bit

    layers = []
    for weight_OI in weights:
        layer = Linear4bit(WIDTH, WIDTH, bias=False, compute_dtype=torch.float32, quant_type="nf4")
        codes, state = quantize_4bit(weight_OI, quant_type="nf4", blocksize=64, compress_statistics=nested)
        kept = {"quant_state": state, "quant_type": "nf4", "bnb_quantized": True, "module": layer}
        layer.weight, layer.quant_state = Params4bit(codes, requires_grad=False, **kept), state
        layers.append(layer.train(training))
    return layers
