"""The only code that changes what the loop will do next; every action has an undo.

An action is applied by appending to the ledger (`applied`, keyed by the decision), and undone by
appending again (`undone`): nothing is ever taken out of the ledger.
"""

from __future__ import annotations

from typing import Protocol

from bench.events import Effect
from bench.ledger import Ledger
from plan.catalogue import suggest
from plan.decision import Decision, Opinion, Stance
from plan.nouns import Plan


class Act(Protocol):
    """Carries out one kind of action, and takes it back."""

    def apply(self, decision: Decision, ledger: Ledger) -> None:
        """Carry it out. Applying the same decision twice is one application."""
        ...

    def undo(self, decision: Decision, ledger: Ledger) -> None:
        """Take it back. What was measured meanwhile stays in the ledger but no longer counts."""
        ...


class MeasureAgain:
    """Grants a task the number of seeds in `details["seeds"]`; tasks it is compared with follow."""

    def apply(self, decision: Decision, ledger: Ledger) -> None:
        ledger.append("applied", decision.id, Effect(details=decision.action.details))

    def undo(self, decision: Decision, ledger: Ledger) -> None:
        ledger.append("undone", decision.id, Effect(details={"why": "seeds granted by this decision no longer count"}))


POSSIBLE = "only what can be carried out is decided"
"""The clause on which the house itself refuses a decision, before any guard is asked."""


def refusal(decision: Decision, plan: Plan) -> Opinion | None:
    """Why no action could carry out `decision` on `plan`, as an opinion that blocks it; none when one can."""
    action = decision.action
    names, word, told = (
        (ACTS, action.kind, "action") if action.kind not in ACTS else ([t.id for t in plan.tasks], action.task, "task")
    )
    if word in names:
        return None
    near = suggest(word, names)
    why = f"there is no {told} `{word}`" + (f"; did you mean `{near}`?" if near else f"; there are {', '.join(names)}")
    return Opinion(guard="actions", decision=decision.id, stance=Stance.BLOCK, clause=POSSIBLE, why=why)


ACTS: dict[str, Act] = {"measure-again": MeasureAgain()}
"""Action kind -> what carries it out."""
