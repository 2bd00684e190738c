"""The loop improves by itself, is killed anywhere, held by two at once, and takes back what turned out bad.

The long proofs: `python -m pytest -m slow tests/agents/test_duels_killed.py -s` (about ten minutes on 2 cores).
"""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

from bench.fold import Case
from tests.agents.duelling import ASK, copied_house, duelling, git, patch_of, patching, plan
from tests.agents.loop import Loop, facts, kill

MOMENTS = 12
SMALL = "d_model = 16\n\n[decoder]\nlayers = 1"
BETTER, WORSE = "ffn_multiple: float = 1.0", "ffn_multiple: float = 8.0"
BYTES = """# Plan: a learning rate far too small

## bytes: text

- **module**: `transformer`
- **benchmark**: `bytes-stdlib-v1`
- **seeds**: 3
- **budget**: 30 steps
- **gate**: off
- **improve**: tune
- **trials**: 80

| metric    |    | threshold | rule      |
| --------- | -- | --------: | --------- |
| `val_bpb` | <= |       7.0 | upper 95% |

```toml config
d_model = 16
heads = 2

[recipe]
lr = 1e-5
batch = 2
length = 32
```
"""


def left(house: Path, loop: Loop) -> tuple[list[str], list[str], list[str]]:
    """Branches of candidates, work trees beside the user's, and folders of work trees."""
    branches = git(house, "for-each-ref", "--format=%(refname:short)", "refs/heads/touchstone-*/**").split()
    trees = [line for line in git(house, "worktree", "list", "--porcelain").splitlines() if line.startswith("worktree ")][1:]
    return branches, trees, sorted(item.name for item in (loop.folder / "runs/ledger-work/trees").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("change", [BETTER, WORSE])
def test_kills_at_random_moments_change_nothing_and_leave_nothing_behind(tmp_path: Path, change: str) -> None:
    house = copied_house(tmp_path / "house")
    patching(house, patch_of(house, "modules/transformer.py", "ffn_multiple: float = 4.0", change), kind="tune")
    (house / "modules/moe.py").write_text((house / "modules/moe.py").read_text() + "\n# not committed\n")
    text, ask = plan(config=SMALL, most=6000), ("--decider", "patcher", "--decider", "more-seeds")
    shutil.copytree(house, tmp_path / "whole", symlinks=True)
    whole = duelling(tmp_path / "runs/whole", tmp_path / "whole", text)
    whole.run(*ask)
    rng, kills, folders = random.Random(11), 0, 0
    while kills < MOMENTS:
        folders += 1
        copy = tmp_path / f"copy-{folders}"
        shutil.copytree(house, copy, symlinks=True)
        loop = duelling(tmp_path / f"runs/{folders}", copy, text)
        for _ in range(4):
            process = loop.start(*ask)
            try:
                process.wait(timeout=rng.uniform(1.0, 30.0))
                break
            except Exception:
                kill(process)
                kills += 1
        loop.run(*ask)
        assert loop.report("html") == whole.report("html"), loop.said()
        branches, trees, kept = left(copy, loop)
        assert [branch.split("/")[1:] for branch in branches] == ([["wide", "dpatched1"]] if change == BETTER else [])
        assert len(trees) == len(kept) == len(branches)
        assert git(copy, "status", "--porcelain") == git(house, "status", "--porcelain")
        assert git(copy, "rev-parse", "HEAD") == git(house, "rev-parse", "HEAD")
        known = facts(loop)
        assert all(len([one for one in attempts if one.done]) == 1 for attempts in known.attempts.values())
        print(f"folder {folders}: {kills} kills so far, report equal, left {branches} {kept}")


@pytest.mark.slow
def test_what_was_decided_and_not_carried_out_is_decided_again_and_carried_out_by_the_next_run(tmp_path: Path) -> None:
    house = copied_house(tmp_path / "house")
    patching(house, patch_of(house, "modules/transformer.py", "ffn_multiple: float = 4.0", BETTER), kind="tune")
    loop = duelling(tmp_path / "runs", house, plan(config=SMALL, most=6000))
    process = loop.start("--decider", "patcher")
    loop.wait_for("asking `patcher`")
    until = time.monotonic() + 120
    while not facts(loop).cases and time.monotonic() < until:  # it is told only once it is carried out
        time.sleep(0.01)
    kill(process)
    (killed,) = facts(loop).cases.values()
    assert killed.applied is None, "it was killed too late: its branch was made in less than 20 ms"
    assert loop.run("--decider", "patcher").returncode == 0
    (case,) = facts(loop).cases.values()
    assert case.promoted
    assert [len(found) for found in left(house, loop)] == [1, 1, 1]


@pytest.mark.slow
def test_a_fresh_start_after_a_kill_in_mid_duel_leaves_no_branch_and_no_work_tree(tmp_path: Path) -> None:
    house = copied_house(tmp_path / "house")
    patching(house, patch_of(house, "modules/transformer.py", "ffn_multiple: float = 4.0", WORSE), kind="tune")
    loop = duelling(tmp_path / "runs", house, plan(config=SMALL, most=6000))
    process = loop.start("--decider", "patcher")
    until = time.monotonic() + 300
    while not all(left(house, loop)) and time.monotonic() < until:
        time.sleep(0.02)
    kill(process)
    assert [len(found) for found in left(house, loop)] == [1, 1, 1]
    loop.run("--fresh", "--budget", "1s")
    assert left(house, loop) == ([], [], [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "gone", [{"## wide:": "## wider:"}, {"- **improve**: tune\n": "", "- **trials**: 60\n": ""}], ids=["task", "improve"]
)
def test_a_duel_that_its_plan_has_left_is_given_up_and_leaves_nothing(tmp_path: Path, gone: dict[str, str]) -> None:
    house = copied_house(tmp_path / "house")
    patching(house, patch_of(house, "modules/transformer.py", "ffn_multiple: float = 4.0", WORSE), kind="tune")
    loop = duelling(tmp_path / "runs", house, plan(config=SMALL, most=6000))
    process = loop.start("--decider", "patcher")
    until = time.monotonic() + 300
    while not any(case.applied for case in facts(loop).cases.values()) and time.monotonic() < until:
        time.sleep(0.02)
    kill(process)
    text = (loop.folder / "Plan.md").read_text()
    for was, now in gone.items():
        assert was in text
        text = text.replace(was, now)
    (loop.folder / "Plan.md").write_text(text)
    loop.call("plan", "diff", "--acknowledge", "Plan.md")
    done = loop.run("--decider", "more-seeds")
    assert "is given up" in done.stderr
    assert left(house, loop) == ([], [], [])


@pytest.mark.slow
def test_a_wrong_learning_rate_is_found_on_real_text_and_a_useless_change_is_not_promoted(tmp_path: Path) -> None:
    house = copied_house(tmp_path / "house")
    useless = (
        BYTES.replace("lr = 1e-5", "lr = 4e-3\nclip = 0.9").replace("7.0", "1.0").replace("**trials**: 80", "**trials**: 30")
    )
    for text, name in ((BYTES, "lr"), (useless, "clip")):
        loop = duelling(tmp_path / name, house, text)
        done = loop.run(*ASK)
        cases = list(facts(loop).cases.values())
        if name == "lr":
            assert done.returncode == 0, done.stdout
            assert cases[0].promoted
            assert "bytes as its champion" in done.stdout
            assert "recipe.lr left out" in done.stdout
        else:
            assert not cases[0].promoted
            assert facts(loop).wanted.champions == {}


@pytest.mark.slow
def test_a_champion_that_costs_other_targets_is_rolled_back_and_not_tried_again(tmp_path: Path) -> None:
    house = copied_house(tmp_path / "house")
    other = "| `train_flops` | >= | 120_000 FLOP | every seed |\n| `flops_ratio` | >= | 0.99 | every seed |\n"
    text = plan(most=7000, trials=24).replace("\n\n```toml", f"\n{other}\n```toml", 1).replace("heads = 2\n", "")
    loop = duelling(tmp_path / "runs", house, text)
    loop.run(*ASK)
    kinds = [(case.decision.action.kind, case.promoted, bool(case.rolled_back)) for case in facts(loop).cases.values()]
    print(kinds)
    assert kinds[0] == ("tune", True, True)
    assert kinds[1][0] == "rollback"
    first = next(iter(facts(loop).cases.values()))
    assert all(case.decision.action.details != first.decision.action.details for case in list(facts(loop).cases.values())[1:])
    assert _champion(loop) is None


@pytest.mark.slow
def test_two_orchestrators_on_one_ledger_are_one_that_works_and_one_that_is_told_who_does(tmp_path: Path) -> None:
    house = copied_house(tmp_path / "house")
    text = plan(config=SMALL.replace("\n\n", "\nffn_multiple = 16.0\n\n"), most=8000)
    loop = duelling(tmp_path / "runs", house, text)
    process = loop.start(*ASK)
    loop.wait_for("decision")
    second = loop.run(*ASK)
    assert second.returncode == 4
    process.wait(timeout=600)
    known = facts(loop)
    assert all(len(attempts) == 1 for attempts in known.attempts.values())
    assert len(left(house, loop)[0]) == 1


def _champion(loop: Loop) -> Case | None:
    known = facts(loop)
    return known.cases.get(known.wanted.champions.get("wide", ""))
