"""Rules derived from votes: what every group supports, whom each overrides, and what stops a derivation."""

from dataclasses import replace

import numpy as np
import pytest

from alignment.collective import SAME, AuditAlarm, derive_rules
from alignment.polis_export import Conversation, Statement
from alignment.sayings import alikeness, at_odds, joined

TEXTS = (
    "Public parks should stay open at night",
    "Public parks should stay open at night!",
    "Taxes on fuel should rise",
    "Taxes on fuel should fall",
    "Schools should teach music",
    "Shops should close on Sundays",
    "Trains should be free",
    "Cars should leave the centre",
    "Streets should be lit",
    "Dogs should be on a lead",
    *(f"Proposal {n} should pass" for n in range(20)),
)
SPLIT = (2, 3, 5, 6, 7, *range(10, 30))
"""Statements on which the two camps differ."""


def two_camps(people: int = 80, seed: int = 0) -> Conversation:
    """Two camps of equal size: nine in ten of both like the parks, music and lit streets; nine in ten of one each of the rest."""
    rng = np.random.default_rng(seed)
    camp = np.repeat([0, 1], people // 2)
    likes = np.full((2, len(TEXTS)), 0.92)
    for number, s in enumerate(SPLIT):
        likes[number % 2, s] = 0.08
    likes[:, 9] = (0.92, 0.4)
    votes = np.where(rng.random((people, len(TEXTS))) < likes[camp], 1.0, -1.0)
    votes[:, 1] = votes[:, 0]
    return Conversation(
        name="camps",
        statements=tuple(Statement(id=str(i), text=text, moderated=1) for i, text in enumerate(TEXTS)),
        participants=tuple(f"p{i}" for i in range(people)),
        votes=votes,
        groups=camp.astype(np.int64),
    )


@pytest.fixture(scope="module")
def camps() -> Conversation:
    return two_camps()


def test_what_both_camps_like_becomes_a_rule_and_what_parts_them_does_not(camps: Conversation) -> None:
    found = derive_rules(camps, min_agreement=0.7, replicates=30, accept=("duplicates",))
    assert {rule.id for rule in found.rules} | {other for rule in found.rules for other in rule.also} == {"0", "1", "4", "8"}


def test_the_interval_holds_the_support_of_the_least_supportive_group(camps: Conversation) -> None:
    found = derive_rules(camps, min_agreement=0.7, replicates=30, accept=("duplicates",))
    for rule in found.rules:
        value, low, high = rule.least
        assert value == min(rule.support)
        assert 0.7 <= low <= high


def test_sentences_that_say_the_same_and_are_voted_alike_are_one_rule(camps: Conversation) -> None:
    rules = {rule.id: rule for rule in derive_rules(camps, min_agreement=0.7, replicates=30, accept=("duplicates",)).rules}
    (parks,) = (rules[i] for i in ("0", "1") if i in rules)
    assert {parks.id, *parks.also} == {"0", "1"}


@pytest.mark.parametrize(("words", "together"), [(("raised", "lowered"), False), (("raised", "raised"), True)])
def test_sentences_spelt_alike_of_which_nobody_saw_both_are_one_rule_only_when_they_are_the_same(
    camps: Conversation, words: tuple[str, str], together: bool
) -> None:
    votes, statements = camps.votes.copy(), list(camps.statements)
    votes[::2, 4] = votes[1::2, 8] = np.nan
    for s, word in zip((4, 8), words, strict=True):
        statements[s] = replace(statements[s], text=f"The limit on rents in the city should be {word} at once")
    told = replace(camps, votes=votes, statements=tuple(statements))
    found = derive_rules(told, min_agreement=0.55, replicates=20, accept=("duplicates",))
    assert {"4", "8"} <= {rule.id for rule in found.rules} | {other for rule in found.rules for other in rule.also}
    assert any({"4", "8"} == {rule.id, *rule.also} for rule in found.rules) == together


def test_everybody_who_voted_against_a_rule_is_named_also_with_few_votes(camps: Conversation) -> None:
    few = np.full((1, len(TEXTS)), np.nan)
    few[0, [0, 1, 4, 8]] = -1.0
    camps = replace(
        camps,
        participants=(*camps.participants, "few"),
        votes=np.vstack([camps.votes, few]),
        groups=np.append(camps.groups, -1),
    )
    found = derive_rules(camps, min_agreement=0.7, replicates=30, accept=("duplicates",))
    for rule in found.rules:
        column = camps.votes[:, [s.id for s in camps.statements].index(rule.id)]
        against = {camps.participants[i] for i in np.flatnonzero(column == -1)}
        assert "few" in against
        assert {p for minority in rule.minorities for p in minority.participants} == against


def test_the_same_seed_derives_the_same_rules(camps: Conversation) -> None:
    one, two = (derive_rules(camps, min_agreement=0.7, replicates=10, seed=4, accept=("duplicates",)) for _ in range(2))
    assert one.rules == two.rules
    assert one.stability == two.stability


def test_a_statement_that_moderation_rejected_is_no_rule(camps: Conversation) -> None:
    statements = tuple(replace(s, moderated=-1) if s.id == "4" else s for s in camps.statements)
    found = derive_rules(replace(camps, statements=statements), min_agreement=0.7, replicates=10, accept=("duplicates",))
    assert "4" not in {rule.id for rule in found.rules}


def test_an_alarm_stops_the_derivation_until_it_is_accepted_by_name(camps: Conversation) -> None:
    declared = np.zeros((len(camps.votes), 3), dtype=np.int64)
    wrong = replace(camps, declared=declared)
    with pytest.raises(AuditAlarm, match=r"accept .*`counts`.* nothing was derived"):
        derive_rules(wrong, replicates=5, accept=("duplicates",))
    accepted = derive_rules(wrong, replicates=5, accept=("duplicates", "counts"))
    assert "counts" in {f.kind for f in accepted.findings}


def test_a_share_that_is_none_is_refused(camps: Conversation) -> None:
    with pytest.raises(ValueError, match="`min_agreement` is 70"):
        derive_rules(camps, min_agreement=70)


def test_spelling_joins_only_sets_in_which_every_two_are_alike() -> None:
    alike = alikeness(["open the parks at night", "open the park at night", "raise the tax on fuel", ""])
    assert alike[0, 1] > 0.6 > alike[0, 2]
    assert alike[3].max() == 0.0
    chain = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.8], [0.1, 0.8, 1.0]])
    assert joined(chain, least=0.7) == [[0, 1], [2]]


