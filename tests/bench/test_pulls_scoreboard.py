"""A pull request that does not merge shows beside the tasks whose module it changes, and holds those that ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.ledger import Ledger
from bench.pulls import Clash, Conflict, Mergeable, Pair, Pull, Pulls, Spot, in_the_way
from bench.report import html, json, markdown
from bench.report.pulls import summary
from bench.report.terminal import print_table
from bench.scoreboard import Scoreboard, scoreboard, timeless
from plan.faults import PlanFaults
from plan.grammar import parse
from plan.nouns import PullsRule, State
from tests.bench.test_scoreboard import PLAN, tell

HELD = PLAN.replace("- **module**: `retnet`\n", "- **module**: `retnet`\n- **pulls**: hold\n")


def pull(name: str, *files: str) -> Pull:
    return Pull(name=name, head="a" * 40, base="main", base_head="b" * 40, title="<b>a title</b>", files=files)


def into_main(name: str, mergeable: Mergeable, **fields: object) -> Pair:
    return Pair(ours="main", theirs=name, mergeable=mergeable, **fields)  # type: ignore[arg-type]


BREAKS = Clash(
    name="modules.retnet.decay", what="function", gone_by="main", gone=Spot(path="modules/retnet.py", line=3), used_by="#4",
    used=Spot(path="bench/x.py", line=9),
)  # fmt: skip
SEEN = Pulls(
    repository="owner/name",
    pulls=(
        pull("#1", "modules/mixers/retnet.py", "docs/x.md"),
        pull("#2", "modules/transformer.py"),
        pull("#3", "tests/modules_retnet.py", "retnet.py", "modules/retnet2.py", "modules/retnet.md"),
    ),
    against_base=(
        into_main("#1", Mergeable.NO, conflicts=(Conflict(path="modules/mixers/retnet.py", kind="contents"),)),
        into_main("#2", Mergeable.UNKNOWN, why="commit aaa is not in the clone"),
        into_main("#3", Mergeable.NO, conflicts=(Conflict(path="retnet.py", kind="contents"),)),
    ),
    between=(Pair(ours="#1", theirs="#2", mergeable=Mergeable.NO, conflicts=(Conflict(path="a & b", kind="add/add"),)),),
    pairs=3,
)


def board(folder: Path, *, text: str = PLAN, seen: Pulls | None = SEEN) -> Scoreboard:
    with Ledger.open(folder / "ledger.db") as ledger:
        tell(ledger, killed=False, text=text)
        if seen is not None:
            assert ledger.append("pulls", "p1", seen)
        return scoreboard(ledger)


def test_a_task_is_touched_by_the_file_that_registers_its_module_and_by_no_other() -> None:
    assert in_the_way(SEEN, parse(PLAN, path="p.md")) == {
        "retention": "#1 touches `modules/mixers/retnet.py` and conflicts with `main`"
    }
    assert in_the_way(None, parse(PLAN, path="p.md")) == {}


def test_a_broken_name_is_in_the_way_and_an_unknown_is_not() -> None:
    clashing = Pulls(
        repository="r",
        pulls=(pull("#4", "modules/retnet.py"), pull("#5", "modules/retnet.py")),
        against_base=(into_main("#4", Mergeable.YES, clashes=(BREAKS,)), into_main("#5", Mergeable.UNKNOWN)),
    )
    assert in_the_way(clashing, parse(PLAN, path="p.md")) == {
        "retention": "#4 touches `modules/retnet.py` and breaks a name of `main`"
    }


def test_by_default_the_verdict_stands_and_a_note_is_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = board(tmp_path)
    assert [verdict.state for verdict in made.verdicts] == [verdict.state for verdict in board_without(tmp_path).verdicts]
    head, note = summary(made)
    assert head == "pull requests of owner/name: 0 of 3 merge into their base, 1 of 3 pairs are in each other's way"
    assert note == "note: retention: #1 touches `modules/mixers/retnet.py` and conflicts with `main`"
    print_table(made)
    assert note in capsys.readouterr().out


def test_with_hold_the_task_waits_and_says_for_what_until_the_pull_request_is_gone(tmp_path: Path) -> None:
    made = board(tmp_path, text=HELD)
    assert made.plan.task("retention").pulls is PullsRule.HOLD
    dense, retention = made.verdicts
    assert dense.state is State.PASS
    assert retention.state is State.WAITING
    assert retention.reason == "held: #1 touches `modules/mixers/retnet.py` and conflicts with `main`"
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.append("pulls", "p2", Pulls(repository="owner/name", pulls=(), against_base=()))
        later = scoreboard(ledger)
    assert [verdict.state for verdict in later.verdicts] == [State.PASS, board_without(tmp_path).verdicts[1].state]
    assert summary(later) == ()


def test_every_face_shows_it_and_escapes_what_it_was_told(tmp_path: Path) -> None:
    made = board(tmp_path)
    page = html.render(made)
    assert '<h2 id="Pull-requests-title">Pull requests</h2>' in page
    assert "<b>a title</b>" not in page
    assert "a &amp; b (add/add)" in page
    assert "pull requests of owner/name" in markdown.render(made)
    assert json.document(made)["pulls"]["pairs"] == 3
    assert "Pull requests" not in html.render(board_without(tmp_path))


def test_the_same_look_told_at_another_time_gives_the_same_timeless_report(tmp_path: Path) -> None:
    pages = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pages.append(html.render(timeless(board(tmp_path / name))))
    assert pages[0] == pages[1]


def test_a_value_that_is_neither_note_nor_hold_is_a_fault() -> None:
    with pytest.raises(PlanFaults) as told:
        parse(HELD.replace("pulls**: hold", "pulls**: wait"), path="p.md")
    (fault,) = told.value.faults
    assert (fault.code, fault.message) == ("P014", "the pulls `wait` is not understood")


def board_without(folder: Path) -> Scoreboard:
    (folder / "without").mkdir(exist_ok=True)
    return board(folder / "without", seen=None)
