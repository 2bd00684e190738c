"""One document of a million tokens, decoded with a state of one size: does memory stay flat, and is the state at the end the right one?

The document is gone through window by window. Some windows are decoded token by token with the step API, the others are read in one call, as a
prompt is; the state goes on from one to the other, so a difference between the two forms would add up. A name with `decoded` steps through every
window, which takes minutes; the other one through every 64th.

Shapes: B = 1 document, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.request import Bench
from bench.subject import subject
from bench.suites.long_training import forget_peak, give_back_at_once, peak_resident, resident
from bench.suites.memory_growth import tensors
from kernels.agreement import rmse_ratio
from modules.decoder import Decoder, DecoderState
from plan.catalogue import benchmark

BASE = 2
"""Index of the mark after four windows, when both forms have been gone through and come back to."""


@benchmark(
    "million-tokens-v1",
    metrics={"bytes_per_token": "B", "state_ratio": "x", "state_error": "", "memory_bytes": "B"},
    source="resident memory and state of one document of 1048576 tokens, every 64th window of 1024 decoded by steps, the others read at once",
    options={"tokens": 1048576, "window": 1024, "stepped_every": 64, "reference_window": 4096},
)
@benchmark(
    "million-tokens-decoded-v1",
    metrics={"bytes_per_token": "B", "state_ratio": "x", "state_error": "", "memory_bytes": "B"},
    source="resident memory and state of one document of 1048576 tokens, every one decoded by a step",
    options={"tokens": 1048576, "window": 1024, "stepped_every": 1, "reference_window": 4096},
)
def measure(bench: Bench) -> dict[str, float]:
    """`bytes_per_token`: growth of the peak of resident memory from the first four windows to the whole document, over the tokens between.

    `memory_bytes` is that peak, above what the process held once it had decoded and read another document, of a quarter of a window, so
    that all code is loaded. `state_ratio` is the size of the state at the end over that after four windows. `state_error` is the RMSE ratio, largest over the
    state's tensors, to the state of the same weights and tokens in float64, read in windows of another size. Raises RuntimeError where an earlier peak of the
    process hides that of the document.
    """
    o, device = bench.options, bench.request.device
    bench.facts["freed_memory_given_back"] = give_back_at_once()
    model = subject(bench, default={"layers": 1}).eval()
    generator = torch.Generator().manual_seed(bench.request.seed)
    tokens_BT = torch.randint(256, (1, o["tokens"]), generator=generator, dtype=torch.uint8).to(device)
    for _ in _states(model, tokens_BT[:, : o["window"] // 2], window=o["window"] // 4, stepped_every=2):
        pass
    forget_peak()
    before, earlier = resident(), peak_resident()
    peaks, sizes = list[tuple[float, float]](), list[int]()
    for done, state in enumerate(_states(model, tokens_BT, window=o["window"], stepped_every=o["stepped_every"]), start=1):
        seen = done * o["window"]
        if seen & (seen - 1) == 0:
            peaks.append((float(seen), float(peak_resident() - before)))
            sizes.append(_bytes(state))
        bench.progress(done, o["tokens"] // o["window"], {})
    if peaks[BASE][1] <= earlier - before:
        raise RuntimeError("the process held more before decoding than in it, so its peak cannot be told; use a larger `d_model`")
    bench.series["memory_bytes"] = peaks
    bench.facts["state_bytes"] = sizes[-1]
    *_, expected = _states(model.double(), tokens_BT, window=o["reference_window"], stepped_every=0)
    return {
        "bytes_per_token": (peaks[-1][1] - peaks[BASE][1]) / (peaks[-1][0] - peaks[BASE][0]),
        "state_ratio": sizes[-1] / sizes[BASE],
        "state_error": max(rmse_ratio(*pair) for pair in zip(tensors(state.blocks), tensors(expected.blocks), strict=True)),
        "memory_bytes": peaks[-1][1],
    }


def _states(model: Decoder, tokens_BT: Tensor, *, window: int, stepped_every: int) -> Iterator[DecoderState]:
    """The state after each window; the first and every `stepped_every`th after it token by token, none where that is 0."""
    state: DecoderState | None = None
    for number, part_BT in enumerate(torch.split(tokens_BT, window, dim=1)):
        stepped = stepped_every > 0 and number % stepped_every == 0
        state = _after(model, part_BT.long(), state, stepped=stepped)
        yield state


@torch.inference_mode()
def _after(model: Decoder, tokens_BT: Tensor, state: DecoderState | None, *, stepped: bool) -> DecoderState:
    after: DecoderState
    if not stepped:
        _, after = model(tokens_BT, state, positions=torch.tensor([tokens_BT.shape[1] - 1], device=tokens_BT.device))
        return after
    for token_B in tokens_BT.unbind(1):
        _, after = model.step(token_B, state)
        state = after
    return after


def _bytes(state: DecoderState) -> int:
    return sum(x.numel() * x.element_size() for x in tensors(state.blocks))
