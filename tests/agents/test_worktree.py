"""A candidate's branch and work tree, in real repositories of every awkward kind; the user's own is compared before and after."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from agents.worktree import Branches, NoRepository, folder_of, toml
from bench.repository import GitFault
from tests.agents.duelling import git

SETTINGS = ("-c", "user.name=Somebody", "-c", "user.email=some@body")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small house below a repository's root, with a hook that must not run."""
    root = tmp_path / "repo"
    for package in ("modules", "kernels"):
        (root / "house" / package).mkdir(parents=True)
        (root / "house" / package / "__init__.py").write_text("")
    (root / "house/modules/one.py").write_text("x = 1\n")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, *SETTINGS, "commit", "--quiet", "-m", "The house")
    for name in ("post-checkout", "pre-commit", "reference-transaction", "post-commit"):
        hook = root / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
        hook.chmod(0o755)
    return root / "house"


def state(house: Path) -> tuple[str, ...]:
    """What must not change: HEAD, status, stash, index and the user's branches."""
    index = house.parent / ".git/index"
    asked = (
        ("symbolic-ref", "-q", "HEAD"),
        ("rev-parse", "HEAD"),
        ("status", "--porcelain"),
        ("stash", "list"),
        ("branch", "--list", "main"),
    )
    told = [
        subprocess.run(["git", "--no-optional-locks", *words], cwd=house, capture_output=True, text=True).stdout
        for words in asked
    ]
    return (*told, index.read_bytes().hex())


def make(branches: Branches, decision: str = "d1", text: str | None = "x = 2\n") -> tuple[str, str]:
    made = branches.make("task", decision, champion="y = 1\n", files={"modules/one.py": text} if text else {}, message="Why\n")
    return made.branch, made.commit


