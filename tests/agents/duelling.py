"""A copy of the house in a repository of its own, and small plans whose tasks may be improved: nothing of it touches the developer's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from plan.house import PACKAGES
from tests.agents.loop import HOUSE, Loop

PLAN = """# Plan: too many parameters

- **benchmark**: `flops-v1`
- **module**: `transformer`
- **seeds**: 2
- **gate**: off

## wide: a feed-forward far too wide

- **improve**: {improve}
- **trials**: {trials}

| metric       |    | threshold | rule       |
| ------------ | -- | --------: | ---------- |
| `parameters` | <= | {most}    | every seed |

```toml config
{config}
```
"""
WIDE = "d_model = 16\nheads = 2\nffn_multiple = 16.0\n\n[decoder]\nlayers = 1"


def copied_house(root: Path) -> Path:
    """The seven packages below `root`, committed."""
    for package in PACKAGES:
        shutil.copytree(HOUSE / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "-c", "user.name=Somebody", "-c", "user.email=some@body", "commit", "--quiet", "-m", "The house")
    return root


def git(where: Path, *command: str) -> str:
    """What git says."""
    return subprocess.run(["git", *command], cwd=where, check=True, capture_output=True, text=True).stdout


def plan(*, improve: str = "tune", trials: int = 60, most: int = 8000, config: str = WIDE) -> str:
    """One task that fails as it stands."""
    return PLAN.format(improve=improve, trials=trials, most=most, config=config)


def duelling(folder: Path, house: Path, text: str) -> Loop:
    """A plan in `folder`, worked on by the code of `house`."""
    loop = Loop(folder, plan=text)
    loop.environment |= {"PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
    return loop


ASK = ("--decider", "first-candidate", "--decider", "more-seeds")


PATCHER = '''"""Proposes one patch, whatever it is."""

from plan.catalogue import decider
from plan.decision import Action, Candidate, Decision
from plan.nouns import State

PATCH = {patch!r}


@decider("patcher", baseline=True)
class Patcher:
    def ask(self, situation):
        (task,) = situation.plan.tasks
        if situation.tried or all(verdict.state is State.PASS for verdict in situation.verdicts):
            return []
        candidate = Candidate(module=task.module, config=task.config, patch=PATCH)
        evidence = tuple(run.id for run in situation.runs[task.id])
        action = Action(kind={kind!r}, task=task.id, details=candidate.details)
        return [Decision(id="dpatched1", decider="patcher", action=action, evidence=evidence, expected=1.0, expects="", why="told to")]

    def tell(self, decision, before, after):
        pass
'''


def patching(house: Path, patch: str, *, kind: str) -> None:
    """Put a decider on the shelf of `house` that proposes `patch`, committed."""
    (house / "agents/deciders/patcher.py").write_text(PATCHER.format(patch=patch, kind=kind))
    git(house, "add", ".")
    git(house, "-c", "user.name=Somebody", "-c", "user.email=some@body", "commit", "--quiet", "-m", "A decider")


def patch_of(house: Path, path: str, old: str, new: str) -> str:
    """The unified diff that replaces `old` by `new` in a file of `house`."""
    import difflib

    before = (house / path).read_text()
    assert before.count(old) == 1
    one, two = (text.splitlines(keepends=True) for text in (before, before.replace(old, new)))
    return "".join(difflib.unified_diff(one, two, f"a/{path}", f"b/{path}"))
