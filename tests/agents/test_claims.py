"""What is said of error rates and of expectations is what the rules and the code do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.deciders.more_seeds import MoreSeeds
from agents.why import _verdict_lines
from bench.report import evidence, wording
from bench.report.markup import join
from plan.decision import Situation
from plan.nouns import RuleKind, State, Target, Verdict
from tests.bench import report_boards


def unsure_under_an_interval_rule() -> Verdict:
    board = report_boards.mixers()
    return next(v for v in board.verdicts if v.state is State.UNSURE and v.target.rule.kind in wording.INTERVAL_RULES)


def test_an_unsure_target_under_an_interval_rule_still_declares_the_rules_error() -> None:
    verdict, board = unsure_under_an_interval_rule(), report_boards.mixers()
    assert verdict.error is None
    assert wording.claimed(verdict) == pytest.approx(0.05)
    told = "\n".join(_verdict_lines(next(v for v in board.verdicts if v.id == verdict.id), board))
    assert "at most 5 % of such verdicts are wrong" in told
    row = str(join(evidence.certainty(board).children)).partition(f"#{verdict.id}")[2].partition("</tr>")[0]
    assert "5 %" in row
    assert "none claimed" not in row


def test_a_pass_that_claims_no_error_and_a_plain_rule_are_not_given_one() -> None:
    verdict = unsure_under_an_interval_rule()
    assert wording.claimed(replace(verdict, state=State.PASS)) is None
    assert wording.claimed(replace(verdict, target=replace(verdict.target, rule=report_boards.EVERY))) is None


def test_more_seeds_states_as_expected_what_its_label_says() -> None:
    board = report_boards.mixers()
    verdict = unsure_under_an_interval_rule()
    task = replace(board.plan.task(verdict.task), seeds=replace(board.plan.task(verdict.task).seeds, first=3, most=5))
    near, far = replace(verdict, more_seeds=2), replace(verdict, more_seeds=400, target=other(verdict.target))
    situation = Situation(
        plan=replace(board.plan, tasks=(task,)),
        verdicts=(near, far),
        runs={task.id: board.runs[task.id][:3]},
        seeds={task.id: 3},
        decisions=(),
    )
    (decision,) = MoreSeeds().ask(situation)
    assert decision.expects == "share of the task's unsure targets that the estimate says the purchase decides"
    assert decision.expected == 0.5


def other(target: Target) -> Target:
    assert target.rule.kind is not RuleKind.MEAN
    return replace(target, metric="another")
