"""No attack of the corpus gets through, as this user and as an ordinary one, and every honest program runs.

The corpus is `attacks/*.py` (what counts as success is seen from outside, by `arena.py`) and `honest/*.py`. The default tests take every second
attack, which is some of every class, and every eighth of the rest; `pytest -m slow tests/agents/test_sandbox_attacks.py` takes all of everything.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import arena
import pytest

HOUSE = Path(__file__).parents[2]
ORDINARY = 65534
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")

ATTACKS = arena.corpus()
HONEST = [path.stem for path in sorted(arena.HONEST.glob("*.py"))]
PROVABLE = [
    name
    for name, attack in ATTACKS.items()
    if not attack.proof.startswith("none:") and (attack.proof != "plain-root" or not os.getuid())
]


def fight(how: str, names: Sequence[str], *, ordinary: bool = False) -> list[dict[str, Any]]:
    """Reports on `names`, from two processes at a time, which is what two cores can do."""
    python, user = sys.executable, {}
    if ordinary:
        python, user = _ordinary_python(), {"user": ORDINARY, "group": ORDINARY, "extra_groups": []}
    halves = [names[::2], names[1::2]]
    running = [
        subprocess.Popen(
            [python, "-B", "tests/agents/arena.py", how, *half],
            cwd=HOUSE,
            env={"PYTHONPATH": str(HOUSE), "PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **user,  # type: ignore[call-overload]
        )
        for half in halves
        if half
    ]
    said = [child.communicate() for child in running]
    assert [child.returncode for child in running] == [0] * len(running), said
    reports = [json.loads(line) for out, _ in said for line in out.splitlines()]
    assert sorted(report["name"] for report in reports) == sorted(names)
    return reports


def _ordinary_python() -> str:
    if os.getuid() != 0:
        pytest.skip("only root can become another user; this run is an ordinary one already")
    for python in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin") or ""):
        probe = [python, "-B", "-c", "import sys, agents.sandbox; sys.exit(sys.version_info < (3, 11))"]
        try:
            if (
                subprocess.run(probe, cwd=HOUSE, user=ORDINARY, group=ORDINARY, extra_groups=[], capture_output=True).returncode
                == 0
            ):
                return python
        except OSError:
            continue
    pytest.skip("no Python from 3.11 on that an ordinary user may start and that can read the house")


def test_the_corpus_covers_every_class_several_times() -> None:
    kinds = [attack.kind for attack in ATTACKS.values()]
    wanted = "secrets writing filling bombs daemons signals ptrace mounts sockets forging escapes outlasting"
    assert {kind: kinds.count(kind) >= 4 for kind in wanted.split()} == dict.fromkeys(wanted.split(), True)
    assert {attack.kind for attack in list(ATTACKS.values())[::2]} == set(kinds)
    assert len(ATTACKS) >= 60
    assert len(HONEST) >= 60


def test_no_attack_succeeds() -> None:
    assert [report for report in fight("confined", list(ATTACKS)[::2]) if report["won"]] == []


def test_no_attack_succeeds_as_an_ordinary_user() -> None:
    assert [report for report in fight("confined", list(ATTACKS)[::8], ordinary=True) if report["won"]] == []


def test_attacks_win_where_the_wall_that_stops_them_is_missing() -> None:
    assert [report for report in fight("proof", PROVABLE[::8]) if not report["won"]] == []


def test_honest_programs_run() -> None:
    assert [report for report in fight("honest", HONEST[::8]) if not report["ok"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("ordinary", [False, True])
def test_no_attack_of_all_succeeds(ordinary: bool) -> None:
    """About a minute: `pytest -m slow tests/agents/test_sandbox_attacks.py`."""
    assert [report for report in fight("confined", list(ATTACKS), ordinary=ordinary) if report["won"]] == []


@pytest.mark.slow
def test_every_attack_wins_where_the_wall_that_stops_it_is_missing() -> None:
    """About a minute: `pytest -m slow tests/agents/test_sandbox_attacks.py`."""
    assert [report for report in fight("proof", PROVABLE) if not report["won"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("ordinary", [False, True])
def test_every_honest_program_runs(ordinary: bool) -> None:
    """Half a minute: `pytest -m slow tests/agents/test_sandbox_attacks.py`."""
    assert [report for report in fight("honest", HONEST, ordinary=ordinary) if not report["ok"]] == []
