"""The only code that changes what the loop will do next; every action has an undo.

An action is applied by appending to the ledger (`applied`, keyed by the decision), and undone by appending again (`undone`): nothing
is ever taken out of the ledger. A candidate also gets a branch, and a patched one a work tree; see `agents/worktree.py`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agents.candidates import unfit
from agents.champions import Champion, Terms, first_keys
from agents.duels import ERROR, subject_of
from agents.standing import Standing
from agents.trials import SEEDS, TRIAL
from agents.worktree import Branches, NoRepository, folder_of, toml
from bench import promotion
from bench.events import Effect
from bench.fold import MEASURE_AGAIN, ROLLBACK, Case
from bench.ledger import Ledger
from bench.overlay import LAID
from bench.repository import GitFault
from plan.catalogue import HOUSE, suggest
from plan.decision import IMPROVING, Candidate, Decision, Opinion, Situation, Stance, told
from plan.house import INSTRUMENTS
from plan.nouns import Plan
from plan.wire import plain

STOP = "stop"
"""Kind of the action after which nothing more is tried on a task, while the runs it rests on are today's."""
ITSELF = "actions"
"""The name under which the house gives its own opinion."""
POSSIBLE = "only what can be carried out is decided"
"""The clause on which the house itself refuses a decision, before any guard is asked."""
LONGEST_WHY = 4_000
"""Letters of a reason that guards read: what they do with each is quadratic at worst."""
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode's categories of what shows nothing, or steers what shows it: it parts words that guards look for."""
LARGEST = 1e300
"""Numbers as large as this, and what is none, end arithmetic in an overflow."""
ALLOWED = "only what the plan allows is tried"


class Refused(Exception):
    """What a decision asks for cannot be carried out; the message says why. Nothing was changed."""


@dataclass(slots=True, kw_only=True)
class Place:
    """Where actions act: the ledger, what is known, and the folder for work trees."""

    ledger: Ledger
    standing: Standing
    work: Path
    loud: list[str] = field(default_factory=list)
    """What somebody should be told."""
    _branches: Branches | None = None
    _why: str | None = None

    def branches(self) -> Branches | None:
        """The repository of the house; None, told once, when there is none that could be used."""
        if self._branches is None and self._why is None:
            try:
                self._branches = Branches(self.work, ledger=self.standing.facts.first_session)
            except NoRepository as error:
                self._why = str(error)
                self.loud.append(
                    f"candidates get no branch: {self._why}; their configs are in the ledger, and patches cannot be tried"
                )
        return self._branches


class Act(Protocol):
    """Carries out one kind of action, and takes it back."""

    def apply(self, decision: Decision, place: Place) -> None:
        """Carry it out, or raise Refused. Applying the same decision twice is one application."""
        ...

    def undo(self, decision: Decision, place: Place, why: str) -> None:
        """Take it back. What was measured meanwhile stays in the ledger but no longer counts."""
        ...


class Recorded:
    """An action that is all in its decision: `measure-again`, `trial`, `rollback`, `stop`."""

    def apply(self, decision: Decision, place: Place) -> None:
        place.ledger.append("applied", decision.id, Effect(details=decision.action.details))

    def undo(self, decision: Decision, place: Place, why: str) -> None:
        place.ledger.append("undone", decision.id, Effect(details={"why": why}))


class Challenge:
    """Lets a candidate fight the champion of its task: `tune`, `refactor` and `replace` differ in what has to be shown before."""

    def apply(self, decision: Decision, place: Place) -> None:
        standing, task = place.standing, place.standing.reigns[decision.action.task].task
        candidate = Candidate.of(decision.action.details)
        subject = subject_of(standing.verdicts, standing.now.task(task.id))
        if subject is None:
            raise Refused(f"no target of `{task.id}` fails or is unsure, or nobody has said which way its metric is better")
        target, better, about = subject
        made = _branch(decision, candidate, place)
        k = standing.facts.next_duel
        most = promotion.limit(promotion.share(k, ERROR))
        chief = standing.reigns[task.id].champion
        tree = made[1] if candidate.patch else ""
        try:
            keys = first_keys(
                chief,
                Champion(candidate=candidate, decision=decision.id, tree=tree),
                task,
                k=k,
                identify=standing.identifier.identify,
            )
        except Exception as error:  # a candidate may be anything
            if made[0]:
                _take_away(*made, place)
            raise Refused(f"the candidate cannot be read: {type(error).__name__}: {error}") from None
        terms = Terms(
            k=k, champion=chief.decision, keys=keys, metric=target.metric, better=better, about=about, most=most,
            branch=made[0], commit=made[1], tree=tree,
        )  # fmt: skip
        place.ledger.append("applied", decision.id, Effect(details=plain(terms)))

    def undo(self, decision: Decision, place: Place, why: str) -> None:
        place.ledger.append("undone", decision.id, Effect(details={"why": why}))
        clear(place.standing.facts.cases[decision.id], place)


