"""How often the promotion rule is wrong, on real trainings and by simulation: `python -m bench.false_promotions [--full]`.

First a run of candidates that are their champion under another name: the same small transformer, trained anew from other random numbers, so
every promotion is a false one. Beside it, on the same trainings, what is usual: keep a candidate when its one score is better. Then runs by the
hundred, of numbers drawn from those trainings, with crashes, and with one, four and sixteen workers. Two habits have to be caught by the same
test: folding pairs as they complete, and dropping the pairs in which a challenger failed. Last, what finding a true improvement costs in pairs, by
simulation and on trainings. Ends with 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from bench.false_verdicts import SPEED_OF_FAILURE, WORKERS, Rate, schedule
from bench.promotion import Answer, Duel, Flags, Floats, duel, fewest, follow, share

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data import Corpus

ERROR = 0.05
POWER = 0.9
IMPROVEMENT = 0.05
EFFECTS = (0.01, 0.02, 0.03, IMPROVEMENT, 0.1)
PLACES = (1, 3, 10)
"""The k-th duel of a run has the k-th share of its error: power is shown at these."""
SPREADS = (None, 0.02)
"""Standard deviations of a pair's difference, relative to the metric: as measured, and what is usual at most."""
CRASHES = 0.1
SEEDS = 1000
"""More than any duel has pairs, so that no two trainings share their random numbers."""

STEPS, WIDTH, BATCH, LENGTH, WINDOWS = 20, 16, 4, 32, 32
LR, SLOW_LR = 1e-2, 8e-3
"""Peak learning rates of the champion of the first part, and of one that is truly worse."""


def train_once(stream: int, *, lr: float = LR) -> float:
    """Bits per byte on held-out text of one small training, whose start and batches come from the random numbers of `stream`."""
    import torch

    from bench.suites.bytes import bits_per_byte
    from modules.decoder import Decoder
    from modules.trainer import Recipe, next_token, train

    text, held_BT = _text()

    def batch(step: int) -> Tensor:
        return torch.from_numpy(text.batch(seed=stream, step=step, batch=BATCH, length=LENGTH))

    model = Decoder.build("transformer", config={"d_model": WIDTH, "heads": 2}, decoder={"layers": 1}, seed=stream)
    train(model, batch, loss=next_token, recipe=Recipe(lr=lr, batch=BATCH, length=LENGTH), steps=STEPS, seed=stream)
    model.eval()
    return bits_per_byte(model, held_BT, batch=WINDOWS)


@cache
def _text() -> tuple[Corpus, Tensor]:
    import torch

    from bench.data import corpus

    torch.set_num_threads(1)
    text = corpus("bytes-stdlib")
    return text, torch.from_numpy(text.windows(count=WINDOWS, length=2 * LENGTH))


