"""Training on documents longer than memory: one optimiser step per window, the state of what came before carried on, gradients not.

Named after RWKV, which is made for it, and open to every module whose state has one size: the memory of a step is that of one
window, however long its document. A document is read from anything that can be indexed, a `numpy.memmap` of a file for instance.

Shapes: B documents side by side, T tokens of a window.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modules.decoder import DecoderState
from modules.trainer import Numbers, Recipe, TrainLog, detached, train

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


TIDY_EVERY = 64
"""Steps after which Python is told to give up what it keeps of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The next part of B documents."""

    tokens_BT: Tensor
    """Its tokens and the one after, which is only predicted."""
    begins_B: Tensor
    """Which documents begin here, so that nothing is carried into them."""


def windows(
    text: NDArray[np.uint8], *, window: int, documents: Sequence[int], batch: int, seed: int, device: str = "cpu"
) -> Callable[[int], Window]:
    """Window i of `batch` endless rows of documents, a pure function of i: each document begins at a random place of `text`.

    Every row goes through the lengths `documents` again and again, each time in another order, and the rows start evenly spread over that
    round: so a batch holds beginnings and late parts of documents together. Raises ValueError when a document is no whole number of
    windows or longer than the text.
    """
    import numpy as np

    for document in documents:
        if document % window or not 0 < document < len(text):
            raise ValueError(
                f"a document of {document} tokens must be a multiple of `window` = {window} and shorter than {len(text)}"
            )
    spans = np.asarray(documents) // window
    around = int(spans.sum())

    def place(row: int, i: int) -> tuple[int, bool]:
        lap, at = divmod(i + row * around // batch, around)
        generator = np.random.default_rng([seed, row, lap])
        lengths = generator.permutation(spans)
        ends = lengths.cumsum()
        number = int(np.searchsorted(ends, at, side="right"))
        starts = generator.integers(0, len(text) - lengths * window)
        part = at - int(ends[number] - lengths[number])
        return int(starts[number]) + part * window, part == 0 or i == 0

    def part(i: int) -> Window:
        places = [place(row, i) for row in range(batch)]
        tokens = np.stack([text[start : start + window + 1] for start, _ in places]).astype(np.int64)
        begins_B = torch.tensor([begins for _, begins in places], device=device)
        return Window(tokens_BT=torch.from_numpy(tokens).to(device), begins_B=begins_B)

    return part


class Carried:
    """The loss of one Window after the other, of a Decoder: mean cross-entropy in nats, from the states that the last one left.

    With `carry` false every window is read from nothing: the same windows as independent documents.
    """

    def __init__(self, *, carry: bool = True) -> None:
        self._carry = carry
        self._states: DecoderState | None = None
        self._saved: Mapping[str, Any] | None = None

    def __call__(self, model: nn.Module, window: Window) -> tuple[Tensor, Numbers]:
        tokens_BT, begins_B = window.tokens_BT, window.begins_B
        if self._saved is not None:
            self._states, self._saved = _restored(model, tokens_BT[:, :1], self._saved), None
        if self._states is None or not self._carry or begins_B.all():
            logits_BTV, after = model(tokens_BT[:, :-1])
        elif not begins_B.any():
            logits_BTV, after = model(tokens_BT[:, :-1], self._states)
        else:
            logits_BTV, after = _both(model, tokens_BT[:, :-1], self._states, begins_B)
        self._states = after._replace(blocks=tuple(detached(block) for block in after.blocks))
        return F.cross_entropy(logits_BTV.flatten(0, 1).float(), tokens_BT[:, 1:].flatten()), {}

    def state_dict(self) -> dict[str, Any]:
        """What is carried, in plain containers, for a checkpoint."""
        if self._states is None:
            return {}
        return {"seen": self._states.seen, "blocks": [list(block) for block in self._states.compact().blocks]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; the kinds of the blocks' states are the model's, at its next call."""
        self._saved = saved or None


def _both(model: nn.Module, tokens_BT: Tensor, before: DecoderState, begins_B: Tensor) -> tuple[Tensor, DecoderState]:
    """Rows that begin are read from nothing, the others from `before`: two passes, put together again in the order of the rows."""
    goes_on = (~begins_B).nonzero().flatten()
    rows = torch.cat([begins_B.nonzero().flatten(), goes_on]).argsort()
    kept = before._replace(blocks=tuple(_like(block, [x[goes_on] if x.ndim else x for x in block]) for block in before.blocks))
    fresh, old = model(tokens_BT[begins_B]), model(tokens_BT[goes_on], kept)
    blocks = []
    for one, two in zip(fresh[1].blocks, old[1].blocks, strict=True):
        if getattr(model, "position", None) is not None or any(
            not x.ndim or x.shape[1:] != y.shape[1:] for x, y in zip(one, two, strict=True)
        ):
            raise ValueError(
                "documents side by side that do not begin together want a state of one size and no learned positions; "
                "train with `batch` 1, or give `documents` the length of a `window`"
            )
        blocks.append(_like(one, [torch.cat(parts)[rows] for parts in zip(one, two, strict=True)]))
    return torch.cat([fresh[0], old[0]])[rows], DecoderState(tuple(blocks), old[1].seen)


def _like(state: tuple[Tensor, ...], parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def _restored(model: nn.Module, token_B1: Tensor, saved: Mapping[str, Any]) -> DecoderState:
    """The saved tensors in states of the kinds that a step of `model` leaves."""
    with torch.no_grad():
        _, kinds = model(token_B1)
    blocks = []
    for kind, parts in zip(kinds.blocks, saved["blocks"], strict=True):
        tensors = [part.to(token_B1.device) for part in parts]
        blocks.append(_like(kind, tensors))
    return DecoderState(tuple(blocks), saved["seen"])


def rwkv_loop(
    model: nn.Module, batches: Callable[[int], Window], *, recipe: Recipe, steps: int, seed: int, **options: Any
) -> TrainLog:
    """Train a Decoder in place on `windows(...)`, one optimiser step for each; options as for `modules.trainer.train`.

    Truncated back-propagation through time: a state enters its window as a constant. A killed training resumes to the same bits in the
    middle of a document, as its checkpoint holds the state too. So that no step leaves anything behind, what Python keeps of
    tuples that are gone, a kilobyte a step, is given up every `TIDY_EVERY` steps: only a full collection does that, and beside torch's million objects
    none comes by itself. Objects older than the training are left out of it, so it costs next to nothing.
    """

    def tidied(i: int) -> Window:
        if i % TIDY_EVERY == 0:
            gc.collect()
        return batches(i)

    frozen = gc.get_freeze_count()  # by the caller, which stays so
    gc.freeze()
    try:
        return train(model, tidied, loss=Carried(), recipe=recipe, steps=steps, seed=seed, **options)
    finally:
        if not frozen:
            gc.unfreeze()
