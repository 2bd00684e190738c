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
from plan.nouns import Status
from tests.agents.loop import PLAN, Loop, descendants_of, kill

MOMENTS, CHILD_MOMENTS, TIGHT_MOMENTS = 30, 10, 12


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


TIGHT = {"few": 30.0, "many": 9.0, "again": 12.0}
"""Budgets in seconds. `few` grants each of its 5 seeds 6 s and so pays for the 3 that `again` (4 s each) wants too."""


@pytest.mark.slow
def test_kills_under_tight_budgets_exceed_none_of_them(tmp_path: Path) -> None:
    sections = PLAN.format(steps=60).replace("- **budget**: 5 min, 60 steps\n", "").split("## ")
    rest = [
        part.replace("- **seeds**", f"- **budget**: {TIGHT[part.partition(':')[0]]:g} s, 60 steps\n- **seeds**")
        for part in sections[1:]
    ]
    rng, kills, folders, late = random.Random(9), 0, 0, 0
    while kills < TIGHT_MOMENTS:
        folders += 1
        loop = Loop(tmp_path / str(folders), plan="## ".join([sections[0], *rest]))
        for _ in range(3):
            process = loop.start()
            try:
                process.wait(timeout=rng.uniform(1.0, 15.0))
            except Exception:
                kill(process)
                kills += 1
        loop.run()
        with Ledger.open(loop.folder / "runs/ledger.db") as ledger:
            facts = fold(ledger.events())
        spent = {task: facts.spent_for(keys).seconds for task, keys in facts.wanted.tasks.items()}
        assert set(facts.wanted.tasks["again"]) <= set(facts.wanted.tasks["few"])
        assert spent["few"] <= TIGHT["few"]
        assert spent["many"] <= TIGHT["many"]
        assert not facts.open_attempts
        late += sum(run.status is Status.TIMED_OUT for run in facts.runs.values())
        attempts = sum(map(len, facts.attempts.values()))
        assert "measuring" not in loop.run().stderr
        print(f"folder {folders}: {kills} kills, {attempts} attempts, {late} runs timed out so far; spent {spent} of {TIGHT}")
