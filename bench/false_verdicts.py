"""How often the judge is wrong, by simulation: `python -m bench.false_verdicts [--simulations 2000]`.

Nothing is to be found in these worlds (the success rate equals the target; two arms are the same), failures finish ten times
faster than successes, one, four or sixteen workers run, and somebody looks after every completion. Every verdict is then a false one. The
house's way (`in_submission_order`, then `eprocess`) has to stay within its declared error. Two habits of the field have to
be caught by the same test: looking at a fixed level again and again, and folding results as they complete. Then what certainty costs in
trials, and how the bounds of `lower` and `upper` fare on noise that Student's t was not made for. Ends with 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import heapq
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench import eprocess, statistics
from plan.nouns import Seeds

DELTA = 0.05
TAU = 0.6
TRIALS = 200
WORKERS = (1, 4, 16)
SPEED_OF_FAILURE = 10.0
LOOKS = Seeds(first=3, most=8).looks
POWER = ((0.8, 0.6), (0.9, 0.8), (0.5, 0.8))
"""(true rate, target) of the alternatives whose mean number of trials is compared with Wald's bound."""

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many of some simulations ended in a false verdict, and what was claimed of that."""

    world: str
    method: str
    false: int
    of: int
    within: bool | None
    """True: claimed to stay within DELTA; False: claimed to exceed it; None: only reported."""

    @property
    def limit(self) -> float:
        """DELTA and three standard errors of the simulation."""
        return DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / self.of)

    @property
    def holds(self) -> bool:
        """Whether the claim holds."""
        return self.within is None or (self.false / self.of <= self.limit) is self.within

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's exact 95 % interval of the rate."""
        k, n = self.false, self.of
        low = special.betaincinv(k, n - k + 1, 0.025) if k else 0.0
        high = special.betaincinv(k + 1, n - k, 0.975) if k < n else 1.0
        return float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What was known at each completion of each simulation; every array is (simulations, completions)."""

    settled: Counts
    """Results usable in submission order."""
    finished: Counts
    """Index of the result that completed."""


def schedule(seconds: Floats, *, workers: int, trials: int) -> Looks:
    """Run the first measurements of each row of `seconds` on `workers`, one look per completion, until `trials` are complete."""
    settled, finished = np.empty((2, len(seconds), trials), dtype=np.int64)
    for row, durations in enumerate(seconds.tolist()):
        running = [(durations[index], index) for index in range(workers)]
        heapq.heapify(running)
        results: list[bool | None] = [None] * len(durations)
        for look in range(trials):
            now, index = running[0]
            results[index] = True
            settled[row, look] = len(eprocess.in_submission_order(results))
            finished[row, look] = index
            following = workers + look
            heapq.heapreplace(running, (now + durations[following], following))
    return Looks(settled=settled, finished=finished)


def bernoulli_rates(simulations: int, rng: np.random.Generator) -> Iterator[Rate]:
    """False verdicts where the success rate is exactly the target."""
    length = TRIALS + max(WORKERS)
    outcome = rng.random((simulations, length)) < TAU
    seconds = rng.exponential(1.0, outcome.shape) / np.where(outcome, 1.0, SPEED_OF_FAILURE)
    for workers in WORKERS:
        looks = schedule(seconds, workers=workers, trials=TRIALS)
        k, n = _folded(outcome, looks.settled), looks.settled
        k_naive, n_naive = np.take_along_axis(outcome, looks.finished, axis=1).cumsum(axis=1), np.arange(1, TRIALS + 1)
        world = f"rate {TAU} against {TAU}, {workers:2d} workers"
        found: tuple[tuple[str, NDArray[np.bool_], bool | None], ...] = (
            ("e-process, submission order", _decided(eprocess.bernoulli(k, n, TAU)), True),
            ("e-process, completion order", _decided(eprocess.bernoulli(k_naive, n_naive, TAU)), False if workers > 1 else None),
            ("5 % test at every look", _peeked(k, n, TAU), False),
        )
        for method, verdict, within in found:
            yield Rate(world=world, method=method, false=int(verdict.any(axis=1).sum()), of=simulations, within=within)


def paired_rates(simulations: int, rng: np.random.Generator) -> Iterator[Rate]:
    """False verdicts between two equal arms, paired by seed; a pair is complete when its slower half is."""
    length = TRIALS + max(WORKERS)
    ours, theirs = rng.random((2, simulations, length)) < TAU
    halves = (rng.exponential(1.0, arm.shape) / np.where(arm, 1.0, SPEED_OF_FAILURE) for arm in (ours, theirs))
    seconds = np.maximum(*halves)
    stake = eprocess.process((ours.astype(float) - theirs + 1) / 2, 0.5)
    crossed = np.pad(_decided(stake), ((0, 0), (1, 0)))
    for workers in WORKERS:
        settled = schedule(seconds, workers=workers, trials=TRIALS).settled
        verdict = np.take_along_axis(crossed, settled, axis=1)
        peeked = _peeked(_folded(ours & ~theirs, settled), _folded(ours != theirs, settled), 0.5)
        world = f"two equal arms, {workers:2d} workers"
        yield Rate(
            world=world, method="e-process, submission order", false=int(verdict.any(axis=1).sum()), of=simulations, within=True
        )
        yield Rate(
            world=world, method="5 % test at every look", false=int(peeked.any(axis=1).sum()), of=simulations, within=False
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Trials it took to decide, against the fewest that any test of this error can take on average."""

    rate: float
    target: float
    trials: float
    error: float
    """Half-width of the 95 % interval of `trials`."""
    bound: float
    wrong: int
    undecided: int


