"""Bugs, as what a file of the shelf says and what it says with the bug in it, each with a module and the check that must complain.

`precision` sees one path of a kernel alone go wrong, `chunks` a state or a single step, `slopes` a backward pass that
disagrees with its forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One bug; `settings` are those of the module's Config that bring it out."""

    bug: str
    module: str
    claim: str
    file: str
    old: str
    new: str
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.module}: {self.bug}"


def of(module: str, bug: str, claim: str, old: str, new: str, *, file: str = "", **settings: Any) -> Mutant:
    """A bug in the module's own file, or in `file`."""
    return Mutant(bug=bug, module=module, claim=claim, file=file or f"modules/{module}.py", old=old, new=new, settings=settings)


STATE = "state=None if state is None else state.memory_BHKV"

DECAYS = [
    of("retnet", "memory turned by T - 1", "chunks", "memory_BHKV.mT, -T * turn_J)", "memory_BHKV.mT, (1 - T) * turn_J)"),
    of(
        "retnet",
        "chunks decay otherwise than steps",
        "chunks",
        "simple_gla(q, k, v, log_decay_H.expand",
        "simple_gla(q, k, v, (1.01 * log_decay_H).expand",
        file="kernels/retention.py",
    ),
    of(
        "mamba",
        "a step's input decays with it",
        "precision",
        "later_BNE.addcmul_(decay_BNE, earlier_BNE)",
        "later_BNE.add_(earlier_BNE).mul_(decay_BNE)",
        file="kernels/scan_chunks.py",
    ),
    of(
        "mamba2",
        "the decay of the last step of a chunk is left out",
        "precision",
        "self.whole = sums_BNHC[..., -1:, None]",
        "self.whole = sums_BNHC[..., -2:-1, None]",
        file="kernels/simple_gla.py",
    ),
    of(
        "gla",
        "a block decays from the end of the one before",
        "precision",
        "since_2 + total_1",
        "since_2 + until_1[..., :1, :]",
        file="kernels/gla.py",
    ),
    of(
        "gated_delta_net",
        "the decay of the last step of a chunk is left out",
        "precision",
        "whole = fade[..., -1, :, None]",
        "whole = fade[..., -2, :, None]",
        file="kernels/delta_rule.py",
    ),
    of(
        "rwkv4",
        "the present token is weighed against the next state",
        "precision",
        "averages_BTXE[:, :-1, 0], v,",
        "averages_BTXE[:, 1:, 0], v,",
        file="kernels/rwkv4.py",
    ),
    of(
        "hyena",
        "windows begin a step early",
        "precision",
        "n=N)[..., L - 1 :].flatten(2)",
        "n=N).roll(1, -1)[..., L - 1 :].flatten(2)",
        file="kernels/fft_convolution.py",
    ),
]

