"""Budgets as a user meets them: shared runs, the order of asking, what timed out, and files that vanish meanwhile."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import pytest

from plan.house import PACKAGES
from plan.nouns import Status
from tests.agents.loop import HOUSE, Loop, facts

TASK = """
## {id}: recall of a very small {module}

- **module**: `{module}`
- **benchmark**: `mqar-64x4-v64-v1`
- **budget**: {budget}, {steps} steps
- **seeds**: {seeds}

| metric     |    | threshold | rule       |
| ---------- | -- | --------: | ---------- |
| `accuracy` | <= |       0.9 | every seed |

```toml config
d_model = 16

[recipe]
batch = 8
```
"""


def plan(*tasks: str) -> str:
    return "# Plan: what it may cost\n\n- **gate**: off\n" + "".join(tasks)


def task(id: str, *, budget: str, module: str = "attention", steps: int = 4, seeds: int = 2) -> str:
    return TASK.format(id=id, module=module, budget=budget, steps=steps, seeds=seeds)


def states(loop: Loop) -> dict[str, str]:
    return {target["task"]: target["state"] for target in json.loads(loop.report())["targets"]}


@pytest.mark.slow
def test_a_small_budget_asked_for_first_ends_in_the_same_verdicts_as_everything_at_once(tmp_path: Path) -> None:
    """25 CPU seconds: `pytest -m slow tests/agents/test_budgets_kept.py`; without processes `test_budget.py` asks the same."""
    text = plan(task("small", budget="1 s"), task("big", budget="5 min", seeds=3))
    first, at_once = Loop(tmp_path / "first", plan=text), Loop(tmp_path / "at_once", plan=text)
    assert first.run("--only", "small").returncode == 0
    assert states(first)["small"] == "pass"
    assert first.run().returncode == at_once.run().returncode == 0
    assert states(first) == states(at_once) == {"small": "pass", "big": "pass"}
    limits = [{key: all[-1].limits for key, all in facts(loop).attempts.items()} for loop in (first, at_once)]
    assert limits[0] == limits[1]


@pytest.mark.slow
def test_a_timed_out_run_stands_until_its_budget_is_raised_and_never_exceeds_it(tmp_path: Path) -> None:
    """15 CPU seconds: `pytest -m slow tests/agents/test_budgets_kept.py`; without processes `test_budget.py` asks the same."""
    loop = Loop(tmp_path, plan=plan(task("slow", budget="3 s", steps=1_000_000, seeds=1)))
    assert loop.run().returncode == 1
    (attempts,) = facts(loop).attempts.values()
    assert [a.run.status for a in attempts] == [Status.TIMED_OUT]
    assert states(loop) == {"slow": "fail"}
    assert "measuring" not in loop.run().stderr
    (tmp_path / "Plan.md").write_text(plan(task("slow", budget="8 s", steps=1_000_000, seeds=1)))
    assert "and its budget has more for it" in loop.run().stderr
    (attempts,) = facts(loop).attempts.values()
    assert len(attempts) == 2
    assert sum(a.seconds for a in attempts) <= 8
    assert "measuring" not in loop.run().stderr


def test_a_budget_too_small_for_anything_is_told(tmp_path: Path) -> None:
    loop = Loop(tmp_path, plan=plan(task("tiny", budget="1 s")))
    done = loop.run()
    assert states(loop) == {"tiny": "waiting"}
    assert "the budget of `tiny` has too little left for 2 measurements" in done.stderr


VANISHING = '''"""A block that is slow to build, so that its file can go meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor, nn

from plan.catalogue import module


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    d_model: int = 16
    """Width."""


@module("vanishing", system="C-1", paper="none")
class Vanishing(nn.Module):
    """A linear map."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        time.sleep(3)
        self.mix = nn.Linear(config.d_model, config.d_model)

    def forward(self, x_BTD: Tensor, state: object = None) -> tuple[Tensor, tuple[()]]:
        return x_BTD + self.mix(x_BTD), ()

    def state_bytes(self, batch: int, length: int) -> int:
        return 0
'''


def test_a_candidate_whose_file_goes_away_meanwhile_is_not_counted_and_the_other_tasks_go_on(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(HOUSE / package, tmp_path / "house" / package, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "house/modules/vanishing.py"
    file.write_text(VANISHING)
    loop = Loop(tmp_path / "loop", plan=plan(task("gone", module="vanishing", budget="5 min"), task("stays", budget="5 min")))
    loop.environment["PYTHONPATH"] = str(tmp_path / "house")

    def take_away() -> None:
        while not list(tmp_path.glob("loop/**/log.txt")):
            time.sleep(0.05)
        file.unlink()

    remover = threading.Thread(target=take_away, daemon=True)
    remover.start()
    done = loop.run("--workers", "1")
    assert not file.exists()
    assert done.returncode == 1, done.stderr
    assert "its code or data vanished while it ran" in done.stderr
    assert "`gone` cannot be measured any more" in done.stderr
    known = facts(loop)
    statuses = {all[-1].request.module: all[-1].run.status for all in known.attempts.values()}
    assert statuses == {"vanishing": Status.KILLED, "attention": Status.OK}
    assert known.wanted.tasks["gone"] == ()
