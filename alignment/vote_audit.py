"""Audits a conversation before anything is derived from it: do labels and counts belong to the votes, did anybody vote twice, or as a machine would?

An alarm stops a derivation until somebody accepts it by name; a notice is put beside the result. Nothing is corrected, nobody is dropped.
Each test asks what chance would make of the same data; no threshold is set per conversation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from alignment.opinion_groups import find_groups, project
from alignment.polis_export import Conversation, Labels, Votes
from alignment.sayings import spelt
from alignment.vote_copies import alike
from alignment.vote_labels import carried, expected
from alignment.vote_machines import LEAST as MANY
from alignment.vote_machines import dice, one_answer
from alignment.vote_shifts import LEAST, shifted

Kind = Literal["labels", "rows", "counts", "statements", "duplicates", "straight-line", "random"]
DRAWS = 99
SHUFFLED = 0.5
"""Labels of which half are dealt anew are carried half as often, beyond chance: the other half are still their owners'."""
UNRELATED = (1 + SHUFFLED) / 2
"""Of what is expected of right labels: half-way between these and half-shuffled ones, so that either is as far from being taken for the other. Fewer
people leave more doubt, so a standard error has to lie between."""
LOOSE = 0.8
"""A notice below it, which stops nothing: a round number under six of seven public conversations (0.86 to 1; UBI has 0.75)."""
EXPECTED = 0.05
"""Coincidences of the same kind that chance may make before one is no alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about the input that whoever uses it has to know."""

    kind: Kind
    alarm: bool
    message: str
    participants: tuple[str, ...] = ()


def audit(conversation: Conversation, *, seed: int = 0) -> tuple[Finding, ...]:
    """Everything found, alarms first; the same seed gives the same findings."""
    rng = np.random.default_rng(seed)
    grouped = _grouped(conversation, seed)
    found = [
        *_labels(conversation, rng),
        *_counts(conversation),
        *_statements(conversation),
        *_duplicates(grouped),
        *_machines(grouped),
    ]
    return tuple(sorted(found, key=lambda f: not f.alarm))


def _grouped(conversation: Conversation, seed: int) -> Conversation:
    """With groups found from the votes where the export names none: by everybody's rates, people of one opinion would look like one person."""
    if len(np.unique(conversation.groups[conversation.groups >= 0])) >= 2:
        return conversation
    try:
        return replace(conversation, groups=find_groups(conversation.votes, accepted=conversation.accepted, seed=seed).members)
    except ValueError:  # too few people or statements for groups
        return conversation


def explained(votes: Votes) -> Callable[[Labels], float]:
    """Of labels (P,) without -1: how much variance of these votes they explain, over statements in units of each statement's variance."""
    seen = ~np.isnan(votes)
    n = seen.sum(0)
    filled = np.where(seen, votes, 0.0)
    mean = filled.sum(0) / np.maximum(n, 1)
    spread = (filled**2).sum(0) / np.maximum(n, 1) - mean**2
    telling = (n >= 10) & (spread > 1e-6)
    known = seen[:, telling].astype(np.float64)
    away = np.where(seen, votes - mean, 0.0)[:, telling]
    spread = spread[telling]

    def of(labels: Labels) -> float:
        member = (labels == np.unique(labels)[:, None]).astype(np.float64)
        return float((((member @ away) ** 2 / np.maximum(member @ known, 1)) / spread).sum())

    return of


def _labels(conversation: Conversation, rng: np.random.Generator) -> list[Finding]:
    inside = np.flatnonzero(conversation.groups >= 0)
    votes, groups = conversation.votes[inside], conversation.groups[inside]
    if len(inside) and len(np.unique(groups)) < 2:
        message = f"all {len(inside)} group labels name one group, which nothing can be held against; take the groups found anew"
        return [Finding(kind="labels", alarm=False, message=message)]
    if len(inside) < LEAST:
        return []
    of = explained(votes)
    fit = of(groups)
    chance = np.array([of(rng.permutation(groups)) for _ in range(DRAWS)])
    if (chance >= fit).mean() > 0.05:
        message = f"group labels do not match the votes: they explain {fit:.0f}, shuffled ones {chance.mean():.0f}; take the groups found anew"
        return [Finding(kind="labels", alarm=True, message=message)]
    clear, right = carried(votes, groups), expected(votes, groups, rng)
    told = (
        f"those who vote most clearly as a group does carry its label at {clear.share:.2f} +- {clear.error:.2f} (0 by chance, 1 always),"
        f" and would at {right:.2f} if the labels were theirs"
    )
    if clear.share + clear.error < UNRELATED * right:
        return [Finding(kind="labels", alarm=True, message=f"{told}; many belong to other rows, take the groups found anew")]
    loose = clear.share < LOOSE
    notes = (
        [
            Finding(
                kind="labels",
                alarm=False,
                message=f"{told}; many people stand between the groups, or they were made otherwise than here",
            )
        ]
        if loose
        else []
    )
    points = project(conversation.votes, accepted=conversation.accepted)[inside]
    shift = shifted(points, groups, rng)
    if shift is None:
        return notes
    rows = tuple(conversation.participants[i] for i in inside[shift.first : shift.last])
    message = (
        f"group labels of participants `{rows[0]}` to `{rows[-1]}` fit the votes {abs(shift.by)} rows {'below' if shift.by > 0 else 'above'}"
        f" better than their own; align the rows and export anew"
    )
    return [Finding(kind="rows", alarm=True, message=message, participants=rows), *notes]