def clear(case: Case, place: Place) -> None:
    """Take away the branch and the work tree of a candidate that is no champion; its patch and config stay in the ledger."""
    details = case.applied.details if case.applied else {}
    if details.get("branch"):
        _take_away(details["branch"], details["commit"], place)


def _take_away(branch: str, commit: str, place: Place) -> None:
    """Or tell why it stays: the next session tries again."""
    try:
        told = branches.remove(branch, commit) if (branches := place.branches()) else ""
    except (GitFault, OSError) as error:
        told = f"the branch {branch} could not be taken away yet: {error}"
    if told:
        place.loud.append(told)


def sweep(place: Place) -> None:
    """Take away what a killed run left: branches and work trees on which no champion stands and no duel goes on."""
    facts = place.standing.facts
    kept = {
        case.applied.details["branch"]: case.applied.details["commit"]
        for case in facts.cases.values()
        if case.applied and case.applied.details.get("branch") and (case.promoted or case.bout is None) and case.undone is None
    }
    used = any(case.decision.action.kind in IMPROVING for case in facts.cases.values())
    if not used or (branches := place.branches()) is None:
        return
    try:
        place.loud += branches.sweep(keep=kept)
        for case in facts.cases.values():
            if (details := case.applied.details if case.applied else {}).get("tree") and details["branch"] in kept:
                branches.check_out(details["tree"])
    except (GitFault, OSError) as error:
        place.loud.append(f"what an interrupted run left could not be taken away: {error}")


def refusal(decision: Decision, situation: Situation, place: Place) -> Opinion | None:
    """Why no action could carry out `decision`, as an opinion that blocks it; none when one can."""
    action = decision.action
    plan = situation.plan
    if fault := _unreadable(decision) or _misnamed(decision, plan):
        return _opinion(decision, POSSIBLE, fault)
    task = plan.task(action.task)
    stopped = any(
        case.stands and case.decision.action.kind == STOP and _rests_on(case, situation) and case.decision.action.task == task.id
        for case in place.standing.facts.cases.values()
    )
    if action.kind in (*IMPROVING, TRIAL):
        if not task.improve or (action.kind in IMPROVING and action.kind not in task.improve):
            return _opinion(decision, ALLOWED, f"`{task.id}` has no `- **improve**: {action.kind}`")
        if any(one.seeds.most > SEEDS.start for one in plan.tasks):
            return _opinion(decision, ALLOWED, f"the plan's seeds reach beyond {SEEDS.start - 1}, into those of trials and duels")
        if stopped:
            return _opinion(decision, ALLOWED, f"it was decided to stop trying on `{task.id}`")
        if not situation.trials_left.get(task.id):
            return _opinion(decision, ALLOWED, f"nothing is left of what trying on `{task.id}` may cost")
    try:
        _check(decision, situation, place)
    except (Refused, KeyError, TypeError, ValueError, LookupError) as error:
        return _opinion(
            decision, POSSIBLE, str(error) if isinstance(error, Refused) else f"its details are not understood: {error!r}"
        )
    return None


def _check(decision: Decision, situation: Situation, place: Place) -> None:
    action, standing = decision.action, place.standing
    task = situation.plan.task(action.task)
    if action.kind == ROLLBACK:
        champion = standing.reigns[task.id].champion
        if not champion.decision or action.details.get("decision") != champion.decision:
            raise Refused(
                f"`{action.details.get('decision')}` did not make the champion of `{task.id}`; it is {champion.decision or 'of the plan'}"
            )
    elif action.kind == TRIAL:
        if not all(isinstance(seed, int) and seed in SEEDS for seed in action.details["seeds"]):
            raise Refused(f"trials have the seeds {SEEDS.start} to {SEEDS.stop - 1}; those of verdicts and duels stay unseen")
        for details in action.details["candidates"]:
            candidate = Candidate.of(details)
            if candidate.patch:
                raise Refused("a patch is not tried before its duel")
            if fault := unfit(task, candidate):
                raise Refused(fault)
    elif action.kind in IMPROVING:
        candidate = Candidate.of(action.details)
        if fault := unfit(task, candidate):
            raise Refused(fault)
        if candidate == situation.champions.get(task.id):
            raise Refused("it is the champion")
        if candidate.patch:
            _patched(candidate, place)


