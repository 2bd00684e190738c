"""What could be tried, and what is no fair candidate."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agents.candidates import candidates, unfit, untried
from plan.decision import Bout, Candidate, Situation, Tried, told
from plan.nouns import Plan, Task

CONFIG = {"d_model": 32, "heads": 2, "path": "torch", "recipe": {"lr": 1e-6, "batch": 4}}
TASK = Task(id="a", title="", module="retnet", benchmark="bytes-stdlib-v1", targets=(), config=CONFIG)
OWN = Candidate(module="retnet", config=CONFIG)
BLANK = Situation(
    plan=Plan(title="", tasks=(TASK,), path="", source="", digest=""), verdicts=(), runs={}, seeds={}, champions={"a": OWN}
)


def words(kind: str) -> list[str]:
    return [told(OWN, candidate) for candidate in candidates(TASK, kind, BLANK)]


def test_tuning_first_takes_back_what_was_set_by_hand_then_climbs_the_rates_then_looks_next_door() -> None:
    found = words("tune")
    assert found[:2] == ["recipe.lr left out", "heads left out"]
    rates = [float(word.split()[-1]) for word in found if word.startswith("recipe.lr = ")]
    assert {2.5e-7, 5e-7, 2e-6, 4e-6} <= set(rates)
    assert "memory_growth = 4.0" in found
    assert found.index("recipe.lr = 4e-06") < found.index("memory_growth = 4.0")


def test_tuning_never_touches_the_terms_of_the_plan_nor_how_it_is_computed() -> None:
    changed = " ".join(words("tune"))
    assert not any(term in changed for term in ("batch", "length", "accumulate", "d_model", "path", "layers"))


def test_a_refactoring_changes_only_fields_that_the_module_says_choose_an_implementation() -> None:
    assert words("refactor") == ["path left out"]
    rope = Task(id="a", title="", module="transformer", benchmark="bytes-stdlib-v1", targets=())
    assert candidates(rope, "refactor", BLANK) != candidates(TASK, "refactor", BLANK)


def test_a_replacement_has_the_plans_width_batch_and_decoder() -> None:
    found = candidates(TASK, "replace", BLANK)
    assert {"transformer", "mamba", "gla"} <= {candidate.module for candidate in found}
    assert all(candidate.config["d_model"] == 32 and candidate.config["recipe"] == {"batch": 4} for candidate in found)
    assert all(unfit(TASK, candidate) is None for candidate in found)


@pytest.mark.parametrize(("module", "config", "word"), [
    ("retnett", {}, "did you mean `retnet`"),
    ("retnet", {**CONFIG, "d_model": 64}, "another width"),
    ("retnet", {**CONFIG, "recipe": {"batch": 8}}, "not learn from as much"),
    ("retnet", {**CONFIG, "recipe": {"batch": 4, "accumulate": 8}}, "not learn from as much"),
    ("retnet", {**CONFIG, "decoder": {"layers": 9}}, "the decoder is the plan's"),
    ("retnet", {**CONFIG, "heads": "many"}, "is not `int`"),
    ("retnet", {**CONFIG, "haeds": 2}, "no field"),
    ("retnet", {**CONFIG, "heads": 0}, "out of range"),
])  # fmt: skip
def test_what_buys_its_gain_or_cannot_be_built_is_no_candidate(module: str, config: dict[str, object], word: str) -> None:
    assert word in (unfit(TASK, Candidate(module=module, config=config)) or "")


def test_what_was_tried_against_this_champion_is_not_tried_again_unless_it_was_undone() -> None:
    first = candidates(TASK, "tune", BLANK)[0]

    def after(**facts: object) -> tuple[Candidate, ...]:
        once = Tried(
            decision="d1", kind="tune", task="a", candidate=first, champion=OWN, bout=Bout(answer="reject", why=""), **facts
        )  # type: ignore[arg-type]
        return untried(
            TASK, "tune", Situation(plan=BLANK.plan, verdicts=(), runs={}, seeds={}, champions={"a": OWN}, tried=(once,))
        )

    assert first not in after()
    assert first in after(stands=False)


def test_listing_candidates_imports_no_torch() -> None:
    script = (
        "import sys; from agents.candidates import *; from plan.nouns import Plan\n"
        "task = Task(id='a', title='', module='retnet', benchmark='bytes-stdlib-v1', targets=())\n"
        "blank = Situation(plan=Plan(title='', tasks=(task,), path='', source='', digest=''), verdicts=(), runs={}, seeds={})\n"
        "print(all(candidates(task, kind, blank) for kind in ('tune', 'replace')), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "True False\n", done.stderr
