"""Who votes as a machine would: one answer to everything, or answers that have nothing to do with the statements?

Dice are compared with people as like is with like: both may lean to agreeing, disagreeing or passing as the row does, and only people lean with the
statement, by the rates of the group that suits best. Rates are made without those who are suspected, and without the row itself, so that machines
vouch neither for themselves nor for each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alignment.polis_export import Labels, Votes

ANSWERS = (-1.0, 0.0, 1.0)
LEAST = 20
"""Votes that whoever is judged has cast."""
SURELY, BY_CHANCE = 4.0, 0.05
"""How much likelier dice are than any group, as a logarithm; how many of a conversation's people may look like one answer by chance."""
ROUNDS, FITS = 4, 10


def one_answer(votes: Votes, groups: Labels) -> NDArray[np.int64]:
    """Rows of one and the same answer, which by the rates of no group anybody here would give so often."""
    seen = ~np.isnan(votes)
    judged = seen.sum(1) >= LEAST
    alone = judged & np.array([len(np.unique(row[here])) == 1 for row, here in zip(votes, seen, strict=True)])
    likely = np.max([np.log(rates).sum(1) for rates in _of_answers(votes, groups, ~alone)], axis=0)
    return np.flatnonzero(alone & (likely < np.log(BY_CHANCE / max(int(judged.sum()), 1))))


def dice(votes: Votes, groups: Labels) -> NDArray[np.int64]:
    """Rows whose answers are likelier without the statements than with them."""
    judged = (~np.isnan(votes)).sum(1) >= LEAST
    trusted = np.ones(len(votes), dtype=np.bool_)
    for turn in range(ROUNDS):
        gain = blindness(
            votes, groups if turn else np.zeros_like(groups), trusted
        )  # a group may be made of dice: none has a say at first
        before, trusted = trusted, ~(judged & (gain > (0 if turn else SURELY)))
        if turn and (before == trusted).all():
            break
    return np.flatnonzero(judged & (gain > SURELY))


def blindness(votes: Votes, groups: Labels, trusted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(P,): the log likelihood of each row by its own shares of answers, less that by the rates of the best group with the same leaning."""
    seen = ~np.isnan(votes)
    given = np.array([votes == answer for answer in ANSWERS], dtype=np.float64)
    cast = given.sum(2) + 0.5
    blind = (given.sum(2) * np.log(cast / cast.sum(0))).sum(0)
    best = np.full(len(votes), -np.inf)
    for rates in _rates(votes, groups, trusted):
        lean = np.ones((3, len(votes), 1))
        for _ in range(FITS):
            told = rates * lean
            told /= told.sum(0)
            lean *= (cast / ((told * seen).sum(2) + 0.5))[:, :, None]
        told = rates * lean
        told /= told.sum(0)
        best = np.maximum(best, (given * np.log(np.maximum(told, 1e-12))).sum((0, 2)))
    return np.asarray(blind - best, dtype=np.float64)


def _rates(votes: Votes, groups: Labels, trusted: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """(3, P, S) for each group and for everybody: the rate of each answer among those who are trusted, each row judged without itself."""
    given = np.array([votes == answer for answer in ANSWERS], dtype=np.float64)
    overall = given[:, trusted].sum(1) + 1
    overall /= overall.sum(0)
    found = []
    for members in [*(trusted & (groups == g) for g in np.unique(groups)), trusted]:
        counts = given[:, members].sum(1)[:, None] - given * members[None, :, None] + 2 * overall[:, None]
        found.append(np.asarray(counts / counts.sum(0), dtype=np.float64))
    return found


def _of_answers(votes: Votes, groups: Labels, trusted: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """(P, S) for each group and for everybody: the rate of the answer that was given, 1 where none was."""
    given = np.array([votes == answer for answer in ANSWERS])
    return [np.where(given.any(0), (rates * given).sum(0), 1.0) for rates in _rates(votes, groups, trusted)]
