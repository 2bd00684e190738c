"""No claim without a run id: a decision has to rest on measurements that the ledger holds."""

from __future__ import annotations

from plan.catalogue import guard
from plan.decision import Decision, Opinion, Situation, Stance

CLAUSE = "no claim without a run id"


@guard("evidence", clause="no claim without a run id")
class Evidence:
    """Blocks a decision that names no run, or a run the ledger does not hold for its task."""

    def review(self, decision: Decision, situation: Situation) -> Opinion:
        task = decision.action.task
        known = {run.id for run in (*situation.runs.get(task, ()), *situation.trials.get(task, ()))}
        strangers = [name for name in decision.evidence if name not in known]
        if not decision.evidence:
            stance, why = Stance.BLOCK, "names no run as evidence"
        elif strangers:
            stance, why = Stance.BLOCK, f"the ledger holds no run {', '.join(strangers)} of `{decision.action.task}`"
        else:
            stance, why = Stance.ALLOW, f"rests on {len(decision.evidence)} recorded runs"
        return Opinion(guard="evidence", decision=decision.id, stance=stance, clause=CLAUSE, why=why)
