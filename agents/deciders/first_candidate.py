"""Tries on every failing task what was not tried yet, in the fixed order of the shelves: the baseline that other deciders have to beat."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from agents.candidates import fallen, untried
from plan.catalogue import decider
from plan.decision import IMPROVING, Action, Candidate, Decision, Situation, told
from plan.nouns import State, Task, Verdict
from plan.wire import encode


@decider("first-candidate", source="exhaustive search in a fixed order", baseline=True)
class FirstCandidate:
    """Proposes the first candidate that was not tried, and takes a champion back that meets fewer targets than the one before it."""

    def ask(self, situation: Situation) -> Sequence[Decision]:
        decisions: list[Decision] = []
        for task in situation.plan.tasks:
            verdicts = [verdict for verdict in situation.verdicts if verdict.task == task.id]
            if any(verdict.state is State.WAITING for verdict in verdicts) or not task.improve:
                continue
            if champion := fallen(task, situation):
                action = Action(kind="rollback", task=task.id, details={"decision": champion})
                decisions.append(_decision(action, situation, "the champion meets fewer targets than the one before it"))
            elif needy(task, verdicts, situation) and situation.trials_left.get(task.id):
                decisions += self._try(task, verdicts, situation)
        return decisions

    def tell(self, decision: Decision, before: Verdict, after: Verdict) -> None:
        """Nothing to learn: the order is fixed."""

    def _try(self, task: Task, verdicts: Sequence[Verdict], situation: Situation) -> Iterator[Decision]:
        for kind in (kind for kind in task.improve if kind in IMPROVING):
            for candidate in untried(task, kind, situation):
                missed = ", ".join(f"`{verdict.id}`" for verdict in verdicts if verdict.state is not State.PASS)
                champion = situation.champions.get(task.id, Candidate(module=task.module, config=task.config))
                why = f"{missed} not met; the next one in the fixed order is {told(champion, candidate)}"
                yield _decision(Action(kind=kind, task=task.id, details=candidate.details), situation, why)
                return


def needy(task: Task, verdicts: Sequence[Verdict], situation: Situation) -> bool:
    """Whether a target fails, or is unsure although the plan registered no further look."""
    looked = situation.seeds.get(task.id, task.seeds.first) >= task.seeds.most
    return any(verdict.state is State.FAIL or (verdict.state is State.UNSURE and looked) for verdict in verdicts)


def _decision(action: Action, situation: Situation, why: str) -> Decision:
    evidence = tuple(run.id for run in situation.runs.get(action.task, ()))
    digest = hashlib.sha256("\n".join((encode(action), *evidence)).encode()).hexdigest()
    return Decision(
        id="d" + digest[:8],
        decider="first-candidate",
        action=action,
        evidence=evidence,
        expected=0.0,
        expects="improvement of the margin of the task's first failing target",
        why=why,
    )
