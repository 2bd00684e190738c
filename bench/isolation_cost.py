"""What a process per measurement costs: `python -m bench.isolation_cost` times it against the usual ways, in interleaved runs.

Part `measurement`: an empty measurement through AutoBench against `python -c 'import torch'`, pair by pair: a request under its key, as
the loop measures it, in a copy of the house that has an empty benchmark; the same of a candidate, an empty module; and a bare call.
Part `modules`: the scoreboard over generated test modules that import torch, against pytest-forked and pytest-xdist as whole processes
with the same verdict demanded of every test, each writing no cache and xdist as it is fastest here; each round runs all three in another order. Ratios are medians with
a 95 % bootstrap interval over the pairs; above one means AutoBench is ahead.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.autobench import AutoBench, Child
from bench.identity import Identifier
from bench.pairs import median_ratio
from plan.catalogue import HOUSE
from plan.house import PACKAGES
from plan.nouns import Request, Status

MODULE = """
import pytest
import torch

@pytest.fixture
def x():
    return torch.arange({size}.0)

def test_sum(x):
    assert x.sum().item() == {expected}

@pytest.mark.parametrize("k", range({scales}))
def test_scale(x, k):
    assert torch.equal(x * k, x + x * (k - 1))
"""
XDIST = "pytest-xdist -n 2"
EMPTY = {
    "bench/nothing.py": '"""What the empty benchmark measures; no candidate."""\n',
    "modules/blank.py": """
from plan.catalogue import module

@module("blank", system="T-0", paper="none")
class Blank:
    pass
""",
    "bench/suites/nothing.py": """
from plan.catalogue import benchmark

@benchmark("nothing-v1", metrics={"score": ""}, source="nobody", modules=("nothing", "blank"))
def measure(bench):
    return {"score": 1.0}
""",
}
INSIDE = "import json, sys; from bench.isolation_cost import rounds; print(json.dumps(rounds(int(sys.argv[1]))))"
DISTRIBUTIONS = ("load", "loadscope", "loadfile", "worksteal")
VERDICTS = """
import json, os

tests = {}

def pytest_runtest_logreport(report):
    if report.when == "call" or not report.passed:
        tests[report.nodeid] = report.outcome

def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        open(os.environ["VERDICTS"], "w").write(json.dumps(tests))

try:
    import pytest_forked
except ImportError:
    pass
else:
    # pytest 9.2 keeps a `NodeId` in its reports, which pytest-forked 1.7.5 cannot marshal: every test would fail.
    serialize = pytest_forked.serialize_report
    pytest_forked.serialize_report = lambda report: {
        **{name: value for name, value in serialize(report).items() if name != "_id"}, "nodeid": report.nodeid
    }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How many times longer `other` takes than AutoBench, by the wall clock and by the CPU seconds of all processes."""

    other: str
    wall: tuple[float, float, float]
    cpu: tuple[float, float, float] | None
    pairs: int
    seconds: tuple[float, float]
    """Median wall seconds of (other, AutoBench)."""
    same_verdicts: bool = True

    def __str__(self) -> str:
        ratio, low, high = self.wall
        cpu = f", CPU {self.cpu[0]:.2f}x" if self.cpu else ""
        return (
            f"{self.other:<34} {ratio:7.2f}x  [{low:.2f}, {high:.2f}]  n={self.pairs}  {self.seconds[0]:.3f} s against {self.seconds[1]:.3f} s"
            f"{cpu}" + ("" if self.same_verdicts else "  VERDICTS DIFFER")
        )


def nothing(tell: object) -> dict[str, Any]:
    """The empty measurement."""
    return {"value": None}


def measurement(pairs: int) -> list[Comparison]:
    """A Python process that imports torch against an empty measurement under its key, and against a bare call; the server's start is paid
    before the first pair."""
    with tempfile.TemporaryDirectory() as name:
        house = Path(name)
        for package in PACKAGES:
            shutil.copytree(HOUSE / package, house / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file, text in EMPTY.items():
            (house / file).write_text(text)
        environment = {**os.environ, "PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", INSIDE, str(pairs)]
        ran = subprocess.run(command, cwd=house, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    took: list[list[float]] = json.loads(ran.stdout)
    return [
        _compared(name, [(one[0], one[i]) for one in took], None)
        for i, name in enumerate(("import torch / request", "... / request of a candidate", "... / bare call"), start=1)
    ]


def rounds(pairs: int) -> list[list[float]]:
    """Wall seconds of [`import torch`, a request, one of a candidate, a bare call], in every round in another order; in a house with EMPTY."""
    requests = [Request(module=name, benchmark="nothing-v1", seed=0) for name in ("nothing", "blank")]
    keys = [Identifier().identify(request).key for request in requests]
    with tempfile.TemporaryDirectory() as name, AutoBench() as bench:
        folder = Path(name)

        def plain() -> None:
            subprocess.run([sys.executable, "-c", "import torch"], check=True)

        def asked(which: int = 0) -> None:
            _ended(bench.start(requests[which], folder=folder, key=keys[which]))

        def candidate() -> None:
            asked(1)

        def called() -> None:
            _ended(bench.start_call("bench.isolation_cost:nothing", folder=folder))

        ways = (plain, asked, candidate, called)
        for way in (plain, *ways[1:] * 5):
            way()
        took = [[0.0] * len(ways) for _ in range(pairs)]
        for number, one in enumerate(took):
            for i in range(number, number + len(ways)):
                one[i % len(ways)] = _wall(ways[i % len(ways)])
    return took


def _ended(child: Child) -> None:
    outcome = child.wait()
    if outcome is None or outcome.status is not Status.OK:
        raise RuntimeError(f"an empty measurement failed: {outcome}")


def modules(rounds: int, *, count: int, tests: int) -> list[Comparison]:
    """The scoreboard against pytest-forked and pytest-xdist with two workers, over `count` modules of `tests` tests."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "verdicts.py").write_text(VERDICTS)
        (folder / "tests").mkdir()
        for i in range(count):
            size = i % 7 + 3
            expected = sum(range(size)) + (1 if i % 25 == 0 else 0)
            (folder / f"tests/test_m{i:03d}.py").write_text(MODULE.format(size=size, expected=expected, scales=tests - 1))
        best = min(DISTRIBUTIONS, key=lambda way: _contend(f"{XDIST} --dist {way}", folder)[0])
        took: dict[str, list[tuple[float, float]]] = {}
        verdicts: dict[str, Mapping[str, str]] = {}
        contenders = ("autobench", "pytest-forked", f"{XDIST} --dist {best}")
        for i in range(-1, rounds):
            for contender in contenders[i % 3 :] + contenders[: i % 3]:
                wall, cpu, verdicts[contender] = _contend(contender, folder)
                print(f"round {i + 1}: {contender} {wall:.2f} s, CPU {cpu:.2f} s", file=sys.stderr)
                if i >= 0:
                    took.setdefault(contender, []).append((wall, cpu))
    ours = took["autobench"]
    return [
        _compared(
            other,
            [(theirs[0], mine[0]) for theirs, mine in zip(took[other], ours, strict=True)],
            [(theirs[1], mine[1]) for theirs, mine in zip(took[other], ours, strict=True)],
            same=verdicts[other] == verdicts["autobench"] and len(verdicts[other]) == count * tests,
        )
        for other in contenders[1:]
    ]


