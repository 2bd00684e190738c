"""Derives rules from what people voted: the statements that *every* opinion group supports, with the minority each rule would override.

    conversation = read("a-polis-export")
    constitution = derive_rules(conversation, min_agreement=0.7)

A statement becomes a rule when its support in the least supportive group stays above `min_agreement` at the lower end of a bootstrap interval,
over participants drawn anew and groups, as many as before, found anew with another seed each time. The interval is per statement: of many rules some few are
expected to be wrong at the stated level. Copies are one piece of evidence: rows of the same votes count once where their alarm was accepted, and of statements
that are the same sentence the votes are taken together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alignment.consensus import group_informed_consensus, support
from alignment.opinion_groups import Groups, Recipe, adjusted_rand, find_groups
from alignment.polis_export import Conversation, Labels, Votes
from alignment.sayings import alikeness, at_odds, joined
from alignment.vote_audit import Finding, Kind, audit, same_sentences

REPLICATES, LEVEL = 100, 0.05
SAME = 0.6
"""Cosine of two statements that say the same."""
LEAST_SEEN = 5


class AuditAlarm(ValueError):
    """The input is not what it says it is; nothing was derived."""

    def __init__(self, findings: Collection[Finding]) -> None:
        self.findings = tuple(findings)
        kinds = ", ".join(sorted({f"`{f.kind}`" for f in findings}))
        told = "\n".join(f"- {f.message}" for f in findings)
        super().__init__(f"the votes raise alarms:\n{told}\nmend the export, or accept {kinds} by name. nothing was derived")


@dataclass(frozen=True, slots=True, kw_only=True)
class Minority:
    """Those of a group, or standing nearest to it with too few votes to shape it, who voted against a rule."""

    group: int
    against: int
    seen: int
    participants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A statement that every group supports."""

    id: str
    text: str
    support: tuple[float, ...]
    """Of each group, (agreements + 1) / (seen + 2)."""
    least: tuple[float, float, float]
    """Support in the least supportive group: as voted, and the interval's lower and upper end."""
    consensus: tuple[float, float, float]
    """Group-informed, the product over the groups, and its interval."""
    also: tuple[str, ...]
    """Statements that say the same and hold as well."""
    minorities: tuple[Minority, ...]
    """Whom it overrides, the largest share first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveConstitution:
    """Rules, and what they rest on."""

    rules: tuple[Rule, ...]
    groups: Groups
    """Participants whose votes are a copy of another's stand in none."""
    stability: float
    """Mean adjusted Rand index of the groups of each replicate with those of all participants."""
    min_agreement: float
    findings: tuple[Finding, ...]
    """What the audit found and what was accepted."""


def derive_rules(
    conversation: Conversation,
    *,
    min_agreement: float = 0.6,
    accept: Collection[Kind] = (),
    replicates: int = REPLICATES,
    seed: int = 0,
) -> CollectiveConstitution:
    """The rules, surest consensus first. AuditAlarm for alarms that `accept` does not name; ValueError where no groups can be found.

    Groups are found from the votes, never taken from the export. Statements that moderation did not accept, that have no text, or that a group saw less
    than five times, become no rule.
    """
    if not 0 < min_agreement < 1:
        raise ValueError(f"`min_agreement` is {min_agreement}, a share between 0 and 1 is asked for. nothing was derived")
    findings = audit(conversation, seed=seed)
    alarms = [f for f in findings if f.alarm and f.kind not in accept]
    if alarms:
        raise AuditAlarm(alarms)
    accepted = conversation.accepted
    same = same_sentences(conversation)
    first = _first_of_copies(conversation, findings)
    votes = _counted_once(conversation.votes, first, same)
    groups = find_groups(votes, accepted=accepted, seed=seed)
    least, consensus, alike = _replicates(votes, accepted, groups, replicates, seed)
    backed, shared = support(votes, groups.members), group_informed_consensus(votes, groups.members)
    least_of, consensus_of = _with_interval(backed.min(0), least), _with_interval(shared, consensus)
    seen = np.array([(~np.isnan(votes[groups.members == g])).sum(0) for g in range(len(groups))]).min(0)
    worded = np.array([bool(s.text) for s in conversation.statements])
    holds = np.flatnonzero(accepted & worded & (least_of[:2].min(0) >= min_agreement) & (seen >= LEAST_SEEN))
    rules = []
    for said in _said_alike(conversation, votes, holds):
        best, *others = sorted(said, key=lambda s: (-shared[s], s))
        copies = [copy for s in (best, *others) for copy in same.get(s, ())]
        rules.append(
            Rule(
                id=conversation.statements[best].id,
                text=conversation.statements[best].text,
                support=tuple(float(x) for x in backed[:, best]),
                least=_three(least_of[:, best]),
                consensus=_three(consensus_of[:, best]),
                also=tuple(conversation.statements[s].id for s in sorted([*others, *copies])),
                minorities=_minorities(conversation, votes[:, best], groups.labels, first),
            )
        )
    return CollectiveConstitution(
        rules=tuple(sorted(rules, key=lambda r: -r.consensus[0])),
        groups=groups,
        stability=float(np.mean(alike)),
        min_agreement=min_agreement,
        findings=findings,
    )