def costs(simulations: int, rng: np.random.Generator, *, trials: int = 2000) -> Iterator[Cost]:
    """Mean trials until the e-process decides, one look per trial."""
    for rate, target in POWER:
        k = (rng.random((simulations, trials)) < rate).cumsum(axis=1)
        stake = eprocess.bernoulli(k, np.arange(1, trials + 1), target)
        crossed = _decided(stake)
        first = crossed.argmax(axis=1)
        done = crossed.any(axis=1)
        good, bad = (stake.above, stake.below) if rate > target else (stake.below, stake.above)
        wrong = (np.take_along_axis(bad, first[:, None], 1) > np.take_along_axis(good, first[:, None], 1))[:, 0] & done
        spent = np.where(done, first + 1, trials)
        yield Cost(rate=rate, target=target, trials=float(spent.mean()), error=float(1.96 * spent.std(ddof=1) / math.sqrt(simulations)),
                   bound=eprocess.wald_bound(rate, target, error=DELTA), wrong=int(wrong.sum()), undecided=int((~done).sum()))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """A distribution of seeds, its true mean, and whether `lower`/`upper` claim to hold their level on it."""

    name: str
    draw: Callable[[np.random.Generator, tuple[int, int]], Floats]
    mean: float
    claimed: bool


def _lognormal(sigma: float, *, claimed: bool) -> Noise:
    return Noise(
        name=f"lognormal, sigma {sigma:g}",
        draw=lambda rng, size: rng.lognormal(0, sigma, size),
        mean=math.exp(sigma**2 / 2),
        claimed=claimed,
    )


def _binary(rate: float) -> Noise:
    return Noise(
        name=f"zeros and ones, rate {rate:g}",
        draw=lambda rng, size: (rng.random(size) < rate).astype(float),
        mean=rate,
        claimed=False,
    )


NOISES = (
    Noise(name="Gaussian", draw=lambda rng, size: rng.normal(0, 1, size), mean=0.0, claimed=True),
    Noise(name="uniform", draw=lambda rng, size: rng.random(size), mean=0.5, claimed=True),
    _lognormal(0.1, claimed=True), _lognormal(0.25, claimed=False), _lognormal(0.5, claimed=False), _lognormal(1.0, claimed=False),
    _binary(0.5), _binary(0.9),
)  # fmt: skip


