"""Rules are judged where there are some."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_measured import asked, export, people

from alignment.measured import Unmeasurable, rules
from alignment.polis_export import Conversation


def test_rules_of_one_half_are_held_against_the_votes_of_the_other(tmp_path: Path) -> None:
    whole = replace_column(people(6, count=200), 3)
    export(tmp_path / "one", whole)
    bench = asked("polis-rules-v2", tmp_path, data=tmp_path / "one", replicates=5)
    numbers = rules.measure_rules(bench)
    half = rules.halves(whole.groups, np.random.default_rng([0, 3]))
    assert numbers["people"] == half.sum() == sum(int((whole.groups == g).sum()) // 2 for g in set(whole.groups.tolist()))
    held = []
    for text, least in bench.facts["rules"].items():
        column = whole.votes[:, int(text.removeprefix("statement "))]
        shares = []
        for group in set(whole.groups.tolist()):
            votes = [
                v for v, g, mine in zip(column, whole.groups, half, strict=True) if g == group and not mine and not np.isnan(v)
            ]
            shares.append((votes.count(1.0) + 1) / (len(votes) + 2) if len(votes) >= 5 else 1.0)
        assert least == pytest.approx(min(shares))
        held.append(min(shares) >= 0.6)
    assert numbers["rules"] == len(held) > 0
    assert numbers["held_out"] == pytest.approx(np.mean(held))


def replace_column(conversation: Conversation, statement: int) -> Conversation:
    """The same, but everybody who saw the statement agrees to it."""
    votes = conversation.votes.copy()
    votes[~np.isnan(votes[:, statement]), statement] = 1.0
    return recounted(replace(conversation, votes=votes))


def recounted(conversation: Conversation) -> Conversation:
    """The same with the counts that belong to its votes."""
    votes = conversation.votes
    seen = ~np.isnan(votes)
    counts = np.array([seen.sum(1), (votes == 1).sum(1), (votes == -1).sum(1)]).T
    said = tuple(
        replace(one, agrees=int((votes[:, n] == 1).sum()), disagrees=int((votes[:, n] == -1).sum()))
        for n, one in enumerate(conversation.statements)
    )
    return replace(conversation, votes=votes, declared=counts, statements=said)


def test_a_conversation_of_which_no_rule_comes_is_not_counted_as_one_whose_rules_held(tmp_path: Path) -> None:
    rich = replace_column(people(6, count=200), 3)
    rng = np.random.default_rng(0)
    camp = rng.integers(0, 2, rich.votes.shape[0])
    apart = np.where(rng.random(rich.votes.shape) < np.where(camp == 0, 0.9, 0.1)[:, None], 1.0, -1.0)
    apart[:, ::2] *= -1  # whatever one camp likes, the other does not
    export(tmp_path / "all" / "a", recounted(replace(rich, votes=apart, groups=camp)))
    export(tmp_path / "all" / "b", rich)
    bench = asked("polis-rules-v2", tmp_path, data=tmp_path / "all", replicates=5)
    assert rules.measure_rules(bench)["rules"] > 0
    assert bench.facts["conversation"] == "b"
    with pytest.raises(Unmeasurable, match="rules come of 1 of 2 conversations; ask for 1 seeds"):
        rules.measure_rules(asked("polis-rules-v2", tmp_path, data=tmp_path / "all", seed=1, replicates=5))
