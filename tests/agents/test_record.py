"""The recorded grid is of `plan/Improve.md` as it stands, and its numbers can be measured again."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("gymnasium", reason="the replayed loop names its environment")

from agents.learning import replay
from agents.learning.record import SEEDS, measured, name_of
from agents.learning.replay import Grid
from agents.schedule import request_of
from envs.changes import KINDS
from plan import grammar
from plan.decision import Candidate

GRID, PLAN = Grid.read(), grammar.read(replay.PLAN)


def test_every_task_was_recorded_as_it_stands_with_something_to_try_of_every_kind_that_its_shelf_offers() -> None:
    spaces = replay.spaces(PLAN, GRID)
    for task in PLAN.tasks:
        assert name_of(task, replay.own(task)) in GRID.numbers, task.id
        assert all(spaces[task.id][kind] for kind in KINDS if kind in task.improve and kind != "refactor"), task.id
    assert sum(len(some) for space in spaces.values() for some in space.values()) > 200


def test_every_task_fails_as_it_stands_and_something_that_was_recorded_passes() -> None:
    spaces = replay.spaces(PLAN, GRID)
    assert {task.id for task, _ in replay.failing(GRID, PLAN)} == {task.id for task in PLAN.tasks}
    for task in PLAN.tasks:
        assert any(GRID.passes(task, one) for some in spaces[task.id].values() for one in some), task.id


@pytest.mark.parametrize(("id", "module"), [("timid", "transformer"), ("lean", "attention")])
def test_a_recorded_training_measures_the_same_today(id: str, module: str) -> None:
    """Its text is a file that nobody edits, so only another model, trainer or processor changes it; then record anew."""
    task, seed = PLAN.task(id), SEEDS[0]
    space = (replay.own(task), *(one for some in replay.spaces(PLAN, GRID)[id].values() for one in some))
    candidate: Candidate = next(one for one in space if one.module == module)
    held = replace(task, module=candidate.module, config=candidate.config)
    assert measured(request_of(held, seed))["val_bpb"] == pytest.approx(
        GRID.run(task, candidate, seed).metrics["val_bpb"], abs=0.02
    )
