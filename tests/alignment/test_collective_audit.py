"""An export is read strictly, and a conversation whose parts do not belong together is told before it is used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alignment.labeller import Labeller, label_responses
from alignment.measured.collective import conversations
from alignment.measured.planted_votes import FAULTS, Fault, drawn, found_of
from alignment.polis_export import Conversation, ExportFault, Statement, read
from alignment.vote_audit import SHUFFLED, audit
from alignment.vote_copies import alike
from alignment.vote_labels import carried, expected
from alignment.vote_machines import dice, one_answer
from alignment.vote_shifts import shifted

POLIS = Path(__file__).parents[3] / "shared" / "data" / "alignment" / "polis"

MATRIX = "participant,group-id,n-votes,n-agree,n-disagree,0,7\n3,0,2,1,1,1,-1\n4,,1,0,0,,0\n"
COMMENTS = 'timestamp,comment-id,agrees,disagrees,moderated,comment-body\n1,7,0,1,1,"Second, in two\nlines"\n1,0,1,0,-1,First\n'
QUICK = ("all labels shuffled", "votes of all rows shifted, no counts", "votes of all rows shifted", "columns shifted")
IntArray = NDArray[np.int64]
needs_data = pytest.mark.skipif(not POLIS.is_dir(), reason="the shared conversations are not beside the checkout")


def export(folder: Path, *, matrix: str = MATRIX, comments: str = COMMENTS) -> Path:
    (folder / "participants-votes.csv").write_text(matrix, encoding="utf-8")
    (folder / "comments.csv").write_text(comments, encoding="utf-8")
    return folder


def test_an_export_is_read_as_it_stands(tmp_path: Path) -> None:
    found = read(export(tmp_path, matrix="\ufeff" + MATRIX))
    assert [s.text for s in found.statements] == ["First", "Second, in two lines"]
    assert found.participants == ("3", "4")
    assert found.groups.tolist() == [0, -1]
    assert np.array_equal(found.votes, [[1, -1], [np.nan, 0]], equal_nan=True)
    assert found.accepted.tolist() == [False, True]


def test_what_strangers_wrote_cannot_steer_a_terminal_and_a_null_was_not_seen(tmp_path: Path) -> None:
    comments = COMMENTS.replace("First", "Fi\x1b[31mrst\x07 \u202ethe\x00 other")
    found = read(export(tmp_path, matrix=MATRIX.replace("4,,1,0,0,,0", "4,,1,0,0,null,0"), comments=comments))
    assert found.statements[0].text == "Fi[31mrst the other"
    assert np.isnan(found.votes[1, 0])


@pytest.mark.parametrize(
    ("matrix", "comments", "told"),
    [
        (MATRIX.replace("1,-1\n", "1,5\n"), COMMENTS, r"participants-votes.csv:2: `5` on statement 7 is no vote"),
        (MATRIX.replace("4,,1", "3,,1"), COMMENTS, r"participants-votes.csv:3: participant `3` stands on line 2 already"),
        (MATRIX.replace("4,,1,0,0,,0", "4,,1,0"), COMMENTS, r"participants-votes.csv:3: 4 cells where the header has 7"),
        (MATRIX.replace("participant,", "voter,"), COMMENTS, r"participants-votes.csv:1: no column `participant`"),
        (MATRIX.replace("0,7\n", "0,8\n"), COMMENTS, r"statements \['8'\] are voted on and not in `comments.csv`"),
        (MATRIX, COMMENTS.replace("comment-body", "text"), r"comments.csv:1: no column `comment-body`"),
        (MATRIX, COMMENTS.replace("1,0,1,0,-1", "1,0,x,0,-1"), r"comments.csv:4: `x` in `agrees` is no number"),
        (
            MATRIX.replace("3,0,2", "3,1e300,2"),
            COMMENTS,
            r"participants-votes.csv:2: `1e300` in `group-id` is no whole number that counts",
        ),
        (MATRIX.replace("3,0,2", "3,0," + "9" * 99), COMMENTS, r"participants-votes.csv:2: `9{40}` in `n-votes`"),
        (MATRIX.replace("1,-1\n", "1,\x1b[31m\n"), COMMENTS, r"participants-votes.csv:2: `\[31m` in `7` is no number"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path, matrix: str, comments: str, told: str) -> None:
    with pytest.raises(ExportFault, match=told):
        read(export(tmp_path, matrix=matrix, comments=comments))


@pytest.mark.parametrize(("moderated", "accepted"), [(-1, 0), (0, 0), (1, 1)])
def test_a_statement_without_text_rejects_no_export_and_is_noticed(tmp_path: Path, moderated: int, accepted: int) -> None:
    found = read(export(tmp_path, comments=COMMENTS.replace("1,0,1,0,-1,First", f"1,0,1,0,{moderated}, ")))
    assert [s.text for s in found.statements] == ["", "Second, in two lines"]
    (told,) = (f for f in audit(replace(found, declared=None)) if f.kind == "statements")
    assert not told.alarm
    assert f"1 statements have no text, `0` the first, and {accepted} of them were accepted" in told.message


def test_accepted_statements_that_are_one_sentence_are_noticed() -> None:
    whole = crowd()
    texts = {3: "Don\u2019t close the parks.", 8: "don't close the  parks", 9: "Don't close the park"}
    said = tuple(replace(s, text=texts.get(n, s.text)) for n, s in enumerate(whole.statements))
    (told,) = audit(replace(whole, statements=said))
    assert (told.kind, told.alarm) == ("statements", False)
    assert told.message == "statements `3` and `8` are the same sentence; rules count it once"
    rejected = tuple(replace(s, moderated=-1) if n == 8 else s for n, s in enumerate(said))
    assert audit(replace(whole, statements=rejected)) == ()


def test_a_folder_without_the_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExportFault, match="there is no such file"):
        read(tmp_path)


def crowd(seed: int = 0) -> Conversation:
    """120 people in two camps with 40 statements, the counts and groups that belong to their votes."""
    rng = np.random.default_rng(seed)
    camp = rng.integers(0, 2, 120)
    likes = rng.uniform(0.05, 0.95, (2, 40))
    votes = np.where(rng.random((120, 40)) < likes[camp], 1.0, -1.0)
    votes[rng.random(votes.shape) < 0.4] = np.nan
    seen = ~np.isnan(votes)
    counts = np.array([seen.sum(1), (votes == 1).sum(1), (votes == -1).sum(1)]).T
    statements = [
        Statement(
            id=str(s), text=f"s{s}", moderated=1, agrees=int((votes[:, s] == 1).sum()), disagrees=int((votes[:, s] == -1).sum())
        )
        for s in range(40)
    ]
    people = tuple(map(str, range(120)))
    return Conversation(
        name="crowd", statements=tuple(statements), participants=people, votes=votes, groups=camp, declared=counts
    )


def sociable(seed: int) -> Conversation:
    return drawn(np.random.default_rng(seed), people=300, statements=60)


def test_a_clean_crowd_raises_nothing() -> None:
    for seed in range(3):
        assert audit(crowd(seed)) == ()


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.kind not in ("half_shuffles", "dice")], ids=lambda fault: fault.name)
def test_every_planted_fault_is_told(fault: Fault) -> None:
    for seed in range(3):
        assert found_of(fault, sociable(seed), np.random.default_rng(seed)) == 1.0, (fault.name, seed)


def taken(whole: Conversation, *, people: IntArray | None = None, columns: IntArray | None = None) -> Conversation:
    """Some of the people and statements, the counts made anew."""
    rows = np.arange(len(whole.votes)) if people is None else people
    kept = np.arange(whole.votes.shape[1]) if columns is None else columns
    return replace(
        whole,
        participants=tuple(whole.participants[i] for i in rows),
        statements=tuple(replace(whole.statements[i], agrees=None, disagrees=None) for i in kept),
        votes=whole.votes[np.ix_(rows, kept)],
        groups=whole.groups[rows],
        declared=None,
    )


def test_part_of_the_people_or_statements_of_a_clean_conversation_raises_no_alarm_about_labels() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        whole = sociable(seed)
        parts = [taken(whole, people=rng.permutation(300)[:number]) for number in (225, 150, 90)]
        for part in (*parts, taken(whole, columns=rng.permutation(60)[:30])):
            assert not [f for f in audit(part) if f.alarm and f.kind == "labels"], seed


def test_labels_of_a_small_group_are_carried_by_those_who_vote_as_it_does_and_shuffled_ones_by_anybody() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat([0, 1], [112, 8])
    likes = rng.choice([0.1, 0.9], (2, 40))
    votes = np.where(rng.random((120, 40)) < likes[groups], 1.0, -1.0)
    assert carried(votes, groups).share == 1.0
    shuffled = [carried(votes, rng.permutation(groups)).share for _ in range(40)]
    assert abs(np.mean(shuffled)) < 0.2
    half = groups.copy()
    half[[0, 1, 2, 3, 112, 113, 114, 115]] = half[[112, 113, 114, 115, 0, 1, 2, 3]]
    assert carried(votes, half).share < 0.7


def test_half_shuffled_labels_are_carried_half_as_often_as_right_ones() -> None:
    shares = []
    for seed in range(20):
        whole, rng = crowd(seed), np.random.default_rng(seed)
        groups, chosen = whole.groups.copy(), rng.permutation(120)[:60]
        groups[chosen] = groups[rng.permutation(chosen)]
        shares.append(carried(whole.votes, groups).share / carried(whole.votes, whole.groups).share)
    assert np.mean(shares) == pytest.approx(SHUFFLED, abs=3 * np.std(shares) / np.sqrt(20))


def test_what_is_expected_of_right_labels_is_what_votes_by_the_groups_own_rates_give() -> None:
    for people, spread in ((400, 0.1), (400, 0.4), (60, 0.4)):
        rng = np.random.default_rng(people)
        groups = rng.integers(0, 3, people)
        likes = np.clip(0.5 + spread * rng.choice([-1, 1], (3, 40)), 0.05, 0.95)
        votes = np.where(rng.random((people, 40)) < likes[groups], 1.0, -1.0)
        assert expected(votes, groups, rng) == pytest.approx(carried(votes, groups).share, abs=0.25)
        assert carried(votes, rng.permutation(groups)).share < 0.3


@pytest.mark.parametrize("by", [4, 20, 29, -17])
def test_labels_of_a_block_that_belong_far_up_or_down_are_told_with_the_shift(by: int) -> None:
    clean = crowd()
    groups = clean.groups.copy()
    groups[40:100] = np.roll(groups[40:100], -by)  # the label of row i now belongs to row i + by
    (told,) = (f for f in audit(replace(clean, groups=groups)) if f.alarm)
    at, turned = f" {abs(by)} rows {'above' if by > 0 else 'below'}", f" {60 - abs(by)} rows {'below' if by > 0 else 'above'}"
    assert told.kind == "labels" or at in told.message or turned in told.message, told.message


def test_the_order_of_people_raises_no_alarm_where_labels_follow_them() -> None:
    rng = np.random.default_rng(8)
    points = np.concatenate([rng.normal(size=(150, 2)), rng.normal(size=(8, 2)) + 5])  # a small group has few labels in a window
    groups = np.repeat([0, 1], [150, 8])
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(158)
        assert shifted(points[order], groups[order], np.random.default_rng(seed)) is None


def test_many_equal_short_rows_are_an_alarm_and_as_many_as_chance_makes_are_none() -> None:
    rng = np.random.default_rng(4)
    agreed = np.where(rng.random((100, 4)) < 0.97, 1.0, -1.0)  # all saw the same four statements, and nearly all agree with all
    nobody = np.full((100, 4), np.nan)
    votes = np.block([[agreed, nobody], [nobody, np.where(rng.random((100, 4)) < 0.5, 1.0, -1.0)]])
    groups = np.zeros(200, dtype=np.int64)
    assert min(each.expected for each in alike(votes, groups)) > 0.05
    cloned = np.vstack([votes, np.repeat(votes[150:151], 40, axis=0)])
    least = min(alike(cloned, np.zeros(240, dtype=np.int64)), key=lambda each: each.expected)
    assert least.expected < 1e-3
    assert set(range(200, 240)) <= set(least.rows)


def test_what_chance_makes_of_a_pair_is_the_product_of_the_rates_of_those_who_are_left() -> None:
    votes = np.where(np.random.default_rng(5).random((40, 9)) < 0.5, 1.0, -1.0)
    votes[2:, 8] = np.nan  # the first two alone saw the ninth as well
    votes[0] = votes[1]
    (pair,) = (each for each in alike(votes, np.zeros(40, dtype=np.int64)) if 0 in each.rows)
    chance = 1 / 3  # of the ninth statement, which nobody else saw: half a vote for each answer
    for column in range(8):
        chance *= ((votes[2:, column] == votes[0, column]).sum() + 0.5) / (38 + 1.5)
    assert pair.rows == (0, 1)
    assert pair.expected == pytest.approx(2 * chance)  # of two patterns of what was seen


@pytest.mark.parametrize("first", [True, False])
def test_of_a_near_copy_that_saw_one_less_only_what_both_saw_is_counted_wherever_it_stands(first: bool) -> None:
    votes = np.where(np.random.default_rng(5).random((40, 13)) < 0.5, 1.0, -1.0)
    votes[2:, 12] = np.nan
    votes[0] = votes[1]
    votes[0 if first else 1, 3] = np.nan
    (pair,) = (each for each in alike(votes, np.zeros(40, dtype=np.int64)) if each.rows == (0, 1))
    chance = 1 / 3
    for column in set(range(12)) - {3}:
        chance *= ((votes[2:, column] == votes[1, column]).sum() + 0.5) / (38 + 1.5)
    near = (
        38 * 37 // 2 + 38 + 1
    )  # pairs that saw the same but one statement: the others, the longer of the two with each, and the two
    assert pair.votes == 12
    assert pair.expected == pytest.approx(chance * near, rel=1e-5)


def test_dice_are_named_though_their_group_is_made_of_dice_and_people_who_lean_are_not() -> None:
    rng = np.random.default_rng(0)
    camp = rng.integers(0, 2, 200)
    likes = rng.choice([0.05, 0.95], (2, 60))
    votes = np.where(rng.random((200, 60)) < likes[camp], 1.0, -1.0)
    votes[0, rng.random(60) < 0.8] = 0.0  # passes most of the time
    votes[185:] = rng.choice([-1.0, 0.0, 1.0], (15, 60))
    camp[185:] = 2
    assert set(dice(votes, camp).tolist()) == set(range(185, 200))
    assert one_answer(np.vstack([votes, np.ones((5, 60))]), np.append(camp, [3] * 5)).tolist() == [200, 201, 202, 203, 204]


def test_agree_and_disagree_exchanged_is_told_as_that() -> None:
    clean = crowd()
    (told,) = (f for f in audit(replace(clean, votes=-clean.votes)) if f.kind == "counts")
    assert told.alarm
    assert "exchanged" in told.message


def test_one_answer_to_everything_is_named_and_no_alarm() -> None:
    clean = crowd()
    votes = clean.votes.copy()
    votes[0] = 1.0
    found = {f.kind: f for f in audit(replace(clean, votes=votes, declared=None))}
    assert found["straight-line"].participants == ("0",)
    assert not any(f.alarm for f in found.values())


@pytest.fixture(scope="module")
def public() -> list[Conversation]:
    """Those that are quick to audit."""
    return [c for c in conversations(POLIS) if len(c.votes) < 400]


@needs_data
def test_no_public_conversation_raises_an_alarm_and_one_has_two_rows_alike(public: list[Conversation]) -> None:
    for conversation in public:
        found = audit(conversation)
        assert not [f for f in found if f.alarm], conversation.name
        assert [f.participants for f in found if f.kind == "duplicates"] == (
            [("16", "25")] if conversation.name == "brexit-consensus" else []
        )


@needs_data
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in QUICK], ids=lambda fault: fault.name)
def test_faults_planted_in_public_conversations_are_told(fault: Fault, public: list[Conversation]) -> None:
    for number, clean in enumerate(public[:3]):
        assert any(f.alarm for f in audit(fault.plant(clean, np.random.default_rng(number)))), clean.name


WORDS = (
    ("garden flowers", "kitchen recipe", "library novel", "river boat"),
    ("weapon bomb", "poison attack", "weapon attack", "bomb poison"),
)


def taught(error: float = 0.1) -> Labeller:
    texts = [f"{word} number {n}" for side in WORDS for n in range(6) for word in side]
    unsafe = [side for side in (False, True) for _ in range(24)]
    families = [f"f{n}" for _ in WORDS for n in range(6) for _ in range(4)]
    return Labeller.fit(texts, unsafe, families, clauses={"arms": "no weapon, no bomb", "toxins": "no poison"}, error=error)


def test_a_text_is_tagged_with_a_probability_and_the_clause_it_comes_near() -> None:
    safe, unsafe, toxin = label_responses(["a novel from the library", "a weapon and a bomb", "poison"], labeller=taught())
    assert (safe.tag, unsafe.tag, unsafe.clause, toxin.clause) == ("safe", "unsafe", "arms", "toxins")
    assert safe.unsafe < 0.5 < unsafe.unsafe


def test_a_text_of_which_nothing_is_known_is_cited_with_no_clause() -> None:
    (label,) = label_responses(["zyzzyva"], labeller=taught())
    assert label.clause is None
    assert label.nearness == 0.0


def test_a_labeller_needs_both_kinds_and_a_clause() -> None:
    with pytest.raises(ValueError, match="safe and unsafe texts"):
        Labeller.fit(["a", "b"], [True, True], ["x", "y"], clauses={"c": "d"})
    with pytest.raises(ValueError, match="2 texts, 1 labels"):
        Labeller.fit(["a", "b"], [True], ["x", "y"], clauses={"c": "d"})


def test_labels_that_name_one_group_only_are_told_and_stop_nothing() -> None:
    conversation = drawn(np.random.default_rng(0), people=60, statements=20)
    found = audit(replace(conversation, groups=np.zeros_like(conversation.groups)))
    (one,) = (finding for finding in found if finding.kind == "labels")
    assert not one.alarm
    assert "all 60 group labels name one group" in one.message
    none = audit(replace(conversation, groups=np.full_like(conversation.groups, -1)))
    assert not [finding for finding in none if finding.kind == "labels"]
