"""Who stands for a task: the plan's own module and config first, then whoever won a duel under today's code, data and machine.

Nothing here is stored: a promotion counts while the first pair of its duel would today be the same two runs, and while the plan still asks
for what it was better at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agents.schedule import Identify, request_of
from bench.direction import Better, better_when
from bench.fold import Case, Facts
from bench.misfit import misfit
from plan.decision import IMPROVING, Bout, Candidate, Stance, Tried
from plan.nouns import Comparator, Target, Task
from plan.wire import plain, rebuild


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a duel was fixed to before its first run: the details of the event `applied`."""

    k: int
    """Its place among all duels of the ledger, from 1: it may spend the k-th share of the error of promotions."""
    champion: str
    """The decision that made the champion it challenges; empty: the plan's own."""
    keys: tuple[str, ...]
    """Run keys of champion and challenger on its first seed: while they are the same today, what was measured counts."""
    metric: str
    better: str
    about: float | None = None
    """The value that the metric should have, where neither less nor more is better; then being nearer to it is."""
    most: int = 0
    """Pairs that it may read."""
    margin: float = 0.0
    branch: str = ""
    commit: str = ""
    tree: str = ""
    """The commit, of a patched candidate: what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """Who stands for a task."""

    candidate: Candidate
    decision: str = ""
    tree: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """The champions of one task, the plan's own first; the last one stands."""

    task: Task
    """As the plan has it."""
    chain: tuple[Champion, ...]
    missing: tuple[str, ...] = field(default=())
    """Promotions that do not count since what they were measured with cannot be read any more, with the reason."""

    @property
    def champion(self) -> Champion:
        """Who stands now."""
        return self.chain[-1]

    @property
    def held(self) -> Task:
        """The task as its champion does it."""
        return done_by(self.task, self.champion)


def own(task: Task) -> Champion:
    """The plan's own champion."""
    return Champion(candidate=Candidate(module=task.module, config=task.config))


def done_by(task: Task, champion: Champion) -> Task:
    """`task` as `champion` does it."""
    return replace(task, module=champion.candidate.module, config=champion.candidate.config, tree=champion.tree)


def terms_of(case: Case) -> Terms | None:
    """What its duel was fixed to; None when it is none, or was never begun."""
    details: Any = plain(case.applied.details) if case.applied is not None and case.duel else None
    return None if details is None or misfit(Terms, details) else rebuild(Terms, details)


def candidate_of(case: Case) -> Candidate | None:
    """The candidate that its decision names, None when it names none."""
    try:
        return Candidate.of(case.decision.action.details)
    except (KeyError, TypeError):
        return None


def pending(case: Case) -> bool:
    """Whether it was written down, forbidden by nobody so far, and not carried out: what a process leaves that is killed in a round.

    Who decides must not see it: only then is it decided again, word for word, or comes up when its round is gone on with.
    """
    return case.applied is None and case.undone is None and all(one.stance is not Stance.BLOCK for one in case.opinions)


def champion_by(decision: str, task: Task, facts: Facts) -> Champion:
    """Whom the decision made champion of `task`, standing or not; the plan's own for an empty one."""
    case = facts.cases.get(decision)
    candidate, terms = (candidate_of(case), terms_of(case)) if case else (None, None)
    return own(task) if candidate is None or terms is None else Champion(candidate=candidate, decision=decision, tree=terms.tree)


def sides(case: Case, task: Task, facts: Facts) -> tuple[Task, Task]:
    """The task as the champion and as the challenger of this duel do it."""
    terms = terms_of(case)
    champion = champion_by(terms.champion if terms else "", task, facts)
    return done_by(task, champion), done_by(task, champion_by(case.decision.id, task, facts))


def seeds_of(k: int) -> Iterator[int]:
    """The seeds of the k-th duel of a ledger: fresh ones for each, so that nobody is chosen and challenged on the same numbers."""
    seed = DUELS + APART * (k - 1)
    while True:
        yield seed
        seed += 1


