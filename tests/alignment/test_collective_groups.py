"""Opinion groups and consensus against references that share no code with them: pairs counted one by one, sums by hand, Polis' own columns."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from alignment.collective import derive_rules
from alignment.consensus import group_informed_consensus, support
from alignment.measured.collective import agreement, conversations
from alignment.opinion_groups import _fewest, adjusted_rand, find_groups, k_means, project, silhouette
from alignment.polis_export import Conversation

NAN = np.nan
POLIS = Path(__file__).parents[3] / "shared" / "data" / "alignment" / "polis"
needs_data = pytest.mark.skipif(not POLIS.is_dir(), reason="the shared conversations are not beside the checkout")


def camps(seed: int = 0, people: int = 90, parts: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    camp = np.arange(people) % parts
    likes = np.array([[0.95 if s % parts == c else 0.05 for s in range(30)] for c in range(parts)])
    votes = np.where(rng.random((people, 30)) < likes[camp], 1.0, -1.0)
    votes[rng.random(votes.shape) < 0.3] = NAN
    return votes, camp


def test_the_adjusted_rand_index_is_what_counting_pairs_gives() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        one, two = rng.integers(0, 3, 25), rng.integers(0, 4, 25)
        pairs = list(combinations(range(25), 2))
        both = sum(one[i] == one[j] and two[i] == two[j] for i, j in pairs)
        a, b = (sum(x[i] == x[j] for i, j in pairs) for x in (one, two))
        chance = a * b / len(pairs)
        assert adjusted_rand(one, two) == pytest.approx((both - chance) / ((a + b) / 2 - chance), abs=1e-12)


def test_names_of_groups_do_not_matter_to_the_adjusted_rand_index() -> None:
    assert adjusted_rand(np.array([0, 0, 1, 2]), np.array([7, 7, 3, 0])) == 1.0


def test_consensus_is_the_product_of_agreements_plus_one_over_seen_plus_two() -> None:
    votes = np.array([[1, NAN], [1, -1], [0, 1], [-1, NAN], [NAN, 1]])
    groups = np.array([0, 0, 1, 1, -1])
    assert support(votes, groups).tolist() == [[3 / 4, 1 / 3], [1 / 4, 2 / 3]]
    assert group_informed_consensus(votes, groups).tolist() == [3 / 16, 2 / 9]


def test_the_silhouette_is_what_its_definition_gives_point_by_point() -> None:
    rng = np.random.default_rng(2)
    points, labels = rng.normal(size=(20, 2)), np.append(rng.integers(0, 3, 19), 3)
    for i, value in enumerate(silhouette(points, labels)):
        far = {g: [np.hypot(*(points[i] - points[j])) for j in range(20) if labels[j] == g and j != i] for g in range(4)}
        if not far[labels[i]]:
            assert value == 0.0
            continue
        a, b = np.mean(far[labels[i]]), min(np.mean(d) for g, d in far.items() if g != labels[i])
        assert value == pytest.approx((b - a) / max(a, b), abs=1e-12)


@pytest.mark.parametrize("parts", [2, 3])
def test_camps_that_were_planted_are_found_and_their_number_too(parts: int) -> None:
    votes, camp = camps(parts=parts)
    found = find_groups(votes)
    assert len(found) == parts
    assert adjusted_rand(found.labels, camp) > 0.95


def test_the_number_of_groups_is_the_one_that_is_found_again() -> None:
    rng = np.random.default_rng(5)
    votes, _ = camps(people=120, parts=2)
    votes[:4] = np.where(rng.random((4, 30)) < 0.5, 1.0, -1.0)  # few enough to fall away in a resample
    found = find_groups(votes)
    stable = dict(found.stabilities)
    assert len(found) == max(stable, key=lambda k: stable[k]) == 2
    assert stable[2] > 0.95 > max(share for k, share in stable.items() if k != 2)


def test_fewer_groups_are_taken_only_where_they_are_found_again_as_surely() -> None:
    assert _fewest({2: [0.5, 0.9, 0.6], 3: [0.6, 0.8, 0.7]}) == 2
    assert _fewest({2: [0.5, 0.9, 0.6], 3: [0.6, 0.8, 0.7]}, slack=0.0) == 3
    assert _fewest({2: [0.5, 0.6, 0.4], 3: [0.8, 0.9, 0.8], 4: [0.9, 0.8, 0.9]}) == 3


def test_the_same_seed_gives_the_same_bits() -> None:
    votes, _ = camps()
    one, two = find_groups(votes, seed=3), find_groups(votes, seed=3)
    assert one.labels.tobytes() == two.labels.tobytes()
    assert one.centres.tobytes() == two.centres.tobytes()


def test_no_group_is_spent_on_an_outlier() -> None:
    points = np.concatenate(
        [np.random.default_rng(0).normal(size=(40, 2)), np.random.default_rng(1).normal(size=(20, 2)) + 6, [[400.0, 0.0]]]
    )
    alone = k_means(points, np.ones(61), k=2, restarts=32, least=0, rng=np.random.default_rng(0))
    held = k_means(points, np.ones(61), k=2, restarts=32, least=3, rng=np.random.default_rng(0))
    assert alone is not None
    assert alone[:, 0].max() == 400.0
    assert held is None or held[:, 0].max() < 400.0


def test_a_rejected_statement_parts_nobody_and_counts_as_a_vote() -> None:
    votes, _ = camps()
    accepted = np.arange(30) < 20
    other = votes.copy()
    other[:, 20:] = np.random.default_rng(5).choice([-1.0, 0.0, 1.0, NAN], other[:, 20:].shape)
    assert np.allclose(project(votes, accepted=accepted), project(other, accepted=accepted))


def test_votes_that_are_all_the_same_have_no_groups() -> None:
    with pytest.raises(ValueError, match="do not part"):
        find_groups(np.ones((20, 10)))
    with pytest.raises(ValueError, match="2 participants have 7 votes or more"):
        find_groups(np.ones((2, 10)))


@pytest.fixture(scope="module")
def public() -> list[Conversation]:
    return conversations(POLIS)


@needs_data
def test_consensus_equals_the_column_that_polis_exported_for_every_statement(public: list[Conversation]) -> None:
    (volunteers,) = (c for c in public if c.name == "bg2050-volunteers")
    theirs = np.array([s.consensus for s in volunteers.statements], dtype=np.float64)
    assert np.abs(group_informed_consensus(volunteers.votes, volunteers.groups) - theirs).max() <= 1e-12


@needs_data
def test_groups_agree_with_those_of_polis_at_three_quarters_on_average(public: list[Conversation]) -> None:
    assert np.mean([agreement(c) for c in public]) >= 0.75


@needs_data
def test_a_resample_in_which_nobody_parts_counts_as_groups_that_were_not_found_again(public: list[Conversation]) -> None:
    (volunteers,) = (c for c in public if c.name == "bg2050-volunteers")
    found = derive_rules(
        volunteers, replicates=1, seed=1
    )  # its second group is six people, and this one resample lacks most of them
    assert found.stability == 0
    assert len(found.groups) == 2
