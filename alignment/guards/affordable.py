"""No budget is exceeded: what a decision would cost has to fit what the plan still grants its task."""

from __future__ import annotations

from plan.catalogue import guard
from plan.decision import Decision, Opinion, Situation, Stance

CLAUSE = "no budget is exceeded"


@guard("affordable", clause="no budget is exceeded")
class Affordable:
    """Blocks a purchase whose cost, at the mean of the task's runs so far, exceeds the task's budget. What another task pays for is free."""

    def review(self, decision: Decision, situation: Situation) -> Opinion:
        stance, why = self._judge(decision, situation)
        idle = decision.action.kind != "measure-again"
        return Opinion(guard="affordable", decision=decision.id, stance=stance, clause=CLAUSE, why=why, abstains=idle)

    def _judge(self, decision: Decision, situation: Situation) -> tuple[Stance, str]:
        if decision.action.kind != "measure-again":
            return Stance.ALLOW, "judges purchases of seeds only; what a trial or duel may spend is limited where it is measured"
        task = situation.plan.task(decision.action.task)
        known, free = situation.runs.get(task.id, ()), situation.free.get(task.id, frozenset())
        runs = [run for run in known if run.request.seed not in free]
        more = sum(seed not in free for seed in range(len(known), int(decision.action.details.get("seeds", 0))))
        if task.budget.runs is not None and len(runs) + more > task.budget.runs:
            return Stance.BLOCK, f"{len(runs)} + {more} runs exceed the {task.budget.runs} that `{task.id}` may use"
        if task.budget.seconds is not None and known:
            spent = sum(run.cost.seconds for run in runs)
            asked = more * sum(run.cost.seconds for run in known) / len(known)
            if spent + asked > task.budget.seconds:
                left = max(0.0, task.budget.seconds - spent)
                return Stance.BLOCK, f"about {asked:.0f} s more exceed the {left:.0f} s left to `{task.id}`"
        return Stance.ALLOW, f"{more} more run{'' if more == 1 else 's'} fit the budget of `{task.id}`"