DUELS, APART = 2000, 1000
"""First seed of duels, and how far the seeds of two duels lie apart."""


def first_keys(champion: Champion, challenger: Champion, task: Task, *, k: int, identify: Identify) -> tuple[str, ...]:
    """Run keys of both sides on the first seed of the k-th duel, as they would be today; LookupError when a tree is not there."""
    seed = next(seeds_of(k))
    return tuple(identify(request_of(done_by(task, side), seed)).key for side in (champion, challenger))


def unchanged(case: Case, task: Task, facts: Facts, identify: Identify) -> bool:
    """Whether its duel would today be about the same, and its first pair the same two runs; an exception when that cannot be told."""
    terms = terms_of(case)
    if terms is None or not wished(terms, task):
        return False
    champion, challenger = champion_by(terms.champion, task, facts), champion_by(case.decision.id, task, facts)
    return first_keys(champion, challenger, task, k=terms.k, identify=identify) == terms.keys


def wished(terms: Terms, task: Task) -> bool:
    """Whether a target of the task asks for what the duel was about: the same metric, and the same way of being better."""
    return any(way(one, task) == (terms.better, terms.about) for one in task.targets if one.metric == terms.metric)


def way(target: Target, task: Task) -> tuple[Better | None, float | None]:
    """Which way the target's metric is better, and the value that it should be near to, if any; None where nobody has said which way."""
    if target.comparator is not Comparator.EQ:
        return "more" if target.comparator.wants_more else "less", None
    if target.threshold.task is None:
        return "less", target.threshold.value
    return better_when(task.module, task.benchmark, target.metric), None


def current(case: Case, task: Task, facts: Facts, identify: Identify) -> bool:
    """Whether its duel was fought with what is there today."""
    try:
        return unchanged(case, task, facts, identify)
    except Exception:  # a candidate may have done anything to its files
        return False


def reign(task: Task, facts: Facts, identify: Identify) -> Reign:
    """The champions of `task` under today's code, data and machine."""
    chain = [own(task)]
    missing = []
    for case in map(facts.cases.__getitem__, facts.promotions):
        if case.decision.action.task != task.id or not case.stands:
            continue
        terms = terms_of(case)
        if terms is None or terms.champion != chain[-1].decision:
            continue
        try:
            same = unchanged(case, task, facts, identify)
        except Exception as error:  # a candidate may have done anything to its files
            missing.append(f"{case.decision.id}: {type(error).__name__}: {error}")
            continue
        if same:
            chain.append(champion_by(case.decision.id, task, facts))
    return Reign(task=task, chain=tuple(chain), missing=tuple(missing))


def tried(
    tasks: Mapping[str, Task], facts: Facts, *, fresh: Collection[str], known: Collection[str], standing: Mapping[str, str]
) -> Iterator[Tried]:
    """Every candidate that was ever asked for on `tasks`, in the order of decisions; one that guards forbade has the answer `blocked`.

    `fresh`: decisions whose duel was fought with what is there today. `known`: ids of today's runs, on which a forbidden one has to rest.
    `standing`: by task, the decision that made its champion, whom a forbidden one would have fought.
    """
    for case in facts.cases.values():
        action, candidate = case.decision.action, candidate_of(case)
        if candidate is None or pending(case) or action.task not in tasks or action.kind not in IMPROVING:
            continue
        task = tasks[action.task]
        blocked = next((opinion for opinion in case.opinions if opinion.stance is Stance.BLOCK), None)
        terms = terms_of(case)
        yield Tried(
            decision=case.decision.id,
            kind=action.kind,
            task=task.id,
            candidate=candidate,
            champion=champion_by(terms.champion if terms else standing.get(task.id, ""), task, facts).candidate,
            bout=Bout(answer="blocked", why=f"{blocked.clause}: {blocked.why}") if blocked else case.bout,
            stands=case.undone is None
            and (case.decision.id in fresh or (blocked is not None and {*case.decision.evidence} <= {*known})),
            rolled_back=bool(case.rolled_back),
        )
