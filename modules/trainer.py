"""The one trainer: AdamW, warm-up and cosine, clipping, and checkpoints from which a killed training goes on to the same bits."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from modules import checkpoint as store
from modules.adamw import AdamW
from modules.settings import ConfigError, build_config, check_ranges
from plan import catalogue
from plan.nouns import Status

Numbers = Mapping[str, float | Tensor]
Loss = Callable[[nn.Module, Any], tuple[Tensor, Numbers]]
"""(model, batch) -> (loss to minimise, numbers to record); the trainer itself adds the model's `auxiliary_loss()`.

One that carries something from step to step has `state_dict` and `load_state_dict`, as a module does; checkpoints keep it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train: the `[recipe]` table of a task, or what a module's file recommends."""

    lr: float = 1e-3
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's moment decays."""
    weight_decay: float = 0.1
    """Decoupled decay of matrices; vectors, and parameters marked `_no_weight_decay`, have none."""
    warmup: float = 0.05
    """Linear warm-up: a fraction of all steps when below 1, else a number of steps."""
    final_lr: float = 0.1
    """Learning rate at the last step, as a fraction of the peak, reached by a cosine."""
    clip: float = 1.0
    """Largest norm of the whole gradient; 0 switches clipping off."""
    batch: int = 16
    """Documents per micro-batch."""
    length: int = 256
    """Tokens per document."""
    accumulate: int = 1
    """Micro-batches per optimiser step."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` computes under autocast, and is refused where the hardware would emulate it; on CPUs float32 was faster even where it would not."""

    def __post_init__(self) -> None:
        check_ranges(self, lr=(1e-12, 1e30), betas=(0, 0.999999), weight_decay=(0, 1e6), warmup=(0, 1e12), final_lr=(0, 1))
        check_ranges(self, clip=(0, 1e30), batch=(1, 2**20), length=(1, 2**24), accumulate=(1, 2**20))

    def warm_steps(self, steps: int) -> float:
        """Optimiser steps that the warm-up lasts in a training of `steps`; possibly more than there are."""
        return self.warmup * steps if self.warmup < 1 else self.warmup

    def learning_rate(self, step: int, steps: int) -> float:
        """Learning rate of optimiser step `step` (0-based) out of `steps`."""
        warm = self.warm_steps(steps)
        if step + 1 <= warm:
            return self.lr * (step + 1) / warm
        share = (step - warm) / max(steps - 1 - warm, 1)
        return self.lr * (self.final_lr + (1 - self.final_lr) * 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))))


class NotFinite(ArithmeticError):
    """The loss or the gradient became NaN or infinite; `step` says when."""

    status = Status.NOT_FINITE
    told = True

    def __init__(self, what: str, step: int, value: float) -> None:
        super().__init__(f"{what} became {value} at step {step}; try a smaller `lr` or a longer `warmup`")
        self.step = step


@dataclass(slots=True)
class TrainLog:
    """What a training left: one entry per optimiser step, and the validations by step."""

    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    """Norm before clipping."""
    numbers: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """(step, value) of each number the loss reported; means over the micro-batches."""
    validation: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    seconds: float = 0.0
    """Wall-clock spent training, earlier attempts included."""
    resumed_at: int | None = None
    """Step this attempt began with, when it was not the first."""

    @property
    def steps(self) -> int:
        """Optimiser steps taken."""
        return len(self.loss)


def train(
    model: nn.Module,
    batches: Callable[[int], Any],
    *,
    loss: Loss,
    recipe: Recipe,
    steps: int,
    seed: int,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 20.0,
    identity: str = "",
    progress: Callable[[int, int, Mapping[str, float]], None] | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    validate_every: int = 0,
    stop: Callable[[TrainLog], bool] | None = None,
) -> TrainLog:
    """Train `model` in place for `steps` optimiser steps and return the log.

    `batches(i)` is a pure function of the micro-batch index, and each step seeds torch from (`seed`, step), so that a
    training resumed from `checkpoint` equals an uninterrupted one bit for bit. A checkpoint of another recipe,
    seed, length, `identity` or model, or a damaged one, is named on stderr and training starts anew. One is written every
    `checkpoint_seconds`; where that takes long, less often, so that it costs a tenth of the time, up to 15 times as far apart.
    `validate` runs in evaluation mode without gradients, every `validate_every` steps (0: never) and after the last; `stop`
    is asked after each validation. `progress(step, steps, numbers)` is called at most four times a second.
    Raises NotFinite, before the parameters are touched, when the loss or the gradient is not finite.
    """
    optimiser = AdamW(model.parameters(), betas=recipe.betas, weight_decay=recipe.weight_decay)
    autocast = _autocast(model, recipe)
    shapes = [[name, list(p.shape), str(p.dtype)] for name, p in model.named_parameters()]
    identity = repr((identity, recipe, steps, seed, shapes))
    log, ended = TrainLog(), False
    saved = store.read(checkpoint, identity=identity) if checkpoint else None
    if saved:
        model.load_state_dict(saved["model"])
        if not saved["ended"]:
            optimiser.load(saved["optimiser"])
        if hasattr(loss, "load_state_dict"):
            loss.load_state_dict(saved["carried"])
        log, ended = TrainLog(**saved["log"]), saved["ended"]
        log.resumed_at = log.steps
    spent, began = log.seconds, time.monotonic()
    last_save = last_told = began
    pause = checkpoint_seconds

    def save() -> float:
        """Seconds it took."""
        at = time.monotonic()
        if checkpoint:
            kept = {name: getattr(log, name) for name in TrainLog.__slots__}
            carried = loss.state_dict() if hasattr(loss, "state_dict") else {}
            moments = {} if ended else optimiser.state()
            body = {"model": model.state_dict(), "optimiser": moments, "log": kept, "ended": ended, "carried": carried}
            store.write(checkpoint, body, identity=identity)
        return time.monotonic() - at

    model.train()
    with torch.random.fork_rng(devices=[]):
        for step in range(log.steps, 0 if ended else steps):
            torch.manual_seed((seed * 1_000_003 + step) % 2**63)
            value, norm, numbers = _step(model, batches, loss, recipe, optimiser, autocast, step=step, steps=steps)
            log.loss.append(value)
            log.gradient_norm.append(norm)
            for name, number in numbers.items():
                log.numbers.setdefault(name, []).append((step, number))
            done, now = step + 1, time.monotonic()
            log.seconds = spent + now - began
            if validate and (done == steps or (validate_every and done % validate_every == 0)):
                log.validation.append((done, _validated(model, validate)))
                ended = stop is not None and stop(log)
            if done == steps or ended or time.monotonic() - last_save >= pause:
                ended = ended or done == steps
                pause = min(max(checkpoint_seconds, 10 * save()), 15 * checkpoint_seconds)
                last_save = time.monotonic()
            if progress and (now - last_told >= 0.25 or ended):
                pace = (now - began) / (done - (log.resumed_at or 0))
                latest = log.validation[-1][1] if log.validation else {}
                progress(done, steps, {"loss": value, "gradient_norm": norm, "eta_s": pace * (steps - done), **numbers, **latest})
                last_told = now
            if ended:
                break
    return log