def _first_of_copies(conversation: Conversation, findings: Collection[Finding]) -> NDArray[np.int64]:
    """(P,): the row that stands for each participant, another one's for those whom an alarm named as copies."""
    place = {name: row for row, name in enumerate(conversation.participants)}
    first = np.arange(len(place))
    for finding in findings:
        if finding.kind == "duplicates" and finding.alarm:
            rows = [place[name] for name in finding.participants]
            first[rows] = min(rows)
    return first


def _counted_once(votes: Votes, first: NDArray[np.int64], same: Mapping[int, Sequence[int]]) -> Votes:
    """The votes without those of copies; on the same sentence each has one vote, none for or against where theirs contradict each other."""
    once = np.where((first == np.arange(len(first)))[:, None], votes, np.nan)
    for one, others in same.items():
        cast = once[:, [one, *others]]
        once[:, one] = np.where(np.isnan(cast).all(1), np.nan, np.sign(np.nansum(cast, axis=1)))
        once[:, others] = np.nan
    return once


def _with_interval(value: NDArray[np.float64], drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, S): a figure of every statement and its interval."""
    return np.array([value, *np.quantile(drawn, [LEVEL, 1 - LEVEL], axis=0)])


def _three(column: NDArray[np.float64]) -> tuple[float, float, float]:
    value, low, high = map(float, column)
    return value, low, high


def _replicates(
    votes: Votes, accepted: NDArray[np.bool_], groups: Groups, replicates: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[float]]:
    """(R, S) twice: of each resample the support in the least supportive group, and the consensus; and how like its groups are those of everybody."""
    rng = np.random.default_rng([seed, 1])
    core = np.flatnonzero(groups.core)
    recipe = Recipe(least_groups=len(groups), most=len(groups), restarts=8)
    least, consensus, alike = [], [], []
    for replicate in range(replicates):
        rows = np.sort(rng.choice(core, len(core)))
        drawn = votes[rows]
        try:
            found = find_groups(drawn, accepted=accepted, seed=seed + 1 + replicate, recipe=recipe)
            members = found.members
            alike.append(adjusted_rand(found.labels, groups.labels[rows]))
        except ValueError:  # a small group may fall away among those drawn: the first groups are kept, as not found again
            members = groups.members[rows]
            alike.append(0.0)
        least.append(support(drawn, members).min(0))
        consensus.append(group_informed_consensus(drawn, members))
    return np.array(least), np.array(consensus), alike


def _said_alike(conversation: Conversation, votes: Votes, holds: NDArray[np.int64]) -> list[list[int]]:
    """Statements joined that are spelt alike, are not at odds, and on which more people vote the same than not."""
    if not len(holds):
        return []
    texts = [conversation.statements[s].text for s in holds]
    alike = alikeness(texts)
    columns = votes[:, holds]
    for i, j in zip(*np.triu_indices(len(holds), 1), strict=True):
        product = columns[:, i] * columns[:, j]
        if (product > 0).sum() <= (product < 0).sum() or (alike[i, j] >= SAME and at_odds(texts[i], texts[j])):
            alike[i, j] = alike[j, i] = 0.0
    return [[int(holds[i]) for i in same] for same in joined(alike, least=SAME)]


def _minorities(
    conversation: Conversation, column: NDArray[np.float64], labels: Labels, first: NDArray[np.int64]
) -> tuple[Minority, ...]:
    """Who voted -1 in `column`, group by group; copies are named beside whom they copy, and not counted."""
    found = []
    for g in range(labels.max() + 1):
        against = np.flatnonzero((labels == g) & (column == -1))
        if len(against):
            seen = int((~np.isnan(column[labels == g])).sum())
            people = tuple(conversation.participants[i] for i in np.flatnonzero(np.isin(first, against)))
            found.append(Minority(group=g, against=len(against), seen=seen, participants=people))
    return tuple(sorted(found, key=lambda m: -m.against / m.seen))
