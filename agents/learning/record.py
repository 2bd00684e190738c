"""Measures every candidate of every task of a plan on a few seeds and writes a grid: `python -m agents.learning.record plan/Improve.md OUT.csv`.

The grid is what policies are compared on, since ten seeds of four policies would otherwise measure the same things again and again. One
line holds one metric of one candidate on all seeds. A candidate that is already in the file is not measured again, so that a
recording that was killed goes on. The benchmarks are called in this process, one after the other, on one thread.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.candidates import candidates
from agents.schedule import request_of
from bench.identity import environment_facts
from bench.request import Bench
from plan import catalogue, grammar
from plan.decision import IMPROVING, Candidate, Situation
from plan.nouns import Plan, Request, Task

SEEDS = (1000, 1001, 1002, 0, 1)
"""Three for trials, two for verdicts: nobody is chosen and judged on the same numbers."""
HEAD = ("benchmark", "module", "config", "metric", *(str(seed) for seed in SEEDS))


def wishes(plan: Plan) -> Iterator[tuple[Task, Candidate]]:
    """Every task with its own module and config, and with each candidate the plan lets be tried; equal measurements come once."""
    situation = Situation(plan=plan, verdicts=(), runs={}, seeds={})
    seen: set[tuple[str, str, str]] = set()
    for task in plan.tasks:
        own = Candidate(module=task.module, config=task.config)
        kinds = [kind for kind in task.improve if kind in IMPROVING]
        for candidate in (own, *(one for kind in kinds for one in candidates(task, kind, situation))):
            if (key := name_of(task, candidate)) not in seen:
                seen.add(key)
                yield task, candidate


def name_of(task: Task, candidate: Candidate) -> tuple[str, str, str]:
    """What a candidate's lines in a grid begin with."""
    return task.benchmark, candidate.module, json.dumps(_plain(candidate.config), sort_keys=True)


def measured(request: Request) -> dict[str, float]:
    """The finite numbers of one measurement; empty when it raised or brought none."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = catalogue.load("benchmark", request.benchmark)(Bench(request=request, folder=Path(folder)))
        except Exception as error:  # a candidate may be anything; what it lacks is on record as a missing number
            print(f"  {request.module} {request.config}: {type(error).__name__}: {str(error)[:100]}", file=sys.stderr)
            return {}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def record(plan: Plan, out: Path) -> None:
    """Append to `out` what it lacks of the plan's grid."""
    import torch

    torch.set_num_threads(1)
    known = set()
    if out.is_file():
        known = {tuple(row[:3]) for row in csv.reader(line for line in out.open() if not line.startswith("#"))}
    else:
        out.write_text(f"{about()}\n" + ",".join(HEAD) + "\n")
    missing = [(task, one) for task, one in wishes(plan) if name_of(task, one) not in known]
    for number, (task, candidate) in enumerate(missing):
        held = replace(task, module=candidate.module, config=candidate.config)
        found = [measured(request_of(held, seed)) for seed in SEEDS]
        with out.open("a", newline="") as file:
            for metric in sorted(
                {target.metric for one in plan.tasks if one.benchmark == task.benchmark for target in one.targets}
            ):
                values = ["" if metric not in numbers else f"{numbers[metric]:.6g}" for numbers in found]
                csv.writer(file, lineterminator="\n").writerow([*name_of(task, candidate), metric, *values])
        print(f"{number + 1}/{len(missing)} {task.benchmark} {candidate.module}", file=sys.stderr)


def about() -> str:
    """Where this was measured."""
    return "# " + ", ".join(f"{name} {value}" for name, value in environment_facts().items() if value)


def _plain(value: Any) -> Any:
    return {key: _plain(item) for key, item in value.items()} if hasattr(value, "items") else value


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the grid of a plan."""
    parser = argparse.ArgumentParser(prog="python -m agents.learning.record", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    record(grammar.read(options.plan), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
