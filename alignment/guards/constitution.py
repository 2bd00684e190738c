"""The constitution holds: every clause of plan/Constitution.md, by the checks on facts that it is bound to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alignment.checks import checks
from alignment.constitution import Clause, Constitution, constitution
from alignment.facts import Facts, Read, digests, house_file
from plan.catalogue import guard
from plan.decision import Decision, Opinion, Situation, Stance

CLAUSE = "the constitution holds"
Broken = tuple[Clause, str]
"""A clause, and what broke it."""


@guard("constitution", clause="the constitution holds")
class ConstitutionGuard:
    """Blocks what breaks a clause, and names the clause; one that is only worth a word is put on record."""

    def __init__(
        self,
        law: Constitution | None = None,
        *,
        read: Read = house_file,
        digests: Callable[[], Mapping[str, str]] = digests,
    ) -> None:
        self._law = law or constitution()
        self._read, self._digests = read, digests
        self._baseline = digests()

    def review(self, decision: Decision, situation: Situation) -> Opinion:
        broken = self.broken(decision, situation)
        if not broken:
            held = sum(1 for clause in self._law.clauses if set(clause.checks) & checks().keys())
            return Opinion(
                guard="constitution", decision=decision.id, stance=Stance.ALLOW, clause=CLAUSE, why=f"{held} clauses hold"
            )
        clause, first = broken[0]
        others = f" (also {', '.join(f'`{other.id}`' for other, _ in broken[1:])})" if broken[1:] else ""
        return Opinion(guard="constitution", decision=decision.id, stance=clause.stance, clause=clause.text, why=first + others)

    def broken(self, decision: Decision, situation: Situation) -> list[Broken]:
        """Every clause that the decision breaks, those that block first, otherwise as the constitution orders them."""
        facts = Facts(decision=decision, situation=situation, read=self._read, baseline=self._baseline, now=self._digests)
        found = [(clause, why) for clause in self._law.clauses if (why := _why(clause, facts))]
        return sorted(found, key=lambda item: item[0].stance is not Stance.BLOCK)


def _why(clause: Clause, facts: Facts) -> str:
    """What of the clause's checks finds first; a check that fails on hostile input counts as broken, never as held."""
    for name in clause.checks:
        if (check := checks().get(name)) is None:
            continue  # kept by the harness, or before the session
        try:
            if why := check(facts):
                return why
        except Exception as error:  # the decision may hold anything
            return f"`{name}` cannot read it: {type(error).__name__}: {error}"
    return ""
