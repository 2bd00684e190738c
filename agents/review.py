"""The verb `review`: a person's vote on a decision, and how far people and the critic have foreseen what came of decisions."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path

from agents.champions import tried
from agents.plan_diff import account
from agents.reading import read_plan, say
from alignment.critic import Critic
from alignment.critic_report import report
from bench.fold import Case, Facts, fold
from bench.ledger import Ledger
from bench.report.wording import clean
from plan import catalogue
from plan.catalogue import suggest
from plan.decision import IMPROVING, Say, Situation, Stance, Vote, tally
from plan.exits import Exit
from plan.grammar import parse
from plan.nouns import Plan
from plan.wire import SCHEMA, plain


def vote(decision: str, place: str, *, approve: bool, reject: bool, comment: str, by: str | None, json: bool) -> Exit:
    """Put one vote on record; it may be given while a run is going."""
    if approve and reject:
        return say(Exit.USAGE, "`--approve` and `--reject` are two different votes; nothing was written")
    if not (approve or reject or comment.strip()):
        return say(Exit.USAGE, "say `--approve`, `--reject` or `--comment TEXT`; nothing was written")
    who = by or account()
    if "/" in who or not who.strip():
        return say(Exit.USAGE, f"`{who}` is no name to vote by; nothing was written")
    with Ledger.open(place, create=False) as ledger:
        facts = fold(ledger.events())
        case = facts.cases.get(decision)
        if case is None:
            near = suggest(decision, facts.cases)
            return say(Exit.NOTHING, f"the ledger holds no decision `{decision}`" + (f"; did you mean `{near}`?" if near else ""))
        word = Vote(
            decision=decision, say=Say.APPROVE if approve else Say.REJECT if reject else Say.COMMENT, by=who, comment=comment
        )
        number = 1 + sum(one.by == who for one in case.votes)
        while not ledger.append("vote", f"{decision}/{who}/{number}", word):
            number += 1
        where = ledger.where
    if json:
        print(jsonlib.dumps({"v": SCHEMA, "ledger": where, "vote": plain(word)}))
    else:
        late = "; its outcome is known already, so the vote does not count as foresight" if case.bout else ""
        print(f"{decision}: {word.say.value} by {who}, in {where}{late}")
    return Exit.HOLDS


def show(plan_path: Path | None, place: str, *, json: bool) -> Exit:
    """List decisions on changes with their votes, and the record of people and critic."""
    with Ledger.open(place, create=False) as ledger:
        facts, where = fold(ledger.events()), ledger.where
    if plan_path is not None:
        plan = read_plan(plan_path)
    elif facts.session is not None:
        plan = parse(facts.session.text, path=facts.session.path)
    else:
        return say(Exit.NOTHING, f"no session has worked on a plan in {where}")
    cases = [case for case in facts.cases.values() if case.decision.action.kind in IMPROVING or case.votes]
    record = report(critic_of(facts, plan), labelled=labelled(facts))
    if json:
        told = [
            {
                "decision": plain(c.decision),
                "opinions": [plain(o) for o in c.opinions],
                "votes": [plain(v) for v in c.votes],
                "outcome": _outcome(c),
            }
            for c in cases
        ]
        print(jsonlib.dumps({"v": SCHEMA, "ledger": where, "decisions": told, "record": plain(record)}))
        return Exit.HOLDS if cases else Exit.NOTHING
    for case in cases:
        decision = case.decision
        print(f"{decision.id}  {decision.action.kind} for `{decision.action.task}` by {decision.decider}: {_outcome(case)}")
        print(clean(f"  {decision.why}"))
        for opinion in case.opinions:
            if opinion.stance is not Stance.ALLOW or opinion.guard == "critic":
                print(clean(f"  {opinion.guard} {opinion.stance.value}s: {opinion.clause}; {opinion.why}"))
        for one in case.votes:
            print(clean(f"  {one.by}: {one.say.value}{f'; {one.comment}' if one.comment else ''}"))
    print("\n".join(record.lines()))
    return Exit.HOLDS if cases else say(Exit.NOTHING, "the ledger holds no decision on a change yet")


def critic_of(facts: Facts, plan: Plan) -> Critic:
    """The critic after all that the ledger tells, also of what was measured under older code."""
    found = tried({task.id: task for task in plan.tasks}, facts, fresh=set(facts.cases), known=set(), standing={})
    votes = {id: tuple(case.votes[: case.blind]) for id, case in facts.cases.items()}
    opinions = {id: tuple(case.opinions) for id, case in facts.cases.items()}
    situation = Situation(
        plan=plan, verdicts=(), runs={}, seeds={}, decisions=facts.decisions, tried=tuple(found), votes=votes, opinions=opinions
    )  # fmt: skip
    critic: Critic = catalogue.load("guard", "critic")().critic(situation)
    return critic


def labelled(facts: Facts) -> list[tuple[float, float]]:
    """Of every change that people voted on after the critic's first reward, oldest first: that reward, and 1 approved or 0 rejected."""
    found = []
    for case in facts.cases.values():
        if case.rewarded is not None and (said := tally(case.votes[case.rewarded[1] :])):
            found.append((case.rewarded[0], float(said > 0)))
    return found


def _outcome(case: Case) -> str:
    said = {1: ", approved", -1: ", rejected", 0: ""}[tally(case.votes)]
    return (case.bout.answer if case.bout else "under way" if case.stands else "not applied") + said
