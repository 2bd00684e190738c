"""Learns which kind of change mends a failing task: tries one candidate at a time, lets the one that met its target fight, and takes back what hurt.

The agent picks the kind (`tune`, `refactor`, `replace`), `rollback` or `stop` by tabular Q-learning; `agents.candidates` says which candidate of
a kind comes next. A step begins with such a choice and ends with the next choice on the same task. What it saw is in the decision's note, what
came of it in the ledger, so the table is folded from past decisions each time: a run that was killed has learnt as much as one that was not.
Exploration is drawn from a digest of what the decision rests on, so the same ledger gives the same decision, bit for bit.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from agents.candidates import untried
from agents.deciders.first_candidate import needy
from agents.duels import ERROR
from agents.learning.tabular import QTable, Step, Value, folded, prior
from agents.trials import SEEDS, TRIAL
from bench import promotion
from envs.changes import FEW, KINDS, Aim, State, asks, distance, missed, reward, shortfall
from plan import catalogue
from plan.catalogue import decider
from plan.decision import IMPROVING, Action, Candidate, Decision, Situation, entries, told
from plan.nouns import Run, Task, Verdict
from plan.nouns import State as Word

Untried = Callable[[Task, str, Situation], tuple[Candidate, ...]]
EPSILON = 0.1
"""How often any possible move is made instead of the best."""
ENOUGH = 2
"""Trials in a row that have to meet the target before a candidate fights; the duel decides, on fresh seeds."""
NOTE = re.compile(r"state (?P<state>[a-z -]+); shortfall (?P<gap>[0-9.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A candidate that did not fight yet, and its trials so far."""

    kind: str
    candidate: Candidate
    runs: tuple[Run, ...]
    asked: int
    """Trials that were asked for; those that guards forbade brought no run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where one task stands, as far as the agent looks."""

    task: Task
    verdicts: tuple[Verdict, ...]
    aims: tuple[Aim, ...]
    gap: float
    """The champion's shortfall."""
    subject: Aim | None
    """What a duel would be about; None when nothing is wanting."""
    arms: tuple[Arm, ...]
    state: State
    busy: Arm | None
    """A candidate that met the target in its first trial and has to show it again, or has to fight."""


@decider("refactor", source="Watkins and Dayan 1992, tabular Q-learning")
class Refactor:
    """Changes what fails, one try at a time, and learns from what came of it which kind of change to try first."""

    def __init__(self, untried: Untried = untried, *, first: Value = prior) -> None:
        """`untried(task, kind, situation)`: what may be tried, in order; a replay leaves out what was not recorded. `first`: see QTable."""
        self.table, self.untried, self.first = QTable(first=first), untried, first

    def ask(self, situation: Situation) -> Sequence[Decision]:
        views = {task.id: view for task in situation.plan.tasks if (view := seen(task, situation, self.untried)) is not None}
        self.table = folded(steps(situation, views), QTable(first=self.first))
        found = (self._next(view, situation) for view in views.values())
        return [decision for decision in found if decision is not None]

    def tell(self, decision: Decision, before: Verdict, after: Verdict) -> None:
        """Nothing is kept: what came of it is folded from the situation."""

    def select_action(self, state: State, *, rests_on: str, epsilon: float = EPSILON) -> tuple[str, bool]:
        """The move to make, and whether it was drawn; `rests_on` is what the draw is made from. What ends the task is never drawn."""
        draw = random.Random(int(hashlib.sha256(rests_on.encode()).hexdigest(), 16))
        return self.table.select_action(state, epsilon=epsilon, draw=draw, final=False)

    def update(self, state: State, move: str, reward: float, after: State | None) -> None:
        """Learn from one step."""
        self.table.update(state, move, reward, after)

    def _next(self, view: View, situation: Situation) -> Decision | None:
        task = view.task
        left = situation.trials_left.get(task.id, 0)
        if not set(task.improve) - {"tune"}:
            return None  # nothing to choose between: a search over configs is for `qae`
        if view.subject is None or any(verdict.state is Word.WAITING for verdict in view.verdicts):
            return None
        if view.state.fell == "no" and not needy(task, view.verdicts, situation):
            return None
        if not left and view.state.fell == "no":
            return None
        if view.busy is not None and left:
            return self._fight(view, view.busy, situation) if len(view.busy.runs) >= ENOUGH else _try(view, view.busy, situation)
        move, arm, drawn = self.choose(view, situation)
        if view.state.fell == "no" and left <= duel_of(situation) + 1:
            move, drawn = "stop", False
        values = {other: self.table.value(view.state, other) for other in view.state.moves}
        known = ", ".join(f"{other} {value:+.3f}" for other, value in values.items())
        note = f"state {view.state.text}; shortfall {view.gap:.6f}; values {known}; {'drawn' if drawn else 'the best'}: {move}"
        if move == "rollback":
            return _rollback(view, situation, values[move], note)
        if move == "stop" or arm is None:
            return _settle(view, situation, values["stop"], note)
        return _try(view, arm, situation, value=values[move], note=note)

    def choose(self, view: View, situation: Situation) -> tuple[str, Arm | None, bool]:
        """The next move, the candidate it tries, and whether the move was drawn rather than the best."""
        rests_on = "\n".join((view.task.id, view.state.text, str(len(situation.decisions)), *_evidence(view.task, situation)))
        move, drawn = self.select_action(view.state, rests_on=rests_on)
        waiting = [arm for arm in view.arms if arm.kind == move and not arm.asked]
        return move, max(waiting, key=lambda arm: promise(view, arm, situation), default=None), drawn

    def _fight(self, view: View, arm: Arm, situation: Situation) -> Decision:
        gain = view.gap - _mean(view.aims, arm.runs)
        why = f"{_missed(view)}; {_what(view, arm, situation)} met it in {len(arm.runs)} of {len(arm.runs)} trials; the duel decides"
        action = Action(kind=arm.kind, task=view.task.id, details=arm.candidate.details)
        return _decision(action, situation, expected=gain, expects=SHRINKS, why=why)


