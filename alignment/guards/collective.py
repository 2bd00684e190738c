"""What people agreed on is held up against every reason: rules that every opinion group of a conversation supports, as the ledger holds them."""

from __future__ import annotations

from alignment.agreed import AgreedJudge
from alignment.encoder import Encoder
from alignment.steps import steps_of
from plan.catalogue import guard
from plan.decision import Decision, Opinion, Situation, Stance
from plan.precepts import Origin, Precept

CLAUSE = "a reason breaks no rule that people agreed on"


@guard("collective", clause="a reason breaks no rule that people agreed on")
class Collective:
    """Objects to a step that breaks a rule people voted for, abstains where it is not sure, and is silent where there is no such rule."""

    def __init__(self, encode: Encoder | None = None) -> None:
        self._encode, self._rules, self._judge = encode, tuple[str, ...](), None

    _judge: AgreedJudge | None

    def review(self, decision: Decision, situation: Situation) -> Opinion:
        rules = [one for one in situation.precepts if one.origin is Origin.VOTES]
        if not rules:
            return _allowed(
                decision, "no rules of people's votes are on record (`orchestrate rules --votes EXPORT` derives them)"
            )
        judge, steps = self._made(tuple(one.text for one in rules)), steps_of(decision.why)
        found = judge.check(steps)
        if found is None:
            return _allowed(decision, f"says nothing to hold against {len(rules)} rules")
        rule = rules[found.rule]
        told = f"confidence {found.confidence:.2f}, {judge.encode.name}"
        if found.confidence <= judge.objects_from:
            why = f"{len(steps)} steps against {len(rules)} rules; nearest to a breach: step {found.step + 1} of `{rule.id}` ({told}; objects above {judge.objects_from:.2f})"
            return _allowed(decision, why, found.confidence)
        why = f"step {found.step + 1}: {steps[found.step]} ({told}); the rule: {rule.rests_on}"
        return Opinion(
            guard="collective",
            decision=decision.id,
            stance=Stance.OBJECT,
            clause=_clause(rule),
            why=why,
            confidence=found.confidence,
        )

    def _made(self, rules: tuple[str, ...]) -> AgreedJudge:
        if self._judge is None or rules != self._rules:
            self._judge, self._rules = AgreedJudge(rules, encode=self._encode), rules
        return self._judge


def _clause(rule: Precept) -> str:
    return f"{rule.id}: {rule.text}"


def _allowed(decision: Decision, why: str, confidence: float | None = None) -> Opinion:
    return Opinion(
        guard="collective",
        decision=decision.id,
        stance=Stance.ALLOW,
        clause=CLAUSE,
        why=why,
        confidence=confidence,
        abstains=confidence is None,
    )
