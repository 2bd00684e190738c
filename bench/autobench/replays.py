"""Replays: what a model answered while it was scored, it answers again, in pieces and for a few of the batch, and training only trains.

The contract tries shapes that everybody can read, so a module could keep it there and break it where it is measured. Here the measured
model meets its own answers: of its forwards in evaluation a few are kept, drawn as they happen, and when the benchmark is done they are asked
for again: the same; some rows, cut at some places. A module that looked ahead, mixed documents or kept something cannot give them.
What is drawn comes from the system's own chance, after the candidate's code ran. Shapes: B batch, T tokens, D model width, N places.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from random import SystemRandom
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from plan import catalogue
from plan.nouns import Request

if TYPE_CHECKING:
    from torch import Tensor

KEPT, ROWS, PIECES = 3, 3, 5
"""Answers kept of one model, rows of a batch that are asked for again, and pieces that they come in."""
LONGEST, LARGEST = 4096, 1 << 20
"""Tokens of a document, and numbers of an answer, above which none is kept: a measurement of long documents is not to carry them."""
SAME, CLOSE = 1e-5, 1e-2
"""Largest relative difference of an answer to the same question, and of one token's to the same question in other pieces."""
WHOLE = ("train", "eval", "parameters", "named_parameters", "buffers", "named_buffers", "modules", "children", "state_dict")
"""Methods of every module by which it is trained and scored."""
Breach = tuple[str, str]
"""(id of the clause that is broken, how)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One forward in evaluation: what was asked, and what the head was to read."""

    tokens_BT: Tensor
    positions: Tensor | None
    x_ND: Tensor
    owner_N: Tensor
    """The row of each."""
    place_N: Tensor
    """The token of each."""