def bound_rates(simulations: int, rng: np.random.Generator, *, looks: Sequence[int] = LOOKS) -> Iterator[Rate]:
    """False passes and false fails of `lower 95%` at any of the registered looks, the true mean on the threshold.

    Seeds that all agree make a verdict that claims no error; they are counted apart.
    """
    for noise in NOISES:
        samples = noise.draw(rng, (simulations, looks[-1])) - noise.mean
        passed, failed, points = np.zeros((3, simulations), dtype=bool)
        for row, sample in enumerate(samples):
            for n in looks:
                if statistics.is_point(sample[:n]):
                    points[row] = True
                    continue
                low, high = statistics.mean_bounds(sample[:n], error=DELTA / len(looks))
                passed[row] |= low >= 0
                failed[row] |= high < 0
        within = True if noise.claimed else None
        yield Rate(world=noise.name, method="false pass", false=int(passed.sum()), of=simulations, within=within)
        yield Rate(world=noise.name, method="false fail", false=int(failed.sum()), of=simulations, within=within)
        if points.any():
            yield Rate(
                world=noise.name, method="verdict without a claimed error", false=int(points.sum()), of=simulations, within=None
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 0 when every claim holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m bench.false_verdicts", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--simulations", type=int, default=2000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    print(f"{options.simulations} simulations each, declared error {DELTA:.0%}; intervals are exact, 95 %\n")
    print(f"anytime: {TRIALS} completions, a look after each, failures {SPEED_OF_FAILURE:g} times faster")
    sound = _print([*bernoulli_rates(options.simulations, rng), *paired_rates(options.simulations, rng)])
    print("\nanytime: trials until decided, against the fewest any test can need on average (Wald)")
    print(f"  {'rate':>5} {'target':>7} {'mean trials':>16} {'bound':>6} {'ratio':>6} {'wrong':>6} {'undecided':>10}")
    for cost in costs(options.simulations, rng):
        ratio = cost.trials / cost.bound
        sound &= cost.wrong / options.simulations <= DELTA
        print(
            f"  {cost.rate:5.2f} {cost.target:7.2f} {cost.trials:9.1f} ± {cost.error:4.1f} {cost.bound:6.1f} {ratio:5.2f}x {cost.wrong:6d} {cost.undecided:10d}"
        )
    print("\nlower / upper: looks at 3, 5 and 8 seeds, true mean on the threshold")
    sound &= _print(list(bound_rates(options.simulations, rng)))
    print("\nevery claim holds" if sound else "\na claim does not hold")
    return 0 if sound else 1


def _print(rates: Sequence[Rate]) -> bool:
    for rate in rates:
        low, high = rate.interval
        claim = {None: "", True: f"claimed <= {rate.limit:.1%}", False: f"expected > {rate.limit:.1%}"}[rate.within]
        word = "" if rate.within is None else "   ok" if rate.holds else "   DOES NOT HOLD"
        print(f"  {rate.world:34} {rate.method:32} {rate.false / rate.of:6.1%}  ({low:5.1%} – {high:5.1%})  {claim}{word}")
    return all(rate.holds for rate in rates)


def _folded(outcome: NDArray[np.bool_], settled: Counts) -> Counts:
    """Successes among the first `settled` results."""
    counted: Counts = np.pad(outcome.cumsum(axis=1), ((0, 0), (1, 0)))
    return np.take_along_axis(counted, settled, axis=1)


def _decided(stake: eprocess.Stake) -> NDArray[np.bool_]:
    crossed: NDArray[np.bool_] = np.maximum(stake.above, stake.below) >= -math.log(DELTA)
    return crossed


def _peeked(successes: Counts, trials: Counts, tau: float) -> NDArray[np.bool_]:
    """The exact two-sided binomial test at DELTA, as if each look were the only one."""
    k = successes.astype(float)
    low = special.bdtr(k, trials, tau) <= DELTA / 2
    high = (k > 0) & (special.bdtrc(np.maximum(k - 1, 0), trials, tau) <= DELTA / 2)
    seen: NDArray[np.bool_] = (trials > 0) & (low | high)
    return seen


if __name__ == "__main__":
    sys.exit(main())
