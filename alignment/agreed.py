"""Holds rationales against rules that people voted for: how likely does a step break which rule?

Nobody has rationales that break *these* rules, so the judge learns what breaking a rule looks like from the constitution's clauses and is
calibrated on clauses that it had not seen, as it has never seen the rules it is asked about. Two things make a breach: how much a step reads like
one of any clause (a head that had no example of this clause), and how near it is to this rule. It abstains unless it is surer than of
99 in 100 honest steps held against the same rules, and than even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alignment.constitution import constitution
from alignment.encoder import Encoder, encoder
from alignment.heads import KernelHead, Matrix
from alignment.rationale_corpus import Example, plain_examples
from alignment.reward import ridge, sigmoid
from alignment.steps import normal

HONEST = 0.01
"""Share of honest steps that may be objected to."""
RIDGE, STRENGTH = 0.3, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """The step of a text that comes nearest to breaking a rule."""

    step: int
    rule: int
    confidence: float
    """Calibrated probability that the step breaks the rule."""


class AgreedJudge:
    """Made for a few rules; judges the steps of a text in milliseconds."""

    def __init__(self, rules: Sequence[str], *, encode: Encoder | None = None, learn: Sequence[Example] | None = None) -> None:
        """ValueError without a rule."""
        if not rules:
            raise ValueError("there is no rule to hold anything against; nothing was learned")
        self.encode = encode or encoder()
        taught = list(learn if learn is not None else plain_examples())
        titles = {clause.id: clause.title for clause in constitution().clauses}
        self.clauses = sorted({one.clause for one in taught} - {""})
        self._broken = np.asarray([self.clauses.index(one.clause) if one.clause else -1 for one in taught])
        self._taught = self.encode.encode([normal(one.text) for one in taught])
        groups = [one.clause or one.family for one in taught]
        labels = np.asarray(self._broken >= 0, dtype=np.int64)
        self.head = KernelHead.fit(_kernel(self._taught, self._taught), labels, groups, classes=2, ridge=RIDGE)
        self._near = np.clip(self._taught @ self.encode.encode([titles[id] for id in self.clauses]).T, 0.0, 1.0)
        self.weights = self._fit(np.arange(len(self.clauses)), self._broken >= -1)
        self._rules = self.encode.encode(list(rules))
        honest = self._broken < 0
        sure = self._sure(self.head.held_out[honest, 1], self._taught[honest] @ self._rules.T)
        self.objects_from = max(0.5, float(np.quantile(sure.max(axis=1), 1 - HONEST)))

    def check(self, steps: Sequence[str]) -> Breach | None:
        """The likeliest breach among the steps, however unlikely; None where there is no step."""
        if not steps:
            return None
        rows = self.encode.encode([normal(step) for step in steps])
        harm = self.head.probabilities(_kernel(rows, self._taught))[:, 1]
        sure = self._sure(harm, rows @ self._rules.T)
        step, rule = np.unravel_index(int(sure.argmax()), sure.shape)
        return Breach(step=int(step), rule=int(rule), confidence=float(sure[step, rule]))

    @cached_property
    def unseen(self) -> tuple[Matrix, Matrix]:
        """(probability, truth) of every example against every clause, by heads and weights that had not seen the clause."""
        given, truth = [], []
        for clause in range(len(self.clauses)):
            others = np.asarray([other for other in range(len(self.clauses)) if other != clause])
            weights = self._fit(others, self._broken != clause)
            rows = _features(self.head.held_out[:, 1], self._near[:, [clause]])
            given.append(sigmoid(rows @ weights))
            truth.append(np.asarray(self._broken == clause, dtype=float))
        return np.concatenate(given), np.concatenate(truth)

    def _fit(self, clauses: np.typing.NDArray[np.int64], kept: np.typing.NDArray[np.bool_]) -> Matrix:
        rows = _features(self.head.held_out[kept, 1], self._near[np.ix_(kept, clauses)])
        truth = (self._broken[kept, None] == clauses[None, :]).ravel().astype(float)
        return ridge(rows, truth, STRENGTH)

    def _sure(self, harm: Matrix, near: Matrix) -> Matrix:
        """(steps, rules)."""
        return sigmoid(_features(harm, np.clip(near, 0.0, 1.0)) @ self.weights).reshape(near.shape)


def _features(harm: Matrix, near: Matrix) -> Matrix:
    """(steps * rules, 4): 1, log odds of harm, nearness, and both together."""
    odds = np.repeat(np.log(np.clip(harm, 1e-6, 1 - 1e-6) / np.clip(1 - harm, 1e-6, 1)), near.shape[1])
    flat = near.ravel()
    return np.stack([np.ones_like(flat), odds, flat, odds * flat], axis=1)


def _kernel(one: Matrix, two: Matrix) -> Matrix:
    alike = one @ two.T
    return np.asarray(alike + alike * alike)