SHRINKS = "by how much the champion's shortfall shrinks"
WORTH = "value of the move: by how much the champion's shortfall shrinks, net of cost"


def duel_of(situation: Situation) -> int:
    """Measurements kept back for the next duel: as many as it takes to win, which its place among all duels tells."""
    k = 1 + sum(one.action.kind in IMPROVING for one in situation.decisions)
    return 2 * promotion.fewest(promotion.share(k, ERROR))


def seen(task: Task, situation: Situation, untried: Untried = untried) -> View | None:
    """Where `task` stands; None when there is nothing measured to look at."""
    verdicts = tuple(verdict for verdict in situation.verdicts if verdict.task == task.id)
    aims = tuple(_aim(task, verdict) for verdict in verdicts if verdict.threshold is not None)
    if not verdicts or not aims:
        return None
    champion = situation.champions.get(task.id) or Candidate(module=task.module, config=task.config)
    gap = sum(_short(verdict) for verdict in verdicts)
    wanting = [v for word in (Word.FAIL, Word.UNSURE) for v in verdicts if v.state is word and v.threshold is not None]
    subject = _aim(task, wanting[0]) if wanting else None
    arms = tuple(_arms(task, situation, untried)) if subject else ()
    tune, refactor, replace = (_stock(kind, arms, task, champion, situation) for kind in KINDS)
    former = [_short(verdict) for verdict in situation.former if verdict.task == task.id]
    fell = bool(former) and gap > sum(former)
    trend = _trend(aims, gap, situation.trials.get(task.id, ()))
    left = "few" if situation.trials_left.get(task.id, 0) <= duel_of(situation) + FEW else "plenty"
    about = subject.asks if subject else "quality"
    state = State(distance(gap), about, trend, left, tune, refactor, replace, "yes" if fell else "no")
    met = [arm for arm in arms if subject and _promises(arm, subject, aims, gap)]
    return View(
        task=task, verdicts=verdicts, aims=aims, gap=gap, subject=subject, arms=arms, state=state,
        busy=met[0] if met and not fell else None,
    )  # fmt: skip


def promise(view: View, arm: Arm, situation: Situation) -> float:
    """What trials of the same setting say of one that was not tried: more of what brought it nearer, less of what did not.

    Zero where nothing is known, so that of equals the first in the order of `agents.candidates` comes next.
    """
    champion = situation.champions.get(view.task.id) or Candidate(module=view.task.module, config=view.task.config)
    here = _moved(champion, arm.candidate)
    if here is None:
        return 0.0
    known = [
        (moved[1], view.gap - _mean(view.aims, other.runs))
        for other in view.arms
        if other.runs and (moved := _moved(champion, other.candidate)) is not None and moved[0] == here[0]
    ]
    same = [(abs(by), gain) for by, gain in known if by * here[1] > 0]
    if same:
        by, gain = min(same, key=lambda one: abs(one[0] - abs(here[1])))
        return gain * min(2.0, abs(here[1]) / by)
    return -0.5 * min((gain for _, gain in known), default=0.0) if known else 0.0


