"""Learns which kind of change mends a failing task: tries one candidate at a time, lets the one that met its target fight, and takes back what hurt.

The agent picks the kind (`tune`, `refactor`, `replace`), `rollback` or `stop` by tabular Q-learning; `agents.candidates` says which candidate of
a kind comes next. A step begins with such a choice and ends with the next choice on the same task. What it saw is in the decision's note, what
came of it in the ledger, so the table is folded from past decisions each time: a run that was killed has learnt as much as one that was not.
Exploration is drawn from a digest of what the decision rests on, so the same ledger gives the same decision, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from agents.candidates import untried
from agents.deciders.first_candidate import needy
from agents.learning.lore import Change, Lore
from agents.learning.tabular import QTable, Step, Value, folded, prior
from agents.learning.view import (
    Arm,
    Terms,
    Untried,
    View,
    champion_of,
    change_of,
    duel_of,
    is_of,
    mean,
    measured_elsewhere,
    moved_to,
    moves_of,
    name_of,
    promise,
    seen,
    terms_of,
)
from agents.trials import SEEDS, TRIAL
from envs.changes import State, reward, shortfall
from plan.catalogue import decider
from plan.decision import Action, Candidate, Decision, Situation, told
from plan.nouns import Run, Task, Verdict
from plan.nouns import State as Word

EPSILON = 0.1
"""How often any possible move is made instead of the best."""
ENOUGH = 2
"""Trials in a row that have to meet the target before a candidate fights; the duel decides, on fresh seeds."""
NOTE = re.compile(r"state (?P<state>[a-z -]+); shortfall (?P<gap>[0-9.]+)(; change (?P<change>\[.*?\]); values)?")


@decider("refactor", source="Watkins and Dayan 1992, tabular Q-learning")
class Refactor:
    """Changes what fails, one try at a time, and learns from what came of it which kind of change to try first."""

    def __init__(self, untried: Untried = untried, *, first: Value = prior, lore: Lore | None = None) -> None:
        """`untried(task, kind, situation)`: what may be tried, in order; a replay leaves out what was not recorded.

        `first`: see QTable. `lore`: what is known of changes from elsewhere.
        """
        self.table, self.untried, self.first = QTable(first=first), untried, first
        self.known = lore or Lore()
        self.lore = self.known
        self.round: set[tuple[Terms, str]] = set()
        """What this round of questions is about to measure, so that tasks that could share it try different things."""

    def ask(self, situation: Situation) -> Sequence[Decision]:
        views = {task.id: view for task in situation.plan.tasks if (view := seen(task, situation, self.untried)) is not None}
        self.table, self.lore = self.learnt(situation, views)
        self.round = set()
        found = (self._next(view, situation) for view in views.values())
        return [decision for decision in found if decision is not None]

    def tell(self, decision: Decision, before: Verdict, after: Verdict) -> None:
        """Nothing is kept: what came of it is folded from the situation."""

    def learnt(self, situation: Situation, views: Mapping[str, View]) -> tuple[QTable, Lore]:
        """The table and the lore after what is on record."""
        lore = Lore(dict(self.known.seen))
        for made, share in shares(situation, views):
            lore.learn(made, share)
        return folded(steps(situation, views), QTable(first=self.first)), lore

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
        if _stopped(task, situation):
            return None
        if view.busy is not None and left:
            return self._fight(view, view.busy, situation) if len(view.busy.runs) >= ENOUGH else _try(view, view.busy, situation)
        move, arm, drawn = self.choose(view, situation)
        if view.state.fell == "no" and left <= duel_of(situation) + 1:
            move, drawn = "stop", False
        values = {other: self.table.value(view.state, other) for other in view.state.moves}
        known = ", ".join(f"{other} {value:+.3f}" for other, value in values.items())
        told = f"; change {json.dumps(change_of(view, arm, situation))}" if arm is not None and not arm.runs else ""
        note = (
            f"state {view.state.text}; shortfall {view.gap:.6f}{told}; values {known}; {'drawn' if drawn else 'the best'}: {move}"
        )
        if move == "rollback":
            return _rollback(view, situation, values[move], note)
        if move == "stop" or arm is None:
            return _settle(view, situation, values["stop"], note)
        self.round.add((terms_of(task), name_of(arm.candidate)))
        return _try(view, arm, situation, value=values[move], note=note)

    def choose(self, view: View, situation: Situation) -> tuple[str, Arm | None, bool]:
        """The next move, the candidate it tries, and whether the move was drawn rather than the best."""
        rests_on = "\n".join((view.task.id, view.state.text, str(len(situation.decisions)), *_evidence(view.task, situation)))
        move, drawn = self.select_action(view.state, rests_on=rests_on)
        return move, self.following(view, move, situation), drawn

    def following(self, view: View, kind: str, situation: Situation) -> Arm | None:
        """The candidate of that kind to try next, None when each was.

        Most promising first: by what it measured for another task, else by what trials of this task say of it, else by what like changes brought others.
        """
        champion, terms = champion_of(view.task, situation), terms_of(view.task)
        known, measured = list(moves_of(view, champion)), self.elsewhere(view, situation)

        def promises(arm: Arm) -> tuple[float, bool]:
            name = name_of(arm.candidate) if measured or self.round else ""
            fresh = (terms, name) not in self.round
            if runs := measured.get(name):
                return view.gap - mean(view.aims, runs), fresh
            here = promise(moved_to(champion, arm.candidate), known)
            return view.gap * self.lore.hope(change_of(view, arm, situation)) if here is None else here, fresh

        waiting = [arm for arm in view.arms if arm.kind == kind and not arm.asked]
        return max(waiting, key=promises, default=None)

    def elsewhere(self, view: View, situation: Situation) -> dict[str, list[Run]]:
        """Trials of other tasks on the same terms, by candidate."""
        return measured_elsewhere(view.task, situation)

    def _fight(self, view: View, arm: Arm, situation: Situation) -> Decision:
        gain = view.gap - mean(view.aims, arm.runs)
        why = f"{_missed(view)}; {_what(view, arm, situation)} met it in {len(arm.runs)} of {len(arm.runs)} trials; the duel decides"
        action = Action(kind=arm.kind, task=view.task.id, details=arm.candidate.details)
        return _decision(action, situation, expected=gain, expects=SHRINKS, why=why)


SHRINKS = "by how much the champion's shortfall shrinks"
WORTH = "value of the move: by how much the champion's shortfall shrinks, net of cost"


def shares(situation: Situation, views: Mapping[str, View]) -> Iterator[tuple[Change, float]]:
    """Of every candidate that was tried: how it changed its champion, and the share of the shortfall that went in its first trial."""
    for decision in situation.decisions:
        details, view = decision.action.details, views.get(decision.action.task)
        note = NOTE.search(str(details.get("note", "")))
        if view is None or note is None or note["change"] is None or decision.action.kind != TRIAL:
            continue
        candidate, gap = Candidate.of(details["candidates"][0]), float(note["gap"])
        runs = (run for run in situation.trials.get(view.task.id, ()) if is_of(run, candidate))
        if gap and (run := next(runs, None)):
            yield tuple(json.loads(note["change"])), (gap - shortfall(view.aims, run)) / gap


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


def _settle(view: View, situation: Situation, value: float, note: str) -> Decision:
    """Let the nearest candidate fight; stop where none is nearer than the champion."""
    tried = [arm for arm in view.arms if arm.runs]
    nearest = min(tried, key=lambda arm: mean(view.aims, arm.runs), default=None)
    left = situation.trials_left.get(view.task.id, 0)
    if nearest is not None and mean(view.aims, nearest.runs) < view.gap and left:
        if len(nearest.runs) < ENOUGH and left > duel_of(situation):
            return _try(view, nearest, situation, value=value, note=note)
        gain = view.gap - mean(view.aims, nearest.runs)
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
    details: dict[str, object] = {"candidates": [arm.candidate.details], "seeds": [seed]}
    if note:
        details["note"] = note
    again = f", again after {len(arm.runs)}" if arm.runs else ""
    why = f"{_missed(view)}; {_what(view, arm, situation)} ({arm.kind}) on seed {seed}{again}"
    gain = view.gap - mean(view.aims, arm.runs) if arm.runs else 0.0
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


def _stopped(task: Task, situation: Situation) -> bool:
    """Whether it was given up, on all that is known now."""
    known = _evidence(task, situation)
    return any(one.action.kind == "stop" and one.action.task == task.id and one.evidence == known for one in situation.decisions)


def _evidence(task: Task, situation: Situation) -> tuple[str, ...]:
    runs = (*situation.runs.get(task.id, ()), *situation.trials.get(task.id, ()))
    return tuple(dict.fromkeys(run.id for run in runs))


def _trials(decision: Decision) -> int:
    details = decision.action.details
    return len(details["candidates"]) * len(details["seeds"]) if decision.action.kind == TRIAL else 0


def _move(decision: Decision, note: str) -> str:
    return note.rpartition(": ")[2]


def _missed(view: View) -> str:
    return ", ".join(f"`{v.id}`" for v in view.verdicts if v.state is not Word.PASS) + " not met"


def _what(view: View, arm: Arm, situation: Situation) -> str:
    return told(champion_of(view.task, situation), arm.candidate)
