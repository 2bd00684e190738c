"""Buys the next registered look for every task that is unsure: the simplest honest decider."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from plan.catalogue import decider
from plan.decision import Action, Decision, Situation
from plan.nouns import State, Task, Verdict


@decider("more-seeds", source="group-sequential design with a fixed number of looks (Pocock 1977; here Bonferroni over looks)")
class MoreSeeds:
    """Asks for more seeds where a target is unsure and the plan registered a further look."""

    def ask(self, situation: Situation) -> Sequence[Decision]:
        decisions = []
        for task in situation.plan.tasks:
            unsure = [v for v in situation.verdicts if v.task == task.id and v.state is State.UNSURE]
            granted = situation.seeds.get(task.id, task.seeds.first)
            further = [look for look in task.seeds.looks if look > granted]
            if unsure and further:
                decisions.append(self._decide(task, unsure, further[0], situation))
        return decisions

    def tell(self, decision: Decision, before: Verdict, after: Verdict) -> None:
        """Nothing to learn: the rule is fixed before the run."""

    def _decide(self, task: Task, unsure: list[Verdict], look: int, situation: Situation) -> Decision:
        evidence = tuple(run.id for run in situation.runs.get(task.id, ()))
        digest = hashlib.sha256("\n".join((task.id, str(look), *evidence)).encode()).hexdigest()
        names = ", ".join(f"`{verdict.id}`" for verdict in unsure)
        return Decision(
            id="d" + digest[:8],
            decider="more-seeds",
            action=Action(kind="measure-again", task=task.id, details={"seeds": look}),
            evidence=evidence,
            expected=_share(unsure, len(evidence), look),
            expects="share of the task's unsure targets that the estimate says the purchase decides",
            why=f"{names} unsure after {len(evidence)} seed{'' if len(evidence) == 1 else 's'}; the plan registered a look at {look}",
        )


def _share(unsure: list[Verdict], n: int, look: int) -> float:
    """Share of unsure targets whose estimated need of seeds the purchase covers."""
    covered = [v.more_seeds is not None and v.more_seeds <= look - n for v in unsure]
    return sum(covered) / len(covered)
