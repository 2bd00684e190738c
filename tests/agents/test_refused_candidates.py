"""What the house refuses before any guard is asked, and that nothing was written when it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.actions import Place, refusal
from agents.standing import Standing
from agents.trials import TRIAL
from bench.ledger import Ledger
from plan.catalogue import HOUSE
from plan.decision import Action, Candidate, Decision
from plan.grammar import parse
from tests.agents.duelling import WIDE, patch_of, plan

CONFIG = {"d_model": 16, "heads": 2, "ffn_multiple": 16.0, "decoder": {"layers": 1}}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        standing = Standing(parse(plan(improve="tune, refactor", config=WIDE)), ledger)
        standing.refresh()
        yield Place(ledger=ledger, standing=standing, work=tmp_path / "work")


def why_not(place: Place, kind: str, details: dict[str, Any], **changes: Any) -> str:
    """Why the house refuses; empty when it does not."""
    action = Action(kind=kind, task="wide", details=details)
    decision = Decision(id="d1", decider="x", action=action, evidence=(), expected=0.0, expects="", why="")
    opinion = refusal(decision, replace(place.standing.situation(), **changes), place)
    return f"{opinion.clause}: {opinion.why}" if opinion else ""


def candidate(**changes: Any) -> dict[str, Any]:
    return Candidate(**{"module": "transformer", "config": {**CONFIG, "ffn_multiple": 4.0}, **changes}).details


def adding(path: str) -> str:
    return f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,1 @@\n+x = 1\n"


def test_a_fair_candidate_is_let_through(place: Place) -> None:
    assert why_not(place, "tune", candidate()) == ""
    good = patch_of(HOUSE, "modules/transformer.py", "ffn_multiple: float = 4.0", "ffn_multiple: float = 2.0")
    assert why_not(place, "refactor", candidate(patch=good)) == ""


@pytest.mark.parametrize(("path", "old", "new"), [
    ("bench/judge.py", "DISPLAYED = 0.95", "DISPLAYED = 0.5"),
    ("plan/nouns.py", 'OK = "ok"', 'OK = "fine"'),
    ("modules/contract.py", "WIDTH = 32", "WIDTH = 16"),
    ("modules/trainer.py", "clip: float = 1.0", "clip: float = 2.0"),
])  # fmt: skip
def test_a_patch_of_what_measures_or_judges_is_refused_before_anything_is_written(
    place: Place, path: str, old: str, new: str
) -> None:
    said = why_not(place, "tune", candidate(patch=patch_of(HOUSE, path, old, new)))
    assert f"touches `{path}`" in said
    assert not place.work.exists()


@pytest.mark.parametrize(
    "path", ["tests/agents/new.py", "../outside.py", "modules/../bench/new.py", ".git/hooks/post-commit", "setup.py"]
)
def test_a_patch_can_add_a_file_among_modules_and_kernels_only(place: Place, path: str) -> None:
    assert why_not(place, "tune", candidate(patch=adding(path)))
    assert why_not(place, "tune", candidate(patch=adding("modules/helper_of_mine.py"))) == ""


def test_a_patch_that_does_not_fit_is_told_with_its_place(place: Place) -> None:
    good = patch_of(HOUSE, "modules/transformer.py", "ffn_multiple: float = 4.0", "ffn_multiple: float = 2.0")
    assert "does not fit" in why_not(place, "tune", candidate(patch=good.replace("rope: bool = True", "rope: bool = False")))
    assert "is not understood" in why_not(place, "tune", candidate(patch="make it better"))


@pytest.mark.parametrize(("kind", "details", "word"), [
    ("replace", candidate(module="retnet", config={"d_model": 16, "decoder": {"layers": 1}}), "has no `- **improve**: replace`"),
    ("tune", candidate(config={**CONFIG, "d_model": 64}), "another width"),
    ("tune", {"config": {}}, "not understood"),
    ("tune", candidate(config=CONFIG), "it is the champion"),
    ("tuen", candidate(), "did you mean `tune`"),
    ("rollback", {"decision": "d0"}, "did not make the champion"),
    (TRIAL, {"candidates": [candidate()], "seeds": [0]}, "unseen"),
    (TRIAL, {"candidates": [candidate()], "seeds": [2000]}, "unseen"),
])  # fmt: skip
def test_what_the_plan_does_not_allow_or_cannot_be_carried_out_is_refused(
    place: Place, kind: str, details: dict[str, Any], word: str
) -> None:
    assert word in why_not(place, kind, details)


def test_nothing_is_tried_once_the_trials_are_spent(place: Place) -> None:
    assert "nothing is left" in why_not(place, "tune", candidate(), trials_left={"wide": 0})
    assert why_not(place, TRIAL, {"candidates": [candidate()], "seeds": [1000, 1001]}) == ""
