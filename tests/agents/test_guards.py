"""Every guard on the shelf: an opinion on every decision, resting on its clause; and what each one blocks."""

from __future__ import annotations

from typing import Any

import pytest

from agents.deciders.more_seeds import MoreSeeds
from plan import catalogue
from plan.decision import Decision, Situation, Stance
from plan.nouns import Budget
from tests.alignment.facts_of_a_task import EVIDENCE, decision
from tests.alignment.facts_of_a_task import situation as facts_of_a_task


def situation(*, seconds: float | None = None, runs: int | None = None, **given: Any) -> Situation:
    """The task within a budget."""
    return facts_of_a_task(budget=Budget(seconds=seconds, runs=runs), **given)


def buy(seeds: int, evidence: tuple[str, ...] = EVIDENCE[:1]) -> Decision:
    return decision("measure-again", {"seeds": seeds}, evidence=evidence)


@pytest.mark.parametrize("name", list(catalogue.shelf("guard")))
def test_a_guards_opinion_names_its_decision_and_the_clause_it_registered(name: str) -> None:
    opinion = catalogue.load("guard", name)().review(buy(5), situation())
    assert (opinion.guard, opinion.decision) == (name, "d1")
    assert opinion.clause == catalogue.shelf("guard")[name].arguments["clause"]
    assert opinion.stance is Stance.ALLOW
    assert opinion.why


@pytest.mark.parametrize(("guard", "bought", "facts", "word"), [
    ("preregistered", buy(4), situation(), "not among the registered looks"),
    ("preregistered", buy(13), situation(), "not among the registered looks"),
    ("preregistered", buy(8), situation(), "skip a registered look"),
    ("evidence", buy(5, evidence=()), situation(), "names no run"),
    ("evidence", buy(5, evidence=("rdeadbeef",)), situation(), "no run rdeadbeef"),
    ("affordable", buy(5), situation(seconds=45), "exceed the 15 s left"),
    ("affordable", buy(5), situation(runs=4), "exceed the 4"),
    ("affordable", buy(5), situation(seconds=15, free=(0, 1, 2)), "about 20 s more exceed the 15 s left"),
    ("affordable", buy(5), situation(runs=1, free=(0, 1, 2)), "0 + 2 runs exceed the 1"),
])  # fmt: skip
def test_a_guard_blocks_what_breaks_its_clause(guard: str, bought: Decision, facts: Situation, word: str) -> None:
    opinion = catalogue.load("guard", guard)().review(bought, facts)
    assert opinion.stance is Stance.BLOCK
    assert word in opinion.why


@pytest.mark.parametrize("facts", [
    situation(seconds=25, free=(0, 1, 2)), situation(seconds=35, free=(3, 4)), situation(runs=2, free=(0, 1, 2)), situation(runs=3, free=(3, 4))
])  # fmt: skip
def test_what_another_task_pays_for_costs_nothing(facts: Situation) -> None:
    assert catalogue.load("guard", "affordable")().review(buy(5), facts).stance is Stance.ALLOW


def test_the_seed_buyer_asks_for_the_next_look_once_and_the_same_way_each_time() -> None:
    (first,), (again,) = MoreSeeds().ask(situation()), MoreSeeds().ask(situation())
    assert first == again
    assert first.action.details == {"seeds": 5}
    assert len(first.evidence) == 3
    (second,) = MoreSeeds().ask(situation(granted=5))
    assert second.action.details == {"seeds": 8}
    assert second.id != first.id


def test_the_seed_buyer_stops_where_the_plan_registered_no_further_look() -> None:
    assert MoreSeeds().ask(situation(most=3)) == []
    assert MoreSeeds().ask(situation(granted=8)) == []
