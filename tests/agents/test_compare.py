"""`compare` and `modules --table` as a user meets them: real measurements of small modules, a ledger of their own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.fold import fold
from bench.ledger import Ledger
from plan.exits import Exit
from tests.agents.loop import Loop

SMALL = ["--config-a", "d_model=16", "--config-a", "heads=2", "--config-a", "recipe.batch=8"]
ASKED = ["compare", "attention", "attention", "--benchmark", "mqar-64x4-v64-v1", "--seeds", "3", "--steps", "4", *SMALL]
ASKED += [word.replace("-a", "-b").replace("heads=2", "heads=4") for word in SMALL]


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """A folder in which one comparison was made."""
    made = Loop(tmp_path_factory.mktemp("compare"))
    done = made.call(*ASKED, "--json")
    assert done.returncode in (Exit.HOLDS, Exit.MISSED, Exit.UNDECIDED), done.stderr
    made.first = json.loads(done.stdout), done.returncode  # type: ignore[attr-defined]
    return made


def test_both_sides_are_measured_on_the_same_seeds_in_turn_behind_their_gates(loop: Loop) -> None:
    with Ledger.open(str(loop.folder / "runs/ledger.db"), create=False) as ledger:
        facts = fold(ledger.events())
    asked = [attempts[0].request for attempts in facts.attempts.values()]
    gates = [request for request in asked if request.benchmark == "contract-v1"]
    measured = [(request.seed, request.config["heads"]) for request in asked if request.benchmark != "contract-v1"]
    assert sorted(request.config["heads"] for request in gates) == [2, 4]
    assert sorted(measured) == [(seed, heads) for seed in range(3) for heads in (2, 4)]
    assert [seed for seed, _ in measured] == sorted(seed for seed, _ in measured)


def test_the_answer_follows_from_the_differences_and_is_the_exit_code(loop: Loop) -> None:
    found, code = loop.first  # type: ignore[attr-defined]
    gaps = [a - b for a, b in zip(found["a"]["estimate"]["values"], found["b"]["estimate"]["values"], strict=True)]
    assert found["difference"] == pytest.approx(sum(gaps) / 3)
    answer = "better" if found["low"] > 0 else "worse" if found["high"] < 0 else "undecided"
    assert (found["answer"], code) == (answer, {"better": 0, "worse": 1, "undecided": 6}[answer])
    assert (found["a"]["steps"], found["b"]["steps"]) == (4, 4)
    assert found["a"]["parameters"] == found["b"]["parameters"]
    assert found["warnings"] == []


def test_asked_again_nothing_is_measured_again_and_a_person_reads_the_same(loop: Loop) -> None:
    found, code = loop.first  # type: ignore[attr-defined]
    done = loop.call(*ASKED, "--display", "plain")
    assert done.returncode == code
    assert "8 already in" in done.stderr
    assert "measuring" not in done.stderr
    first, second, *_ = done.stdout.splitlines()
    assert first.startswith({"better": "✓ better: ", "worse": "✗ worse: ", "undecided": "~ undecided: "}[found["answer"]])
    assert re.fullmatch(r"A - B = \S+, 95% interval \S+ – \S+; 3 seeds, more is better(; declared error 5 %)?", second)


def test_why_tells_how_the_answer_came_about(loop: Loop) -> None:
    done = loop.call("why", "a-attention-vs-attention")
    assert done.returncode == 0, done.stderr
    assert "a-attention-vs-attention::accuracy" in done.stdout


def test_the_table_shows_both_as_rows_with_their_overrides(loop: Loop) -> None:
    done = loop.call("modules", "--table", "--json")
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    found, _ = loop.first  # type: ignore[attr-defined]
    assert [(row["module"], row["overrides"]) for row in table["rows"]] == [
        ("attention", "d_model=16 heads=2"),
        ("attention", "d_model=16 heads=4"),
    ]
    (column,) = table["columns"]
    assert (column["benchmark"], column["metric"], column["steps"]) == ("mqar-64x4-v64-v1", "accuracy", 4)
    for row, side in zip(table["rows"], ("a", "b"), strict=True):
        (cell,) = row["cells"]
        assert (cell["values"], cell["recipe"]) == (found[side]["estimate"]["values"], "batch=8")
        assert cell["state_bytes"] > 0


def test_bad_names_run_nothing_and_leave_no_ledger(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    done = loop.call("compare", "retnett", "transformer")
    assert done.returncode == Exit.FAULTS
    assert "help: did you mean `retnet`?" in done.stderr
    unknown = loop.call("compare", "retnet", "mamba", "--metric", "gradient_norm")
    assert unknown.returncode == Exit.USAGE
    assert "say `--better less` or `--better more`; nothing was run" in unknown.stderr
    assert not (tmp_path / "runs").exists()


def test_a_table_of_nothing_says_so(tmp_path: Path) -> None:
    Ledger.open(str(tmp_path / "runs/ledger.db")).close()
    done = Loop(tmp_path).call("modules", "--table")
    assert done.returncode == Exit.NOTHING
    assert "was measured with today's code, data and machine" in done.stderr


def test_asked_again_with_more_seeds_the_answer_says_that_its_error_is_not_the_declared_one(loop: Loop) -> None:
    more = [word if before != "--seeds" else "4" for before, word in zip(["", *ASKED], ASKED, strict=False)]
    assert more != list(ASKED)
    found = json.loads(loop.call(*more, "--json").stdout)
    assert any("the declared error holds for the first answer" in warning for warning in found["warnings"])
