"""Nothing is tried against its record: what people said of a change, and what changes like it came to, are weighed before it is tried."""

from __future__ import annotations

from alignment.critic import FIRST, Change, Critic, Score, better
from plan.catalogue import guard
from plan.decision import IMPROVING, Candidate, Decision, Opinion, Situation, Stance, Tried, tally

CLAUSE = "what people and the record say is weighed"
DOUBT = 0.3
"""Chance of being better below which a change is objected to: of 0.2, 0.25, ... the largest that objects to at most 2 % more of the good changes than
people do, at 95 % confidence, in twenty lives of `caught` that no target is judged on."""


@guard("critic", clause="what people and the record say is weighed", foresees="better")
class CriticGuard:
    """Blocks what people reject, objects to what is unlikely to be better, and says how likely it is and by whose word."""

    def __init__(self) -> None:
        self._critic, self._known = Critic(), list[str]()

    def review(self, decision: Decision, situation: Situation) -> Opinion:
        stance, why, score = self._judge(decision, situation)
        blind = score is None or not (score.outcomes or score.voted)
        return Opinion(
            guard="critic", decision=decision.id, stance=stance, clause=CLAUSE, why=why,
            confidence=None if score is None else 1 - score.good,
            abstains=stance is Stance.ALLOW and blind,
            reward=score.critic if score is not None and score.outcomes >= FIRST else None,
        )  # fmt: skip

    def _judge(self, decision: Decision, situation: Situation) -> tuple[Stance, str, Score | None]:
        votes = situation.votes.get(decision.id, ())
        said = tally(votes)
        if said < 0:
            return (
                Stance.BLOCK,
                f"more people reject it than approve of it ({', '.join(f'{v.by}: {v.say}' for v in votes)})",
                None,
            )
        if decision.action.kind not in IMPROVING:
            return Stance.ALLOW, "proposes no change", None
        score = self.critic(situation).score(change_of(decision, situation), votes)
        why = (
            f"better with probability {score.good:.2f}: people {score.people:.2f} (weight {score.weight:.2f}"
            f"{'' if score.voted else ', nobody voted'}), critic {score.critic:.2f} from {score.outcomes} outcomes"
        )
        return (Stance.OBJECT if score.good < DOUBT else Stance.ALLOW), why, score

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Decisions that the critic has learnt from, in their order."""
        return tuple(self._known)

    def critic(self, situation: Situation) -> Critic:
        """The critic after all outcomes that stand. It begins anew when the past has changed, so that equal facts give equal opinions."""
        ended = [(tried, good) for tried in situation.tried if tried.stands and (good := better(tried)) is not None]
        ids = [tried.decision for tried, _ in ended]
        if ids[: len(self._known)] != self._known:
            self._critic, self._known = Critic(), []
        decisions = {decision.id: decision for decision in situation.decisions}
        for tried, good in ended[len(self._known) :]:
            self._critic.update(_past(tried, decisions, situation), good, situation.votes.get(tried.decision, ()))
        self._known = ids
        return self._critic


def change_of(decision: Decision, situation: Situation) -> Change:
    """A decision with the champion that it would replace and what its task is measured on."""
    task = situation.plan.task(decision.action.task)
    own = Candidate(module=task.module, config=task.config)
    return Change(
        decision=decision,
        champion=situation.champions.get(task.id, own),
        subject=task.benchmark,
        objections=objections(decision.id, situation),
    )


def objections(decision: str, situation: Situation) -> tuple[str, ...]:
    """Guards that object to a decision; the critic is none of them, or it would learn from itself."""
    said = situation.opinions.get(decision, ())
    return tuple(sorted(one.guard for one in said if one.stance is Stance.OBJECT and one.guard != "critic"))


def _past(tried: Tried, decisions: dict[str, Decision], situation: Situation) -> Change:
    names = {task.id: task.benchmark for task in situation.plan.tasks}
    return Change(
        decision=decisions[tried.decision],
        champion=tried.champion,
        subject=names.get(tried.task, tried.task),
        objections=objections(tried.decision, situation),
    )
