"""The scoreboard as one JSON document with a schema version."""

from __future__ import annotations

import json
import math
from typing import Any

from bench.report import records, wording
from bench.scoreboard import Scoreboard, Told
from plan.nouns import Run, State
from plan.ranking import Ranking
from plan.wire import plain

VERSION = 1


def render(board: Scoreboard) -> str:
    """The document as indented JSON text with sorted keys; text in it is as recorded, numbers are in base units."""
    return json.dumps(document(board), indent=2, sort_keys=True, allow_nan=False) + "\n"


def document(board: Scoreboard) -> dict[str, Any]:
    """The document: tally, targets with their verdicts, runs (curves and logs left out), gates, decisions, sessions."""
    targets = []
    for row in wording.rows(board):
        task, target = board.plan.task(row.verdict.task), row.verdict.target
        targets.append(
            {
                **plain(row.verdict),
                "id": row.verdict.id,
                "unit": wording.unit_of(task, target),
                "rule": target.rule.text,
                "place": wording.place(board, row.verdict),
                "text": row.word,
                "next": wording.command(row.verdict),
            }
        )
    made: dict[str, Any] = _finite(
        {
            "schema": "touchstone.scoreboard",
            "v": VERSION,
            "plan": {"path": board.plan.path, "title": board.plan.title, "digest": board.plan.digest},
            "tally": {state.value: board.count(state) for state in State},
            "declared_error": wording.declared(board.verdicts),
            "targets": targets,
            "runs": {task: [_run(run) for run in runs] for task, runs in board.runs.items()},
            "gates": {task: _run(run) for task, run in board.gates.items()},
            "pulls": plain(board.pulls),
            "champions": dict(board.champions),
            "decisions": [_told(told) for told in board.told],
            "records": records.document(board),
            "rankings": [_ranking(one) for one in board.rankings],
            "sessions": [plain(session) for session in board.sessions],
            "seconds": dict(board.seconds),
            "spent": board.spent,
        }
    )
    return made


def _run(run: Run) -> dict[str, Any]:
    fields = plain(run)
    return {"id": run.id, **{name: value for name, value in fields.items() if name not in ("series", "log_tail")}}


def _ranking(ranking: Ranking) -> dict[str, Any]:
    contenders = [{**plain(one), "decision": one.decision.id} for one in ranking.contenders]
    return {"asked": ranking.asked, "contenders": contenders, "outcomes": ranking.outcomes, "epsilon": ranking.epsilon}


def _told(told: Told) -> dict[str, Any]:
    return {"at": told.at, "decision": plain(told.decision), "opinions": plain(told.opinions), "outcome": told.outcome}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