def test_a_statement_without_text_is_no_rule_and_rejects_nothing(camps: Conversation) -> None:
    mute = tuple(replace(s, text="") if s.id == "4" else s for s in camps.statements)
    found = derive_rules(replace(camps, statements=mute), min_agreement=0.7, replicates=20, accept=("duplicates",))
    assert {rule.id for rule in found.rules} == {"0", "8"}
    assert any(f.kind == "statements" and "`4`" in f.message for f in found.findings)


def test_the_interval_of_the_consensus_holds_it_and_is_no_wider_than_the_groups_allow(camps: Conversation) -> None:
    for rule in derive_rules(camps, min_agreement=0.7, replicates=30, accept=("duplicates",)).rules:
        value, low, high = rule.consensus
        assert low <= value <= high
        assert value == pytest.approx(np.prod(rule.support))


def copied(whole: Conversation, *, row: int, times: int) -> Conversation:
    return replace(
        whole,
        participants=(*whole.participants, *(f"copy {n}" for n in range(times))),
        votes=np.vstack([whole.votes, *[whole.votes[[row]]] * times]),
        groups=np.append(whole.groups, [whole.groups[row]] * times),
    )


def test_copies_of_a_participant_change_no_figure_once_they_are_accepted() -> None:
    camps = two_camps(seed=1)
    votes = camps.votes.copy()
    votes[:, 1] = np.nan  # equal columns make equal rows
    camps = replace(camps, votes=votes)
    one = derive_rules(camps, min_agreement=0.7, replicates=20)
    objector = int(np.flatnonzero(camps.votes[:, 4] == -1)[0])
    many = copied(camps, row=objector, times=30)
    two = derive_rules(many, min_agreement=0.7, replicates=20, accept=("duplicates",))
    assert [(r.id, r.least, r.consensus) for r in one.rules] == [(r.id, r.least, r.consensus) for r in two.rules]
    (before,), (after,) = (
        [m for r in found.rules if r.id == "4" for m in r.minorities if f"p{objector}" in m.participants] for found in (one, two)
    )
    assert (before.against, before.seen) == (after.against, after.seen)
    assert {f"copy {n}" for n in range(30)} <= set(after.participants)


def test_the_same_sentence_twice_is_one_statement_whose_votes_are_taken_together(camps: Conversation) -> None:
    votes, statements = camps.votes.copy(), list(camps.statements)
    votes[::2, 4] = votes[1::2, 8] = np.nan
    statements[8] = replace(statements[8], text=statements[4].text.upper() + ".")
    votes[0, 4], votes[0, 8] = 1.0, -1.0
    found = derive_rules(
        replace(camps, votes=votes, statements=tuple(statements)), min_agreement=0.6, replicates=20, accept=("duplicates",)
    )
    (rule,) = (r for r in found.rules if r.id == "4")
    assert rule.also == ("8",)
    together = np.where(np.isnan(votes[:, 4]), votes[:, 8], votes[:, 4])
    together[0] = 0.0
    members = found.groups.members
    expected = [((together[members == g] == 1).sum() + 1) / ((members == g).sum() + 2) for g in range(2)]
    assert rule.support == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "two", "apart"),
    [
        ("The city should close this park", "The city should not close this park", True),
        ("The city should close this park", "The city shouldn\u2019t close this park", True),
        ("The city shouldn't close this park", "The city shouldn\u2019t close this park!", False),
        ("We should raise the tax on fuel", "We should lower the tax on fuel", True),
        ("Taxes on fuel should be raised", "Taxes on fuel should be reduced", True),
        ("We need more police on our streets", "We need fewer police on our streets", True),
        ("Drivers are regulated in this city", "Drivers are unregulated in this city", True),
        ("Smoking in parks should not be banned", "Smoking in parks should be allowed", False),
        ("Rent may rise by 3 percent", "Rent may rise by 5 percent", True),
        ("Cars should wait for bicycles", "Bicycles should wait for cars", True),
        ("The parks should be open at night", "Parks should be open at night", False),
        ("I am for a speed limit of thirty", "I am against a speed limit of thirty", True),
    ],
)
def test_sentences_that_say_the_opposite_are_at_odds_and_paraphrases_are_not(one: str, two: str, apart: bool) -> None:
    assert at_odds(one, two) == at_odds(two, one) == apart


def test_opposites_that_the_same_people_liked_stay_two_rules(camps: Conversation) -> None:
    statements = list(camps.statements)
    statements[0] = replace(statements[0], text="Public parks should stay open at night")
    statements[1] = replace(statements[1], text="Public parks should not stay open at night")
    assert alikeness([statements[0].text, statements[1].text])[0, 1] > SAME
    found = derive_rules(replace(camps, statements=tuple(statements)), min_agreement=0.7, replicates=20, accept=("duplicates",))
    assert {"0", "1"} <= {rule.id for rule in found.rules}
