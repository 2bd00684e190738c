"""A copy of the house whose modules may be patched, and a process in it that measures with AutoBench as the orchestrator does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from alignment.patch import parse
from bench.autobench import Outcome
from plan.catalogue import HOUSE
from plan.house import PACKAGES
from plan.nouns import Request
from plan.wire import encode, rebuild

MEASURE = """
import json, sys
from pathlib import Path
from bench.autobench import AutoBench
from bench.identity import Identifier
from plan import catalogue, wire
from plan.nouns import Limits, Request

with AutoBench() as bench:
    for number, line in enumerate(sys.stdin):
        request = wire.decode(Request, line)
        catalogue.forget()
        folder = Path(f"runs/{number}").resolve()
        folder.mkdir(parents=True)
        child = bench.start(request, limits=Limits(seconds=120), folder=folder, key=Identifier().identify(request).key)
        print(json.dumps(wire.plain(child.wait(180))), flush=True)
"""
LEARN = Request(
    module="attention", benchmark="mqar-16x2-v64-v1", seed=0, steps=2, config={"d_model": 16, "heads": 2, "recipe": {"batch": 4}}
)
"""A training of two steps and its scores, through the trainer, the shell and the probe that real tasks use."""

READ = Request(
    module="attention", benchmark="bytes-path-v1", seed=0, steps=1, data="corpus.txt",
    config={"d_model": 16, "heads": 2, "recipe": {"batch": 2, "length": 16}},
)  # fmt: skip
"""A training of one step on a text, which lies in the folder that the measurement begins in."""


class ScratchHouse:
    """Measures LEARN with one patch at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for package in PACKAGES:
            shutil.copytree(HOUSE / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
        (root / "corpus.txt").write_text("\n".join(f"line {number} says {number * number}" for number in range(20000)))
        self._process: subprocess.Popen[str] | None = None

    def measure(self, patch: str, request: Request = LEARN) -> Outcome:
        """How the measurement ends in the patched house; afterwards the house is as it was."""
        before: dict[Path, str | None] = {}
        for change in parse(patch) if patch else ():
            path = self.root / change.path
            before[path] = path.read_text() if path.exists() else None
            after = change.applied(before[path])
            assert after is not None
            path.write_text(after)
        try:
            return self._ask(request)
        finally:
            for path, text in before.items():
                path.unlink() if text is None else path.write_text(text)

    def _ask(self, request: Request) -> Outcome:
        if self._process is None:
            environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-c", MEASURE], cwd=self.root, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        assert self._process.stdin
        assert self._process.stdout
        print(encode(request), file=self._process.stdin, flush=True)
        outcome: Outcome = rebuild(Outcome, json.loads(self._process.stdout.readline()))
        return outcome

    def close(self) -> None:
        """End the process, and its fork server with it."""
        if self._process is not None:
            self._process.communicate()
