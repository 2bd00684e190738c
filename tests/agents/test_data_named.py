"""A text that cannot be read is told with the task that names it, before anything is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agents.running import NoDevice, check_needs
from bench.data import DataError
from plan.catalogue import HOUSE
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

BOOK = "".join(f"Night {n} was as dark as the one before.\n" for n in range(5000))


def test_the_task_and_its_line_are_named_and_tasks_not_chosen_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(BOOK)
    (tmp_path / "empty").mkdir()
    for wrong in ("nowhere", "empty"):
        plan = parse(PLAN.format(good=tmp_path / "book.txt", wrong=tmp_path / wrong), path="Plan.md")
        with pytest.raises(DataError, match=rf"task `wrong` at Plan\.md:16: no .*{wrong}.*; nothing was run"):
            check_needs(plan)
        check_needs(plan, ("good",))


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="this machine has that many devices")
def test_a_device_that_is_not_there_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(BOOK)
    text = PLAN.format(good=tmp_path / "book.txt", wrong=tmp_path / "book.txt").replace(
        "no text\n", "no device\n\n- **device**: `cuda:7`"
    )
    plan = parse(text, path="Plan.md")
    with pytest.raises(NoDevice, match=r"task `wrong` at Plan\.md:14 asks for `cuda:7`, .*nothing was run"):
        check_needs(plan)
    check_needs(plan, ("good",))


def test_check_looks_at_the_texts_without_torch_and_tells_what_they_are_read_without(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text(BOOK)
    (tmp_path / "folder" / "b.txt").write_bytes(b"caf\xe9\n")
    code = "import sys; from pathlib import Path; from agents.reading import check_plan\ntry: print(check_plan(Path('Plan.md'), json=False))\n"
    code += "except Exception as error: print(error)\nprint('torch' in sys.modules)"

    def checked(wrong: str) -> tuple[str, str]:
        (tmp_path / "Plan.md").write_text(PLAN.format(good="folder", wrong=wrong))
        environment = {**os.environ, "PYTHONPATH": str(HOUSE)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout, done.stderr

    out, err = checked("folder")
    assert "2 tasks, 2 targets, no faults" in out
    assert out.endswith("False\n")
    assert err == "`folder` is read without 1 file that is not UTF-8 text: b.txt\n"
    out, err = checked("nowhere")
    assert f"note: task `wrong` at Plan.md:16: no corpus, file or folder `nowhere`: there is no `{tmp_path}/nowhere`" in err
    assert "a run would stop at it" in err
    assert out.endswith("False\n")
