"""A candidate's branch and work tree, in real repositories of every awkward kind; the user's own is compared before and after."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.worktree import Branches, NoRepository, folder_of, toml
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
    assert make(Branches(tmp_path / "other", house=house)) == first
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
    branches.sweep(keep=dict([kept]), known={"d1", "d2"})
    assert set(branches.branches()) == {kept[0], foreign[0]}
    assert folder_of(tmp_path / "work", kept[1], house).is_dir()
    with pytest.raises(LookupError):
        folder_of(tmp_path / "work", lost[1], house)
    assert not (tmp_path / "work/trees/half").exists()
    assert folder_of(tmp_path / "other", foreign[1], house).is_dir()
    assert "touchstone-of-mine" in git(house, "branch", "--list")


def test_a_work_tree_that_was_cut_off_or_tampered_with_is_made_anew(house: Path, tmp_path: Path) -> None:
    branches = Branches(tmp_path / "work", house=house)
    _, commit = make(branches)
    file = folder_of(tmp_path / "work", commit, house) / "modules/one.py"
    file.write_text("x = 'somebody else'\n")
    branches.check_out(commit)
    assert file.read_text() == "x = 2\n"


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
