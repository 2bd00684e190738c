"""Kill anywhere: SIGKILL the orchestrator at 30 random moments and its children at 10; the end is the same.

The long proof: `python -m pytest -m slow tests/agents/test_kill_anywhere.py -s` (about ten minutes on 2 cores).
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from bench.fold import fold
from bench.ledger import Ledger
from tests.agents.loop import Loop, descendants_of, kill

MOMENTS, CHILD_MOMENTS = 30, 10


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """The report of an uninterrupted run, and how long it took."""
    loop = Loop(tmp_path_factory.mktemp("whole"))
    began = time.monotonic()
    loop.run()
    return loop.report("html"), time.monotonic() - began


def alive(marker: str) -> list[int]:
    """Processes whose environment carries a measurement's marker or whose command names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marker.encode() in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.slow
def test_thirty_kills_of_the_orchestrator_change_nothing(whole: tuple[str, float], tmp_path: Path) -> None:
    rng, kills, folders = random.Random(7), 0, 0
    while kills < MOMENTS:
        folders += 1
        loop = Loop(tmp_path / str(folders))
        while kills < MOMENTS:
            process = loop.start()
            try:
                process.wait(timeout=rng.uniform(0.2, whole[1]))
                break
            except Exception:
                pids = descendants_of(process.pid)
                kill(process)
                kills += 1
                time.sleep(1.0)
                assert [
                    pid
                    for pid in pids
                    if Path(f"/proc/{pid}").exists()
                    and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                ] == []
        loop.run()
        assert loop.report("html") == whole[0]
        with Ledger.open(loop.folder / "runs/ledger.db") as ledger:
            facts = fold(ledger.events())
        done = [a.key for attempts in facts.attempts.values() for a in attempts if a.done]
        assert len(done) == len(set(done)) == 8
        assert all(facts.spent_for(keys).seconds <= 300 for keys in facts.wanted.tasks.values())
        print(f"folder {folders}: {kills} kills so far, report equal")


@pytest.mark.slow
def test_ten_kills_of_children_change_nothing(whole: tuple[str, float], tmp_path: Path) -> None:
    rng, kills, folders = random.Random(8), 0, 0
    while kills < CHILD_MOMENTS:
        folders += 1
        loop = Loop(tmp_path / str(folders))
        process = loop.start()
        struck = 0
        while process.poll() is None and struck < 3 and kills < CHILD_MOMENTS:
            time.sleep(rng.uniform(0.5, whole[1] / 4))
            victims = descendants_of(process.pid)
            if victims:
                try:
                    os.kill(rng.choice(victims), signal.SIGKILL)
                    kills, struck = kills + 1, struck + 1
                except ProcessLookupError:
                    pass
        process.wait(timeout=600)
        loop.run()
        assert loop.report("html") == whole[0], loop.said()
        print(f"folder {folders}: {kills} children killed so far, report equal")
