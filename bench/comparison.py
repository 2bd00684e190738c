"""The answer to "is A better than B?": from a plan of two tasks with common seeds, judged by the judge, to one of three words.

The plan has two rows on the first side's metric: one holds when A is surely better than B, the other when it is surely worse. Each asks a
one-sided bound on the mean of the differences, seed by seed, at 2.5 %, so of two sides that are the same one is called better or
worse with a probability of at most 5 %, over all looks that were registered. Pure: no clock, no file, no chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from bench import statistics
from bench.direction import Better
from bench.evidence import Missing, SeedRuns, gather
from bench.report.wording import figure, metric_unit
from bench.table import CLOSE, Estimate, mean_number, same_number, words
from plan import catalogue
from plan.nouns import Plan, Run, State, Status, Task, Verdict

ERROR = 0.05
"""Declared: of sides that are the same, how often one is called better or worse."""


class Answer(StrEnum):
    """What a comparison can say of its first side."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"
    NONE = "no answer"
    """There are not the numbers to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two, and what it was given."""

    task: str
    module: str
    overrides: str
    estimate: Estimate | None
    parameters: float | None
    train_flops: float | None
    """FLOPs of training on one token, where the benchmark counts them."""
    steps: float | None
    tokens: float | None
    """Tokens seen in training by one run."""
    training_flops: float | None
    """FLOPs of a whole training."""
    runs: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The answer and what it rests on. Differences are A minus B, seed by seed, in the metric's base unit."""

    answer: Answer
    benchmark: str
    metric: str
    unit: str
    better: Better
    a: Side
    b: Side
    n: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float = 1 - ERROR
    """Of the interval: 1 - ERROR / looks registered."""
    error: float | None = None
    """The declared error, where an answer was given and seeds differ."""
    more_seeds: int | None = None
    reason: str = ""
    warnings: tuple[str, ...] = ()


def compared(plan: Plan, verdicts: Sequence[Verdict], runs: Mapping[str, Sequence[Run]], *, better: Better) -> Comparison:
    """The answer on a plan whose last task holds the rows `better` and `worse` against its first."""
    theirs, ours = plan.tasks[0], plan.tasks[-1]
    verdict, opposite = (found for found in verdicts if found.task == ours.id)
    seeds = {task.id: SeedRuns(task, runs.get(task.id, ())) for task in plan.tasks}
    evidence = gather(ours.targets[0], ours, plan=plan, seeds=seeds)
    metric = ours.targets[0].metric
    a, b = (_side(task, runs.get(task.id, ()), metric) for task in (ours, theirs))
    known = Comparison(
        answer=Answer.NONE,
        benchmark=ours.benchmark,
        metric=metric,
        unit=metric_unit(ours.module, ours.benchmark, metric),
        better=better,
        a=a,
        b=b,
        n=verdict.n,
        reason=verdict.reason,
        warnings=tuple(_warnings(a, b, ours.benchmark)),
    )
    if isinstance(evidence, Missing) or verdict.value is None:
        return known
    answer = Answer.BETTER if verdict.state is State.PASS else Answer.WORSE if opposite.state is State.PASS else Answer.UNDECIDED
    gaps, error = evidence.gaps, ERROR / evidence.looks
    claims = answer is not Answer.UNDECIDED and None not in (verdict.error, opposite.error)
    low, high = statistics.mean_bounds(gaps, error=error / 2)
    same = bool((gaps == 0).all())
    return replace(
        known,
        answer=answer,
        n=evidence.n,
        difference=statistics.mean(gaps),
        low=low,
        high=high,
        confidence=1 - error,
        error=ERROR if claims else None,
        more_seeds=verdict.more_seeds if answer is Answer.UNDECIDED else None,
        reason=f"both sides gave the same numbers on {evidence.n} seeds" if same else verdict.reason,
    )


def _side(task: Task, runs: Sequence[Run], metric: str) -> Side:
    good = [run for run in runs if run.status is Status.OK]
    recipes = [recipe for run in good if isinstance(recipe := run.facts.get("recipe"), Mapping)]
    recipe = recipes[0] if recipes else {}
    steps, shape = same_number(good, "steps"), [recipe.get("batch"), recipe.get("length"), recipe.get("accumulate", 1)]
    seen = [number for number in (steps, *shape) if isinstance(number, (int, float))]
    tokens = math.prod(seen) if len(seen) == 4 else None
    per_token = mean_number(good, "train_flops")
    return Side(
        task=task.id,
        module=task.module,
        overrides=words(task.config),
        estimate=Estimate.of([run.metrics[metric] for run in good if metric in run.metrics]),
        parameters=same_number(good, "parameters"),
        train_flops=per_token,
        steps=steps,
        tokens=tokens,
        training_flops=per_token * tokens if per_token is not None and tokens is not None else None,
        runs=tuple(run.id for run in good),
        facts={name: recipe[name] for name in ("batch", "length") if name in recipe},
    )


def _warnings(a: Side, b: Side, benchmark: str) -> list[str]:
    told = []
    if a.parameters and b.parameters and not close(a.parameters, b.parameters):
        told.append(
            f"not of equal size: {figure(a.parameters, '')} against {figure(b.parameters, '')} parameters ({a.parameters / b.parameters:.2f} x); "
            "part of a difference may be theirs; bring them together with `--config-a` and `--config-b`"
        )
    if a.training_flops and b.training_flops and not close(a.training_flops, b.training_flops):
        wanted = f"{benchmark.rpartition('-v')[0]}-flops"
        equal = next((name for name in catalogue.shelf("benchmark") if name.rpartition("-v")[0] == wanted), None)
        told.append(
            f"not of equal arithmetic: {figure(a.training_flops, 'FLOP')} against {figure(b.training_flops, 'FLOP')} of training "
            f"({a.training_flops / b.training_flops:.2f} x); "
            + (
                f"`--benchmark {equal}` gives both the same"
                if equal
                else "compare at equal FLOPs by `--config-a` and `--config-b`"
            )
        )
    if a.facts and b.facts and a.facts != b.facts:
        told.append(
            f"not on the same data: batches of {_shape(a)} against {_shape(b)} tokens; "
            "set `recipe.batch` and `recipe.length` alike for both"
        )
    return told


def close(one: float, two: float) -> bool:
    """Whether two sizes still count as equal: the larger is at most 5 % above the smaller."""
    return abs(one - two) <= CLOSE * min(one, two)


def _shape(side: Side) -> str:
    return " x ".join(str(side.facts[name]) for name in ("batch", "length") if name in side.facts)
