"""A house small enough to edit and measure in milliseconds, around copies of the real `plan` and `bench`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from small_files import SMALL_HOUSE

from bench.autobench import Outcome
from plan.catalogue import HOUSE
from plan.nouns import Request
from plan.wire import encode, rebuild

IDENTIFY_AND_RUN = """
import json, os, sys
from pathlib import Path
from bench.identity import Identifier
from bench.request import Bench
from plan import catalogue, wire
from plan.nouns import Request

for line in sys.stdin:
    if os.fork():
        if os.wait()[1]:
            print("null", flush=True)  # why stands on stderr
        continue
    path, text = json.loads(line)
    sys.path.append(path)
    request = wire.decode(Request, text)
    identity = Identifier().identify(request)
    result = catalogue.load("benchmark", request.benchmark)(Bench(request=request, folder=Path(".")))
    assert "torch" not in sys.modules
    print(json.dumps({"key": identity.key, "parts": identity.parts, "code": wire.plain(identity.code), "result": result}), flush=True)
    os._exit(0)
"""
"""Every line is answered by a process of its own, in which nothing was read or imported before."""

MEASURE = """
import json, select, sys
from pathlib import Path
from bench.autobench import AutoBench
from bench.autobench.launch import WITNESS
from bench.identity import Identifier
from plan import wire
from plan.nouns import Limits, Request

with AutoBench(preload=(WITNESS,)) as bench:
    for number, line in enumerate(sys.stdin):
        text, file, changed, seconds = json.loads(line)
        request, folder = wire.decode(Request, text), Path(f"runs/{number}").resolve()
        folder.mkdir(parents=True)
        key = Identifier().identify(request).key
        child = bench.start(request, folder=folder, key=key, limits=Limits(seconds=seconds))
        while child.outcome() is None and not child.news():
            select.select([child], [], [], 10)
        before = Path(file).read_bytes() if file else b""
        if file:
            Path(file).write_text(changed)
        (folder / "go").touch()
        outcome = child.wait(60)
        if file:
            Path(file).write_bytes(before)
        assert Identifier().identify(request).key == key
        print(json.dumps(wire.plain(outcome)), flush=True)
"""
"""Measures as the orchestrator does. Once it runs, `file` says `changed`; when it has ended, what it said before."""


class House:
    """A copy of the real plan and bench around the small modules, kernels and suites, and what answers in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for package in ("plan", "bench"):
            shutil.copytree(HOUSE / package, root / package, ignore=shutil.ignore_patterns("__pycache__", "suites"))
        for name, text in SMALL_HOUSE.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        shutil.copy(root / "corpus.txt", root / "renamed.txt")
        env = {**os.environ, "TZ": "Etc/GMT-5", "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        self.server, self.measurer = (
            subprocess.Popen(
                [sys.executable, "-c", script], cwd=root, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            for script in (IDENTIFY_AND_RUN, MEASURE)
        )

    def observe(self, path: str = "", **asked: Any) -> dict[str, Any]:
        """Key, parts, code and result of a request, from a process that knows nothing of earlier ones."""
        request = Request(**{"module": "tiny", "benchmark": "small-8-v1", "seed": 3, **asked})
        seen: dict[str, Any] = self._ask(self.server, [path, encode(request)])
        return seen

    def measure(
        self, act: str, *, file: str = "", changed: str = "", data: str | None = None, seconds: float = 60, **config: Any
    ) -> Outcome:
        """How `late-v1` ends when it does `act` in `seconds`, while `file` says `changed` from its beginning to its end."""
        request = Request(module="tiny", benchmark="late-v1", seed=3, data=data, config={"act": act, **config})
        outcome: Outcome = rebuild(Outcome, self._ask(self.measurer, [encode(request), file, changed, seconds]))
        return outcome

    def _ask(self, process: subprocess.Popen[str], question: Any) -> Any:
        assert process.stdin
        assert process.stdout
        print(json.dumps(question), file=process.stdin, flush=True)
        answer = json.loads(process.stdout.readline())
        assert answer, f"no answer to {question}"
        return answer

    def close(self) -> None:
        """End both processes."""
        self.server.communicate()
        self.measurer.communicate()

    @contextmanager
    def edited(self, file: str, old: str, new: str) -> Iterator[None]:
        """The first `old` in `file` is `new` for a while; a file that is not there says `new`."""
        path = self.root / file
        before = path.read_text() if path.exists() else None
        assert old in (before or "")
        path.write_text(new if before is None else before.replace(old, new, 1))
        try:
            yield
        finally:
            path.unlink() if before is None else path.write_text(before)
