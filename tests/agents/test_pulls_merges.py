"""Merges that nobody sees: equal to `git merge`, and not a byte of them in the user's repository."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from itertools import combinations
from pathlib import Path

import pytest

from agents.pulls import PullsFault, check_mergeable, list_open_prs
from agents.pulls.forty import ALONE, NAMES, build
from agents.pulls.local import local_pulls
from agents.pulls.mergetree import OLDEST, Workshop, open_repository
from agents.pulls.proof import Clone, compare, look, objects
from bench.pulls import Mergeable, Pulls
from tests.agents import pull_repositories as small

EVERY = list(combinations(NAMES, 2))
TELLING = {
    ("edit-here", "edit-here-otherwise"): {"notes.txt"},
    ("add", "add-otherwise"): {"new.txt"},
    ("modify-one", "delete-one"): {"a/one.txt"},
    ("rename-two", "rename-two-otherwise"): {"a/two.txt", "a/deux.txt", "a/zwei.txt"},
    ("picture", "picture-otherwise"): {"image.bin"},
    ("link-elsewhere", "link-otherwise"): {"link"},
    ("crossed-left", "crossed-right"): {"list.txt"},
}
CLEAN = [
    ("edit-here", "edit-here-as-well"),
    ("edit-here", "edit-far"),
    ("add", "add-the-same"),
    ("rename-two", "modify-two"),
    ("rename-folder", "edit-in-folder"),
    ("program", "edit-program"),
    ("changes", "changes-otherwise"),
]


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forty") / "r"
    build(folder)
    return folder


def test_a_sample_of_pairs_comes_to_the_tree_of_a_real_merge(forty: Path, tmp_path: Path) -> None:
    sample = list(dict.fromkeys([*TELLING, *CLEAN, *EVERY[::29]]))
    found = compare(forty, Clone(forty, tmp_path / "clone"), sample)
    assert found.disagreements == ()
    assert found.conflicts >= len(TELLING)


@pytest.mark.slow
def test_all_780_pairs_come_to_the_tree_of_a_real_merge(forty: Path, tmp_path: Path) -> None:
    """pytest -m slow tests/agents/test_pulls_merges.py; about a minute."""
    found = compare(forty, Clone(forty, tmp_path / "clone"), EVERY)
    assert found.pairs == 780
    assert found.disagreements == ()


def test_every_pair_is_looked_at_and_conflicts_name_their_paths(forty: Path) -> None:
    seen = look(forty)
    assert seen.pairs == len(EVERY) == 780
    assert {pull.name for pull in seen.pulls} == set(NAMES)
    told = {frozenset((pair.ours, pair.theirs)): {one.path for one in pair.conflicts} for pair in seen.between}
    for couple, paths in TELLING.items():
        assert told[frozenset(couple)] == paths
    for couple in CLEAN:
        assert frozenset(couple) not in told
    assert sum(ALONE in couple for couple in told) == 39
    assert [pair.theirs for pair in seen.against_base if not pair.clean] == [ALONE]


def test_nothing_is_written_into_the_repository_and_nothing_is_left_elsewhere(
    forty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def everything() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in forty.rglob("*") if path.is_file()}

    before = objects(forty), everything()
    assert look(forty, branches="[ae]*").between
    assert (objects(forty), everything()) == before
    assert list(tmp_path.iterdir()) == []


def test_several_git_processes_give_the_same_answers(forty: Path) -> None:
    assert look(forty, workers=3, branches="[a-e]*") == look(forty, branches="[a-e]*")


@pytest.fixture
def cached(forty: Path, tmp_path: Path) -> tuple[Path, Pulls]:
    """A cache, and the look that filled it."""
    file = tmp_path / "cache.db"
    cold = look(forty, cache=file, branches="[ae]*")
    with sqlite3.connect(file) as db:
        assert db.execute("select count(*) from verdicts").fetchone()[0] == cold.pairs + len(cold.pulls)
    return file, cold


def test_what_is_cached_is_not_merged_again(forty: Path, cached: tuple[Path, Pulls], monkeypatch: pytest.MonkeyPatch) -> None:
    file, cold = cached
    monkeypatch.setattr(Workshop, "merges", lambda _self, pairs: [] if not pairs else pytest.fail(f"{len(pairs)} merged again"))
    assert look(forty, cache=file, branches="[ae]*") == cold


@pytest.mark.parametrize("damage", [b"no database at all" * 100, b"", None])
def test_a_damaged_cache_is_made_anew(forty: Path, cached: tuple[Path, Pulls], damage: bytes | None) -> None:
    file, cold = cached
    if damage is not None:
        file.write_bytes(damage)
    else:
        with sqlite3.connect(file) as db:
            db.execute('update verdicts set body = \'{"mergeable": "perhaps"}\'')
    assert look(forty, cache=file, branches="[ae]*") == cold
    assert look(forty, cache=file, branches="[ae]*") == cold


def test_a_commit_that_is_not_there_is_unknown_and_never_a_conflict(forty: Path) -> None:
    repo = open_repository(forty)
    (pull, other, *_) = local_pulls(repo)
    with Workshop(repo) as shop:
        strange, empty, tree, clean = shop.merges(
            [(pull.head, "1" * 40), ("", pull.head), (pull.head, repo.git.rev_parse("main^{tree}")), (pull.head, other.base_head)]
        )
    assert [one.mergeable for one in (strange, empty, tree, clean)] == [*[Mergeable.UNKNOWN] * 3, Mergeable.YES]
    assert "is not in the clone" in strange.why


def test_two_branches_that_move_a_submodule_apart_are_a_conflict_and_nothing_ends(tmp_path: Path) -> None:
    folder = small.repository(tmp_path / "r", {"a": "1\n"})

    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True)

    def moved(digit: str) -> None:
        git("update-index", "--add", "--cacheinfo", f"160000,{digit * 40},m")
        git("commit", "-qm", f"m at {digit}")

    moved("1")
    for branch, digit in (("one", "2"), ("two", "3")):
        git("checkout", "-q", "-b", branch, "main")
        git("read-tree", branch)
        moved(digit)
    git("checkout", "-q", "main")
    seen = small.look(folder)
    assert [merge.mergeable for merge in seen.against_base] == [Mergeable.YES, Mergeable.YES]
    (pair,) = seen.between
    assert pair.mergeable is Mergeable.NO
    assert [conflict.path for conflict in pair.conflicts] == ["m"]


def test_a_shallow_clone_says_unknown_where_the_common_commit_is_missing(tmp_path: Path) -> None:
    folder = small.repository(tmp_path / "r", {"a": "1\n"}, one={"b": "2\n"})
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", "--no-single-branch", f"file://{folder}", shallow], check=True)
    subprocess.run(["git", "-C", shallow, "branch", "-q", "one", "origin/one"], check=True)
    seen = small.look(shallow)
    (pair,) = seen.against_base
    assert pair.mergeable is Mergeable.UNKNOWN
    assert "--unshallow" in pair.why
    assert seen.unknown
    assert not seen.troubled


def test_the_users_git_settings_and_surroundings_change_nothing(
    forty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = look(forty, branches="[r]*")
    config = tmp_path / "config"
    config.write_text("[merge]\n\trenames = false\n\tconflictStyle = diff3\n[core]\n\tquotePath = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.chdir(tmp_path)
    assert look(forty, branches="[r]*") == plain


def test_paths_of_any_spelling_are_told_as_they_are(tmp_path: Path) -> None:
    odd = 'ä "quoted"\tand\\back'
    folder = tmp_path / "r"
    subprocess.run(["git", "init", "-q", "-b", "main", folder], check=True)
    who = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@e", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@e"}

    def commit(branch: str, text: str) -> None:
        (folder / odd).write_text(text)
        for command in (["add", "."], ["commit", "-q", "-m", branch]):
            subprocess.run(["git", "-C", folder, *command], check=True, env={**os.environ, **who})

    commit("main", "start\n")
    for branch in ("one", "other"):
        subprocess.run(["git", "-C", folder, "checkout", "-q", "-b", branch, "main"], check=True)
        commit(branch, f"{branch}\n")
    (pair,) = small.look(folder).between
    assert [one.path for one in pair.conflicts] == [odd]


def test_objects_borrowed_from_a_third_repository_are_found(tmp_path: Path) -> None:
    folder = small.repository(tmp_path / "r", {"a": "1\n"}, one={"a": "2\n"}, other={"a": "3\n"})
    subprocess.run(["git", "clone", "-q", "--shared", folder, tmp_path / "shared"], check=True)
    for branch in ("one", "other"):
        subprocess.run(["git", "-C", tmp_path / "shared", "branch", "-q", branch, f"origin/{branch}"], check=True)
    assert [pair.mergeable for pair in small.look(tmp_path / "shared").between] == [Mergeable.NO]


def test_a_linked_work_tree_is_as_good_as_its_repository(tmp_path: Path) -> None:
    folder = small.repository(tmp_path / "r", {"a": "1\n"}, one={"a": "2\n"}, other={"a": "3\n"})
    subprocess.run(["git", "-C", folder, "worktree", "add", "-q", "--detach", tmp_path / "linked"], check=True)
    assert [pair.mergeable for pair in small.look(tmp_path / "linked").between] == [Mergeable.NO]


def test_fetched_pull_requests_come_before_branches_and_carry_their_number(tmp_path: Path) -> None:
    folder = small.repository(tmp_path / "r", {"a": "1\n"}, one={"a": "2\n"}, merged={}, other={"b": "3\n"})
    for number, branch in ((12, "one"), (9, "other")):
        subprocess.run(["git", "-C", folder, "update-ref", f"refs/pull/{number}/head", branch], check=True)
    assert [(pull.name, pull.number) for pull in list_open_prs(repo=folder)] == [("#9", 9), ("#12", 12)]
    assert check_mergeable(12, repo=folder) is Mergeable.YES
    assert [pull.name for pull in list_open_prs(repo=folder, branches="o*")] == ["one", "other"]
    with pytest.raises(KeyError):
        check_mergeable("#77", repo=folder)


def test_a_git_too_old_no_git_and_no_repository_are_told_with_their_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import git

    with pytest.raises(PullsFault, match=r"no git repository at (?s:.*)--repo"):
        open_repository(tmp_path / "nothing")
    folder = small.repository(tmp_path / "r", {"a": "1\n"})
    with pytest.raises(PullsFault, match=r"`nowhere` is no branch or commit(?s:.*)--base"):
        local_pulls(open_repository(folder), base="nowhere")
    assert OLDEST == (2, 38)
    real = shutil.which("git")
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text(f'#!/bin/sh\nif [ "$1" = version ]; then echo git version 2.30.2; else exec {real} "$@"; fi\n')
    old.chmod(0o755)
    monkeypatch.setattr(git.Git, "GIT_PYTHON_GIT_EXECUTABLE", str(old))
    with pytest.raises(PullsFault, match=r"git 2\.30 is too old"):
        open_repository(folder)