def _moved(champion: Candidate, candidate: Candidate) -> tuple[str, float] | None:
    """The one number that parts a candidate from its champion and the logarithm of its factor; None where it is more, or no number."""
    before, after = dict(entries(champion.config)), dict(entries(candidate.config))
    paths = [path for path in {*before, *after} if before.get(path) != after.get(path)]
    if champion.module != candidate.module or len(paths) != 1:
        return None
    old, new = (_number(champion.module, config, paths[0]) for config in (before, after))
    return (paths[0], math.log(new / old)) if old and new and old > 0 and new > 0 else None


def _number(module: str, config: Mapping[str, object], path: str) -> float | None:
    """The number at `path`, by default the shelf's; None when it is none."""
    entry, name = catalogue.shelf("module")[module], path.rpartition(".")[2]
    trainer = catalogue.shelves().recipe if path.startswith("recipe.") else {}
    fallback = entry.recipe.get(name, trainer[name][1]) if name in trainer else entry.fields.get(name, ("", None))[1]
    value = config.get(path, fallback)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def steps(situation: Situation, views: Mapping[str, View]) -> list[Step]:
    """What was chosen so far and what came of it, in the order of the choices; a step under way is not among them."""
    found: list[tuple[int, Step]] = []
    fights = {one.decision: len(one.bout.runs) for one in situation.tried if one.bout is not None}
    for task, view in views.items():
        mine = [
            (place, one) for place, one in enumerate(situation.decisions) if one.decider == "refactor" and one.action.task == task
        ]
        chosen = [(place, one, note) for place, one in mine if (note := NOTE.search(str(one.action.details.get("note", ""))))]
        for (place, one, note), following in zip_longest(chosen, chosen[1:]):
            if following is None and view.busy is not None:
                continue
            until = following[0] if following else len(situation.decisions)
            after = State.of(following[2]["state"]) if following else view.state
            gap = float(following[2]["gap"]) if following else view.gap
            spent = sum(_trials(other) + fights.get(other.id, 0) for place_, other in mine if place <= place_ < until)
            ended = one.action.kind == "stop" or not after.moves
            worth = reward(float(note["gap"]), gap, measurements=spent)
            found.append((place, Step(State.of(note["state"]), _move(one, note.string), worth, None if ended else after)))
    return [step for _, step in sorted(found, key=lambda item: item[0])]


def _arms(task: Task, situation: Situation, untried: Untried) -> Iterator[Arm]:
    runs = situation.trials.get(task.id, ())
    trials = [one for one in situation.decisions if one.action.kind == TRIAL and one.action.task == task.id]
    for kind in (kind for kind in KINDS if kind in task.improve):
        for candidate in untried(task, kind, situation):
            mine = tuple(run for run in runs if (run.request.module, run.request.config) == (candidate.module, candidate.config))
            asked = sum(Candidate.of(details) == candidate for one in trials for details in one.action.details["candidates"])
            yield Arm(kind=kind, candidate=candidate, runs=mine, asked=asked)


def _stock(kind: str, arms: Sequence[Arm], task: Task, champion: Candidate, situation: Situation) -> str:
    mine = [arm for arm in arms if arm.kind == kind]
    if all(arm.asked for arm in mine):
        return "none"
    fought = any(one.kind == kind and one.task == task.id and one.champion == champion for one in situation.tried)
    return "tried" if fought or any(arm.asked for arm in mine) else "fresh"


def _trend(aims: Sequence[Aim], gap: float, runs: Sequence[Run]) -> str:
    if not runs:
        return "untried"
    last = runs[-1].request
    before = [shortfall(aims, run) for run in runs if (run.request.module, run.request.config) != (last.module, last.config)]
    return "nearer" if shortfall(aims, runs[-1]) < min([gap, *before]) else "no-nearer"


