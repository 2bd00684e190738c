"""A text that cannot be read is told with the task that names it, before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from agents.running import NoDevice, check_needs
from bench.data import DataError
from plan.grammar import parse

PLAN = """# P

- **module**: `attention`
- **benchmark**: `bytes-path-v1`

## good: a text

- **data**: {good}

| metric | | threshold | rule |
| --- | --- | --- | --- |
| `val_bpb` | <= | 3 | mean |

## wrong: no text

- **data**: {wrong}

| metric | | threshold | rule |
| --- | --- | --- | --- |
| `val_bpb` | <= | 3 | mean |
"""


def test_the_task_and_its_line_are_named_and_tasks_not_chosen_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("It was a dark night.\n")
    (tmp_path / "empty").mkdir()
    for wrong in ("nowhere", "empty"):
        plan = parse(PLAN.format(good=tmp_path / "book.txt", wrong=tmp_path / wrong), path="Plan.md")
        with pytest.raises(DataError, match=rf"task `wrong` at Plan\.md:16: no .*{wrong}.*; nothing was run"):
            check_needs(plan)
        check_needs(plan, ("good",))


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="this machine has that many devices")
def test_a_device_that_is_not_there_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("It was a dark night.\n")
    text = PLAN.format(good=tmp_path / "book.txt", wrong=tmp_path / "book.txt").replace(
        "no text\n", "no device\n\n- **device**: `cuda:7`"
    )
    plan = parse(text, path="Plan.md")
    with pytest.raises(NoDevice, match=r"task `wrong` at Plan\.md:14 asks for `cuda:7`, .*nothing was run"):
        check_needs(plan)
    check_needs(plan, ("good",))
