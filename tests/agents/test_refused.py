"""A decision that no action can carry out is refused with a recorded reason, and the loop goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.events import Noted
from agents.orchestrator import Options, Orchestrator
from bench.fold import Case, fold
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

    def __init__(self, action: Action, why: Any = "why not") -> None:
        self.action, self.why = action, why

    def ask(self, situation: Situation) -> Sequence[Decision]:
        return [Decision(id="d1", decider="fanciful", action=self.action, evidence=(), expected=1.0, expects="joy", why=self.why)]

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


BUY = Action(kind="measure-again", task="size", details={"seeds": 1})


@pytest.mark.parametrize(
    ("action", "reason", "why"),
    [
        (BUY, "1" * 50_000, "its reason has 50,000 letters; 4,000 are read at most"),
        (BUY, "seed 3\x1b[2Jis fine", "its reason holds the unseen character '\\x1b'"),
        (BUY, "s\u200bkip", "its reason holds the unseen character '\\u200b'"),
        (BUY, "a\u202eb", "its reason holds the unseen character '\\u202e'"),
        (
            Action(kind="tune", task="size", details={"config": {"lr": 10**400}}),
            "",
            "a number that is none or beyond 1e+300: a whole number",
        ),
        (
            Action(kind="tune", task="size", details={"config": {"recipe": {"lr": [1e301]}}}),
            "",
            "a number that is none or beyond 1e+300: 1e+301",
        ),
    ],
    ids=("long", "escape", "hidden", "backwards", "large", "large within"),
)
def test_what_cannot_be_read_in_time_is_blocked_before_any_guard_reads_it(
    action: Action, reason: str, why: str, tmp_path: Path
) -> None:
    (case,) = carried(action, reason, tmp_path)[0]
    assert [(one.guard, one.stance) for one in case.opinions] == [("actions", Stance.BLOCK)]
    assert case.opinions[0].why.endswith(why)


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**5_000, object()], ids=("nan", "inf", "long", "object"))
def test_what_the_ledger_cannot_hold_is_told_and_left_out_and_the_session_lives(value: object, tmp_path: Path) -> None:
    cases, told = carried(Action(kind="tune", task="size", details={"config": {"lr": value}}), "", tmp_path)
    assert not cases
    assert any(text.startswith("what fanciful proposes cannot be put on record, and is left out: ") for text in told)


@pytest.mark.parametrize("reason", [None, 3, b"words", ["words"]])
def test_a_reason_that_is_no_text_is_told_and_left_out(reason: object, tmp_path: Path) -> None:
    cases, told = carried(BUY, reason, tmp_path)
    assert not cases
    assert any(text.startswith("what fanciful proposes cannot be put on record, and is left out: ") for text in told)


def carried(action: Action, reason: Any, folder: Path) -> tuple[list[Case], list[str]]:
    """The decisions on record after a whole session with a decider that wants `action`, and what was noted."""
    told = list[str]()
    with Ledger.open(folder / "ledger.db") as ledger, ledger.hold():
        watch = lambda event: told.append(event.text) if isinstance(event, Noted) else None  # noqa: E731
        loop = Orchestrator(parse(PLAN), ledger, work=folder / "work", options=Options(workers=1), watch=watch)
        loop.council.deciders = {"fanciful": Fanciful(action, reason)}
        (verdict,) = anyio.run(loop.run)
        cases = list(fold(ledger.events()).cases.values())
    assert verdict.state == "pass"
    return cases, told


@pytest.mark.parametrize("words", [("why", "d1"), ("review",)])
def test_what_a_reason_holds_does_not_steer_the_terminal(words: tuple[str, ...], tmp_path: Path) -> None:
    carried(Action(kind="tune", task="size", details={}), "seed 3\x1b[2J is\x07 fine", tmp_path)
    done = CliRunner().invoke(app, [*words, "--ledger", str(tmp_path / "ledger.db")])
    assert "seed 3 is\ufffd fine" in done.stdout, done.output
    assert not {"\x1b", "\x07"} & {*done.stdout}