def _step(
    model: nn.Module,
    batches: Callable[[int], Any],
    loss: Loss,
    recipe: Recipe,
    optimiser: AdamW,
    autocast: torch.autocast,
    *,
    step: int,
    steps: int,
) -> tuple[float, float, dict[str, float]]:
    total, numbers = 0.0, dict[str, float]()
    share, auxiliary = 1 / recipe.accumulate, getattr(model, "auxiliary_loss", None)
    optimiser.forget_gradients()
    for part in range(recipe.accumulate):
        batch = batches(step * recipe.accumulate + part)
        with autocast:
            value, told = loss(model, batch)
            if auxiliary is not None:
                value = value + auxiliary()
        total += share * _finite("loss", step, value.detach())
        torch.autograd.backward(value * share)
        for name, number in told.items():
            numbers[name] = numbers.get(name, 0.0) + share * float(number)
    norm = _finite("gradient norm", step, nn.utils.clip_grad_norm_(optimiser.parameters, recipe.clip or math.inf))
    optimiser.step(recipe.learning_rate(step, steps))
    return total, norm, numbers


def _finite(what: str, step: int, value: Tensor) -> float:
    number = value.item()
    if not math.isfinite(number):
        raise NotFinite(what, step, number)
    return number


def _validated(model: nn.Module, validate: Callable[[nn.Module], Mapping[str, float]]) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        numbers = {name: float(value) for name, value in validate(model).items()}
    model.train()
    return numbers


def _autocast(model: nn.Module, recipe: Recipe) -> torch.autocast:
    device = next(model.parameters()).device.type
    wanted = recipe.precision == "bfloat16"
    if wanted and not native_bfloat16(device):
        raise ConfigError(f"`precision` = `bfloat16`: this {device} would emulate it, many times slower; use `float32`")
    return torch.autocast(device, dtype=torch.bfloat16, enabled=wanted)


def native_bfloat16(device: str) -> bool:
    """Whether `device` multiplies bfloat16 matrices in hardware."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def next_token(model: nn.Module, tokens_BT: Tensor, *, chunk: int = 0) -> tuple[Tensor, Numbers]:
    """Mean cross-entropy in nats of each token given those before it, for a Decoder.

    `chunk` > 0 truncates back-propagation through time: the state is carried from chunk to chunk, gradients are not.
    """
    T = tokens_BT.shape[1] - 1
    span = chunk or T
    total, states = torch.zeros((), device=tokens_BT.device), None
    for at in range(0, T, span):
        end = min(at + span, T)
        nats, states = model(tokens_BT[:, at:end], states, targets=tokens_BT[:, at + 1 : end + 1])
        total = total + nats
        if chunk:
            states = states._replace(blocks=tuple(detached(block) for block in states.blocks))
    return total / (len(tokens_BT) * T), {}


def detached(state: Any) -> Any:
    """`state` with every tensor detached from the graph, in the same kind of tuple."""
    tensors = [tensor.detach() for tensor in state]
    return type(state)(*tensors) if hasattr(state, "_fields") else tuple(tensors)


def recipe_for(module: str, overrides: Mapping[str, Any] = {}) -> Recipe:
    """The RECIPE of a registered module's file (else the default) with a task's `[recipe]` table on top.

    Raises ConfigError for an unknown key or a value of the wrong type.
    """
    file = sys.modules[catalogue.load("module", module).__module__]
    base = asdict(getattr(file, "RECIPE", Recipe()))
    return build_config(Recipe, {**base, **overrides}, where="`[recipe]`")