class Replays:
    """`heard` at the end of each of the shell's forwards in evaluation; `breach` once, when the benchmark is done."""

    def __init__(self, request: Request, options: Mapping[str, Any]) -> None:
        self._request, self._options = request, options
        self._chance = SystemRandom()
        self._models: WeakSet[Any] = WeakSet()
        self._model: Any = None
        self._answers: list[Answer] = []
        self._asked = 0
        self._weights: dict[str, bytes] | None = None
        self._caught: Tensor | None = None
        self._told: dict[tuple[int, int], int] = {}
        self._replaying = False
        self.fault: Breach | None = None

    def heard(self, frame: FrameType) -> None:
        """Keep the answer of the forward that `frame` is, if chance says so; never raises."""
        torch, shell = sys.modules.get("torch"), sys.modules.get("modules.decoder")
        if torch is None or shell is None or frame.f_code is not shell.Decoder.forward.__code__:
            return
        given = frame.f_locals
        model, tokens_BT, x = given["self"], given["tokens_BT"], given["x_BTD"]
        if torch.is_autocast_enabled(x.device.type) and self.fault is None:
            self.fault = "instruments-whole", "it leaves `autocast` on in evaluation"
        if self._replaying:
            self._caught = x.detach()
            return
        if given["states"] is not None or not 2 <= tokens_BT.shape[1] <= LONGEST or x.numel() > LARGEST:
            return
        if torch.autograd._profiler_enabled() or not self._is_drawn(model):  # what is held would count as the model's memory
            return
        if (weights := dict(_digests(model, buffers=False))) != self._weights:  # it was trained since
            self._answers, self._asked, self._weights = [], 0, weights
        self._asked += 1
        place = len(self._answers) if len(self._answers) < KEPT else self._chance.randrange(self._asked)
        if place < KEPT:
            self._answers[place : place + 1] = [_answer(tokens_BT, given["positions"], x.detach())]

    def _is_drawn(self, model: Any) -> bool:
        """Whether it is the one model, of all that are scored, that is looked at."""
        if model not in self._models:
            block = catalogue.load("module", self._request.module)
            if isinstance(block, type) and not any(type(part) is block for part in model.blocks):  # one that it is compared with
                return False
            self._models.add(model)
            if self._chance.randrange(len(self._models)) == 0:
                self._model, self._weights, self._told = model, None, {}
                self._note_claims(model)
        return model is self._model

    def _note_claims(self, model: Any) -> None:
        """From now on, keep what the model tells the benchmark of its state, which it may tell otherwise when asked again."""
        ask, of, told = type(model).state_bytes, ref(model), self._told

        def state_bytes(batch: int, length: int) -> int:
            claimed = ask(of(), batch, length)
            if not self._replaying:
                told[batch, length] = claimed
            return int(claimed)

        model.state_bytes = state_bytes

    def breach(self) -> Breach | None:
        """The first promise that the scored model breaks; none when it keeps all, or when nothing was kept."""
        if self.fault or self._model is None or not self._answers:
            return self.fault
        import torch

        self._replaying = True
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
            if dict(_digests(self._model, buffers=False)) != self._weights:  # it was changed since it was scored
                with torch.no_grad():
                    asked = [(answer.tokens_BT, answer.positions) for answer in self._answers]
                    self._answers = [_answer(tokens, where, self._ask(tokens, positions=where)[0]) for tokens, where in asked]
            for look in (self._methods, self._again, self._pieces, self._claims, self._training):
                if found := next(iter(look()), None) or self.fault:
                    return found
        return None

    def _methods(self) -> Iterator[Breach]:
        """Every module is trained and scored by torch's own methods, and all that learns is counted."""
        from torch import Tensor, nn

        own = {id(parameter) for parameter in self._model.parameters()}
        for module in self._model.modules():
            kind = type(module)
            for name in () if kind.__module__.startswith("torch.") else WHOLE:
                another = getattr(kind, name) is not getattr(nn.Module, name) and not _defines(kind, name)
                if another or name in vars(module):
                    yield "instruments-whole", f"`{kind.__name__}.{name}` was given another meaning while it ran"
            for name, part in _held(module):
                if isinstance(part, Tensor) and part.is_leaf and part.requires_grad and id(part) not in own:
                    yield "equal-work", f"`{kind.__name__}.{name}` holds weights that learn and are not counted"

    def _again(self) -> Iterator[Breach]:
        """The same question has the same answer, and evaluation changes no parameter and no buffer."""
        import torch

        answer, before = self._chance.choice(self._answers), dict(_digests(self._model, buffers=True))
        with torch.no_grad():
            x, state = self._ask(answer.tokens_BT, positions=answer.positions)
        differs = _ratio(x.reshape(answer.x_ND.shape), answer.x_ND)
        if not differs <= (SAME if x.device.type == "cpu" else CLOSE):
            yield "nothing-kept", f"asked once more what it was scored on, it answers otherwise by {differs:.2g}"
        after = dict(_digests(self._model, buffers=True))
        if changed := [name for name in before if before[name] != after.get(name)]:
            yield "nothing-kept", f"an evaluation changes `{changed[0]}`"
        yield from self._claim(state, *answer.tokens_BT.shape)

    def _pieces(self) -> Iterator[Breach]:
        """Some of the rows, a piece at a time and with gradients on, have the answers of the whole.

        A choice between near-equals (of an expert, of a key) may fall otherwise by rounding, in one answer; a breach is in all.
        """
        why = ""
        for answer in self._chance.sample(self._answers, len(self._answers)):
            if not (why := self._in_pieces(answer)):
                return
        yield "gate-before-number", why

    def _in_pieces(self, answer: Answer) -> str:
        import torch

        B, T = answer.tokens_BT.shape
        rows = sorted(self._chance.sample(range(B), self._chance.randint(1, min(ROWS, max(1, B - 1)))))
        wanted = torch.isin(answer.owner_N, torch.tensor(rows, device=answer.owner_N.device))
        after = sorted({place + 1 for place in answer.place_N[wanted].tolist()} & set(range(1, T))) or list(range(1, T))
        cuts = [0, *sorted(self._chance.sample(after, min(PIECES - 1, len(after)))), T]
        parts, state = [], None
        with torch.enable_grad():
            for start, end in pairwise(cuts):
                x_KTD, state = self._ask(answer.tokens_BT[rows, start:end], state)
                parts.append(x_KTD)
        order = torch.searchsorted(torch.tensor(rows, device=answer.owner_N.device), answer.owner_N[wanted])
        here, there = torch.cat(parts, dim=1)[order, answer.place_N[wanted]], answer.x_ND[wanted]
        differs = (
            float(((here - there).norm(dim=-1) / there.norm(dim=-1).clamp_min(1e-30)).nan_to_num(float("inf")).max())
            if len(here)
            else 0.0
        )
        if differs <= CLOSE:
            return "".join(why for _, why in self._claim(state, len(rows), T))
        return (
            f"{len(rows)} of {B} documents of {T} tokens, read in pieces that end at {', '.join(map(str, cuts[1:]))}, "
            f"have answers that differ by {differs:.2g} from those it was scored on"
        )

    def _claims(self) -> Iterator[Breach]:
        """What `state_bytes` told the benchmark, and says at its own length, is what documents leave there."""
        import torch

        longest, row_1T = LONGEST if self._model.position is None else self._model.config.context, self._answers[0].tokens_BT[:1]
        for batch, length in {(1, self._options.get("length")), *self._told}:
            if type(length) is int and 0 < length <= longest and batch * length <= LARGEST:
                tokens_BT = row_1T.repeat(batch, -(-length // row_1T.shape[1]))[:, :length]
                with torch.no_grad():
                    yield from self._claim(self._ask(tokens_BT)[1], batch, length)

    def _claim(self, state: Any, batch: int, length: int) -> Iterator[Breach]:
        measured = sum(part.numel() * part.element_size() for block in state.blocks for part in block)
        for claimed in (self._told.get((batch, length), measured), self._model.state_bytes(batch, length)):
            if claimed != measured:
                yield (
                    "gate-before-number",
                    f"batch {batch}, length {length}: claims a state of {claimed} B, which measures {measured} B",
                )

    def _training(self) -> Iterator[Breach]:
        """A forward and a backward of a training batch leave every parameter to the optimiser, twice alike."""
        import torch

        steps = self._request.steps or catalogue.shelf("benchmark")[self._request.benchmark].arguments.get("steps")
        shape = self._trained_shape()
        if not steps or shape is None:
            return
        model, device = self._model.train(), self._answers[0].tokens_BT.device
        seed = self._chance.getrandbits(62)
        drawn = torch.Generator().manual_seed(seed)
        tokens_BT = torch.randint(model.config.vocabulary, shape, generator=drawn).to(device)
        asked = torch.tensor(
            sorted(self._chance.sample(range(shape[1]), min(8, shape[1]))), device=device
        )  # the head is the shell's
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        before, told = dict(_digests(model, buffers=False)), list[Any]()
        for _ in range(2):
            torch.manual_seed(seed)
            with torch.enable_grad():
                nats, _ = model(tokens_BT, positions=asked, targets=tokens_BT[:, asked])
                torch.autograd.backward(nats / (len(tokens_BT) * len(asked)) + model.auxiliary_loss())
            told.append(nats.detach())
            with torch.no_grad():
                for buffer, was in buffers:
                    buffer.copy_(was)
        after = dict(_digests(model, buffers=False))
        model.eval()
        if changed := [name for name in before if before[name] != after.get(name)]:
            yield "equal-work", f"a forward in training writes `{changed[0]}`, which only the optimiser may"
        elif not (differs := _ratio(told[1], told[0])) <= (SAME if device.type == "cpu" else CLOSE):
            yield (
                "nothing-kept",
                f"the same training batch twice, from the same parameters, has losses that differ by {differs:.2g}",
            )

    def _trained_shape(self) -> tuple[int, int] | None:
        """(batch, length) of a training step; none where that is no small thing to do once more."""
        trainer = sys.modules.get("modules.trainer")
        if trainer is None:
            return None
        own = self._options.get("recipe") or {key: self._options[key] for key in ("batch", "length") if key in self._options}
        recipe = trainer.recipe_for(self._request.module, {**own, **self._request.config.get("recipe", {})})
        length = (
            min(recipe.length, self._options.get("length") or recipe.length) if self._options.get("recipe") else recipe.length
        )
        longest = LONGEST if self._model.position is None else self._model.config.context
        return (recipe.batch, length) if length <= longest and recipe.batch * length <= 1 << 16 else None

    def _ask(self, tokens_BT: Tensor, state: Any = None, *, positions: Tensor | None = None) -> tuple[Tensor, Any]:
        """What the head reads, and the state."""
        self._caught = None
        self._model.eval()
        _, after = self._model(tokens_BT, state, positions=positions)
        assert self._caught is not None, "the shell tells of each forward in evaluation"
        return self._caught, after


def _answer(tokens_BT: Tensor, positions: Tensor | None, x: Tensor) -> Answer:
    import torch

    B, T = tokens_BT.shape
    if positions is not None and positions.dtype == torch.bool:
        owner_N, place_N = positions.nonzero(as_tuple=True)
    else:
        places = torch.arange(T, device=x.device) if positions is None else positions
        places_BK = places.expand(B, -1) if places.ndim == 1 else places
        owner_N, place_N = torch.arange(B, device=x.device).repeat_interleave(places_BK.shape[1]), places_BK.reshape(-1)
    return Answer(tokens_BT=tokens_BT, positions=positions, x_ND=x.reshape(-1, x.shape[-1]), owner_N=owner_N, place_N=place_N)


def _digests(model: Any, *, buffers: bool) -> Iterator[tuple[str, bytes]]:
    import torch

    for name, part in (*model.named_parameters(), *(model.named_buffers() if buffers else ())):
        plain = part.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        yield name, blake2b(plain.numpy().data, digest_size=16).digest()


def _ratio(x: Tensor, y: Tensor) -> float:
    """|x - y| / |y|, infinite where one is not finite."""
    error, size = (float(part.double().norm()) for part in (x - y, y))
    return error / size if error and math.isfinite(error) and size else (math.inf if error else 0.0)


def _defines(kind: type, name: str) -> bool:
    """Whether a class, or one that it is made of, was written with a method of this name."""
    function = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    return getattr(function, "__qualname__", "").rpartition(".")[0] in {base.__qualname__ for base in kind.__mro__}


def _held(module: Any, depth: int = 3) -> Iterator[tuple[str, Any]]:
    """What a module holds beside its parameters, buffers and submodules, some containers deep, with the attribute's name."""
    from torch import nn

    for name, value in list(vars(module).items()):
        if name in ("_parameters", "_buffers", "_modules"):
            continue
        level = [value]
        for _ in range(depth):
            found = list[Any]()
            for part in level:
                if isinstance(part, nn.Module):
                    found += list(part.parameters())
                elif isinstance(part, Mapping):
                    found += list(part.values())
                elif isinstance(part, (list, tuple, set, frozenset)):
                    found += list(part)
                else:
                    yield name, part
            level = found
