"""`orchestrate pulls` from end to end: a clone, its upstream, a server that may lie, and the ledger."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.pulls import check_mergeable_async, list_open_prs_async
from agents.pulls.proof import objects
from agents.pulls.tell import record
from agents.pulls.watch import Source, Watcher
from bench.fold import fold
from bench.ledger import Ledger
from bench.pulls import Mergeable, Pulls
from plan.exits import Exit
from tests.agents.fake_github import FakeGitHub, Watch
from tests.agents.pull_repositories import look, repository

TEXTS = {"notes": "one\ntwo\nthree\n", "lib.py": "def helper():\n    return 1\n", "far": "x\n"}


class Upstream:
    """A bare repository with pull requests, the clone a user has of it, and the server that tells of them."""

    def __init__(self, folder: Path) -> None:
        source = repository(
            folder / "source",
            TEXTS,
            conflicts={"notes": "one\n2\nthree\n"},
            clean={"far": "y\n"},
            renames={"lib.py": "def renamed():\n    return 1\n"},
            uses={"app.py": "from lib import helper\n"},
            later={"notes": "one\nzwei\nthree\n"},
        )
        self.bare, self.clone = folder / "name.git", folder / "clone"
        git("clone", "-q", "--bare", source, self.bare)
        git("clone", "-q", "--single-branch", f"file://{self.bare}", self.clone)
        git("-C", self.clone, "remote", "set-url", "origin", self.bare.parent / "owner" / "name")
        (folder / "owner").mkdir()
        self.bare.rename(folder / "owner" / "name")
        self.bare = folder / "owner" / "name"
        numbered = ("conflicts", "clean", "renames", "uses")
        for number, branch in enumerate(numbered, 1):
            git("-C", self.bare, "update-ref", f"refs/pull/{number}/head", branch)
        git("-C", self.bare, "update-ref", "refs/heads/main", "later")
        for branch in (*numbered, "later"):
            git("-C", self.bare, "update-ref", "-d", f"refs/heads/{branch}")
        heads = [git("-C", self.bare, "rev-parse", f"refs/pull/{number}/head") for number in range(1, 5)]
        self.server = FakeGitHub(
            pulls={
                number: {"title": branch, "head": head, "base": "main", "mergeable": "MERGEABLE"}
                for number, (branch, head) in enumerate(zip(numbered, heads, strict=True), 1)
            },
            branches={"main": git("-C", self.bare, "rev-parse", "main")},
        )

    def look(self, *, concurrent: bool = False, cache: Path | None = None, clock: Watch | None = None) -> Pulls:
        """One look at it through the fake server."""

        async def run() -> Pulls:
            async with self.server.server() as server:
                source = Source(repo=self.clone, github="owner/name", url=str(server.make_url("")))
                async with Watcher(source, cache=cache, concurrent=concurrent, clock=clock or Watch()) as watcher:
                    return await watcher.look()

        return asyncio.run(run())


def git(*command: str | Path) -> str:
    return subprocess.run(["git", *map(str, command)], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    monkeypatch.setenv("GITHUB_TOKEN", "t0ken")
    return Upstream(tmp_path)


@pytest.mark.parametrize("concurrent", [False, True])
def test_where_the_server_says_mergeable_and_a_merge_conflicts_the_merge_counts_and_a_note_says_so(
    upstream: Upstream, concurrent: bool
) -> None:
    seen = upstream.look(concurrent=concurrent)
    assert [pull.name for pull in seen.pulls] == ["#1", "#2", "#3", "#4"]
    assert [pair.mergeable for pair in seen.against_base] == [Mergeable.NO, *[Mergeable.YES] * 3]
    assert [pull.said for pull in seen.pulls] == [Mergeable.YES] * 4
    (note,) = seen.notes
    assert note == "#1: the server says mergeable, a merge into `main` finds conflicts in `notes`; the merge counts"
    (pair,) = seen.between
    assert [(pair.ours, pair.theirs, clash.name) for clash in pair.clashes] == [("#3", "#4", "lib.helper")]


def test_what_is_fetched_stays_out_of_the_users_clone(upstream: Upstream) -> None:
    before = objects(upstream.clone), git("-C", upstream.clone, "for-each-ref")
    assert upstream.look().pulls[0].files == ("notes",)
    assert (objects(upstream.clone), git("-C", upstream.clone, "for-each-ref")) == before


def test_where_nothing_can_be_fetched_the_servers_word_stands_and_is_called_so(upstream: Upstream) -> None:
    upstream.bare.rename(upstream.bare.with_name("gone"))
    upstream.server.pulls[2]["mergeable"] = "CONFLICTING"
    upstream.server.pulls[3]["mergeable"] = "UNKNOWN"
    seen = upstream.look()
    assert [pair.mergeable for pair in seen.against_base] == [Mergeable.YES, Mergeable.NO, Mergeable.UNKNOWN, Mergeable.YES]
    assert all("is not in the clone" in pair.why for pair in seen.against_base)
    assert seen.against_base[0].why.startswith("as the server says; ")
    assert seen.notes[0].startswith("not fetched: ")
    assert {pair.mergeable for pair in seen.between} == {Mergeable.UNKNOWN}


def test_one_pull_request_that_vanished_does_not_take_the_others_along(upstream: Upstream) -> None:
    git("-C", upstream.bare, "update-ref", "-d", "refs/pull/2/head")
    seen = upstream.look()
    assert [pair.mergeable for pair in seen.against_base] == [Mergeable.NO, Mergeable.YES, Mergeable.YES, Mergeable.YES]
    assert seen.against_base[1].why.startswith("as the server says; ")
    assert "refs/pull/2/head" in seen.notes[0]


def test_a_head_that_moved_since_the_server_was_asked_is_merged_as_it_is_now(upstream: Upstream) -> None:
    upstream.server.pulls[1]["head"] = "9" * 40
    seen = upstream.look()
    assert seen.pulls[0].head == git("-C", upstream.bare, "rev-parse", "refs/pull/1/head")
    assert seen.against_base[0].mergeable is Mergeable.NO
    assert seen.pulls[0].said is Mergeable.UNKNOWN
    assert seen.notes == ()


def test_watching_asks_two_requests_a_turn_and_looks_again_when_something_moved(upstream: Upstream) -> None:
    async def run() -> list[Pulls]:
        found = []
        async with upstream.server.server() as server:
            source = Source(repo=upstream.clone, github="owner/name", url=str(server.make_url("")))
            clock = Watch()
            async with Watcher(source, clock=clock) as watcher:
                looks = watcher.looks(30.0)
                found.append(await anext(looks))
                coming = asyncio.ensure_future(anext(looks))
                while len(clock.slept) < 5:
                    assert not coming.done()
                    await asyncio.sleep(0)
                before = len(upstream.server.seen)
                upstream.server.pulls[2]["title"] = "renamed"
                found.append(await coming)
                assert all(seconds == 30.0 for seconds in clock.slept)
                polls = [status for _, _, status in upstream.server.seen[before - 4 : before]]
                assert polls == [304] * 4
        return found

    first, second = asyncio.run(run())
    assert [first.pulls[1].title, second.pulls[1].title] == ["clean", "renamed"]


def test_the_functions_are_the_same_inside_an_event_loop(upstream: Upstream) -> None:
    async def run() -> tuple[int, Mergeable, Mergeable]:
        async with upstream.server.server() as server:
            where = {"repo": upstream.clone, "github": "owner/name", "url": str(server.make_url(""))}
            pulls = await list_open_prs_async(**where)
            return len(pulls), await check_mergeable_async(1, **where), await check_mergeable_async("#2", **where)

    assert asyncio.run(run()) == (4, Mergeable.NO, Mergeable.YES)


def pulls(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `orchestrate pulls`."""
    done = CliRunner().invoke(app, ["pulls", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_each_outcome_has_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = repository(
        tmp_path / "r",
        TEXTS,
        one={"notes": "1\n"},
        other={"notes": "2\n"},
        third={"far": "y\n"},
        fourth={"app.py": "import lib\n"},
    )
    code, out, _ = pulls("--repo", folder, "--branches", "t*")
    assert (code, out.splitlines()[-1]) == (Exit.HOLDS, "1 of 1 merge into their base, 0 of 0 pairs with each other")
    code, out, _ = pulls("--repo", folder)
    assert code == Exit.MISSED
    assert "CONFLICT  other into one: notes (contents)" in out
    assert out.splitlines()[-1] == "4 of 4 merge into their base, 5 of 6 pairs with each other"
    assert pulls("--repo", folder, "--branches", "nothing*")[0] == Exit.NOTHING
    code, _, said = pulls("--repo", tmp_path / "nowhere")
    assert (code, "no git repository" in said) == (Exit.ENVIRONMENT, True)
    assert pulls("--url", "http://127.0.0.1:9")[0] == Exit.USAGE
    assert pulls("--github", "owner/name", "--branches", "x")[0] == Exit.USAGE
    code, _, said = pulls("--repo", folder, "--github", "no repository")
    assert (code, "owner/name" in said) == (Exit.ENVIRONMENT, True)


def test_json_has_everything_and_the_ledger_keeps_what_differs_from_the_last_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = repository(tmp_path / "r", TEXTS, one={"notes": "1\n"}, other={"notes": "2\n"})
    for _ in range(2):
        code, out, _ = pulls("--repo", folder, "--json")
    told = json.loads(out)
    assert (code, told["v"], told["pairs"]) == (Exit.MISSED, 1, 1)
    assert told["between"][0]["conflicts"] == [{"path": "notes", "kind": "contents"}]
    with Ledger.open("runs/ledger.db", create=False) as ledger:
        assert [event.kind for event in ledger.events()] == ["pulls"]
        first = fold(ledger.events()).pulls
        assert first is not None
        git("-C", folder, "branch", "-q", "-D", "other")
        without = look(folder)
        assert [record(ledger, without), record(ledger, without), record(ledger, first)] == [True, False, True]
        assert fold(ledger.events()).pulls == first


def test_what_a_branch_is_called_reaches_no_terminal_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "r"
    repository(folder, TEXTS, one={"notes": "1\n"})
    tree = git("-C", folder, "rev-parse", "one^{tree}")
    title = "a \x1b[31mred\x1b[0m [bold]title[/bold]"
    who = ["-c", "user.name=t", "-c", "user.email=t@e"]
    oid = git("-C", folder, *who, "commit-tree", tree, "-p", "main", "-m", title)
    git("-C", folder, "update-ref", "refs/heads/--upload-pack=x", oid)
    code, out, _ = pulls("--repo", folder)
    assert code == Exit.HOLDS
    assert "\x1b" not in out
    assert "red [bold]title[/bold]" in out
    assert "--upload-pack=x" in out


def test_help_needs_neither_git_nor_aiohttp() -> None:
    script = (
        "import sys\nsys.argv = ['orchestrate', 'pulls', '--help']\nfrom agents.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print('HEAVY', sorted({'git', 'aiohttp', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"
