"""How often the promotion rule is wrong, on real trainings and by simulation: `python -m bench.false_promotions [--full]`.

First candidates that are their champion under another name (`bench/trained_equals.py`): as one run of duels that share an error, and each by
itself with the whole of it; beside both, on the same trainings, what is usual: keep a candidate when its one score is better. Then runs by the
hundred, of numbers drawn from those trainings, with crashes, and with one, four and sixteen workers. Two habits have to be caught by the same
test: folding pairs as they complete, and dropping the pairs in which a challenger failed. Last, what finding a true improvement costs, by
simulation and on trainings. Ends with 1 when a claim does not hold. What was trained is kept: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.false_verdicts import SPEED_OF_FAILURE, WORKERS, Rate, schedule
from bench.promotion import Answer, Flags, Floats, duel, fewest, follow, limit, share
from bench.trained_equals import (
    ALONE,
    COMPLETION,
    ERROR,
    LR,
    SEEDS,
    SLOW_LR,
    SUBMISSION,
    Kept,
    Trained,
    fight,
    promoted,
    rates_alone,
    run_on_trainings,
)

POWER = 0.9
IMPROVEMENT = 0.05
EFFECTS = (0.01, 0.02, 0.03, IMPROVEMENT, 0.1)
PLACES = (1, 3, 10)
"""The k-th duel of a run has the k-th share of its error: power is shown at these."""
SPREADS = (None, 0.02)
"""Standard deviations of a pair's difference, relative to the metric: as measured, and what is usual at most."""
CRASHES = 0.1
APART = 10**6
"""Trainings of the last part have streams from SEEDS times this on."""
KEPT = Path("runs/false-promotions.jsonl")


def gains_drawn(scores: Floats, rng: np.random.Generator, *, size: tuple[int, int], improvement: float = 0.0) -> Floats:
    """Gains of a challenger that is truly better by a fraction `improvement`; numbers of both sides are drawn from `scores`."""
    champion, challenger = rng.choice(scores, (2, *size))
    return np.asarray(champion - (1 - improvement) * challenger)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A challenger that is no better than its champion, and a habit that promotes it."""

    name: str
    change: Callable[[Floats, np.random.Generator], Floats]
    """What becomes of the gains of two equals."""
    sooner: Callable[[Floats], Flags]
    """Which pairs finish SPEED_OF_FAILURE times sooner."""
    habit: str
    breaks: bool | None
    """Whether the habit is claimed to exceed the error; None: only reported."""


def _crashing(won: Floats, rng: np.random.Generator) -> Floats:
    """Either side crashes on a tenth of its seeds."""
    champion, challenger = rng.random((2, *won.shape)) < CRASHES
    return np.where(champion, np.where(challenger, 0.0, np.inf), np.where(challenger, -np.inf, won))


def _fragile(won: Floats, rng: np.random.Generator) -> Floats:
    """The challenger diverges in four of five trainings that would have been bad, and is as good as its champion in the others."""
    return np.where((won < 0) & (rng.random(won.shape) < 0.8), -np.inf, won)


DROPPING = "failed challengers dropped"
WORLDS = (
    World(name="a tenth crashes, sooner", change=_crashing, sooner=lambda won: won == -np.inf, habit=COMPLETION, breaks=None),
    World(name="good ones stop sooner", change=lambda won, rng: won, sooner=lambda won: won > 0, habit=COMPLETION, breaks=True),
    World(name="bad ones diverge, sooner", change=_fragile, sooner=lambda won: won == -np.inf, habit=DROPPING, breaks=True),
)


def simulated_rates(scores: Floats, rng: np.random.Generator, *, runs: int, candidates: int) -> Iterator[Rate]:
    """Runs, of `candidates` each, in which any was promoted, though none is better; a look after every completion.

    In submission order what is known at a look is a prefix of what will be known, so all that workers change there is when one knows it.
    """
    for world in WORLDS:
        for workers in WORKERS:
            wrong = {name: np.zeros(runs, dtype=bool) for name in (SUBMISSION, world.habit)}
            for k in range(1, candidates + 1):
                error = share(k, ERROR)
                most = limit(error)
                won = world.change(gains_drawn(scores, rng, size=(runs, most + workers)), rng)
                seconds = rng.exponential(1.0, won.shape) / np.where(world.sooner(won), SPEED_OF_FAILURE, 1.0)
                looks = schedule(seconds, workers=workers, trials=most)
                wrong[SUBMISSION] |= promoted(won[:, :most], error=error, most=most)
                if world.habit == COMPLETION:
                    folded = np.take_along_axis(won, looks.finished, axis=1)
                else:
                    folded = np.take_along_axis(won, np.argsort(np.isinf(won), axis=1, kind="stable"), axis=1)[:, :most]
                    folded = np.where(np.isfinite(folded), folded, 0.0)
                wrong[world.habit] |= promoted(folded, error=error, most=most)
            for name, runs_wrong in wrong.items():
                claim = True if name == SUBMISSION else world.breaks
                claim = None if workers == 1 and name == COMPLETION else claim
                yield Rate(
                    world=f"{world.name}, {workers:2d} workers", method=name, false=int(runs_wrong.sum()), of=runs, within=None if claim is None else name == SUBMISSION,
                )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How often, and after how many pairs, a true improvement was promoted."""

    place: int
    spread: float
    improvement: float
    promoted: float
    pairs: float
    ninth: float
    """Pairs within which nine of ten duels ended."""

    @property
    def claimed(self) -> bool:
        """Whether POWER is claimed of it."""
        return self.improvement >= IMPROVEMENT


