"""A task that waits behind a red gate says so in every face."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from agents.display import MARKS, narrate
from agents.events import Finished
from bench.report import markdown
from bench.report.terminal import print_table
from bench.scoreboard import Scoreboard
from plan.nouns import Request, Run, State, Status
from tests.bench import report_boards

RED = "the gate of `retnet` at this task's config is red: 2 contract checks fail; causal"


def blocked(reason: str) -> Scoreboard:
    board = report_boards.mixers()
    verdicts = tuple(replace(v, reason=reason) if v.state is State.WAITING else v for v in board.verdicts)
    return replace(board, verdicts=verdicts)


@pytest.mark.parametrize(
    "reason", [RED, "needs `dense`, whose seed 0 ended crashed", "nothing to compare with: `dense` seed 1: crashed"]
)
def test_a_blocked_target_has_its_reason_in_terminal_and_markdown(reason: str) -> None:
    stream = io.StringIO()
    print_table(blocked(reason), stream=stream)
    assert [line for line in stream.getvalue().splitlines() if line.startswith("WAITING") and reason in line]
    assert [line for line in markdown.render(blocked(reason)).splitlines() if line.startswith("- **… waiting**")]


def test_a_target_that_merely_waits_for_its_turn_has_no_line() -> None:
    stream = io.StringIO()
    print_table(blocked("1 of 3 seeds measured"), stream=stream)
    assert "WAITING" not in stream.getvalue()


@pytest.mark.parametrize(("failures", "lines"), [(0.0, 1), (2.0, 2)])
def test_a_red_gate_is_told_in_one_line_when_it_ends(failures: float, lines: int) -> None:
    request = Request(module="retnet", benchmark="contract-v1", seed=0)
    run = Run(key="k", request=request, status=Status.OK, metrics={"failures": failures})
    told = list(narrate(Finished(run=run, tasks=()), MARKS))
    assert len(told) == lines
    assert ("red gate: `retnet` breaks 2 contract checks" in told[-1]) == (failures > 0)
