"""More seeds come only as the plan fixed them before the run: the next look, never beyond `up to`."""

from __future__ import annotations

from plan.catalogue import guard
from plan.decision import Decision, Opinion, Situation, Stance

CLAUSE = "sample sizes are those the plan registered before the first run"


@guard("preregistered", clause="sample sizes are those the plan registered before the first run")
class Preregistered:
    """Blocks a purchase of seeds that is not the task's next registered look."""

    def review(self, decision: Decision, situation: Situation) -> Opinion:
        stance, why = self._judge(decision, situation)
        idle = decision.action.kind != "measure-again"
        return Opinion(guard="preregistered", decision=decision.id, stance=stance, clause=CLAUSE, why=why, abstains=idle)

    def _judge(self, decision: Decision, situation: Situation) -> tuple[Stance, str]:
        if decision.action.kind != "measure-again":
            return Stance.ALLOW, "asks for no seeds"
        task = situation.plan.task(decision.action.task)
        wanted, looks = decision.action.details.get("seeds"), task.seeds.looks
        granted = situation.seeds.get(task.id, task.seeds.first)
        if wanted not in looks:
            return Stance.BLOCK, f"{wanted} seeds is not among the registered looks {list(looks)} of `{task.id}`"
        if looks.index(wanted) > 0 and looks[looks.index(wanted) - 1] > granted:
            return Stance.BLOCK, f"`{task.id}` has {granted} seeds; {wanted} would skip a registered look of {list(looks)}"
        return Stance.ALLOW, f"{wanted} is a registered look of `{task.id}`"