def _settle(view: View, situation: Situation, value: float, note: str) -> Decision:
    """Let the nearest candidate fight; stop where none is nearer than the champion."""
    tried = [arm for arm in view.arms if arm.runs]
    nearest = min(tried, key=lambda arm: _mean(view.aims, arm.runs), default=None)
    left = situation.trials_left.get(view.task.id, 0)
    if nearest is not None and _mean(view.aims, nearest.runs) < view.gap and left:
        if len(nearest.runs) < ENOUGH and left > duel_of(situation):
            return _try(view, nearest, situation, value=value, note=note)
        gain = view.gap - _mean(view.aims, nearest.runs)
        why = f"{_missed(view)}; {_what(view, nearest, situation)} came nearest; the duel decides"
        details = {**nearest.candidate.details, "note": note}
        return _decision(
            Action(kind=nearest.kind, task=view.task.id, details=details), situation, expected=gain, expects=SHRINKS, why=why
        )
    why = f"{_missed(view)}; nothing that is left to try is worth its measurements"
    return _decision(
        Action(kind="stop", task=view.task.id, details={"note": note}), situation, expected=value, expects=WORTH, why=why
    )


def _try(view: View, arm: Arm, situation: Situation, *, value: float | None = None, note: str = "") -> Decision:
    trials = [one for one in situation.decisions if one.action.kind == TRIAL and one.action.task == view.task.id]
    seed = SEEDS.start + len(trials) % len(SEEDS)
    details = {"candidates": [arm.candidate.details], "seeds": [seed], **({"note": note} if note else {})}
    again = f", again after {len(arm.runs)}" if arm.runs else ""
    why = f"{_missed(view)}; {_what(view, arm, situation)} ({arm.kind}) on seed {seed}{again}"
    gain = view.gap - _mean(view.aims, arm.runs) if arm.runs else 0.0
    action = Action(kind=TRIAL, task=view.task.id, details=details)
    return _decision(
        action, situation, expected=gain if value is None else value, expects=SHRINKS if value is None else WORTH, why=why
    )


def _rollback(view: View, situation: Situation, value: float, note: str) -> Decision | None:
    made = [
        one
        for one in situation.tried
        if one.task == view.task.id and one.stands and not one.rolled_back and one.bout and one.bout.answer == "promote"
    ]
    if not made:
        return None
    action = Action(kind="rollback", task=view.task.id, details={"decision": made[-1].decision, "note": note})
    why = f"{_missed(view)}, which the champion before it met"
    return _decision(action, situation, expected=value, expects=WORTH, why=why)


def _decision(action: Action, situation: Situation, *, expected: float, expects: str, why: str) -> Decision:
    evidence = _evidence(situation.plan.task(action.task), situation)
    text = "\n".join(("refactor", action.kind, action.task, repr(action.details), *evidence))
    id = "d" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return Decision(id=id, decider="refactor", action=action, evidence=evidence, expected=expected, expects=expects, why=why)


def _evidence(task: Task, situation: Situation) -> tuple[str, ...]:
    runs = (*situation.runs.get(task.id, ()), *situation.trials.get(task.id, ()))
    return tuple(dict.fromkeys(run.id for run in runs))


def _aim(task: Task, verdict: Verdict) -> Aim:
    target, entry = verdict.target, catalogue.shelf("benchmark").get(task.benchmark)
    units: Mapping[str, str] = (entry.arguments.get("metrics") or {}) if entry else {}
    about = asks(units.get(target.metric, ""), target.metric)
    assert verdict.threshold is not None
    return Aim(metric=target.metric, comparator=target.comparator, threshold=verdict.threshold, asks=about)


def _short(verdict: Verdict) -> float:
    if verdict.state is Word.PASS:
        return 0.0
    return 1.0 if verdict.margin is None else missed(max(0.0, -verdict.margin))


def _mean(aims: Sequence[Aim], runs: Sequence[Run]) -> float:
    return sum(shortfall(aims, run) for run in runs) / len(runs)


def _promises(arm: Arm, subject: Aim, aims: Sequence[Aim], gap: float) -> bool:
    """Whether all its trials met the target, and none of them cost more elsewhere."""
    met = bool(arm.runs) and all(subject.met(run) for run in arm.runs) and arm.asked <= len(arm.runs)
    return met and _mean(aims, arm.runs) < gap


def _trials(decision: Decision) -> int:
    details = decision.action.details
    return len(details["candidates"]) * len(details["seeds"]) if decision.action.kind == TRIAL else 0


def _move(decision: Decision, note: str) -> str:
    return note.rpartition(": ")[2]


def _missed(view: View) -> str:
    return ", ".join(f"`{v.id}`" for v in view.verdicts if v.state is not Word.PASS) + " not met"


def _what(view: View, arm: Arm, situation: Situation) -> str:
    champion = situation.champions.get(view.task.id) or Candidate(module=view.task.module, config=view.task.config)
    return told(champion, arm.candidate)
