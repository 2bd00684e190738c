"""Next-byte accuracy after 32,768 bytes of real text: the same weights, reading all keys and reading the best few alone.

A dense transformer is trained on short windows, then on some long ones. With its weights held-out text is read twice: by full attention, and by
blocks of the same shape whose queries read only their `k_top` best keys, from the first byte on. Scored are windows from places all over that text, each
read on from the same `context` bytes: one place alone may be a table of numbers.

Shapes: B = 1 document, N places, T bytes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.data import corpus
from bench.request import Bench
from bench.subject import recipe, subject, trained
from modules.decoder import Decoder, DecoderState
from modules.trainer import next_token
from plan.catalogue import benchmark


@benchmark(
    "topk-accuracy-32k-v1",
    metrics={"accuracy_loss": "", "full_accuracy": "", "context_gain": "", "accuracy": "", "commonest": ""},
    source="next byte of held-out text after 32768 bytes: attention to all keys against the best few, same weights",
    options={
        "context": 32768,
        "places": 8,
        "window": 1024,
        "batch": 8,
        "length": 256,
        "long": 2048,
        "long_share": 0.2,
        "corpus": "bytes-stdlib",
    },
    data="bytes-stdlib",
    modules=("topk_attention",),
    steps=150,
)
def measure(bench: Bench) -> dict[str, float]:
    """Shares of bytes foretold: `full_accuracy` by all keys, `accuracy` by the best `k_top`; `accuracy_loss` is the first less the second.
    `context_gain` is the first less what the same weights foretell without the bytes of the context: where that is not positive, the loss says nothing.

    `commonest` is the share of the commonest byte among those scored: what a model that has learnt nothing else gets.
    """
    o, seed, device = bench.options, bench.request.seed, bench.request.device
    text = corpus(o["corpus"])
    plan = recipe(bench, default={"batch": o["batch"]}, fixed={"length": o["length"]})
    sparse = subject(bench, fixed={"vocabulary": 256})
    settings = {name: value for name, value in bench.request.config.items() if name not in ("k_top", "decoder", "recipe")}
    decoder = {**bench.request.config.get("decoder", {}), "vocabulary": 256}
    full = Decoder.build("transformer", config=settings, decoder=decoder, seed=seed, device=device)
    full.load_state_dict(sparse.state_dict())
    short = round((1 - o["long_share"]) * bench.steps)

    def batch(step: int) -> Tensor:
        size = {"batch": plan.batch, "length": o["length"]} if step < short else {"batch": 1, "length": o["long"]}
        return torch.from_numpy(text.batch(seed=seed, step=step, **size)).to(device)

    trained(bench, full, batch, loss=next_token, recipe=plan, identity=text.facts["data_digest"])
    sparse.load_state_dict(full.state_dict())
    start = int(np.random.default_rng(seed).integers(0, len(text.validation) - o["context"]))
    context_BT = torch.from_numpy(text.validation[start : start + o["context"]].astype(np.int64))[None].to(device)
    part_NT = torch.from_numpy(text.windows(count=o["places"], length=o["window"])).to(device)
    alone_NT = torch.stack([foretold(full, part_T[None, :-1], None, window=o["window"])[0] for part_T in part_NT])
    alone, shares = float((alone_NT == part_NT[:, 1:]).float().mean()), []
    for model in (full, sparse):
        _, state = foretold(model, context_BT, None, window=o["window"])
        found_NT = torch.stack([foretold(model, part_T[None, :-1], state, window=o["window"])[0] for part_T in part_NT])
        shares.append(float((found_NT == part_NT[:, 1:]).float().mean()))
    scored_N = part_NT[:, 1:].flatten()
    bench.facts.update(text.facts, context_starts_at=start, scored=len(scored_N))
    return {
        "accuracy_loss": shares[0] - shares[1],
        "full_accuracy": shares[0],
        "context_gain": shares[0] - alone,
        "accuracy": shares[1],
        "commonest": float(scored_N.bincount().max()) / len(scored_N),
    }


@torch.inference_mode()
def foretold(
    model: Decoder, document_BT: Tensor, state: DecoderState | None, *, window: int
) -> tuple[Tensor, DecoderState | None]:
    """The likeliest byte after each of one document, (T,), read a window at a time from `state` on, and the state behind it."""
    model.eval()
    found = []
    for part_BT in torch.split(document_BT, window, dim=1):
        logits_BTV, state = model(part_BT, state)
        found.append(logits_BTV[0].argmax(-1))
    return torch.cat(found), state
