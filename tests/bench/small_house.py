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

from bench.autobench import Outcome
from plan.catalogue import HOUSE
from plan.nouns import Request
from plan.wire import encode, rebuild

SMALL_HOUSE = {
    "modules/__init__.py": "",
    "modules/tiny.py": '''\
"""A module too small to need torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modules.layers import mix
from plan.catalogue import module

if TYPE_CHECKING:
    from modules.unused import Nothing

SCALE = 3


@dataclass(frozen=True)
class Config:
    d_model: int = 8
    """Width."""
    bias: float = 0.25


def doubled(function):
    return lambda *a, **k: 2 * function(*a, **k)


@module("tiny", system="T-0", paper="none")
class Tiny:
    """The first line."""

    def __init__(self, config: Config) -> None:
        """Keeps it."""
        self.config = config

    @doubled
    def value(self, seed: int, factor: float = 1.5) -> float:
        # a comment
        total = SCALE * factor + mix.mixed(seed, self.config.d_model)
        if total > 10:
            total += self.config.bias
        else:
            total -= 100
        total = total * 2
        return total + len(f"{seed}-label") + (n := 4) + n
''',
    "modules/unused.py": "class Nothing:\n    pass\n",
    "modules/layers/__init__.py": "",
    "modules/layers/mix.py": """\
from ..layers.deep import weight


def mixed(seed, width):
    from kernels.step import step
    return step(seed) * weight(width)
""",
    "modules/layers/deep.py": """\
import kernels.table


def weight(width):
    return width + kernels.table.first()
""",
    "kernels/__init__.py": "",
    "kernels/step.py": '''\
"""Three imports away from the benchmark."""
ORDER = ("small", "large")


def step(seed):
    return seed + 7 if "small" in ORDER else seed


def never_called():
    return 0
''',
    "kernels/table.py": """\
from pathlib import Path


def first():
    return int(Path(__file__).with_name("table.txt").read_text().split()[0])
""",
    "kernels/table.txt": "5\n",
    "kernels/noisy.py": "import kernels.step\n\nkernels.step.ORDER = ()\n",
    "bench/suites/__init__.py": "",
    "bench/suites/small.py": """\
from pathlib import Path

from modules.tiny import Config
from plan import catalogue
from plan.catalogue import benchmark


@benchmark("small-16-v1", metrics={"score": "x"}, source="here", options={"gain": 16})
@benchmark("small-8-v1", metrics={"score": "x"}, source="here", options={"gain": 8})
def measure(bench):
    gain = catalogue.shelf("benchmark")[bench.request.benchmark].arguments["options"]["gain"]
    words = len(Path(bench.request.data).read_text()) if bench.request.data else 0
    thing = catalogue.load("module", bench.request.module)(Config(**bench.request.config))
    return {"score": gain * thing.value(bench.request.seed) + words}
""",
    "kernels/late.py": "VALUE = 3\n",
    "kernels/apart.py": "VALUE = 4\n",
    "kernels/lists/even.txt": "2 4 6\n",
    "kernels/lists/odd.txt": "1 3 5\n",
    "bench/suites/late.py": '''\
"""What a measurement may do once it runs: it waits for the file `go` first."""
import importlib
import os
import runpy
import time
from pathlib import Path

import kernels
from bench import data
from plan import catalogue
from plan.catalogue import benchmark

KERNELS = Path(kernels.__file__).parent


def imports_late(bench):
    import kernels.late
    return kernels.late.VALUE


def swallows(bench):
    try:
        return imports_late(bench)
    except Exception:
        return -1


def opens_late(bench):
    return float((KERNELS / "table.txt").read_text())


def opens_by_descriptor(bench):
    return float(os.read(os.open(KERNELS / "table.txt", os.O_RDONLY), 10))


def imports_by_a_made_up_name(bench):
    return importlib.import_module("kernels." + "trapa"[::-1]).VALUE


def runs_by_a_made_up_name(bench):
    return runpy.run_path(str(KERNELS / ("trapa"[::-1] + ".py")))["VALUE"]


def opens_what_it_finds(bench):
    return sum(len(path.read_text()) for path in sorted((KERNELS / "lists").iterdir()))


def reads_the_config(bench):
    return len(Path(bench.request.config["path"]).read_text())


def reads_the_data(bench):
    bench.facts["data_digest"] = data.digest(bench.request.data)
    return len(Path(bench.request.data).read_text())


def writes_and_reads_in_its_folder(bench):
    (bench.folder / "own.txt").write_text("12")
    return float((bench.folder / "own.txt").read_text())


def lists_the_shelves(bench):
    return sum(len(catalogue.shelf(kind)) for kind in catalogue.SHELVES)


def fails(bench):
    raise ZeroDivisionError("of its own")


@benchmark("late-v1", metrics={"score": "x"}, source="here")
def measure(bench):
    bench.progress(1, 1, {})
    while not (bench.folder / "go").exists():
        time.sleep(0.002)
    return {"score": globals()[bench.request.config["act"]](bench)}
''',
    "corpus.txt": "to be measured upon\n",
}

IDENTIFY_AND_RUN = """
import json, os, sys
from pathlib import Path
from bench.identity import Identifier
from bench.request import Bench
from plan import catalogue, wire
from plan.nouns import Request

for line in sys.stdin:
    if os.fork():
        os.wait()
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
from bench.identity import Identifier
from plan import wire
from plan.nouns import Request

with AutoBench(preload=()) as bench:
    for number, line in enumerate(sys.stdin):
        text, file, changed = json.loads(line)
        request, folder = wire.decode(Request, text), Path(f"runs/{number}").resolve()
        folder.mkdir(parents=True)
        key = Identifier().identify(request).key
        child = bench.start(request, folder=folder, key=key)
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
        env = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
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

    def measure(self, act: str, *, file: str = "", changed: str = "", data: str | None = None, **config: Any) -> Outcome:
        """How `late-v1` ends when it does `act`, while `file` says `changed` from its beginning to its end."""
        request = Request(module="tiny", benchmark="late-v1", seed=3, data=data, config={"act": act, **config})
        outcome: Outcome = rebuild(Outcome, self._ask(self.measurer, [encode(request), file, changed]))
        return outcome

    def _ask(self, process: subprocess.Popen[str], question: Any) -> Any:
        assert process.stdin
        assert process.stdout
        print(json.dumps(question), file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

    def close(self) -> None:
        """End both processes."""
        self.server.communicate()
        self.measurer.communicate()

    @contextmanager
    def edited(self, file: str, old: str, new: str) -> Iterator[None]:
        """The first `old` in `file` is `new` for a while."""
        before = (self.root / file).read_text()
        assert old in before
        (self.root / file).write_text(before.replace(old, new, 1))
        try:
            yield
        finally:
            (self.root / file).write_text(before)
