"""Git as the house runs it: deaf to a hook's variables, and clear about what is wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.repository import UNSET, GitFault, attempt, git, text


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    git("init", "--quiet", "--initial-branch=main", str(folder))
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "here", cwd=folder)
    return folder


def test_a_hook_of_another_repository_does_not_lead_astray(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=elsewhere", other], check=True)
    for name, place in (
        ("GIT_DIR", ".git"),
        ("GIT_WORK_TREE", "."),
        ("GIT_INDEX_FILE", ".git/index"),
        ("GIT_COMMON_DIR", ".git"),
    ):
        monkeypatch.setenv(name, str(other / place))
    assert text(git("symbolic-ref", "HEAD", cwd=clone)) == "refs/heads/main\n"
    assert text(git("log", "-1", "--format=%s", cwd=clone)) == "here\n"
    assert text(attempt("symbolic-ref", "HEAD", cwd=clone, keep={"GIT_DIR", "GIT_COMMON_DIR"}).stdout) == "refs/heads/elsewhere\n"


def test_nobodys_settings_count_where_they_are_unset(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Somebody\n")
    assert text(git("config", "user.name", cwd=clone)) == "Somebody\n"
    assert attempt("config", "user.name", cwd=clone, env=UNSET).returncode == 1


def test_a_failure_is_gits_last_words_and_a_missing_git_or_folder_is_told_with_its_mend(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(GitFault, match=r"`git rev-parse` failed \(128\): fatal: Needed a single revision"):
        git("-c", "core.abbrev=8", "rev-parse", "--verify", "nowhere", cwd=clone)
    with pytest.raises(GitFault, match=r"cannot be run in .*gone, which is no folder"):
        git("status", cwd=tmp_path / "gone")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitFault, match=r"git is not installed(?s:.*)help: install git"):
        git("status", cwd=clone)
