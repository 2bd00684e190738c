"""What the search promises, measured: `python -m agents.search.proof [--runs 500]`.

Best arm: mean trials against the lower bound and against equal shares, and how often the answer is wrong. The claim about equal shares is made under one
rule for both, that of this search; beside it, without a claim, both under each of two rules of the field, and the ratio that mixes rules. Target: the
same against Wald's bound, and where several candidates are asked about. Delays: failures that come back ten times faster change nothing when
results count in the order of submission. Amplitude estimation: coverage, and how the error falls with queries. Optuna: how often its
default sampler names the best candidate, and how often this search does on 30 % of the trials. Ends with 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence

import numpy as np

from agents.search.amplitude import METHODS
from agents.search.certificate import best_arm, clears_time, price, uniform_time
from agents.search.iterative import clopper_pearson
from agents.search.simulation import (
    ERROR,
    Cost,
    ask_whether_any_clears,
    delayed,
    equal_shares,
    estimates,
    named_best,
    optuna_names_best,
    proven_threshold,
    race,
    race_by_ratio,
    scaling,
    usual_threshold,
)

HAIR = 0.6 - 1e-9
FIVE = (0.9, 0.8, 0.7, 0.6, 0.5)
EIGHT = (0.95, 0.9, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5)
WHY_NOT_MORE = """  Under one rule for both, no allocation reaches 2.5 on the five arms as the error gets small: where the two best need n trials each, equal shares
  pay 5 n, and any other allocation about 2 n for these two alone, to which the rest is added.
"""
RULES = {"ratio test, log(2 t (K - 1) / error)": proven_threshold, "the same, log((K-1)(1+log t)/error)": usual_threshold}
"""Stopping rules of the field: the first is proven (Garivier and Kaufmann 2016), the second, from their experiments, is not."""
OVER_BOUND, OVER_WALD, UNDER_UNIFORM, OF_OPTUNA = 2.3, 2.0, 2.5, 0.3


def best_arm_rows(runs: int, seed: int) -> bool:
    """Print what best-arm searches cost; whether every claim holds."""
    print(f"best arm at an error of {ERROR:g}: mean trials; equal shares over top-two, one rule ending both")
    sound = True
    for rates, searches in ((FIVE, runs), (EIGHT, max(4 * runs // 5, 20))):
        few, bound = max(runs // 10, 20), best_arm(rates).time * price(ERROR)
        ours = race(rates, runs=searches, seed=seed)
        print(f"  {_named(rates)}")
        sound &= _row("trials over the lower bound", ours.mean / bound, OVER_BOUND, at_most=True, note=f"{_cost(ours)}, bound {bound:.0f}")  # fmt: skip
        sound &= _wrong(ours.wrong([0]), searches)
        equal = race(rates, runs=few, seed=seed + 1, allocation="uniform")
        sound &= _row("equal shares over ours, our own rule", equal.mean / ours.mean, UNDER_UNIFORM, at_most=False, note=f"{_cost(equal)}, {equal.wrong([0])} wrong")  # fmt: skip
        for name, rule in RULES.items():
            both = race_by_ratio(rates, runs=searches, seed=seed, threshold=rule), equal_shares(rates, runs=runs, seed=seed, threshold=rule)  # fmt: skip
            note = f"{_cost(both[1])}, {both[1].wrong([0])} wrong; top-two {_cost(both[0])}, {both[0].wrong([0])} wrong"
            _row(f"  {name}", both[1].mean / both[0].mean, None, at_most=False, note=note)
            _row("    over ours by our own rule", both[1].mean / ours.mean, None, at_most=False, note="two different rules")
        asymptotic = uniform_time(rates) / best_arm(rates).time
        print(f"    {'  by theory, as the error goes to 0':38} {asymptotic:7.3f}  the best allocation that there is, any rule")
    print(WHY_NOT_MORE)
    return sound


def target_rows(runs: int, seed: int) -> bool:
    """Print what threshold tests cost; whether every claim holds."""
    print(f"\ndoes any clear the target, at an error of {ERROR:g}: mean trials of {runs} searches over the bound")
    sound = True
    for rates, target in (((0.8,), 0.6), ((0.9,), 0.8), ((0.5,), 0.8), ((0.65,), 0.6), (FIVE, 0.75), ((0.7, 0.6, 0.5), 0.8)):
        found = ask_whether_any_clears(rates, target=target, runs=runs, seed=seed)
        bound = clears_time(rates, target) * price(ERROR)
        right = [arm for arm, rate in enumerate(rates) if rate > target] or [-1]
        print(f"  {_named(rates)} against {target:g}")
        note = f"{found.mean:.1f} ± {found.margin:.1f} trials, bound {bound:.1f}"
        sound &= _row(
            "trials over the lower bound", found.mean / bound, OVER_WALD if len(rates) == 1 else None, at_most=True, note=note
        )
        sound &= _wrong(found.wrong(right), runs)
    return sound


def delay_rows(runs: int, seed: int) -> bool:
    """Print how often something is found where nothing is to be found; whether every claim holds."""
    print(f"\nfailures ten times faster, up to 200 trials: wrong in so many of {runs}")
    sound = True
    for workers in (1, 4, 16):
        for what, rates, target in (("a hair above the target", (0.6,), HAIR), ("four equal rates", (0.6,) * 4, None)):
            count = delayed(rates, workers=workers, runs=runs, seed=seed, target=target)
            sound &= _wrong(count, runs, f"{what}, {workers} workers")
    count = delayed((0.6,), workers=16, runs=runs, seed=seed, target=HAIR, in_order=False)
    print(f"    {'completion order instead, 16 workers':38} {count / runs:7.3f}  {_share(count, runs)}")
    return sound


def coverage_rows(runs: int, seed: int) -> bool:
    """Print how often each estimator's interval covers; whether every claim holds."""
    print(f"\nintervals of amplitude estimation: share of {runs} that cover, promised {1 - ERROR:.0%}")
    amplitudes, sound = np.random.default_rng(seed).random(runs), True
    for method in (*METHODS, "bayesian"):
        found = estimates(method, amplitudes, epsilon=0.02, seed=seed)
        covered = sum(one.low <= a <= one.high for one, a in zip(found, amplitudes, strict=True))
        low, high = clopper_pearson(covered, runs, 0.05)
        sound &= _row(method, covered / runs, 1 - ERROR, at_most=False, note=f"95 % interval {low:.1%} .. {high:.1%}")
    return sound