def _patched(candidate: Candidate, place: Place) -> dict[str, str | None]:
    """What the candidate's patch makes of the user's files: path -> text, None where it is deleted; Refused when it may not, or cannot."""
    from alignment.patch import Misapplied, PatchFault, parse

    if place.branches() is None:
        raise Refused("a patch needs a work tree, and there is no repository for one")
    try:
        changes = parse(candidate.patch)
    except PatchFault as fault:
        raise Refused(f"its patch is not understood: {fault}") from None
    files: dict[str, str | None] = {}
    for change in changes:
        if change.path.partition("/")[0] not in LAID:
            raise Refused(f"its patch touches `{change.path}`; a candidate may change `modules/` and `kernels/` only")
        if change.path in INSTRUMENTS:
            raise Refused(f"its patch touches `{change.path}`, which gates, trains or measures every module alike")
        file = HOUSE / change.path
        try:
            files[change.path] = change.applied(file.read_text(encoding="utf-8") if file.is_file() else None)
        except (Misapplied, OSError, UnicodeDecodeError) as error:
            raise Refused(f"its patch does not fit: {error}") from None
    return files


def _branch(decision: Decision, candidate: Candidate, place: Place) -> tuple[str, str]:
    """The branch and the commit of a candidate; empty where there is no repository."""
    branches, task = place.branches(), decision.action.task
    if branches is None:
        return "", ""
    champion = place.standing.reigns[task].champion.candidate
    files = _patched(candidate, place) if candidate.patch else {}
    message = f"{decision.action.kind} {task}: {told(champion, candidate)}\n\n{decision.why}\n\nDecision {decision.id} of `{decision.decider}`, on runs {' '.join(decision.evidence)}\n"
    try:
        made = branches.make(task, decision.id, champion=written(candidate), files=files, message=message)
        if files:
            folder_of(place.work, made.commit)
    except (GitFault, OSError, LookupError) as error:
        raise Refused(f"its branch cannot be made: {error}") from None
    return made.branch, made.commit


def written(candidate: Candidate) -> str:
    """The text of `champions/TASK.toml`."""
    return toml({"module": candidate.module, "config": dict(candidate.config)})


def _unreadable(decision: Decision) -> str | None:
    """Why guards and people could not read it in reasonable time; None where they can."""
    if len(decision.why) > LONGEST_WHY:
        return f"its reason has {len(decision.why):,} letters; {LONGEST_WHY:,} are read at most"
    if strange := next((sign for sign in decision.why if unicodedata.category(sign) in UNSEEN and sign not in "\n\t"), None):
        return f"its reason holds the unseen character {strange!r}"
    if large := next((value for value in _numbers_in(decision.action.details) if not abs(value) < LARGEST), None):
        return f"its details hold a number that is none or beyond {LARGEST:g}: {large if isinstance(large, float) else 'a whole number'}"
    return None


def _numbers_in(value: object) -> Iterator[int | float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers_in(item)


def _misnamed(decision: Decision, plan: Plan) -> str | None:
    action = decision.action
    names, word, what = (
        (ACTS, action.kind, "action") if action.kind not in ACTS else ([t.id for t in plan.tasks], action.task, "task")
    )
    if word in names:
        return None
    near = suggest(word, names)
    return f"there is no {what} `{word}`" + (f"; did you mean `{near}`?" if near else f"; there are {', '.join(names)}")


def _rests_on(case: Case, situation: Situation) -> bool:
    known = {run.id for run in situation.runs.get(case.decision.action.task, ())}
    return known.issuperset(case.decision.evidence)


def _opinion(decision: Decision, clause: str, why: str) -> Opinion:
    return Opinion(guard=ITSELF, decision=decision.id, stance=Stance.BLOCK, clause=clause, why=why)


ACTS: dict[str, Act] = {
    MEASURE_AGAIN: Recorded(), TRIAL: Recorded(), "tune": Challenge(), "refactor": Challenge(), "replace": Challenge(),
    ROLLBACK: Recorded(), STOP: Recorded(),
}  # fmt: skip
"""Action kind -> what carries it out."""
