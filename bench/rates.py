"""The best of a few learning rates, fixed beforehand, and how wide the window of rates is that work.

Published failures of models with a fixed state at recall are partly a learning rate that was not tried (arXiv:2508.19029), so a
comparison at one rate may say the opposite of the truth. A benchmark with the option `rates` trains once at each and chooses on the validation
puzzles; the test puzzles tell what the chosen one is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from bench.rate_window import working
from bench.request import Bench
from bench.subject import TermsError
from modules.trainer import NotFinite


def best_rate(bench: Bench, measure: Callable[[Bench], dict[str, float]]) -> dict[str, float]:
    """What `measure` finds at the best of the benchmark's `rates`, with `best_lr` and `lr_window`.

    Best is the highest validation accuracy at the end of training, and among equals the fewest `steps_to_99`. `lr_window` is the
    largest over the smallest rate of those that work, without a gap, around the best: 1 where it is alone, 0 where it does not work
    either. A rate at which training diverges counts as accuracy 0; NotFinite is raised when all do. Raises TermsError when the
    task sets a rate.
    """
    request, rates = bench.request, bench.options["rates"]
    table = request.config.get("recipe", {})
    if "lr" in table:
        raise TermsError(f"`[recipe]` lr = {table['lr']!r}: `{request.benchmark}` tries {rates}; leave it out")
    validation: list[float] = []
    found: list[dict[str, float]] = []
    facts: list[dict[str, object]] = []
    diverged: NotFinite | None = None
    for i, rate in enumerate(rates):

        def progress(step: int, total: int, numbers: Mapping[str, float], i: int = i) -> None:
            bench.progress(i * total + step, len(rates) * total, numbers)

        part = Bench(
            request=replace(request, config={**request.config, "recipe": {**table, "lr": rate}}),
            folder=bench.folder / f"rate-{i}",
            progress=progress,
        )
        part.folder.mkdir(exist_ok=True)
        try:
            found.append(measure(part))
            validation.append(part.series["accuracy"][-1][1])
        except NotFinite as fault:
            diverged = fault
            found.append({})
            validation.append(0.0)
        facts.append(part.facts)
        bench.series |= {f"{name} at {rate:g}": points for name, points in part.series.items()}
    if diverged and not any(found):
        raise diverged
    best = max(range(len(rates)), key=lambda i: (bool(found[i]), validation[i], -found[i].get("steps_to_99", 0)))
    bench.facts.update(
        facts[best], validation_accuracy={f"{rate:g}": value for rate, value in zip(rates, validation, strict=True)}
    )
    return {**found[best], "best_lr": rates[best], "lr_window": window(rates, validation, best)}


def window(rates: list[float], validation: list[float], best: int) -> float:
    """Largest over smallest of the rising `rates` around `rates[best]` that work, without a gap; 0 where that one does not."""
    ends = working(rates, validation, best)
    return 0.0 if ends is None else ends[1] / ends[0]
