"""The constitution as a text that is read strictly, and its checks on decisions, records and patches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cheats.pair import Edit, diff
from facts_of_a_task import EVIDENCE, candidate, decision, run, situation

from alignment.checks import AT_RUN_TIME, AT_START, known
from alignment.constitution import WHERE, ConstitutionFaults, constitution, parse
from alignment.facts import house_file
from alignment.guards.constitution import ConstitutionGuard
from alignment.patch import Misapplied, PatchFault
from alignment.patch import parse as parse_patch
from plan.decision import Decision, Situation, Stance
from plan.nouns import Plan, Status

GOOD = "# C\n\n## one: the first\n\n- **check**: `a`\n\n## two: the second\n\nProse.\n\n- **check**: `b`, `c`\n- **stance**: object\n"


def test_the_house_has_a_constitution_whose_every_clause_is_bound_and_every_check_is_promised() -> None:
    bound = [name for clause in constitution().clauses for name in clause.checks]
    assert sorted(bound) == sorted(known())
    assert {*AT_RUN_TIME, *AT_START} < set(bound)


def test_a_constitution_is_read_clause_by_clause() -> None:
    first, second = parse(GOOD, checks="abc").clauses
    assert (first.id, first.title, first.checks, first.stance, first.line) == ("one", "the first", ("a",), Stance.BLOCK, 3)
    assert (second.checks, second.stance, second.prose) == (("b", "c"), Stance.OBJECT, "Prose.")


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "says"),
    [
        ("- **check**: `a`\n", "", 3, 4, "bound to no check"),
        ("`a`", "`aa`", 5, 15, "no check `aa`"),
        ("`a`", "a", 5, 13, "names in backticks"),
        ("`c`", "`a`", 7, 4, "bound to `one` already"),
        ("## two:", "## one:", 7, 4, "two clauses are called `one`"),
        ("## two: ", "## Two ", 7, 1, "is no clause"),
        ("- **stance**", "- **stanse**", 12, 5, "did you mean `stance`"),
        ("object", "shrug", 12, 15, "no stance"),
        ("- **check**: `a`", "- check: `a`", 5, 3, "is not read as a setting"),
        ("Prose.", "```text", 9, 1, "nobody closes"),
        (", `c`", "", 13, 1, "no clause is bound to the check `c`"),
    ],
)
def test_a_fault_is_told_with_its_place(old: str, new: str, line: int, column: int, says: str) -> None:
    with pytest.raises(ConstitutionFaults) as caught:
        parse(GOOD.replace(old, new, 1), checks="abc")
    told = [fault for fault in caught.value.faults if says in fault.message + fault.help]
    assert [(fault.line, fault.column) for fault in told] == [(line, column)], str(caught.value)


def test_a_clause_that_is_taken_out_of_the_house_s_own_is_noticed() -> None:
    text = WHERE.read_text().replace("## no-network: No network\n\n- **check**: `reaches-no-network`\n", "")
    with pytest.raises(ConstitutionFaults, match="no clause is bound to the check `reaches-no-network`"):
        parse(text)


def broken(decision: Decision, facts: Situation, **given: Any) -> dict[str, str]:
    guard = ConstitutionGuard(**{"digests": dict, **given})
    return {clause.id: why for clause, why in guard.broken(decision, facts)}


TUNE = {"module": "attention", "config": {"heads": 2, "recipe": {"lr": 1e-3}}}


@pytest.mark.parametrize(
    ("cheat", "twin", "clause"),
    [
        (decision("measure-again", {"seeds": 4}), decision("measure-again", {"seeds": 5}), "seeds-are-not-chosen"),
        (decision("measure-again", {"seeds": True}), decision("measure-again", {"seeds": 5}), "seeds-are-not-chosen"),
        (decision("measure-again", {"seeds": 8}), decision("measure-again", {"seeds": 5}), "seeds-are-not-chosen"),
        (decision("measure-again", {"seeds": 5, "which": [137]}), decision("measure-again", {"seeds": 5}), "plan-sets-the-terms"),
        (decision("tune", {**TUNE, "threshold": 0.1}), decision("tune", TUNE), "plan-sets-the-terms"),
        (decision("tune", {**TUNE, "steps": 10**6}), decision("tune", TUNE), "plan-sets-the-terms"),
        (decision("tune", {**TUNE, "gate": "off"}), decision("tune", {**TUNE, "note": "by hand"}), "plan-sets-the-terms"),
        (candidate(config={"decoder": {"vocabulary": 2}}), candidate(config={"decoder": {"layers": 2}}), "plan-sets-the-terms"),
        (candidate(config={"recipe": {"lr": float("nan")}}), candidate(config={"recipe": {"lr": 0.01}}), "plan-sets-the-terms"),
        (candidate(config={"heads": "../../plan/Plan.md"}), candidate(config={"heads": 4}), "plan-sets-the-terms"),
        (decision("trial", {"candidates": [TUNE], "seeds": [0]}), decision("trial", {"candidates": [TUNE], "seeds": [1000]}), "seeds-are-not-chosen"),
        (decision("trial", {"candidates": [{**TUNE, "steps": 9}], "seeds": [1000]}), decision("trial", {"candidates": [], "seeds": [1000]}), "plan-sets-the-terms"),
        (decision("rollback", {"decision": "d2", "seeds": 5}), decision("rollback", {"decision": "d2"}), "plan-sets-the-terms"),
        (candidate(config={"seed": 137}), candidate(config={"rope": False}), "plan-sets-the-terms"),
        (decision("tune", TUNE, evidence=()), decision("tune", TUNE, evidence=EVIDENCE[:1]), "claims-name-runs"),
        (decision("tune", TUNE, evidence=("rdeadbeef",)), decision("tune", TUNE), "claims-name-runs"),
        (decision("tune", TUNE, evidence=EVIDENCE[:1] * 2), decision("tune", TUNE, evidence=EVIDENCE[:2]), "claims-name-runs"),
        (decision("tune", TUNE, expected=float("inf")), decision("tune", TUNE, expected=1e9), "claims-name-runs"),
        (decision("tune", TUNE, expected=True), decision("tune", TUNE, expected=1), "claims-name-runs"),
        (
            candidate(config={"recipe": {"batch": 64}}),
            candidate(config={"recipe": {"batch": 8}}),
            "equal-work",
        ),
    ],
)  # fmt: skip
def test_a_decision_that_takes_more_than_its_terms_breaks_the_clause_and_its_twin_does_not(
    cheat: Decision, twin: Decision, clause: str
) -> None:
    facts = situation(config={"recipe": {"batch": 16}})
    assert clause in broken(cheat, facts)
    assert broken(twin, facts) == {}
    opinion = ConstitutionGuard(digests=dict).review(cheat, facts)
    assert opinion.clause.startswith(f"{clause}: ")
    assert opinion.stance is (Stance.OBJECT if clause == "equal-work" else Stance.BLOCK)


@pytest.mark.parametrize(
    ("runs", "clause"),
    [
        ((run(0), run(137)), "seeds-are-not-chosen"),
        ((run(0), run(1), replace(run(1), key="f" * 64)), "seeds-are-not-chosen"),
        ((run(0), run(1, metrics={"accuracy": float("nan")})), "claims-name-runs"),
        ((run(0), run(1, metrics={"accuracy": True})), "claims-name-runs"),
        ((run(0), run(1, status=Status.CRASHED)), "claims-name-runs"),
        ((run(0), run(1, facts={"identity": {"data": {"digest": "bb"}}})), "claims-name-runs"),
    ],
)
def test_a_record_that_cannot_be_what_was_measured_breaks_the_clause(runs: tuple[Any, ...], clause: str) -> None:
    cited = tuple(dict.fromkeys(one.id for one in runs))
    assert clause in broken(decision("measure-again", {"seeds": 5}, evidence=cited), situation(runs=runs))
    honest = (run(0), run(1))
    assert broken(decision("measure-again", {"seeds": 5}, evidence=cited[:1]), situation(runs=honest)) == {}


def test_nothing_is_bought_for_a_red_gate() -> None:
    wish = decision("measure-again", {"seeds": 5})
    assert "gate-before-number" in broken(
        wish, situation(reason="the gate of `attention` at this task's config is red: 1 contract check fails")
    )
    assert broken(wish, situation(reason="2 of 3 seeds measured")) == {}


def test_a_judge_or_a_plan_that_changes_while_the_session_runs_is_noticed(tmp_path: Any) -> None:
    files = {"bench/judge.py": "1", "plan/Plan.md": "2"}
    guard = ConstitutionGuard(digests=lambda: dict(files))
    wish = decision("measure-again", {"seeds": 5})
    assert guard.broken(wish, situation()) == []
    files["bench/judge.py"] = "other"
    ((clause, why),) = guard.broken(wish, situation())
    assert (clause.id, why) == ("judge-unchanged", "`bench/judge.py` was changed since this session began")
    del files["bench/judge.py"]
    assert guard.broken(wish, situation())

    from hashlib import sha256

    path = tmp_path / "Plan.md"
    path.write_text("# Plan\n")
    plan = replace(situation().plan, path=str(path), source="# Plan\n", digest=sha256(b"# Plan\n").hexdigest())
    assert broken(wish, situation(plan=plan)) == {}
    path.write_text("# Plan\n\nless\n")
    assert "judge-unchanged" in broken(wish, situation(plan=plan))
    assert "judge-unchanged" in broken(wish, situation(plan=Plan(**{**_fields(plan), "source": "# Other\n"})))


def _fields(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in Plan.__slots__}


HONEST = Edit(forward="x_BTD = x_BTD * 1.0").patch
FILE = house_file("modules/attention.py") or ""


@pytest.mark.parametrize(
    "patch",
    [
        "\n",
        "garbage\n",
        HONEST.rstrip("\n"),
        HONEST.replace("\n", "\r\n"),
        HONEST.replace("modules/attention.py", "../modules/attention.py"),
        HONEST.replace("modules/attention.py", "/etc/passwd"),
        HONEST.replace("a/modules/attention.py", '"a/modules/attention.py"'),
        HONEST.replace("b/modules/attention.py", "b/modules/retnet.py"),
        HONEST.replace("@@ -", "@@ -9"),
        HONEST + HONEST,
        "diff --git a/modules/attention.py b/modules/retnet.py\nsimilarity index 100%\nrename from modules/attention.py\nrename to modules/retnet.py\n",
        "diff --git a/modules/attention.py b/modules/attention.py\nold mode 100644\nnew mode 100755\n",
        "diff --git a/modules/link.py b/modules/link.py\nnew file mode 120000\n--- /dev/null\n+++ b/modules/link.py\n@@ -0,0 +1 @@\n+/etc/passwd\n",
        "diff --git a/modules/sub b/modules/sub\nnew file mode 160000\n--- /dev/null\n+++ b/modules/sub\n@@ -0,0 +1 @@\n+Subproject commit aa\n",
        "diff --git a/modules/x.py b/modules/x.py\nGIT binary patch\nliteral 3\nabc\n",
        "--- /dev/null\n+++ /dev/null\n@@ -0,0 +1 @@\n+x\n",
    ],
)
def test_a_patch_that_is_no_plain_change_of_text_is_not_read(patch: str) -> None:
    with pytest.raises(PatchFault, match=r"^patch line \d+: "):
        parse_patch(patch)
    assert "plain-patch" in broken(candidate(patch=patch), situation())


@pytest.mark.parametrize(
    "patch",
    [
        diff("plan/Plan.md", house_file("plan/Plan.md"), "# Plan\n"),
        diff("bench/judge.py", house_file("bench/judge.py"), "x = 1\n"),
        diff("modules/trainer.py", house_file("modules/trainer.py"), "x = 1\n"),
        diff("kernels/cross_entropy.py", house_file("kernels/cross_entropy.py"), "x = 1\n"),
        diff("plan/Constitution.md", house_file("plan/Constitution.md"), None),
        diff("tests/conftest.py", house_file("tests/conftest.py"), None),
        *(diff(f"{path}", None, "x = 1\n") for path in (
            "modules/torch.py", "modules/conftest.py", "modules/sitecustomize.py", "modules/extra.pth", "kernels/json.py",
            "modules/new/__init__.py", "modules/trainer/new.py", "modules/Trainer.py", "pyproject.toml", "kernels/cpp/new.cpp",
            "modules/test_new.py", "runs/ledger.db", "champions/a.toml",
        )),
    ],
)  # fmt: skip
def test_a_patch_that_leaves_its_field_is_blocked(patch: str) -> None:
    assert "judge-out-of-reach" in broken(candidate(patch=patch), situation())


def test_a_plain_patch_applies_as_git_would_and_only_where_it_fits() -> None:
    (change,) = parse_patch(HONEST)
    assert change.applied(FILE) == FILE.replace(
        "        y_BTD, state = self.mixer(self.norm(x_BTD), state)",
        "        x_BTD = x_BTD * 1.0\n        y_BTD, state = self.mixer(self.norm(x_BTD), state)",
        1,
    )
    with pytest.raises(Misapplied):
        change.applied(FILE.replace("self.norm", "self.form"))
    with pytest.raises(Misapplied):
        change.applied(None)
    assert broken(candidate(patch=HONEST), situation()) == {}
    assert broken(candidate(patch=diff("modules/newcomer.py", None, '"""A helper."""\n')), situation()) == {}
    deleted = parse_patch(diff("modules/retnet.py", "a\nb\n", None))[0]
    assert (deleted.kind, deleted.applied("a\nb\n")) == ("deleted", None)


def test_a_line_that_does_not_read_as_it_runs_is_blocked() -> None:
    assert "plain-patch" in broken(candidate(patch=Edit(forward="x_BTD = x_BTD  # \u202e1 -").patch), situation())
    assert "plain-patch" in broken(candidate(patch=Edit(forward="x_BTD = (").patch), situation())
