"""The model a measurement is about, built and trained as its request asks, on the benchmark's own terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from bench.request import CHECKPOINT, Bench
from modules.decoder import Decoder
from modules.trainer import Loss, Recipe, TrainLog, recipe_for, train
from plan import catalogue


class TermsError(ValueError):
    """A task's config asks for something that the benchmark's versioned name fixes."""

    told = True


def subject(bench: Bench, *, default: Mapping[str, Any] = {}, fixed: Mapping[str, Any] = {}) -> Decoder:
    """The decoder of the request's module on the request's device, seeded by it; its first forward adds its facts to the run's.

    The `[decoder]` table is the benchmark's `default` under the task's; a task that sets a `fixed` key otherwise raises TermsError.
    """
    request = bench.request
    table = {**default, **_agreed("decoder", request.config.get("decoder", {}), fixed)}
    own = {key: value for key, value in request.config.items() if key not in ("decoder", "recipe")}
    model = Decoder.build(request.module, config=own, decoder=table, seed=request.seed, device=request.device)

    def record(*_: object) -> None:
        bench.facts.update(model.facts())  # only a forward knows which kernel path it takes
        hook.remove()

    hook = model.register_forward_hook(record)
    return model


def recipe(bench: Bench, *, default: Mapping[str, Any] = {}, fixed: Mapping[str, Any] = {}) -> Recipe:
    """The module's recipe, under the benchmark's `default`, under the task's `[recipe]`; `fixed` keys cannot be changed."""
    wished = _agreed("recipe", bench.request.config.get("recipe", {}), fixed)
    return recipe_for(bench.request.module, {**default, **wished})


def trained(
    bench: Bench,
    model: torch.nn.Module,
    batches: Callable[[int], Any],
    *,
    loss: Loss,
    recipe: Recipe,
    identity: str = "",
    validate: Callable[[torch.nn.Module], Mapping[str, float]] | None = None,
    validate_every: int = 0,
    stop: Callable[[TrainLog], bool] | None = None,
) -> TrainLog:
    """Train `model` for the request's steps, going on from the folder's checkpoint, and record facts and curves."""
    log = train(
        model,
        batches,
        loss=loss,
        recipe=recipe,
        steps=bench.steps,
        seed=bench.request.seed,
        checkpoint=bench.folder / CHECKPOINT,
        identity=identity,
        progress=bench.progress,
        validate=validate,
        validate_every=validate_every,
        stop=stop,
    )
    bench.facts.update(
        recipe=asdict(recipe),
        steps=log.steps,
        train_seconds=log.seconds,
        resumed_at=log.resumed_at,
        torch=torch.__version__,
        threads=torch.get_num_threads(),
    )
    curves = {"train_loss": [(float(step), value) for step, value in enumerate(log.loss)], **log.numbers}
    every = max(1, log.steps // 200)
    for name, points in curves.items():
        bench.series[name] = [(step + 1, value) for step, value in points[every - 1 :: every]]
    for name in {name for _, numbers in log.validation for name in numbers}:
        bench.series[name] = [(step, numbers[name]) for step, numbers in log.validation]
    return log


def reported(bench: Bench, model: Decoder) -> dict[str, float]:
    """What the module reports of the forwards since the last call, limited to the metrics it declares."""
    declared = catalogue.shelf("module")[bench.request.module].arguments.get("metrics") or {}
    return {name: value for name, value in model.diagnostics().items() if name in declared}


def _agreed(table: str, wished: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in fixed.items():
        if wished.get(key, value) != value:
            raise TermsError(f"`[{table}]` {key} = {wished[key]!r}: the benchmark fixes it to {value!r}; leave it out")
    return {**wished, **fixed}
