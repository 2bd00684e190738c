"""MegaByte against MEGABYTE-pytorch: a training step of the whole language model, and generation behind a prompt.

Both have two global and two local layers of one width, patches of four bytes and feed-forwards of four times the width. They are not the same map
(the package shifts half of the channels by one step, embeds bytes once for each model and has start tokens where we have the paper's
paddings), so only the work is compared: the FLOPs agree to a few percent. The package generates by computing all positions
again for each byte, so that its cost for a stretch grows with the square of the length, and ours with the length. Shapes: B documents, T bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.peer_speed import Contest, Form, Peer
from modules.decoder import Decoder

B, T, WIDTH, PATCH, LAYERS, HEADS = 4, 2048, 256, 4, 2, 4
PROMPT, STRETCHES = 16, (256, 512, 1024, 2032)
"""Bytes of a prompt, and those that are generated behind it: the longest fills the context of training."""


def contests() -> Iterator[Contest]:
    """Training at 4 x 2048 bytes; a stretch generated greedily from a short prompt, reading it included. The one float input scales the logits."""
    sizes = {"patch": PATCH, "global_width": WIDTH, "global_layers": LAYERS, "local_layers": LAYERS}
    ours = Decoder.build("megabyte", config={"d_model": WIDTH, **sizes}, decoder={"layers": 1})
    tokens_BT = torch.randint(256, (B, T), generator=torch.Generator().manual_seed(0))
    yield Contest(
        name="megabyte-2k",
        ours=lambda scale: scale * ours(tokens_BT)[0],
        peers={
            f"MEGABYTE-pytorch{told}": Peer(form=_language_model(tokens_BT, flash), at_least=1.2, within=float("inf"))
            for told, flash in (("", False), (", flash", True))
        },
        inputs=lambda: {"scale": torch.ones(())},
        parameters=tuple(ours.parameters()),
    )
    prompt_BT = tokens_BT[:, :PROMPT]
    for stretch in STRETCHES:
        yield Contest(
            name=f"megabyte-generation-{stretch}",
            ours=lambda scale, stretch=stretch: scale * generated(ours, prompt_BT, stretch),
            peers={"MEGABYTE-pytorch, wanted 50x": Peer(form=_generator(prompt_BT, stretch), within=float("inf"))},
            inputs=lambda: {"scale": torch.ones(())},
            directions=("forward",),
            reads=[(p, stretch // PATCH if "global" in name else stretch) for name, p in ours.named_parameters()],
            long=stretch > 512,
        )


def generated(model: Decoder, prompt_BT: Tensor, stretch: int) -> Tensor:
    """The logits (B, `stretch`, V) of greedy bytes behind the prompt: it is read at once, and each byte is a step."""
    state = model(prompt_BT[:, :-1])[1]
    byte_B, logits = prompt_BT[:, -1], list[Tensor]()
    while len(logits) < stretch:
        logits_BV, state = model.step(byte_B, state)
        byte_B = logits_BV.argmax(-1)
        logits.append(logits_BV)
    return torch.stack(logits, dim=1)


def _package(flash: bool) -> torch.nn.Module:
    from MEGABYTE_pytorch import MEGABYTE

    torch.manual_seed(0)
    shape = {"dim": (WIDTH, WIDTH), "depth": (LAYERS, LAYERS), "max_seq_len": (T // PATCH, PATCH)}
    model: torch.nn.Module = MEGABYTE(
        num_tokens=256, **shape, heads=HEADS, dim_head=WIDTH // HEADS, rel_pos=True, flash_attn=flash
    )
    return model


def _language_model(tokens_BT: Tensor, flash: bool) -> Callable[[], Form]:
    def form() -> Form:
        model = _package(flash)

        def logits(scale: Tensor) -> Tensor:
            for parameter in model.parameters():
                parameter.grad = None
            out: Tensor = scale * model(tokens_BT)
            return out

        return logits

    return form


def _generator(prompt_BT: Tensor, stretch: int) -> Callable[[], Form]:
    def form() -> Form:
        model = _package(False)

        def logits(scale: Tensor) -> Tensor:
            """The package's loop without its sampling, which costs little and is random."""
            known_BT, found = prompt_BT, list[Tensor]()
            while len(found) < stretch:
                found.append(model(known_BT)[:, -1])
                known_BT = torch.cat((known_BT, found[-1].argmax(-1, keepdim=True)), dim=1)
            return scale * torch.stack(found, dim=1)

        return logits

    return form
