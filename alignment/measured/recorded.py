"""Changes of which the outcome is on record: a champion, what was tried in its place, and how both did on the same seeds.

`python -m alignment.measured.recorded GRID OUT.csv` makes the file from a grid of `agents.learning.record` and plan/Improve.md: each task's own module
and config is a champion. Each other line of the same benchmark with the same module and at most two other entries, or with another module,
is a change of that champion.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alignment.critic import Change, chance
from alignment.measured import Unmeasurable
from plan.catalogue import HOUSE
from plan.decision import Action, Candidate, Decision, entries
from plan.grammar import read
from plan.wire import plain

HEAD = ("benchmark", "metric", "better", "champion_of", "module", "config")
"""Of each line; then a column of numbers for each seed, empty where a candidate brought none."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A change and how it turned out."""

    change: Change
    good: float
    """Probability that its mean gain is positive; 0 where it brought no number."""

    @property
    def bad(self) -> bool:
        """Whether its mean gain is not positive."""
        return self.good <= 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    measured: tuple[str, str]
    """Benchmark and metric."""
    sign: float
    champion_of: tuple[str, ...]
    candidate: Candidate
    values: tuple[float | None, ...]


def read_changes(path: Path) -> list[Recorded]:
    """Every change that the file tells the outcome of, champion by champion; Unmeasurable when it is not such a file."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(line for line in file if not line.startswith("#"))
        if tuple(head[: len(HEAD)]) != HEAD:
            raise ValueError(f"its columns are {', '.join(head[: len(HEAD)])}, not {', '.join(HEAD)}")
        lines = [_line(row) for row in rows]
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise Unmeasurable(f"`{path}` is no file of recorded candidates: {error}. nothing was measured") from None
    return list(_changes(lines))


def _line(row: Sequence[str]) -> _Line:
    benchmark, metric, better, champion_of, module, config, *values = row
    return _Line(
        measured=(benchmark, metric),
        sign={"more": 1.0, "less": -1.0}[better],
        champion_of=tuple(champion_of.split()),
        candidate=Candidate(module=module, config=json.loads(config)),
        values=tuple(float(value) if value else None for value in values),
    )


def _changes(lines: Sequence[_Line]) -> Iterator[Recorded]:
    number = 0
    for own, task in ((line, task) for line in lines for task in line.champion_of):
        for tried in lines:
            if tried.measured != own.measured or not _near(own.candidate, tried.candidate):
                continue
            gains = [own.sign * (b - a) for a, b in zip(own.values, tried.values, strict=True) if a is not None and b is not None]
            good = chance(gains) if len(gains) == len(own.values) else 0.0
            kind = "replace" if tried.candidate.module != own.candidate.module else "tune"
            action = Action(kind=kind, task=task, details=tried.candidate.details)
            decision = Decision(id=f"d{number:04d}", decider="grid", action=action, evidence=(), expected=0.0, expects="", why="")
            yield Recorded(Change(decision=decision, champion=own.candidate, subject=own.measured[0]), good or 0.0)
            number += 1


def _near(champion: Candidate, tried: Candidate) -> bool:
    one, two = dict(entries(champion.config)), dict(entries(tried.config))
    apart = sum(one.get(key) != two.get(key) for key in {*one, *two})
    return tried.module != champion.module or 0 < apart <= 2


def lines_of(grid: Path, plan: Path) -> list[list[str]]:
    """HEAD and the lines below it: the grid's own, of the metric that the plan's tasks are judged by, with the tasks whose champion each is."""
    with grid.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(line for line in file if not line.startswith("#"))
    tasks = read(plan).tasks
    better = {(t.benchmark, t.targets[0].metric): "more" if t.targets[0].comparator.wants_more else "less" for t in tasks}
    champions: dict[tuple[str, ...], list[str]] = {}
    for task in tasks:
        own = (task.benchmark, task.targets[0].metric, task.module, json.dumps(plain(task.config), sort_keys=True))
        champions.setdefault(own, []).append(task.id)
    found = [[*HEAD, *head[4:]]]
    for benchmark, module, config, metric, *values in rows:
        if (benchmark, metric) in better:
            of = champions.get((benchmark, metric, module, config), []) if all(values) else []
            found.append([benchmark, metric, better[benchmark, metric], " ".join(of), module, config, *values])
    return found


def main(arguments: Sequence[str]) -> int:
    """Write the file."""
    grid, out = map(Path, arguments)
    first = grid.read_text(encoding="utf-8").partition("\n")[0]
    with out.open("w", newline="", encoding="utf-8") as file:
        file.write(first + "\n" if first.startswith("#") else "")
        csv.writer(file, lineterminator="\n").writerows(lines_of(grid, HOUSE / "plan" / "Improve.md"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
