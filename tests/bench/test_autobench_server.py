"""The fork server: what it has ready when it forks, what it must not have, and what follows its end."""

from __future__ import annotations

import os
import py_compile
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from bench.autobench import AutoBench
from bench.autobench.launch import WITNESS
from bench.autobench.tree import LINUX
from bench.identity import identify
from plan.catalogue import HOUSE
from plan.nouns import Request, Status

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(not LINUX, reason="the guarantees are made on Linux")


def test_a_fork_server_that_was_killed_is_started_again_and_what_ran_goes_on(tmp_path, caplog):
    with AutoBench(preload=()) as bench:
        running = bench.start_call("autobench_cases:sleeps", {"seconds": 3}, folder=tmp_path / "a", paths=[str(HERE)])
        while running.worker is None:
            running.news()
            time.sleep(0.01)
        first = bench.server_pid
        os.kill(first, signal.SIGKILL)
        outcome = bench.start_call("autobench_cases:honest", folder=tmp_path / "b", paths=[str(HERE)]).wait(timeout=30)
        assert outcome
        assert outcome.status is Status.OK, outcome
        assert bench.server_pid != first
        assert running.outcome() is None
        assert "the fork server has ended" in caplog.text


def test_a_preload_that_cannot_be_imported_is_told_in_the_outcome(tmp_path):
    with AutoBench(preload=("no_such_module",)) as bench:
        outcome = bench.start_call("autobench_cases:honest", folder=tmp_path, paths=[str(HERE)]).wait(timeout=30)
    assert outcome
    assert outcome.status is Status.CRASHED
    assert "No module named 'no_such_module'" in outcome.log_tail


def test_what_was_parsed_for_a_key_is_not_parsed_again_in_a_worker_and_nothing_of_it_was_run_or_looked_up(tmp_path):
    files = identify(Request(module="transformer", benchmark="contract-v1", seed=0)).code.files
    with AutoBench(preload=(WITNESS,)) as bench:
        outcome = bench.start_call("autobench_cases:knows", folder=tmp_path, paths=[str(HERE)]).wait(timeout=60)
    assert outcome
    assert outcome.status is Status.OK, outcome
    assert {sha256((HOUSE / file).read_bytes()).hexdigest() for file in files if file.endswith(".py")} <= {
        *outcome.value["texts"]
    }
    assert (outcome.value["imported"], outcome.value["shelves"]) == ([], 0)


def test_the_server_has_torch_and_one_thread_when_it_forks(tmp_path):
    with AutoBench(preload=("torch",)) as bench:
        outcome = bench.start_call("autobench_cases:sees", folder=tmp_path, paths=[str(HERE)], threads=2).wait(timeout=60)
        assert outcome
        assert outcome.value["torch_threads"] == 2
        assert len(os.listdir(f"/proc/{bench.server_pid}/task")) == 1
        assert b"torch" in Path(f"/proc/{bench.server_pid}/maps").read_bytes()


def test_an_edit_of_the_same_size_within_the_same_second_is_what_is_measured(tmp_path):
    """Bytecode is matched by whole seconds and size; a worker must not read it for the house's own modules."""
    house = tmp_path / "house"
    shutil.copytree(HERE.parents[1] / "bench", house / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HERE.parents[1] / "plan", house / "plan", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "from pathlib import Path\nfrom bench.autobench import AutoBench\n"
        "with AutoBench(preload=()) as bench:\n"
        "    print(bench.start_call('bench.edited:answer', folder=Path('work')).wait(30).value)\n"
    )
    edited = house / "bench" / "edited.py"
    edited.write_text("def answer(tell):\n    return {'value': 1}\n")
    before = edited.stat()
    py_compile.compile(str(edited))
    edited.write_text("def answer(tell):\n    return {'value': 7}\n")
    os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=house, env={**os.environ, "PYTHONPATH": str(house)}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "7", done.stderr
