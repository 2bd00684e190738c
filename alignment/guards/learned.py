"""What slipped through once is not tried again: rules that were learnt from failures, as the ledger holds them."""

from __future__ import annotations

from alignment.learned import breaks
from plan.catalogue import guard
from plan.decision import IMPROVING, Decision, Opinion, Situation, Stance
from plan.precepts import Origin, Precept

CLAUSE = "what slipped through is not tried again"


@guard("learned", clause="what slipped through is not tried again")
class Learned:
    """Blocks a change that breaks a rule learnt from failures, with the decisions that caused it; silent where nothing was learnt."""

    def review(self, decision: Decision, situation: Situation) -> Opinion:
        rules = [one for one in situation.precepts if one.origin is Origin.FAILURES]
        broken = next((one for one in rules if breaks(decision, one)), None) if decision.action.kind in IMPROVING else None
        if broken is None:
            why = f"breaks none of {len(rules)} learnt rules" if rules else "nothing was learnt from failures yet"
            idle = not rules or decision.action.kind not in IMPROVING
            return Opinion(guard="learned", decision=decision.id, stance=Stance.ALLOW, clause=CLAUSE, why=why, abstains=idle)
        return Opinion(
            guard="learned", decision=decision.id, stance=Stance.BLOCK, clause=f"{broken.id}: {broken.text}", why=_why(broken),
            confidence=broken.confidence,
        )  # fmt: skip


def _why(broken: Precept) -> str:
    named = ", ".join(broken.causes[:3]) + (f" and {len(broken.causes) - 3} more" if len(broken.causes) > 3 else "")
    return f"as {named} did, which turned out badly; the rule {broken.rests_on} (confidence {broken.confidence or 0:.2f})"
