"""Which of several proposed changes is tried first: the critic's action values, blended with people's votes by their records, put them in order.

It is a pure function of what the ledger holds, and what it found is a fact of the ledger, so `why` computes every order again, to the bit. It changes
the order of what is tried and nothing else: what is promoted is for the duel's measurements alone, whose error does not depend on who proposed what
or when. Without a record of the critic the order is that of the deciders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from agents.champions import champion_by, tried
from alignment.critic import FIRST, Critic
from alignment.guards.critic import CriticGuard, change_of
from bench.fold import Facts
from plan.decision import Decision, Opinion, Situation, Stance
from plan.faults import PlanFaults
from plan.grammar import parse
from plan.ranking import Contender, Ranking
from plan.wire import encode

EPSILON = 0.1
"""How often a place goes to any contender instead of the one with the highest value."""
LAST_DIGITS = 1e-9
"""Values nearer than this differ by a machine's arithmetic."""


def has_record(critic: Critic) -> bool:
    """Whether it has foretold anything that was then measured."""
    return any(one.score.outcomes >= FIRST for one in critic.history)


def key_of(asked: Sequence[str], outcomes: Sequence[str]) -> str:
    """What a ranking rests on: a round that is asked again after a kill has the same."""
    return hashlib.sha256("\n".join((*asked, "", *outcomes)).encode()).hexdigest()


def ranked(asked: Sequence[Decision], situation: Situation, champions: Mapping[str, str], guard: CriticGuard) -> Ranking | None:
    """The contenders, best first; None where there is nothing to choose or the critic has no record. `champions`: by task, who made them.

    `situation.opinions` has what guards said of each contender.
    """
    critic = guard.critic(situation)
    if len(asked) < 2 or not has_record(critic):
        return None
    ids, outcomes = tuple(one.id for one in asked), guard.outcomes
    changes = {one.id: change_of(one, situation) for one in asked}
    left, placed = list(ids), list[Contender]()
    while left:
        rests_on = f"{key_of(ids, outcomes)} {len(placed)}"
        chosen, drawn = critic.choose(
            [changes[id] for id in left], votes=situation.votes, epsilon=EPSILON if len(left) > 1 else 0.0, rests_on=rests_on
        )
        votes, id = situation.votes.get(chosen.decision.id, ()), chosen.decision.id
        score = critic.score(chosen, votes)
        left.remove(id)
        placed.append(
            Contender(
                decision=chosen.decision, champion=champions.get(chosen.decision.action.task, ""), objections=chosen.objections,
                value=critic.value(chosen, votes), people=score.people, critic=score.critic, weight=score.weight, drawn=drawn,
            )
        )  # fmt: skip
    return Ranking(contenders=tuple(placed), asked=ids, outcomes=outcomes, epsilon=EPSILON)


def arranged(asked: Sequence[Decision], ranking: Ranking) -> list[Decision]:
    """`asked` with the contenders in the ranking's order; all others keep their places."""
    following = iter(ranking.contenders)
    return [next(following).decision if one.id in ranking.asked else one for one in asked]


def replayed(ranking: Ranking, before: Facts) -> str:
    """What differs when the order is found again from what the ledger held `before` it; empty when nothing does."""
    if before.session is None:
        return "there is no session before it"
    try:
        plan = parse(before.session.text, path=before.session.path)
    except PlanFaults as found:
        return f"the plan of its session no longer fits the shelves: {found.faults[0].message}"
    tasks = {task.id: task for task in plan.tasks}
    past = tried(tasks, before, fresh=set(ranking.outcomes), known=(), standing={})
    contenders = {one.decision.id: one for one in ranking.contenders}
    makers = {one.decision.action.task: one.champion for one in ranking.contenders}
    situation = Situation(
        plan=plan,
        verdicts=(),
        runs={},
        seeds={},
        decisions=before.decisions,
        tried=tuple(one for one in past if one.decision in ranking.outcomes),
        champions={task: champion_by(made_by, tasks[task], before).candidate for task, made_by in makers.items()},
        votes={id: tuple(case.votes[: case.blind]) for id, case in before.cases.items()},
        opinions={id: tuple(case.opinions) for id, case in before.cases.items()}
        | {id: tuple(_objection(guard, id) for guard in one.objections) for id, one in contenders.items()},
    )
    again = ranked([contenders[id].decision for id in ranking.asked], situation, makers, CriticGuard())
    if again is None or again.order != ranking.order:
        return f"the order is {' '.join(again.order) if again else 'as asked'}"
    apart = max(abs(a.value - b.value) for a, b in zip(again.contenders, ranking.contenders, strict=True))
    if apart > LAST_DIGITS:
        return f"values differ by up to {apart:.3g}"
    return (
        "" if encode(again) == encode(ranking) else f"the same order, values differ by {apart:.1g}: another machine's arithmetic"
    )


def _objection(guard: str, decision: str) -> Opinion:
    return Opinion(guard=guard, decision=decision, stance=Stance.OBJECT, clause="", why="")