def power(scores: Floats, rng: np.random.Generator, *, duels: int) -> Iterator[Found]:
    """Power at each of PLACES for each of EFFECTS, at the spread of `scores` and at others."""
    relative = scores / scores.mean()
    measured = float(relative.std() * np.sqrt(2))
    for place in PLACES:
        error = share(place, ERROR)
        most = limit(error)
        for spread in SPREADS:
            scale = 1.0 if spread is None else spread / measured
            for improvement in EFFECTS:
                won = gains_drawn(1 + (relative - 1) * scale, rng, size=(duels, most), improvement=improvement)
                course = follow(won, error=error, most=most)
                first = course.ended.argmax(axis=1)
                yield Found(
                    place=place,
                    spread=spread or measured,
                    improvement=improvement,
                    promoted=float(promoted(won, error=error, most=most).mean()),
                    pairs=float(first.mean() + 1),
                    ninth=float(np.quantile(first + 1, 0.9)),
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Improved:
    """What became of challengers on trainings that are truly better."""

    better: float
    """By how much, of the metric, on the pairs that every duel has: what ended a duel early has no part in it."""
    found: Rate
    """Duels that promoted."""
    pairs: float
    """Read by a duel, on average."""

    @property
    def holds(self) -> bool:
        """Whether POWER is reached on an improvement of IMPROVEMENT and hardly more."""
        return self.found.false >= POWER * self.found.of and IMPROVEMENT <= self.better <= 1.1 * IMPROVEMENT


def improved(duels: int, *, measure: Callable[[int, float], float]) -> Improved:
    """First duels of a run, of a champion with SLOW_LR and a challenger with LR; `measure(stream, lr)` trains."""

    def side(place: int, lr: float) -> Callable[[int], float]:
        return lambda seed: measure((APART + place) * SEEDS + seed, lr)

    least = fewest(share(1, ERROR))
    fights = [fight(1, side(2 * i, SLOW_LR), side(2 * i + 1, LR), least=least) for i in range(duels)]
    champion, challenger = np.array([pairs[:least] for _, pairs in fights]).reshape(-1, 2).T
    promoted = sum(found.answer is Answer.PROMOTE for found, _ in fights)
    return Improved(
        better=float(1 - challenger.mean() / champion.mean()),
        found=Rate(world="truly better", method=SUBMISSION, false=promoted, of=duels, within=None),
        pairs=sum(found.n for found, _ in fights) / duels,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 0 when every claim holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m bench.false_promotions", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="500 candidates on trainings, and five times the simulated runs")
    parser.add_argument("--candidates", type=int, metavar="N", help="candidates on trainings; default 100, with --full 500")
    parser.add_argument("--runs", type=int, metavar="N", help="simulated runs of 20 candidates; default 1000, with --full 5000")
    parser.add_argument("--kept", type=Path, default=KEPT, help=f"where trainings are kept, to go on with; default {KEPT}")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    candidates = options.candidates or (500 if options.full else 100)
    runs = options.runs or (5000 if options.full else 1000)
    rng, began, measure = np.random.default_rng(options.seed), time.monotonic(), Kept(options.kept)
    if measure.found:
        print(f"{measure.found} trainings are in {options.kept}", file=sys.stderr)

    print(f"{candidates} candidates equal to their champion, small real trainings; declared {ERROR:.0%}")
    trained = run_on_trainings(candidates, measure=measure, say=lambda line: print(line, file=sys.stderr, flush=True))
    sound = _print_trained(trained)
    print(f"\neach by itself with the whole {ERROR:.0%}, on its first {ALONE} pairs: how many are promoted")
    sound &= _print_rates(rates_alone(trained, rng), exactly=True)
    print(f"\n{runs} simulated runs of 20 such candidates, numbers drawn from those trainings: runs that promote any")
    sound &= _print_rates(simulated_rates(trained.scores, rng, runs=runs, candidates=20))
    print(
        f"\ntrue improvements, {2 * runs} simulated duels each; claimed: {POWER:.0%} of {IMPROVEMENT:.0%} and more are promoted"
    )
    sound &= _print_power(power(trained.scores, rng, duels=2 * runs))
    sound &= _print_improved(improved(100 if options.full else 40, measure=measure))
    print(f"\n{'every claim holds' if sound else 'a claim does not hold'} ({time.monotonic() - began:.0f} s)")
    return 0 if sound else 1


def _print_trained(trained: Trained) -> bool:
    n, wrong = len(trained.duels), trained.count(Answer.PROMOTE)
    low, high = Rate(world="", method="", false=wrong, of=n, within=None).interval
    kept = Rate(world="", method="", false=trained.kept, of=n, within=None)
    print(
        f"  promotion rule, one run        {wrong:4d} promoted   {wrong / n:6.1%}  ({low:5.1%} - {high:5.1%})  claimed: none in {1 - ERROR:.0%} of such runs{'   ok' if not wrong else '   DOES NOT HOLD'}"
    )
    print(
        f"  keep if better                 {kept.false:4d} kept       {kept.false / n:6.1%}  ({kept.interval[0]:5.1%} - {kept.interval[1]:5.1%})"
    )
    print(f"  keep if better than all so far {trained.in_a_row:4d} kept")
    identical = duel([(1.0, 1.0)] * 99, better="less", error=ERROR)
    print(f"  the champion's very numbers    {identical.answer} after {identical.n} pairs ({identical.reason})")
    print(
        f"  {sum(found.n for found in trained.duels) / n:.1f} pairs a duel; {trained.count(Answer.REJECT)} rejected, {trained.count(Answer.UNDECIDED)} undecided; {len(trained.scores)} trainings"
    )
    print(f"  standard deviation of a pair's difference {trained.spread:.2%} of the metric")
    return not wrong and identical.answer is not Answer.PROMOTE


def _print_rates(rates: Iterator[Rate], *, exactly: bool = False) -> bool:
    """`exactly`: what is claimed to stay within the error must do so as counted, without three standard errors to spare."""
    sound = True
    for rate in rates:
        low, high = rate.interval
        limit = ERROR if exactly else rate.limit
        holds = rate.within is None or (rate.false / rate.of <= limit) is rate.within
        claim = {None: "", True: f"claimed <= {limit:.1%}", False: f"expected > {limit:.1%}"}[rate.within]
        word = "" if rate.within is None else "   ok" if holds else "   DOES NOT HOLD"
        print(f"  {rate.world:38} {rate.method:30} {rate.false / rate.of:6.1%}  ({low:5.1%} - {high:5.1%})  {claim}{word}")
        sound &= holds
    return sound


def _print_power(rows: Iterator[Found]) -> bool:
    print(f"  {'duel':>5} {'spread':>7} {'improvement':>12} {'promoted':>9} {'mean pairs':>11} {'9 of 10 in':>11} {'fewest':>7}")
    sound = True
    for row in rows:
        holds = row.improvement < IMPROVEMENT or row.promoted >= POWER
        word = "" if row.improvement < IMPROVEMENT else "   ok" if holds else "   DOES NOT HOLD"
        numbers = f"{row.promoted:9.1%} {row.pairs:11.1f} {row.ninth:11.0f} {fewest(share(row.place, ERROR)):7d}"
        print(f"  {row.place:5d} {row.spread:7.2%} {row.improvement:12.0%} {numbers}{word}")
        sound &= holds
    return sound


def _print_improved(seen: Improved) -> bool:
    low, high = seen.found.interval
    print(
        f"\non trainings: a learning rate that is truly {seen.better:.2%} better, {seen.found.of} duels: {seen.found.false / seen.found.of:.1%} promoted ({low:.1%} - {high:.1%}), "
        f"{seen.pairs:.1f} pairs a duel, {2 * seen.pairs:.1f} trainings{'   ok' if seen.holds else '   DOES NOT HOLD'}"
    )
    return seen.holds


if __name__ == "__main__":
    sys.exit(main())
