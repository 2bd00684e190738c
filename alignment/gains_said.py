"""Who is said to be better than whom, and by how much, held against the runs of champion and candidates.

`40 % better`, `twofold`, `beat the champion`: a gain for which nothing was measured, or that no two of them differ by. What is said of speed
is looked at only where the plan asks for a metric of time; of what nobody measures the ledger shows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import permutations
from statistics import fmean, median

from alignment.asserted import conditional, denied, hoped, of_others
from plan.nouns import Run, Verdict

RUNS = "claims-name-runs"
Claim = tuple[str, str, str, bool]
_NUMBER = r"(?<![\d.])(\d{1,9}(?:\.\d{1,9})?)"
_BETTER = r"better|worse|higher|lower|improve[sd]?|improvement|gain(?:s|ed)?|beats?|outperform(?:s|ed)?|ahead|rose|risen|fell|fallen|dropped|more accurate|faster|slower|quicker"
_BY = re.compile(rf"\b(?:{_BETTER})\b[^.;]{{0,40}}?\b(?:by )?{_NUMBER} ?(%|percent\b|x\b|times\b)", re.I)
_THAN = re.compile(rf"{_NUMBER} ?(%|percent|x|times|-?fold) (?:{_BETTER})\b", re.I)
_FOLDS = {"twofold": 2.0, "threefold": 3.0, "fourfold": 4.0, "tenfold": 10.0, "doubled": 2.0, "doubles": 2.0, "tripled": 3.0, "triples": 3.0,
          "quadrupled": 4.0, "halved": 2.0, "halves": 2.0, "twice as": 2.0}  # fmt: skip
_WON = re.compile(
    r"\b(?:was|were|did|has been) (?:\w+ )?(?:better|more accurate) than the champion\b|\b(?:has beaten|beat|outperformed|won against) the champion\b"
    r"|\bwon (?:every|all|each|both|its) (?:\w+ )?(?:trials?|duels?)\b",
    re.I,
)
_SPEED = re.compile(r"\b(?:fast\w*|slow\w*|quick\w*|speed\w*|clock|seconds?|latency|memory|cheaper|throughput)\b", re.I)
_TIMED = re.compile(r"second|latency|speed|time|throughput|cost|ratio|memory|bytes", re.I)
ROUGHLY = 0.03
"""A gain that is told in figures may be off by this share of itself, or by one of its last digits."""


def gains(step: str, verdicts: Sequence[Verdict], runs: Sequence[Run], trials: Sequence[Run]) -> Iterator[Claim]:
    """Every gain that is said to have been and was not measured, or that no two of those measured differ by."""
    timed = any(_TIMED.search(one.target.metric) for one in verdicts)
    names = "|".join(re.escape(one.target.metric) for one in verdicts) or "score"
    folds = re.compile(
        rf"\b(?:(doubled|doubles|tripled|triples|quadrupled|halved|halves) (?:the |its |our )?(?:\w+ )?(?:{names}|score|error|loss)\b"
        rf"|(?:{_BETTER})\b[^.;]{{0,30}}?\b(twofold|threefold|fourfold|tenfold)\b|(twice as) (?:good|accurate|high|well)\b)",
        re.I,
    )
    forms = [(found, found[1], found[2]) for form in (_BY, _THAN) for found in form.finditer(step)]
    forms += [
        (found, str(_FOLDS[next(word for word in found.groups() if word).lower()]), "fold") for found in folds.finditer(step)
    ]
    ratios = [ratio for one in verdicts for ratio in _ratios(one.target.metric, runs, trials)]
    for found, said, unit in forms:
        if _aside(step, found):
            continue
        if not trials:
            yield RUNS, found[0], "the ledger holds no run of anything but the champion", True
        elif _SPEED.search(step) and not timed:
            continue
        else:
            measured = [
                value for ratio in ratios for value in ((abs(ratio - 1) * 100,) if unit[0] in "%p" else (ratio, 1 / ratio))
            ]
            if measured and not among(said, measured, roughly=0.15 if unit == "fold" else ROUGHLY):
                yield RUNS, found[0], "no two of the candidates and the champion differ by that much in their runs", True
    if (won := _WON.search(step)) and not _aside(step, won):
        if not trials:
            yield RUNS, won[0], "the ledger holds no run of anything but the champion", True
        elif verdicts and not any(_ahead(one, runs, trials) for one in verdicts):
            yield RUNS, won[0], "no candidate's mean is better than the champion's", True


def _aside(step: str, found: re.Match[str]) -> bool:
    start, end = found.span()
    return denied(step, start) or hoped(step, start, end) or conditional(step, start) or of_others(step, start, end)


def among(said: str, values: Sequence[float], *, roughly: float = 0.0) -> bool:
    """Whether one of the values rounds to what is said, or lies as near as `roughly` times it."""
    digits, number = len(said.partition(".")[2]), float(said)
    near = 0.5000001 * 10.0**-digits
    near = max(near, min(abs(number) * roughly, 1.0)) if roughly else near
    return any(abs(value - number) <= near for value in values)


def middle(values: Sequence[float]) -> tuple[float, ...]:
    """Mean and median; nothing of nothing."""
    return (fmean(values), median(values)) if values else ()


def candidates(trials: Sequence[Run]) -> list[list[Run]]:
    """The trials of each candidate."""
    groups: dict[str, list[Run]] = {}
    for run in trials:
        groups.setdefault(repr((run.request.module, run.request.config, run.request.tree)), []).append(run)
    return list(groups.values())


def _means(name: str, runs: Sequence[Run], trials: Sequence[Run]) -> list[float]:
    """The champion's mean, then each candidate's."""
    sides = [[run.metrics[name] for run in side if name in run.metrics] for side in (runs, *candidates(trials))]
    return [fmean(side) for side in sides if side]


def _ratios(name: str, runs: Sequence[Run], trials: Sequence[Run]) -> Iterator[float]:
    """Each one's mean over each other's."""
    means = [mean for mean in _means(name, runs, trials) if mean]
    yield from (one / two for one, two in permutations(means, 2))


def _ahead(verdict: Verdict, runs: Sequence[Run], trials: Sequence[Run]) -> bool:
    """Whether some candidate's mean is better than the champion's, or nothing can be said."""
    means = _means(verdict.target.metric, runs, trials)
    if len(means) < 2:
        return True
    return max(means[1:]) > means[0] if verdict.target.comparator.wants_more else min(means[1:]) < means[0]
