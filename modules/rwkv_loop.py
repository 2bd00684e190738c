"""Training on documents longer than memory: one optimiser step per window, the state of what came before carried on, gradients not.

Named after RWKV, which is made for it, and open to every module whose state has one size: the memory of a step is that of one
window, however long its document. A document is read from anything that can be indexed, a `numpy.memmap` of a file for instance.

Shapes: B documents side by side, T tokens of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The next part of B documents."""

    tokens_BT: Tensor
    """Its tokens and the one after, which is only predicted."""
    begins: bool
    """Whether the documents begin here, so that nothing is carried into it."""


def windows(
    text: NDArray[np.uint8], *, window: int, document: int, batch: int, seed: int, device: str = "cpu"
) -> Callable[[int], Window]:
    """Window i of an endless row of documents, a pure function of i: each is `document` tokens from a random place of `text`.

    With `document` = `window` nothing is ever carried: training on independent windows. Raises ValueError when a document is no whole number
    of windows or longer than the text.
    """
    import numpy as np

    if document % window or not 0 < document < len(text):
        raise ValueError(
            f"a document of {document} tokens must be a multiple of `window` = {window} and shorter than {len(text)}"
        )

    def part(i: int) -> Window:
        number, place = divmod(i, document // window)
        starts = np.random.default_rng([seed, number]).integers(0, len(text) - document, size=batch) + place * window
        tokens = np.stack([text[start : start + window + 1] for start in starts]).astype(np.int64)
        return Window(tokens_BT=torch.from_numpy(tokens).to(device), begins=place == 0)

    return part


class Carried:
    """The loss of one Window after the other, of a Decoder: mean cross-entropy in nats, from the state that the last one left."""

    def __init__(self) -> None:
        self._states: DecoderState | None = None
        self._saved: Mapping[str, Any] | None = None

    def __call__(self, model: nn.Module, window: Window) -> tuple[Tensor, Numbers]:
        if self._saved is not None:
            self._states, self._saved = _restored(model, window.tokens_BT[:, :1], self._saved), None
        before = None if window.begins else self._states
        logits_BTV, after = model(window.tokens_BT[:, :-1], before)
        self._states = after._replace(blocks=tuple(detached(block) for block in after.blocks))
        return F.cross_entropy(logits_BTV.flatten(0, 1).float(), window.tokens_BT[:, 1:].flatten()), {}

    def state_dict(self) -> dict[str, Any]:
        """What is carried, in plain containers, for a checkpoint."""
        if self._states is None:
            return {}
        return {"seen": self._states.seen, "blocks": [list(block) for block in self._states.compact().blocks]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; the kinds of the blocks' states are the model's, at its next call."""
        self._saved = saved or None


def _restored(model: nn.Module, token_B1: Tensor, saved: Mapping[str, Any]) -> DecoderState:
    """The saved tensors in states of the kinds that a step of `model` leaves."""
    with torch.no_grad():
        _, kinds = model(token_B1)
    blocks = []
    for kind, parts in zip(kinds.blocks, saved["blocks"], strict=True):
        tensors = [part.to(token_B1.device) for part in parts]
        blocks.append(type(kind)(*tensors) if hasattr(kind, "_fields") else tuple(tensors))
    return DecoderState(tuple(blocks), saved["seen"])


def rwkv_loop(
    model: nn.Module, batches: Callable[[int], Window], *, recipe: Recipe, steps: int, seed: int, **options: Any
) -> TrainLog:
    """Train a Decoder in place on `windows(...)`, one optimiser step for each; options as for `modules.trainer.train`.

    Truncated back-propagation through time: a state enters its window as a constant. A killed training resumes to the same bits in the
    middle of a document, as its checkpoint holds the state too.
    """
    return train(model, batches, loss=Carried(), recipe=recipe, steps=steps, seed=seed, **options)
