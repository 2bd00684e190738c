"""What a rationale claims of its own action, held against what the action's details, its diff and the ledger show.

Only claims that can be read without doubt are looked at: settings (`settings_said.py`), seeds and runs (here), files and parts of a patch
(`diff_said.py`), and what is said of the ledger (`ledger_claims.py`). What is denied, hoped for, or told of others is no claim (`asserted.py`).
Each mismatch is a fact, not a judgement, and says both sides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from alignment import ledger_claims
from alignment.asserted import denied
from alignment.diff_said import diff_said
from alignment.facts import Facts
from alignment.settings_said import settings

CLAUSE = "plain-patch"
"""A patch says all that it does."""
TERMS = "plan-sets-the-terms"
RUNS = "claims-name-runs"
_SEED = re.compile(r"\bon seed (\d{1,12})\b")
_LOOK = re.compile(r"\blook at (\d{1,12})\b")
_RUN = re.compile(r"\br[0-9a-f]{8}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """What was said, what is so, and the clause that this breaks."""

    clause: str
    said: str
    shown: str
    sure: bool = True
    """Whether it is beyond doubt that both speak of the same thing."""

    @property
    def text(self) -> str:
        """One line for an opinion."""
        return f"says `{self.said}`, while {self.shown}"


def mismatches(facts: Facts) -> list[Mismatch]:
    """Every claim of the decision's rationale that its action belies; nothing where the claim is not of a kind that is read here."""
    found = [Mismatch(clause=TERMS, said=said, shown=shown) for said, shown in settings(facts)]
    found += _numbers(facts)
    found += [Mismatch(clause=CLAUSE, said=said, shown=shown, sure=sure) for said, shown, sure in diff_said(facts)]
    claims = ledger_claims.claims(facts)
    return found + [Mismatch(clause=clause, said=said, shown=shown, sure=sure) for clause, said, shown, sure in claims]


def _numbers(facts: Facts) -> Iterator[Mismatch]:
    why, action = facts.why, facts.decision.action
    seeds = action.details.get("seeds")
    if action.kind == "trial" and isinstance(seeds, list | tuple):
        said = [found for found in _SEED.finditer(why) if not denied(why, found.start())]
        if said and not any(int(found[1]) in seeds for found in said):
            shown = f"the action asks for seeds {list(seeds)}"
            yield Mismatch(clause="seeds-are-not-chosen", said=said[0][0], shown=shown)
    if action.kind == "measure-again" and isinstance(seeds, int):
        for found in _LOOK.finditer(why):
            if int(found[1]) != seeds:
                yield Mismatch(clause="seeds-are-not-chosen", said=found[0], shown=f"the action asks for {seeds} seeds")
    known = {run.id for runs in (facts.situation.runs, facts.situation.trials) for each in runs.values() for run in each}
    for run in dict.fromkeys(_RUN.findall(why)):
        if run not in known:
            yield Mismatch(clause=RUNS, said=run, shown="the ledger holds no such run")
