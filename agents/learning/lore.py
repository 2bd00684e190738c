"""What changes like this one brought on other tasks: which candidate of a kind is tried first, learnt from every trial on record.

A change is told by words from the general to the special, e.g. `tune`, `recipe.lr`, `x4` or `replace`, `gla`, and what is
learnt of it is the share of the shortfall that such changes took away in their first trial. A special one that was seen once or twice is believed in part,
the rest being what the more general one says (a mean shrunk towards its parent's), so that a single lucky training moves little.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from plan.decision import Candidate, entries

Change = tuple[str, ...]
"""The metric that a trial was about, the kind of change, and its words."""
DOUBT = 1.0
"""Trials that what the more general words say counts for."""


def change(metric: str, kind: str, champion: Candidate, candidate: Candidate) -> Change:
    """How a candidate differs from its champion, in words that mean the same on other tasks."""
    if candidate.module != champion.module:
        return metric, kind, candidate.module
    before, after = dict(entries(champion.config)), dict(entries(candidate.config))
    paths = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    if len(paths) != 1:
        return metric, kind, "several" if paths else "patch"
    old, new = before.get(paths[0]), after.get(paths[0])
    return metric, kind, paths[0], _how(old, new)


def _how(old: object, new: object) -> str:
    if new is None:
        return "default"
    numbers = [one for one in (old, new) if isinstance(one, (int, float)) and not isinstance(one, bool) and one > 0]
    return f"x{2 ** round(math.log2(numbers[1] / numbers[0])):g}" if len(numbers) == 2 else repr(new)


@dataclass(slots=True)
class Lore:
    """Sums of what was seen, by every beginning of a change."""

    seen: dict[Change, tuple[int, float]] = field(default_factory=dict)

    def learn(self, change: Change, share: float) -> None:
        """Take in one trial that took away this share of the shortfall; below 0 it made it larger."""
        share = min(1.0, max(-1.0, share))
        for words in _beginnings(change):
            n, total = self.seen.get(words, (0, 0.0))
            self.seen[words] = n + 1, total + share

    def hope(self, change: Change) -> float:
        """The share of the shortfall that such a change may be expected to take away, relative to its kind; 0 where nothing like it was seen."""
        beginnings = list(_beginnings(change))
        n, total = self.seen.get(beginnings[0], (0, 0.0))
        kind = mean = total / n if n else 0.0
        for words in beginnings[1:]:
            n, total = self.seen.get(words, (0, 0.0))
            mean = (total + DOUBT * mean) / (n + DOUBT)
        return mean - kind


def _beginnings(change: Change) -> Iterable[Change]:
    return (change[:length] for length in range(2, len(change) + 1))
