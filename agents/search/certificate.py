"""What a search had to cost at least, and what it did cost: the certificate it ends with.

Every strategy whose error is at most d needs on average T*(mu) kl(d, 1 - d) trials to name the best of arms with success rates mu
(Garivier and Kaufmann, COLT 2016, theorem 1), where 1/T* is the value of the game

    max over w, min over b of  w_1 kl(mu_1, m) + w_b kl(mu_b, m),   m = (w_1 mu_1 + w_b mu_b) / (w_1 + w_b),

arm 1 being the best. To say whether any arm clears a target tau it needs kl(d, 1 - d) / max kl(mu_i, tau) where one does, and
kl(d, 1 - d) sum 1 / kl(mu_i, tau) where none does (Degenne and Koolen, NeurIPS 2019); for one arm that is Wald's bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

HONEST = (
    "simulating amplitude estimation on a classical machine needs the answer as its input and saves no evaluations: "
    "every trial above is a real one"
)


def kl(p: ArrayLike, q: ArrayLike) -> Floats:
    """Divergence between zeros and ones of rates p and q, in nats, element by element."""
    p, q = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    return np.asarray(special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q))


def price(error: float) -> float:
    """kl(error, 1 - error): the evidence, in nats, that an answer of this error costs at least."""
    return float(kl(error, 1 - error))


@dataclass(frozen=True, slots=True)
class Game:
    """The value of the best-arm game: expected trials per nat of evidence, and who should get them."""

    time: float
    """T*; infinite where two arms share the highest rate."""
    shares: tuple[float, ...]


def best_arm(rates: Sequence[float]) -> Game:
    """T* and the optimal shares of trials, by the one-dimensional equation of Garivier and Kaufmann (theorem 5)."""
    mu = np.asarray(rates, dtype=float)
    if len(mu) < 2 or not ((mu >= 0) & (mu <= 1)).all():
        raise ValueError(f"the bound needs at least two rates between 0 and 1, not {list(rates)}")
    first = int(mu.argmax())
    others = np.delete(mu, first)
    if others.max() == mu[first]:
        return Game(math.inf, tuple(float(share) for share in (mu == mu[first]) / (mu == mu[first]).sum()))

    def evidence(x: Floats) -> Floats:
        middle = (mu[first] + x * others) / (1 + x)
        return kl(mu[first], middle) + x * kl(others, middle)

    def ratios(y: float) -> Floats:
        """Trials of each other arm per trial of the best at which each pair yields evidence y."""
        low, high = np.zeros(len(others)), np.ones(len(others))
        while (short := evidence(high) < y).any():
            high = np.where(short, 2 * high, high)
        for _ in range(60):
            x = (low + high) / 2
            short = evidence(x) < y
            low, high = np.where(short, x, low), np.where(short, high, x)
        return (low + high) / 2

    def excess(y: float) -> float:
        x = ratios(y)
        middle = (mu[first] + x * others) / (1 + x)
        return float((kl(mu[first], middle) / np.maximum(kl(others, middle), 1e-300)).sum() - 1)

    limit = float(kl(mu[first], others).min())
    least, most = 0.0, limit
    for _ in range(60):
        y = (least + most) / 2
        least, most = (y, most) if excess(y) < 0 else (least, y)
    x = ratios(y)
    shares = np.insert(x, first, 1.0) / (1 + x.sum())
    return Game(float((1 + x.sum()) / y), tuple(float(share) for share in shares))


def uniform_time(rates: Sequence[float]) -> float:
    """Trials per nat where every arm gets the same share of them."""
    mu = np.sort(np.asarray(rates, dtype=float))[::-1]
    middle = (mu[0] + mu[1:]) / 2
    gain = float((kl(mu[0], middle) + kl(mu[1:], middle)).min())
    return len(mu) / gain if gain > 0 else math.inf


def clears_time(rates: Sequence[float], target: float) -> float:
    """Trials per nat to say whether any arm has a rate above `target`."""
    gains = kl(rates, target)
    if (gains == 0).any() and max(rates) <= target:
        return math.inf
    return float(1 / gains[np.asarray(rates) > target].max() if max(rates) > target else (1 / gains).sum())


def clears_uniform_time(rates: Sequence[float], target: float) -> float:
    """The same where every arm gets the same share of the trials."""
    gains = kl(rates, target)
    if (gains == 0).any() and max(rates) <= target:
        return math.inf
    return float(len(gains) / (gains[np.asarray(rates) > target].max() if max(rates) > target else gains.min()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was found, what it cost, and what it had to cost at least if the rates are the measured ones."""

    answer: str
    settled: bool
    """Whether the answer holds at `error`; False when the trials ran out first."""
    error: float
    rates: tuple[float, ...]
    """Measured success rate per candidate, (k + 1/2) / (n + 1): never exactly 0 or 1."""
    counts: tuple[tuple[int, int], ...]
    """(successes, trials) per candidate."""
    bound: float
    """Fewest expected trials of any strategy of this error on these rates; infinite in a tie."""
    uniform: float
    """What sharing the trials equally would have cost at the same distance from its own bound."""
    explored: int
    """Evaluations spent before to find these candidates, which the answer does not rest on."""
    queries: float
    """sqrt(sum of 1 / gap^2): order of the oracle calls of a coherent search."""

    @property
    def trials(self) -> int:
        """Real trials that the answer rests on."""
        return sum(n for _, n in self.counts)

    @property
    def ratio(self) -> float:
        """Trials over the bound."""
        return self.trials / self.bound

    @property
    def text(self) -> str:
        """The certificate as it is printed."""
        lines = [f"answer    {self.answer}"]
        promise = (
            f"wrong with probability at most {self.error:g}, whenever it stops" if self.settled else "not enough to settle it"
        )
        before = f", after {self.explored} to find these candidates" if self.explored else ""
        lines.append(f"trials    {self.trials} real ones{before}; {promise}")
        if math.isinf(self.bound):
            lines.append("bound     none: what ties cannot be told apart by any number of trials")
        else:
            ratio = f"; {self.ratio:.2f} times that was used" if self.settled else ""
            lines.append(
                f"bound     {self.bound:.0f} on average for any strategy of this error, were the rates as measured{ratio}"
            )
            even = (
                f"about {self.uniform:.0f}"
                if self.settled
                else f"{self.uniform / self.trials * self.bound:.0f} on average at least"
            )
            lines.append(f"uniform   {even}, shared equally among {len(self.rates)} candidates")
        lines.append(f"quantum   of the order of {_number(self.queries)} queries, if the benchmark were a coherent circuit")
        lines.append("          (projected: sqrt of the sum of 1/gap^2, without constants and logarithms)")
        lines.append(f"          {HONEST}")
        return "\n".join(lines)