FUTURE = [
    of(
        "rwkv4",
        "the token shift goes the other way",
        "causality",
        "torch.cat((before_BD[:, None], x_BTD[:, :-1]), dim=1)",
        "torch.cat((x_BTD[:, 1:], before_BD[:, None]), dim=1)",
    ),
    of(
        "mamba",
        "one future token leaks",
        "causality",
        "return x_BTD + y_BTD, state",
        "return x_BTD + y_BTD + 0.001 * y_BTD.roll(-1, 1), state",
    ),
    of(
        "rwkv7",
        "the mask of a chunk is off by one",
        "precision",
        "(order < order.mT)[..., None]",
        "(order + 1 < order.mT)[..., None]",
        file="kernels/delta_rule.py",
    ),
    of(
        "attention",
        "the mask of a chunk behind a cache is off by one",
        "chunks",
        "(key_S > query_T1) |",
        "(key_S > query_T1 + 1) |",
        file="kernels/attention.py",
    ),
    of(
        "moe",
        "a training batch is routed evenly by its own mean",
        "causality",
        "biased_BTE = logit_BTE + bias_E",
        "biased_BTE = logit_BTE + (-logit_BTE.mean((0, 1)) if self.training else bias_E)",
        file="modules/routing.py",
    ),
    of(
        "moe",
        "documents before it in the batch take the room of a document's first tokens",
        "causality",
        "view(documents, -1).T.flatten()",
        "view(documents, -1).flatten()",
        capacity=0.8,
    ),
    of(
        "topk_attention",
        "the mask is off by one",
        "precision",
        "triu(S - t + 1)",
        "triu(S - t + 2)",
        file="kernels/topk_attention.py",
    ),
    of(
        "megabyte",
        "a byte hears of its own patch",
        "causality",
        "told_BXD[:, first - base : first - base + local_BSD.shape[1]]",
        "told_BXD.roll(-self.config.patch, 1)[:, first - base : first - base + local_BSD.shape[1]]",
    ),
    of(
        "gla",
        "the normaliser runs over the document",
        "causality",
        "F.rms_norm(out_BTHV, self.norm_weight_V.shape, self.norm_weight_V, eps=1e-5)",
        "out_BTHV * out_BTHV.square().mean((1, 3), keepdim=True).add(1e-5).rsqrt() * self.norm_weight_V",
    ),
    of(
        "mamba2",
        "a gate is for one part in ten thousand the next token's",
        "causality",
        "F.silu(gate_BTE)",
        "F.silu(torch.cat((gate_BTE[:, :1], 0.9999 * gate_BTE[:, 1:] + 0.0001 * gate_BTE.roll(-1, 1)[:, 1:]), dim=1))",
    ),
    of(
        "mamba2",
        "every 128th gate hears a ten-thousandth of the next token",
        "causality",
        "F.silu(gate_BTE)",
        "F.silu(gate_BTE + 1e-4 * gate_BTE.roll(-1, 1).detach() * (torch.arange(T)[None, :, None] % 128 == 127))",
    ),
]

STATES = [
    of("gla", "not carried", "chunks", STATE, "state=None"),
    of(
        "mamba", "the one before this call is handed on", "chunks", "State(tail_BWE, memory_BEN)", "State(before_BWE, memory_BEN)"
    ),
    of("delta_net", "that of another row", "chunks", STATE, f"{STATE}.roll(1, 0)"),
    of(
        "gla",
        "the first one ever is used for ever",
        "chunks",
        STATE,
        "state=None if state is None else self.__dict__.setdefault('first', state.memory_BHKV)",
    ),
    of(
        "rwkv7",
        "the channel mixing forgets its last token",
        "chunks",
        "self.channels(h_BTD, channels)",
        "self.channels(h_BTD, None)",
    ),
    of(
        "hyena",
        "the convolution's tail is a step late",
        "chunks",
        "projected_BTX[:, max(0, T - W + 1) :]",
        "projected_BTX.roll(1, 1)[:, max(0, T - W + 1) :]",
    ),
    of(
        "attention", "rotary offset of decoding off by one", "chunks", "rotation(seen, T,", "rotation((seen - 1).clamp(min=0), T,"
    ),
    of("attention", "a cache overwritten in place", "independence", "writable and past == self.filled and", "writable and"),
    of(
        "moe",
        "a window of routing begins a token late",
        "chunks",
        "-int(seen) % BLOCK or BLOCK",
        "-(int(seen) + 1) % BLOCK or BLOCK",
        file="modules/routing.py",
        even_rate=50.0,
    ),
]

