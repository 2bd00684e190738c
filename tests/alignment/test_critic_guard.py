"""The critic as a guard: it objects to what its record speaks against, abstains with nothing to go by, and a person's rejection blocks."""

from __future__ import annotations

from alignment.critic import FIRST
from alignment.guards.critic import CriticGuard
from plan.decision import Bout, Candidate, Decision, Say, Situation, Stance, Tried, Vote
from tests.alignment.facts_of_a_task import candidate, situation


def past(n: int, *, better: bool) -> tuple[Decision, Tried]:
    lr = 0.005 if better else 0.02
    decision = candidate("tune", config={"recipe": {"lr": lr}})
    decision = Decision(**{**{f: getattr(decision, f) for f in decision.__dataclass_fields__}, "id": f"p{n}"})
    gain = 0.1 if better else -0.1
    pairs = tuple((0.5, 0.5 + gain * (1 + k / 10)) for k in range(3))
    bout = Bout(answer="promote" if better else "reject", why="", metric="accuracy", better="more", pairs=pairs)
    own = Candidate(module="attention", config={"recipe": {"lr": 0.01}})
    return decision, Tried(decision=decision.id, kind="tune", task="a", candidate=own, champion=own, bout=bout)


def known(*, n: int, votes: dict[str, tuple[Vote, ...]] = {}) -> Situation:
    before = [past(k, better=k % 2 == 0) for k in range(n)]
    facts = situation(config={"recipe": {"lr": 0.01}})
    rest = {f: getattr(facts, f) for f in facts.__dataclass_fields__}
    news = {"decisions": tuple(d for d, _ in before), "tried": tuple(t for _, t in before), "votes": votes}
    return Situation(**{**rest, **news})


def test_the_guard_objects_to_what_its_record_speaks_against_and_says_by_whose_word() -> None:
    guard, facts = CriticGuard(), known(n=24)
    bad = guard.review(candidate("tune", config={"recipe": {"lr": 0.02}}), facts)
    good = guard.review(candidate("tune", config={"recipe": {"lr": 0.005}}), facts)
    assert (bad.stance, good.stance) == (Stance.OBJECT, Stance.ALLOW)
    assert "24 outcomes" in bad.why
    assert "nobody voted" in bad.why


def test_a_critic_with_nothing_to_go_by_abstains_and_gives_no_reward_until_it_has_learnt() -> None:
    said = {n: CriticGuard().review(candidate("tune"), known(n=n)) for n in (0, 1, FIRST)}
    assert [(one.abstains, one.reward is None) for one in said.values()] == [(True, True), (False, True), (False, False)]
    voted = known(n=0, votes={"d1": (Vote(decision="d1", say=Say.APPROVE, by="ann"),)})
    assert CriticGuard().review(candidate("tune"), voted).abstains is False


def test_what_a_person_rejects_is_blocked_whatever_the_critic_says() -> None:
    facts = known(n=24, votes={"d1": (Vote(decision="d1", say=Say.REJECT, by="ann"),)})
    opinion = CriticGuard().review(candidate("tune", config={"recipe": {"lr": 0.005}}), facts)
    assert opinion.stance is Stance.BLOCK
    assert "ann: reject" in opinion.why


def test_a_guard_that_lived_through_it_and_one_that_reads_it_later_say_the_same() -> None:
    guard, decision = CriticGuard(), candidate("tune", config={"recipe": {"lr": 0.02}})
    for n in (3, 9, 10, 17):
        assert guard.review(decision, known(n=n)) == CriticGuard().review(decision, known(n=n))