@pytest.mark.parametrize("awkward", ["clean", "dirty", "staged", "detached", "inside a hook"])
def test_the_users_tree_index_head_and_hooks_stay_as_they_are(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awkward: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no user.name anywhere
    if awkward in ("dirty", "staged"):
        (house / "kernels/new.py").write_text("new = 1\n")
        (house / "modules/__init__.py").write_text("edited = 1\n")
    if awkward == "staged":
        git(house, "add", "kernels/new.py")
    if awkward == "detached":
        git(house, "checkout", "--quiet", "--detach")
        (tmp_path / "hooked").unlink()
    if awkward == "inside a hook":
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
        monkeypatch.setenv("GIT_INDEX_FILE", str(house.parent / ".git/index"))
    before = state(house) if awkward != "inside a hook" else ()
    branches = Branches(tmp_path / "work", house=house)
    branch, commit = make(branches)
    folder = folder_of(tmp_path / "work", commit, house)
    assert (folder / "modules/one.py").read_text() == "x = 2\n"
    if awkward in ("dirty", "staged"):
        assert (folder / "modules/__init__.py").read_text() == "edited = 1\n"
        assert (folder / "kernels/new.py").read_text() == "new = 1\n"
    branches.remove(branch, commit)
    assert not folder.exists()
    assert branches.branches() == {}
    monkeypatch.undo()
    assert not before or state(house) == before
    assert not (tmp_path / "hooked").exists()


def test_the_same_candidate_is_the_same_commit_whenever_it_is_made(house: Path, tmp_path: Path) -> None:
    first = make(Branches(tmp_path / "work", house=house))
    assert make(Branches(tmp_path / "work", house=house)) == first
    assert make(Branches(tmp_path / "other", house=house))[1] == first[1]
    assert make(Branches(tmp_path / "work", house=house), text="x = 3\n")[1] != first[1]


def test_a_sweep_takes_what_a_killed_run_left_and_keeps_champions_and_other_peoples_branches(house: Path, tmp_path: Path) -> None:
    branches = Branches(tmp_path / "work", house=house)
    kept, lost, foreign = (
        make(branches, "d1"),
        make(branches, "d2", "x = 4\n"),
        make(Branches(tmp_path / "other", house=house), "d3"),
    )
    git(house, "branch", "touchstone-of-mine")
    (tmp_path / "work/trees/half").mkdir()
    branches.sweep(keep=dict([kept]))
    assert set(branches.branches()) == {kept[0], foreign[0]}
    assert folder_of(tmp_path / "work", kept[1], house).is_dir()
    with pytest.raises(LookupError):
        folder_of(tmp_path / "work", lost[1], house)
    assert not (tmp_path / "work/trees/half").exists()
    assert folder_of(tmp_path / "other", foreign[1], house).is_dir()
    assert "touchstone-of-mine" in git(house, "branch", "--list")


def test_ledgers_that_make_the_same_decision_neither_share_its_branch_nor_take_it_from_each_other(
    house: Path, tmp_path: Path
) -> None:
    first = Branches(tmp_path / "one-work", ledger="first", house=house)
    others = [
        Branches(tmp_path / "two-work", ledger="second", house=house),
        Branches(tmp_path / "copied-work", ledger="first", house=house),
        Branches(tmp_path / "one-work", ledger="began afresh", house=house),
    ]
    champion, losers = make(first, text=None), [make(other, text=None) for other in others]
    assert len({champion[0], *(branch for branch, _ in losers)}) == 4
    assert {commit for _, commit in losers} == {champion[1]}
    for other, loser in zip(others, losers, strict=True):
        assert "another ledger" in other.remove(*champion)
        assert other.remove(*loser) == ""
        assert other.sweep(keep={}) == []
    assert first.branches() == dict([champion])


def test_a_work_tree_that_was_cut_off_or_tampered_with_is_made_anew(house: Path, tmp_path: Path) -> None:
    branches = Branches(tmp_path / "work", house=house)
    _, commit = make(branches)
    file = folder_of(tmp_path / "work", commit, house) / "modules/one.py"
    file.write_text("x = 'somebody else'\n")
    branches.check_out(commit)
    assert file.read_text() == "x = 2\n"


@pytest.mark.parametrize("cut", ["no link back", "folder gone", "not registered", "locked", "no folder of work trees"])
def test_a_work_tree_that_was_cut_off_half_way_stops_no_later_run(house: Path, tmp_path: Path, cut: str) -> None:
    branches = Branches(tmp_path / "work", house=house)
    (branch, commit), folder = make(branches), tmp_path / "work/trees"
    (tree,) = folder.iterdir()
    match cut:
        case "no link back":
            (tree / ".git").unlink()
        case "folder gone":
            shutil.rmtree(tree)
        case "not registered":
            shutil.rmtree(house.parent / ".git/worktrees")
        case "locked":
            (house.parent / ".git/worktrees" / tree.name / "locked").write_text("initializing")
        case _:
            shutil.rmtree(tmp_path / "work")
    branches.check_out(commit)
    assert (folder_of(tmp_path / "work", commit, house) / "modules/one.py").read_text() == "x = 2\n"
    if cut == "no link back":
        (tree / ".git").unlink()
    branches.sweep(keep={})
    assert branches.branches() == {}
    assert not tree.exists()
    assert git(house, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert branch not in git(house, "branch", "--list")


def test_a_branch_that_somebody_looks_at_or_has_committed_on_is_left_alone_and_told(house: Path, tmp_path: Path) -> None:
    branches = Branches(tmp_path / "work", house=house)
    looked, worked = make(branches, "d1"), make(branches, "d2", "x = 3\n")
    git(house, "checkout", "--quiet", worked[0])
    (house / "modules/mine.py").write_text("mine = 1\n")
    git(house, "add", ".")
    git(house, *SETTINGS, "commit", "--quiet", "-m", "Mine")
    git(house, "checkout", "--quiet", looked[0])
    before = state(house), git(house, "rev-parse", worked[0])
    assert "is checked out" in branches.remove(*looked)
    assert "commits of somebody else" in branches.remove(*worked)
    assert len([word for word in branches.sweep(keep={}) if "stays" in word]) == 2
    with pytest.raises(GitFault, match="commits of somebody else"):
        make(branches, "d2", "x = 4\n")
    with pytest.raises(GitFault, match="is checked out"):
        make(branches, "d1", "x = 4\n")
    assert (state(house), git(house, "rev-parse", worked[0])) == before
    git(house, "checkout", "--quiet", "main")
    assert branches.remove(*looked) == ""
    assert looked[0] not in branches.branches()


def test_a_branch_whose_work_tree_cannot_be_made_is_taken_back(house: Path, tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file is in the way")
    branches = Branches(tmp_path / "work", house=house)
    with pytest.raises((GitFault, OSError)):
        make(branches)
    assert branches.branches() == {}


def test_what_lies_beside_a_candidate_in_no_commit_is_named(house: Path, tmp_path: Path) -> None:
    branches = Branches(tmp_path / "work", house=house)
    assert branches.edited() == []
    (house / "kernels/new one.py").write_text("new = 1\n")
    (house / "modules/one.py").unlink()
    (house / "elsewhere.py").write_text("")
    assert branches.edited() == ["house/kernels/new one.py", "house/modules/one.py"]


@pytest.mark.parametrize("kind", ["no repository", "not tracked", "no commit"])
def test_a_house_outside_a_repository_is_told_apart(tmp_path: Path, kind: str) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/__init__.py").write_text("")
    if kind != "no repository":
        git(tmp_path, "init", "--quiet")
    if kind == "no commit":
        git(tmp_path, "add", ".")
    with pytest.raises(NoRepository):
        Branches(tmp_path / "work", house=tmp_path)


def test_a_config_is_written_so_that_it_reads_back() -> None:
    import tomllib

    config = {
        "module": "gla",
        "config": {"heads": 2, "path": 'a "b" \\ c', "rope": True, "recipe": {"lr": 1e-05, "betas": [0.9, 0.95]}},
    }
    assert tomllib.loads(toml(config)) == config


def test_branches_of_the_users_called_like_ours_stop_no_candidate(house: Path, tmp_path: Path) -> None:
    for name in ("touchstone", "touchstone-1/mine"):
        git(house, "branch", name)
    branches = Branches(tmp_path / "work", house=house)
    branch, _ = make(branches)
    branches.sweep(keep={})
    assert branch not in branches.branches()
    assert git(house, "branch", "--list", "touchstone", "touchstone-1/mine").split() == ["touchstone", "touchstone-1/mine"]


def test_no_filter_of_the_users_runs_and_a_required_one_stops_no_candidate(house: Path, tmp_path: Path) -> None:
    ran = tmp_path / "filtered"
    git(house, "config", "filter.my.own=one.smudge", f"touch {ran}; cat")
    git(house, "config", "filter.my.own=one.clean", f"touch {ran}; tr x y")
    git(house, "config", "filter.my.own=one.required", "true")
    git(house, "config", "filter.Process.process", f"touch {ran}; false")
    git(house, "config", "filter.Process.required", "true")
    (house.parent / ".gitattributes").write_text("one.py filter=my.own=one\n__init__.py filter=Process\n")
    before = state(house)
    ran.unlink(missing_ok=True)
    branches = Branches(tmp_path / "work", house=house)
    branch, commit = make(branches)
    assert (folder_of(tmp_path / "work", commit, house) / "modules/one.py").read_text() == "x = 2\n"
    branches.check_out(commit)
    branches.edited()
    branches.remove(branch, commit)
    assert not ran.exists()
    assert state(house) == before


def test_a_lock_that_a_killed_git_left_is_named_with_the_mend(house: Path, tmp_path: Path) -> None:
    branches = Branches(tmp_path / "work", house=house)
    branch, commit = make(branches, text=None)
    lock = house.parent / f".git/refs/heads/{branch}.lock"
    branches.remove(branch, commit)
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    with pytest.raises(GitFault) as fault:
        make(branches, text=None)
    assert f"the lock {lock} is there" in str(fault.value)
    assert "delete that file" in str(fault.value)
    lock.unlink()
    assert make(branches, text=None) == (branch, commit)
