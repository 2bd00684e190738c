"""Decisions, the actions they ask for, and the opinions guards hold of them.

They live below both `agents` (which decides and acts) and `alignment` (which judges), so that
neither has to import the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from plan.nouns import Plan, Run, Verdict
from plan.precepts import Precept

IMPROVING = ("tune", "refactor", "replace")
"""Kinds of actions whose details are a Candidate, which fights a duel with its task's champion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a task could be measured as: the plan's own is the first champion."""

    module: str
    config: Mapping[str, Any] = field(default_factory=dict)
    """As `Task.config`: overrides of the module's Config, and the tables `decoder` and `recipe`."""
    patch: str = ""
    """Unified diff that touches `modules/` and `kernels/` only; empty: the code as it is."""

    @property
    def details(self) -> dict[str, Any]:
        """What an action carries to ask for it."""
        return {"module": self.module, "config": self.config, "patch": self.patch}

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Candidate:
        """The candidate that an action's details name; KeyError, TypeError or ValueError when they name none."""
        module, config, patch = details["module"], details.get("config", {}), details.get("patch", "")
        if not (isinstance(module, str) and isinstance(config, Mapping) and isinstance(patch, str)):
            raise TypeError("a candidate is a `module` (text), a `config` (table) and a `patch` (text)")
        return cls(module=module, config=config, patch=patch)


def entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The entries of a task's config by their paths: `heads`, `recipe.lr`."""
    for key, value in config.items():
        if key in ("decoder", "recipe") and isinstance(value, Mapping):
            yield from ((f"{key}.{name}", item) for name, item in value.items())
        else:
            yield key, value


def told(champion: Candidate, candidate: Candidate) -> str:
    """What parts a candidate from its champion, in a few words."""
    if champion.module != candidate.module:
        return f"module {candidate.module}"
    one, two = dict(entries(champion.config)), dict(entries(candidate.config))
    parts = [
        f"{key} = {two[key]!r}" if key in two else f"{key} left out"
        for key in sorted({*one, *two})
        if one.get(key) != two.get(key)
    ]
    return ", ".join([*parts, *(["a patch"] if candidate.patch and candidate.patch != champion.patch else [])]) or "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A change asked for: its kind names the class that applies and undoes it."""

    kind: str
    task: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who proposes which action, on which evidence, expecting what."""

    id: str
    """Deterministic in what was known when it was made, so that a replay makes the same id."""
    decider: str
    action: Action
    evidence: tuple[str, ...]
    """Run ids the decision rests on."""
    expected: float
    """What the decider expects of the action, in the unit `expects` names."""
    expects: str
    why: str


class Stance(StrEnum):
    """A guard's word: go on, go on but note this, or do not."""

    ALLOW = "allow"
    OBJECT = "object"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one guard says of one decision, and the clause it rests on."""

    guard: str
    decision: str
    stance: Stance
    clause: str
    why: str
    confidence: float | None = None
    """The guard's probability that the clause is broken; none where it gives none."""
    abstains: bool = False
    """It allows what is none of its business, or what it has nothing to go by: that counts for no record."""
    reward: float | None = None
    """Of the critic: how likely its learned part alone finds it good, without what people say; none while it has learnt too little."""


class Say(StrEnum):
    """What a person can say of a decision."""

    APPROVE = "approve"
    REJECT = "reject"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What one person says of one decision; of several by the same person the last approval or rejection counts."""

    decision: str
    say: Say
    by: str
    comment: str = ""


def tally(votes: Sequence[Vote]) -> int:
    """1 when more people approve than reject, -1 when fewer, 0 when as many; each person's last word counts, however their name is cased or spaced."""
    last = {" ".join(vote.by.casefold().split()): vote.say for vote in votes if vote.say is not Say.COMMENT}
    found = sum(1 if say is Say.APPROVE else -1 for say in last.values())
    return (found > 0) - (found < 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bout:
    """How a duel ended, and on what: enough to compute its answer again from the runs."""

    answer: str
    """`promote`, `reject` or `undecided`."""
    why: str
    metric: str = ""
    better: str = ""
    """`less` or `more`."""
    runs: tuple[str, ...] = ()
    """Run ids in submission order: champion and challenger of each pair that was read."""
    pairs: tuple[tuple[float | None, float | None], ...] = ()
    """(champion, challenger) of these runs; None where a run ended without a number."""
    e_value: float | None = None
    error: float | None = None
    """What it has spent of the run's error of promotions."""
    low: float | None = None
    high: float | None = None
    """Anytime-valid bounds of the mean gain, in the metric's unit, positive where the challenger is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A candidate that was tried on a task, and what became of it."""

    decision: str
    """Id of the decision that asked for it."""
    kind: str
    task: str
    candidate: Candidate
    champion: Candidate
    """Whom it fought."""
    bout: Bout | None = None
    """None while the duel is under way."""
    stands: bool = True
    """False when the code, the data or the plan it was measured under has changed since: it says nothing of today."""
    rolled_back: bool = False
    """Whether it was champion and was taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known at one moment: the fold of the ledger that deciders and guards may read."""

    plan: Plan
    verdicts: tuple[Verdict, ...]
    runs: Mapping[str, tuple[Run, ...]]
    """Finished runs by task id, in submission order."""
    seeds: Mapping[str, int]
    """Seeds granted to each task so far."""
    free: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """By task: seeds whose runs another task's budget pays for, since both want the same."""
    decisions: tuple[Decision, ...] = ()
    champions: Mapping[str, Candidate] = field(default_factory=dict)
    """By task id; the plan's own where nothing better was found. `verdicts` and `runs` are the champion's."""
    tried: tuple[Tried, ...] = ()
    """All candidates so far, in the order of their decisions."""
    trials: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    """By task id: finished runs of candidates on the seeds of trials, in submission order; what each measured is in its request."""
    trials_left: Mapping[str, int] = field(default_factory=dict)
    """By task id: measurements that trying may still cost."""
    former: tuple[Verdict, ...] = ()
    """Of tasks whose champion is not the plan's own: the verdicts of the champion before it, on its own runs."""
    votes: Mapping[str, tuple[Vote, ...]] = field(default_factory=dict)
    """By decision id: what people said of it before it was known how it turned out."""
    opinions: Mapping[str, tuple[Opinion, ...]] = field(default_factory=dict)
    """By decision id: what guards said of it; of the decision that is being vetted, what those said that were asked before."""
    precepts: tuple[Precept, ...] = ()
    """Those that stand, oldest first."""


class Decider(Protocol):
    """Proposes decisions and is told how they turned out."""

    def ask(self, situation: Situation) -> Sequence[Decision]:
        """Decisions to make now; empty when there is nothing worth doing."""
        ...

    def tell(self, decision: Decision, before: Verdict, after: Verdict) -> None:
        """The verdict of the decision's target before and after its action ran."""
        ...


class Guard(Protocol):
    """Vets one decision against facts."""

    def review(self, decision: Decision, situation: Situation) -> Opinion:
        """An opinion, with the clause it rests on."""
        ...