def fight(k: int, champion: Callable[[int], float], challenger: Callable[[int], float]) -> tuple[Duel, list[tuple[float, float]]]:
    """The k-th duel of a run, pair by pair until it is ended; both sides measure a seed."""
    pairs = list[tuple[float, float]]()
    while not (found := duel(pairs, better="less", error=share(k, ERROR))).ended:
        pairs.append((champion(len(pairs)), challenger(len(pairs))))
    return found, pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run of candidates that equal their champion came to, on real trainings."""

    duels: tuple[Duel, ...]
    kept: int
    """Candidates whose score on the first seed was better: what `keep if better` would have kept."""
    in_a_row: int
    """The same where each must beat the best score so far."""
    scores: Floats
    """Every number that was measured."""

    def count(self, answer: Answer) -> int:
        """Duels that ended so."""
        return sum(found.answer is answer for found in self.duels)


def run_on_trainings(candidates: int, *, measure: Callable[[int], float], say: Callable[[str], None]) -> Trained:
    """One run of duels against one champion that is measured once a seed; `measure(stream)` trains."""
    champion = cache(measure)
    duels, scores = list[Duel](), list[float]()
    firsts = [champion(0)]
    for k in range(1, candidates + 1):
        found, pairs = fight(k, champion, lambda seed, k=k: measure(k * SEEDS + seed))  # type: ignore[misc]
        duels.append(found)
        firsts.append(pairs[0][1])
        scores += [challenger for _, challenger in pairs]
        if k % 50 == 0:
            say(f"  {k} of {candidates} candidates")
    best = np.minimum.accumulate(firsts)
    return Trained(
        duels=tuple(duels),
        kept=sum(first < firsts[0] for first in firsts),
        in_a_row=int((np.diff(best) < 0).sum()),
        scores=np.array(scores),
    )


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


COMPLETION, DROPPING = "pairs folded as they complete", "failed challengers dropped"
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
            wrong = {name: np.zeros(runs, dtype=bool) for name in ("submission order", world.habit)}
            for k in range(1, candidates + 1):
                error = share(k, ERROR)
                most = 2 * fewest(error)
                won = world.change(gains_drawn(scores, rng, size=(runs, most + workers)), rng)
                seconds = rng.exponential(1.0, won.shape) / np.where(world.sooner(won), SPEED_OF_FAILURE, 1.0)
                looks = schedule(seconds, workers=workers, trials=most)
                wrong["submission order"] |= promoted(won[:, :most], error=error, most=most)
                if world.habit == COMPLETION:
                    folded = np.take_along_axis(won, looks.finished, axis=1)
                else:
                    folded = np.take_along_axis(won, np.argsort(np.isinf(won), axis=1, kind="stable"), axis=1)[:, :most]
                    folded = np.where(np.isfinite(folded), folded, 0.0)
                wrong[world.habit] |= promoted(folded, error=error, most=most)
            for name, runs_wrong in wrong.items():
                claim = True if name == "submission order" else world.breaks
                claim = None if workers == 1 and name == COMPLETION else claim
                yield Rate(
                    world=f"{world.name}, {workers:2d} workers", method=name, false=int(runs_wrong.sum()), of=runs, within=None if claim is None else name == "submission order",
                )  # fmt: skip


def promoted(won: Floats, *, error: float, most: int) -> Flags:
    """Which duels (rows of gains) promote when they are looked at after every pair."""
    course = follow(won, error=error, most=most)
    first = course.ended.argmax(axis=1)[:, None]
    return np.asarray(np.take_along_axis(course.promotes, first, axis=1)[:, 0])


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
        most = 2 * fewest(error)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 0 when every claim holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m bench.false_promotions", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="500 candidates on trainings, and five times the simulated runs")
    parser.add_argument("--candidates", type=int, metavar="N", help="candidates on trainings; default 100, with --full 500")
    parser.add_argument("--runs", type=int, metavar="N", help="simulated runs of 20 candidates; default 1000, with --full 5000")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    candidates = options.candidates or (500 if options.full else 100)
    runs = options.runs or (5000 if options.full else 1000)
    rng, began = np.random.default_rng(options.seed), time.monotonic()

    print(
        f"{candidates} candidates equal to their champion, small real trainings; at most {ERROR:.0%} of such runs may promote any"
    )
    trained = run_on_trainings(candidates, measure=train_once, say=lambda line: print(line, file=sys.stderr, flush=True))
    sound = _print_trained(trained)
    print(f"\n{runs} simulated runs of 20 such candidates, numbers drawn from those trainings: runs that promote any")
    sound &= _print_rates(simulated_rates(trained.scores, rng, runs=runs, candidates=20))
    print(
        f"\ntrue improvements, {2 * runs} simulated duels each; claimed: {POWER:.0%} of {IMPROVEMENT:.0%} and more are promoted"
    )
    sound &= _print_power(power(trained.scores, rng, duels=2 * runs))
    better = [fight(1, _streams(2 * i + 1, SLOW_LR), _streams(2 * i + 2, LR)) for i in range(50 if options.full else 20)]
    sound &= _print_improved(better)
    print(f"\n{'every claim holds' if sound else 'a claim does not hold'} ({time.monotonic() - began:.0f} s)")
    return 0 if sound else 1


def _streams(place: int, lr: float) -> Callable[[int], float]:
    """Trainings by seed, apart from all others."""
    return lambda seed: train_once(place * 10**6 + seed, lr=lr)


def _print_trained(trained: Trained) -> bool:
    n, wrong = len(trained.duels), trained.count(Answer.PROMOTE)
    pairs, relative = sum(found.n for found in trained.duels), trained.scores / trained.scores.mean()
    print(
        f"  promotion rule                 {wrong:4d} promoted   claimed <= {ERROR:.0%} of runs with any{'   ok' if not wrong else '   DOES NOT HOLD'}"
    )
    print(
        f"  keep if better                 {trained.kept:4d} kept; {trained.in_a_row} when each must beat the best score so far"
    )
    identical = duel([(1.0, 1.0)] * 99, better="less", error=ERROR)
    print(f"  the champion's very numbers    {identical.answer} after {identical.n} pairs ({identical.reason})")
    print(
        f"  {len(trained.scores)} trainings of challengers, {pairs / n:.1f} pairs a candidate; {trained.count(Answer.REJECT)} rejected, {trained.count(Answer.UNDECIDED)} undecided"
    )
    print(f"  standard deviation of a pair's difference {relative.std(ddof=1) * 2**0.5:.2%} of the metric")
    return not wrong and identical.answer is not Answer.PROMOTE


def _print_rates(rates: Iterator[Rate]) -> bool:
    sound = True
    for rate in rates:
        low, high = rate.interval
        claim = {None: "", True: f"claimed <= {rate.limit:.1%}", False: f"expected > {rate.limit:.1%}"}[rate.within]
        word = "" if rate.within is None else "   ok" if rate.holds else "   DOES NOT HOLD"
        print(f"  {rate.world:38} {rate.method:30} {rate.false / rate.of:6.1%}  ({low:5.1%} - {high:5.1%})  {claim}{word}")
        sound &= rate.holds
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


def _print_improved(fights: Sequence[tuple[Duel, list[tuple[float, float]]]]) -> bool:
    champion, challenger = np.concatenate([pairs for _, pairs in fights]).T
    true, found = float(1 - challenger.mean() / champion.mean()), sum(one.answer is Answer.PROMOTE for one, _ in fights)
    pairs = sum(one.n for one, _ in fights) / len(fights)
    print(
        f"\non trainings: a learning rate that is truly {true:.1%} better, {len(fights)} duels: {found} promoted, {pairs:.1f} pairs each"
    )
    return found >= POWER * len(fights) or true < IMPROVEMENT


if __name__ == "__main__":
    sys.exit(main())