def _contend(contender: str, folder: Path) -> tuple[float, float, Mapping[str, str]]:
    """(wall seconds, CPU seconds of all its processes, verdict by test) of one whole run."""
    written = folder / "verdicts.json"
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "verdicts", "tests"]
    command = {
        "autobench": [sys.executable, "-m", "bench.autobench", "tests", "--json"],
        "pytest-forked": [*pytest, "--forked"],
    }.get(contender) or [*pytest, *contender.split()[1:]]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder}{os.pathsep}{HOUSE}",
        "VERDICTS": str(written),
        "OMP_NUM_THREADS": "1",
    }
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if ran.returncode not in (0, 1):
        raise RuntimeError(f"{contender} ended with exit code {ran.returncode}: {ran.stderr[-2000:] or ran.stdout[-2000:]}")
    if contender == "autobench":
        return wall, cpu, {test: word for row in json.loads(ran.stdout)["modules"] for test, word in row["tests"].items()}
    found: dict[str, str] = json.loads(written.read_text())
    return wall, cpu, found


def _wall(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _compared(
    other: str, wall: Sequence[tuple[float, float]], cpu: Sequence[tuple[float, float]] | None, *, same: bool = True
) -> Comparison:
    return Comparison(
        other=other,
        wall=median_ratio(wall),
        cpu=median_ratio(cpu) if cpu else None,
        pairs=len(wall),
        same_verdicts=same,
        seconds=(median(a for a, _ in wall), median(b for _, b in wall)),
    )


def main() -> int:
    """Print every comparison; exit code 0 when AutoBench is ahead by what is promised, else 1."""
    parser = argparse.ArgumentParser(prog="python -m bench.isolation_cost", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=("measurement", "modules"), help="only this one")
    parser.add_argument("--pairs", type=int, default=15, help="pairs of part `measurement` (default: 15)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of part `modules`, after one that is not counted (default: 5)"
    )
    parser.add_argument("--modules", type=int, default=200, help="test modules (default: 200)")
    parser.add_argument("--tests", type=int, default=5, help="tests in each (default: 5)")
    given = parser.parse_args()
    kept = True
    if given.part != "modules":
        found = measurement(given.pairs)
        print("empty measurement, a request at least 20x:", *found, sep="\n  ", flush=True)
        kept &= found[0].wall[0] >= 20
    if given.part != "measurement":
        comparisons = modules(given.rounds, count=given.modules, tests=given.tests)
        print(
            f"{given.modules} modules of {given.tests} tests, ahead of both (also the lower end of the interval) with the same verdicts:"
        )
        for comparison in comparisons:
            print(f"  {comparison}")
            kept &= comparison.wall[1] > 1 and comparison.same_verdicts
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