def scaling_rows(runs: int, seed: int) -> bool:
    """Print RMSE x queries of every estimator; whether every claim holds."""
    epsilons = (0.03, 0.01, 0.003, 0.001, 0.0003)
    print(f"\nRMSE x queries over {runs} amplitudes at epsilon {', '.join(f'{e:g}' for e in epsilons)}; exponent in queries")
    sound = True
    for method in (*METHODS, "bayesian"):
        row = scaling(method, epsilons, runs=runs, seed=seed)
        note = (
            "  ".join(f"{product:.3g}" for product in row.products)
            + f"   ({row.queries[0]:.0f} .. {row.queries[-1]:.0f} queries)"
        )
        distance = abs(row.slope - 0.5) if method == "sampling" else row.slope
        sound &= _row(
            f"{method}: {row.slope:+.3f}, " + ("off 1/2 by" if method == "sampling" else "growth"),
            distance,
            0.1,
            at_most=True,
            note=note,
        )
    return sound


def optuna_rows(runs: int, seed: int, *, trials: int = 100) -> bool:
    """Print how often the best candidate is named on how many trials; whether every claim holds."""
    few = round(OF_OPTUNA * trials)
    print(
        f"\nthe best candidate is named: Optuna's default sampler (TPE) after {trials} noisy trials, {runs} runs, and this search after {few}"
    )
    sound = True
    for rates in (FIVE, EIGHT):
        theirs = np.array([optuna_names_best(rates, trials=trials, seed=seed + run) for run in range(runs)])
        ours = named_best(rates, trials=few, runs=10 * runs, seed=seed)
        print(f"  {_named(rates)}")
        reported, pooled, mine = float(theirs[:, 0].mean()), float(theirs[:, 1].mean()), float(ours.mean())
        sound &= _row(
            f"this search, {few} trials",
            mine,
            reported,
            at_most=False,
            note=_share(int(ours.sum()), len(ours)) + "; claimed: Optuna's own answer",
        )
        print(f"    {'Optuna, its own answer':38} {reported:7.1%}  {_share(int(theirs[:, 0].sum()), runs)}")
        print(f"    {'Optuna, its trials pooled by us':38} {pooled:7.1%}  {_share(int(theirs[:, 1].sum()), runs)}")
        needed = next((n for n in range(few, 2 * trials, max(trials // 20, 1)) if named_best(rates, trials=n, runs=4 * runs, seed=seed + 1).mean() >= pooled), None)  # fmt: skip
        print(f"    {'trials for as many as those pooled':38} {needed if needed else 'more than ' + str(2 * trials)}")
    return sound


SECTIONS: dict[str, Callable[[int, int], bool]] = {
    "best": best_arm_rows,
    "target": target_rows,
    "delays": lambda runs, seed: delay_rows(max(runs // 8, 20), seed),
    "coverage": lambda runs, seed: coverage_rows(4 * runs, seed),
    "scaling": lambda runs, seed: scaling_rows(max(runs // 8, 20), seed),
    "optuna": lambda runs, seed: optuna_rows(max(runs // 5, 20), seed),
}
"""Section -> what prints it at a number of runs and a seed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 0 when every claim holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m agents.search.proof", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=500, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), help="these sections")
    options = parser.parse_args(arguments)
    held = [show(options.runs, options.seed) for name, show in SECTIONS.items() if name in options.only]
    sound = all(held)
    print("\nevery claim holds" if sound else "\na claim does not hold")
    return 0 if sound else 1


def _cost(found: Cost) -> str:
    never = len(found.spent) - len(found.settled)
    late = f", {never} more not settled in {found.spent.max():.0f}" if never else ""
    return f"{found.mean:.0f} ± {found.margin:.0f} trials in {len(found.settled)} searches{late}"


def _row(name: str, value: float, limit: float | None, *, at_most: bool, note: str) -> bool:
    holds = limit is None or (value <= limit if at_most else value >= limit)
    claim = "" if limit is None else f"claimed {'<=' if at_most else '>='} {limit:.3g}{'' if holds else '  DOES NOT HOLD'}"
    print(f"    {name:38} {value:7.3f}  {note}; {claim}".rstrip("; "))
    return holds


def _wrong(count: int, runs: int, name: str = "wrong answers") -> bool:
    limit = ERROR + 3 * math.sqrt(ERROR * (1 - ERROR) / runs)
    return _row(name, count / runs, limit, at_most=True, note=_share(count, runs))


def _share(count: int, of: int) -> str:
    low, high = clopper_pearson(count, of, 0.05)
    return f"{count} of {of}, 95 % interval {low:.1%} .. {high:.1%}"


def _named(rates: Sequence[float]) -> str:
    return "rates " + " ".join(f"{rate:g}" for rate in rates)


if __name__ == "__main__":
    sys.exit(main())