GRADIENTS = [
    of(
        "mamba",
        "none for the first state",
        "chunks",
        "None if ctx.stateless else dstate, None, None",
        "None, None, None",
        file="kernels/scan.py",
    ),
    of(
        "mamba",
        "that of the step size too large by a thousandth",
        "slopes",
        "torch.addcmul(flow.mul_(A_NE).sum(2), dxdt_LBE, x,",
        "torch.addcmul(flow.mul_(A_NE).sum(2), dxdt_LBE, 1.001 * x,",
        file="kernels/scan_chunks.py",
    ),
    of(
        "retnet",
        "that of a rotation not turned back",
        "slopes",
        "torch.view_as_complex(torch.unflatten(x, -1, (-1, 2)).contiguous()) * turn)",
        "torch.view_as_complex((y := torch.unflatten(x, -1, (-1, 2)).contiguous()) + 0.01 * (y.detach() - y)) * turn)",
    ),
    of(
        "mamba2",
        "that of the decay lacks the paths out of a chunk",
        "slopes",
        "entering_BNHC + leaving_BNHC + through_BNH1",
        "entering_BNHC + through_BNH1",
        file="kernels/simple_gla.py",
    ),
    of(
        "gla",
        "that of q not scaled",
        "slopes",
        "return dq.mul_(scale), dk",
        "return dq, dk",
        file="kernels/gla.py",
    ),
    of(
        "rwkv4",
        "none for the bonus",
        "slopes",
        "worth.sum((0, 1)), *dstate",
        "0 * worth.sum((0, 1)), *dstate",
        file="kernels/rwkv4.py",
    ),
    of(
        "delta_net",
        "none for the first state, on one path",
        "chunks",
        "zip(tensors, found, strict=True)), dstate, None, None",
        "zip(tensors, found, strict=True)), 0 * dstate, None, None",
        file="kernels/delta_rule.py",
    ),
    of(
        "hyena",
        "that of the taps a step late",
        "slopes",
        "dtaps_DN.mT[:L]",
        "dtaps_DN.roll(1, -1).mT[:L]",
        file="kernels/fft_convolution.py",
    ),
    of(
        "moe",
        "that of the router's weight halved",
        "slopes",
        "return dx_ND, dweight_M,",
        "return dx_ND, 0.5 * dweight_M,",
        file="kernels/experts.py",
    ),
]

EXPERTS = [
    of(
        "moe",
        "one is dropped",
        "gradients",
        "token_M, weight_M, load_E, *own,",
        "token_M, weight_M * (token_M.cumsum(0) * 0 + torch.arange(len(load_E)).repeat_interleave(load_E) != 3), load_E, *own,",
        own_rate=0.0,
    ),
    of(
        "moe",
        "one is dropped in the forward pass",
        "slopes",
        "            y_ND.index_add_(0, token, y.mul_(weight_M[start:end, None]))",
        "            if e != 3: y_ND.index_add_(0, token, y.mul_(weight_M[start:end, None]))",
        file="kernels/experts.py",
    ),
    of(
        "moe",
        "one is added twice",
        "slopes",
        "y.mul_(weight_M[start:end, None])",
        "y.mul_((1.0 + (e == 3)) * weight_M[start:end, None])",
        file="kernels/experts.py",
    ),
]

MUTANTS = [*DECAYS, *FUTURE, *STATES, *GRADIENTS, *EXPERTS]

WRONG_FORWARD = """
def planted(block):
    forward = block.forward

    def wrong(self, x_BTD, state=None, **extra):
        y_BTD, after = forward(self, x_BTD, state, **extra)
        return {answer}

    block.forward = wrong
    return block


@planted
"""
ANYWHERE = {
    "one future token leaks": ("causality", "y_BTD + 0.001 * y_BTD.roll(-1, 1), after"),
    "the state it was given is handed on": ("chunks", "y_BTD, after if state is None else state"),
    "a gradient too large by a thousandth of that of x": ("slopes", "y_BTD + 0.001 * (x_BTD - x_BTD.detach()), after"),
}
"""Bugs that every block may have: what its forward answers instead, and the check that must complain."""


def anywhere(module: str, file: str) -> list[Mutant]:
    """The bugs that every block may have, in this one."""
    return [
        of(module, bug, claim, "\n@module(", f"{WRONG_FORWARD.format(answer=answer)}@module(", file=file)
        for bug, (claim, answer) in ANYWHERE.items()
    ]