def certify(
    counts: Sequence[tuple[int, int]],
    *,
    answer: str,
    settled: bool,
    error: float,
    target: float | None = None,
    explored: int = 0,
    tie: bool = False,
) -> Certificate:
    """The certificate of a search that saw `counts` (successes, trials), for the best arm or for whether any clears `target`; `tie`: the answer is one."""
    rates = tuple((k + 0.5) / (n + 1) for k, n in counts)
    if target is None:
        least, even = (math.inf, math.inf) if tie or len(rates) < 2 else (best_arm(rates).time, uniform_time(rates))
        ordered = sorted(rates, reverse=True)
        gaps = [ordered[0] - rate for rate in ordered[1:]]
    else:
        least, even = clears_time(rates, target), clears_uniform_time(rates, target)
        gaps = [abs(rate - target) for rate in rates]
    return Certificate(
        answer=answer,
        settled=settled,
        error=error,
        rates=rates,
        explored=explored,
        counts=tuple(counts),
        bound=least * price(error),
        uniform=math.inf if math.isinf(least) else sum(n for _, n in counts) * even / least,
        queries=math.sqrt(sum(1 / gap**2 for gap in gaps)) if gaps and min(gaps) > 0 else math.inf,
    )


def _number(value: float) -> str:
    return "without limit" if math.isinf(value) else f"{value:.0f}"
