"""Drives `orchestrate` as a user does: a small real plan, real processes, a ledger in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.fold import Facts, fold
from bench.ledger import Ledger

HOUSE = Path(__file__).resolve().parents[2]
PLAN = """# Plan: recall of a very small attention

- **gate**: off
- **budget**: 5 min, {steps} steps

## few: four pairs

- **module**: `attention`
- **benchmark**: `mqar-64x4-v64-v1`
- **seeds**: 3, up to 5

| metric     |    | threshold | rule       |
| ---------- | -- | --------: | ---------- |
| `accuracy` | >= |     0.024 | lower 95%  |
| `accuracy` | <= |       0.9 | every seed |

```toml config
d_model = 16
heads = 2

[recipe]
batch = 8
```

## many: eight pairs are no easier

- **module**: `attention`
- **benchmark**: `mqar-64x8-v64-v1`
- **needs**: `few`
- **seeds**: 3

| metric     |    |       threshold | rule       |
| ---------- | -- | --------------: | ---------- |
| `accuracy` | >= | 2 x few         | lower 95%  |

```toml config
d_model = 16
heads = 2

[recipe]
batch = 8
```

## again: the same measurement under another question

- **module**: `attention`
- **benchmark**: `mqar-64x4-v64-v1`
- **seeds**: 3

| metric     |    | threshold | rule       |
| ---------- | -- | --------: | ---------- |
| `accuracy` | >= |       0.9 | mean       |

```toml config
d_model = 16
heads = 2

[recipe]
batch = 8
```
"""


class Loop:
    """One folder with a plan and a ledger, and the command that works on them."""

    def __init__(self, folder: Path, *, steps: int = 8, plan: str | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "Plan.md").write_text(plan if plan is not None else PLAN.format(steps=steps))
        self.environment = {**os.environ, "PYTHONPATH": str(HOUSE), "PYTHONUNBUFFERED": "1"}
        self.environment.pop("ORCHESTRATE_LEDGER", None)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """`orchestrate run` in the background, its narration in `out.txt`."""
        with (self.folder / "out.txt").open("a") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "agents.cli", "run", "--plan", "Plan.md", "--display", "plain", *words],
                cwd=self.folder, env=self.environment, stdout=out, stderr=out, text=True, start_new_session=True,
            )  # fmt: skip

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "agents.cli", *words], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`orchestrate run` to its end."""
        return self.call("run", "--plan", "Plan.md", "--display", "plain", *words)

    def said(self) -> str:
        """What background runs have told so far."""
        return (self.folder / "out.txt").read_text()

    def report(self, format: str = "json") -> str:
        """The report without times: equal facts give equal bytes."""
        done = self.call("report", "--timeless", "--format", format, "--out", "-")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_for(self, words: str, *, seconds: float = 120.0) -> None:
        """Until a background run has said `words`."""
        until = time.monotonic() + seconds
        while words not in self.said():
            assert time.monotonic() < until, f"never said {words!r}:\n{self.said()}"
            time.sleep(0.02)


def facts(loop: Loop) -> Facts:
    """What its ledger amounts to."""
    with Ledger.open(loop.folder / "runs/ledger.db") as ledger:
        return fold(ledger.events())


def kill(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
    """Send `number` to the orchestrator alone, not to its group, and wait for its end."""
    process.send_signal(number)
    process.wait(timeout=60)


def descendants_of(pid: int) -> list[int]:
    """All processes below `pid`, nearest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found