def _counts(conversation: Conversation) -> list[Finding]:
    if conversation.declared is None:
        return []
    votes = conversation.votes
    real = np.array([(~np.isnan(votes)).sum(1), (votes == 1).sum(1), (votes == -1).sum(1)]).T
    off = np.flatnonzero((real != conversation.declared).any(1))
    if not len(off):
        return []
    flipped = (real[:, [0, 2, 1]] == conversation.declared).all()
    what = "agree and disagree are exchanged" if flipped else "the votes in their rows are not those that the row counts"
    people = tuple(conversation.participants[i] for i in off)
    return [
        Finding(
            kind="counts",
            alarm=True,
            message=f"{what} for {len(off)} of {len(votes)} participants; export anew",
            participants=people,
        )
    ]


def _statements(conversation: Conversation) -> list[Finding]:
    told = []
    mute = [s for s in conversation.statements if not s.text]
    if mute:
        let_in = sum(s.moderated == 1 for s in mute)
        message = (
            f"{len(mute)} statements have no text, `{mute[0].id}` the first, and {let_in} of them were accepted; their votes count where groups are found,"
            " and they become no rule"
        )
        told.append(Finding(kind="statements", alarm=False, message=message))
    ids = [f"`{s.id}`" for s in conversation.statements]
    same = [" and ".join(ids[s] for s in (first, *others)) for first, others in same_sentences(conversation).items()]
    if same:
        message = f"statements {', '.join(same)} are the same sentence; rules count it once"
        told.append(Finding(kind="statements", alarm=False, message=message))
    return [*_tallies(conversation), *told]


def same_sentences(conversation: Conversation) -> dict[int, list[int]]:
    """Of accepted statements that are the same sentence: the first, and the others."""
    found: dict[tuple[str, ...], list[int]] = {}
    for s in np.flatnonzero(conversation.accepted):
        if words := spelt(conversation.statements[s].text):
            found.setdefault(words, []).append(int(s))
    return {first: others for first, *others in found.values() if others}


def _tallies(conversation: Conversation) -> list[Finding]:
    known = [i for i, s in enumerate(conversation.statements) if s.agrees is not None and s.disagrees is not None]
    if len(known) < 5:
        return []
    declared = np.array(
        [[conversation.statements[i].agrees, conversation.statements[i].disagrees] for i in known], dtype=np.float64
    )
    votes = conversation.votes[:, known]
    real = np.array([(votes == 1).sum(0), (votes == -1).sum(0)], dtype=np.float64).T
    away = np.abs(declared - real).sum(1) > 0.5 * np.maximum(real.sum(1), 10)
    if away.mean() <= 0.1:
        return []
    message = f"{away.sum()} of {len(known)} statements have other vote counts in the comments than in the matrix; texts and columns are misaligned"
    return [Finding(kind="statements", alarm=True, message=message)]


def _duplicates(conversation: Conversation) -> list[Finding]:
    """An alarm for equal rows that chance would hardly make; a notice for other pairs, and for such as differ in one place."""
    found = []
    for each in alike(conversation.votes, conversation.groups):
        people = tuple(conversation.participants[i] for i in each.rows)
        cast = (
            f"cast the same {each.votes} votes"
            if not each.differ
            else f"cast {each.votes} votes that are the same but in one place"
        )
        message = (
            f"participants {', '.join(f'`{p}`' for p in people)} {cast}; by chance one expects {each.expected:.2g} such cases"
        )
        alarm = not each.differ and each.expected < EXPECTED
        found.append(Finding(kind="duplicates", alarm=alarm, message=message, participants=people))
    return found


def _machines(conversation: Conversation) -> list[Finding]:
    """Who gives one answer to everything, and who answers whatever the statement says."""
    votes, groups = conversation.votes, conversation.groups
    told: list[tuple[Kind, tuple[int, ...], str]] = [
        (
            "straight-line",
            tuple(one_answer(votes, groups)),
            f"gave one and the same answer to {MANY} statements or more, which hardly anybody of any group does",
        ),
        ("random", tuple(dice(votes, groups)), "answer as dice would: what the statement says makes no difference to them"),
    ]
    return [
        Finding(
            kind=kind,
            alarm=False,
            message=f"{len(rows)} participants {what}",
            participants=tuple(conversation.participants[i] for i in rows),
        )
        for kind, rows, what in told
        if rows
    ]
