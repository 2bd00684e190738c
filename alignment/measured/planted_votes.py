"""Faults to plant in a conversation that is in order, and conversations drawn from groups that are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from alignment.polis_export import Conversation, Statement
from alignment.vote_audit import audit

Plant = Callable[[Conversation, np.random.Generator], Conversation]
COPY = "copy"
"""Name of the participant who is a copy of another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which an export can be wrong."""

    name: str
    kind: str
    """`shuffles`, `half_shuffles`, `misalignments` or `duplicates`."""
    plant: Plant


def is_told(fault: Fault, clean: Conversation, rng: np.random.Generator) -> bool:
    """Whether the audit tells the fault once it is planted: by an alarm, or for a copied participant by naming the copy."""
    found = audit(fault.plant(clean, rng))
    return any(COPY in each.participants for each in found) if fault.kind == "duplicates" else any(each.alarm for each in found)


def _shuffled(share: float) -> Plant:
    def plant(clean: Conversation, rng: np.random.Generator) -> Conversation:
        groups, inside = clean.groups.copy(), rng.permutation(np.flatnonzero(clean.groups >= 0))
        chosen = inside[: int(share * len(inside))]
        groups[chosen] = groups[rng.permutation(chosen)]
        return replace(clean, groups=groups)

    return plant


def _labels_of_a_block(clean: Conversation, rng: np.random.Generator) -> Conversation:
    groups, inside = clean.groups.copy(), np.flatnonzero(clean.groups >= 0)
    rows = inside[rng.integers(0, len(inside) // 2) :]
    groups[rows] = np.roll(groups[rows], int(rng.choice([-2, -1, 1, 2])))
    return replace(clean, groups=groups)


def _rows_uncounted(clean: Conversation, rng: np.random.Generator) -> Conversation:
    return replace(clean, votes=np.roll(clean.votes, int(rng.integers(1, len(clean.votes))), axis=0), declared=None)


def _rows(clean: Conversation, rng: np.random.Generator) -> Conversation:
    return replace(clean, votes=np.roll(clean.votes, int(rng.integers(1, len(clean.votes))), axis=0))


def _columns(clean: Conversation, rng: np.random.Generator) -> Conversation:
    return replace(clean, votes=np.roll(clean.votes, int(rng.integers(1, clean.votes.shape[1])), axis=1))


def _copied(least: int) -> Plant:
    def plant(clean: Conversation, rng: np.random.Generator) -> Conversation:
        i = int(rng.choice(np.flatnonzero((~np.isnan(clean.votes)).sum(1) >= least)))
        both = np.append(np.arange(len(clean.votes)), i)
        declared = None if clean.declared is None else clean.declared[both]
        people = (*clean.participants, COPY)
        return replace(clean, participants=people, votes=clean.votes[both], groups=clean.groups[both], declared=declared)

    return plant


FAULTS = (
    Fault(name="all labels shuffled", kind="shuffles", plant=_shuffled(1.0)),
    Fault(name="half the labels shuffled", kind="half_shuffles", plant=_shuffled(0.5)),
    Fault(name="labels of a block of rows shifted", kind="misalignments", plant=_labels_of_a_block),
    Fault(name="votes of all rows shifted, no counts", kind="misalignments", plant=_rows_uncounted),
    Fault(name="votes of all rows shifted", kind="misalignments", plant=_rows),
    Fault(name="columns shifted", kind="misalignments", plant=_columns),
    Fault(name="a participant with 7 votes or more copied", kind="duplicates", plant=_copied(7)),
    Fault(name="a participant with 20 votes or more copied", kind="duplicates", plant=_copied(20)),
)


def drawn(rng: np.random.Generator, *, people: int, statements: int) -> Conversation:
    """A conversation of two to four groups of unequal size, with the votes, counts and labels that belong together.

    Every group agrees to a statement with a chance of its own, which lies half-way between one that all groups share and one drawn for it alone; a
    tenth of the votes are passes, and each person saw between a fifth and all of the statements.
    """
    k = int(rng.integers(2, 5))
    shares = rng.dirichlet(np.full(k, 8.0))
    groups = np.sort(rng.choice(k, size=people, p=shares))[rng.permutation(people)]
    likes = 0.5 * rng.beta(0.7, 0.7, statements) + 0.5 * rng.beta(0.3, 0.3, (k, statements))
    votes = np.where(rng.random((people, statements)) < likes[groups], 1.0, -1.0)
    votes[rng.random(votes.shape) < 0.1] = 0.0
    votes[rng.random(votes.shape) > rng.uniform(0.2, 1.0, (people, 1))] = np.nan
    counts = np.array([(~np.isnan(votes)).sum(1), (votes == 1).sum(1), (votes == -1).sum(1)]).T
    agrees, disagrees = (votes == 1).sum(0), (votes == -1).sum(0)
    said = tuple(
        Statement(id=str(s), text=f"statement {s}", moderated=1, agrees=int(agrees[s]), disagrees=int(disagrees[s]))
        for s in range(statements)
    )
    who = tuple(str(person) for person in range(people))
    return Conversation(name="drawn", statements=said, participants=who, votes=votes, groups=groups, declared=counts)
