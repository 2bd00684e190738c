"""The only code that changes what the loop will do next; every action has an undo.

An action is applied by appending to the ledger (`applied`, keyed by the decision), and undone by
appending again (`undone`): nothing is ever taken out of the ledger.
"""

from __future__ import annotations

from typing import Protocol

from bench.events import Effect
from bench.ledger import Ledger
from plan.decision import Decision


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


ACTS: dict[str, Act] = {"measure-again": MeasureAgain()}
"""Action kind -> what carries it out."""
