"""A decision that no action can carry out is refused with a recorded reason, and the loop goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from agents.orchestrator import Options, Orchestrator
from bench.fold import fold
from bench.ledger import Ledger
from plan.decision import Action, Decision, Situation, Stance
from plan.grammar import parse
from plan.nouns import Verdict

PLAN = """# Plan: one number

## size: parameters of an attention

- **module**: `attention`
- **benchmark**: `flops-v1`
- **seeds**: 1
- **gate**: off

| metric       |   | threshold | rule       |
| ------------ | - | --------: | ---------- |
| `parameters` | > |         1 | every seed |
"""


class Fanciful:
    """Proposes one action, whatever is known."""

    def __init__(self, action: Action) -> None:
        self.action = action

    def ask(self, situation: Situation) -> Sequence[Decision]:
        return [
            Decision(id="d1", decider="fanciful", action=self.action, evidence=(), expected=1.0, expects="joy", why="why not")
        ]

    def tell(self, decision: Decision, before: Verdict, after: Verdict) -> None:
        raise AssertionError("nothing was applied")


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (Action(kind="measure-agian", task="size"), "there is no action `measure-agian`; did you mean `measure-again`?"),
        (Action(kind="measure-again", task="sise", details={"seeds": 2}), "there is no task `sise`; did you mean `size`?"),
    ],
)
def test_a_decision_nobody_can_carry_out_is_blocked_and_recorded(action: Action, why: str, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger, ledger.hold():
        loop = Orchestrator(parse(PLAN), ledger, work=tmp_path / "work", options=Options(workers=1), watch=lambda event: None)
        loop.council.deciders = {"fanciful": Fanciful(action)}
        (verdict,) = anyio.run(loop.run)
        (case,) = fold(ledger.events()).cases.values()
    assert verdict.state == "pass"
    assert [(one.guard, one.stance, one.why) for one in case.opinions] == [("actions", Stance.BLOCK, why)]
    assert case.applied is None
