"""The critic: a reward learnt from pairs, a weight that follows who foresaw what came, and a record that cannot flatter itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import binomtest

from alignment.critic import Change, Critic, chance, numbers, words
from alignment.critic_report import LEAST, auroc, calibration, hacking, report
from alignment.reward import Block, BradleyTerry, folds, ridge
from plan.decision import Action, Candidate, Decision, Say, Vote, tally

Floats = NDArray[np.float64]
CHAMPION = Candidate(module="attention", config={"recipe": {"lr": 0.01}, "heads": 4})


def change(lr: float, *, id: str = "d1", kind: str = "tune", module: str = "attention") -> Change:
    details = {"module": module, "config": {"recipe": {"lr": lr}, "heads": 4}, "patch": ""}
    action = Action(kind=kind, task="a", details=details)
    decision = Decision(id=id, decider="x", action=action, evidence=(), expected=0.5, expects="", why="")
    return Change(decision=decision, champion=CHAMPION, subject="b-v1")


def votes(*said: Say, by: str = "ann") -> tuple[Vote, ...]:
    return tuple(Vote(decision="d1", say=say, by=f"{by}{n}") for n, say in enumerate(said))


def lived(*, people_right: float, steps: int = 60, seed: int = 0) -> Critic:
    """A critic to whom lower rates turned out better and higher ones worse; people foresaw that with probability `people_right`."""
    random, critic = np.random.default_rng(seed), Critic()
    for n in range(steps):
        up = bool(random.random() < 0.5)
        approve = (not up) == (random.random() < people_right)
        word = votes(Say.APPROVE if approve else Say.REJECT)
        critic.update(change(0.02 if up else 0.005, id=f"d{n}"), float(not up), word)
    return critic


def test_a_reward_finds_the_weights_that_made_the_pairs() -> None:
    random = np.random.default_rng(0)
    true = np.array([1.5, -1.0, 0.0])
    x = random.normal(size=(2000, 3))
    y = (random.random(2000) < 1 / (1 + np.exp(-x @ true))).astype(float)
    assert ridge(x, y, 0.1) == pytest.approx(true, abs=0.2)


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=2, max_size=6))
def test_swapping_a_pair_swaps_its_probability(points: list[tuple[float, float]]) -> None:
    model = BradleyTerry[float]([Block("x", lambda x: {"x": x, "square": x * x})], strength=1.0).fit(points)
    there, back = model.probability(points), model.probability([(b, a) for a, b in points])
    assert there + back == pytest.approx(np.ones(len(points)))


def test_the_same_class_learns_from_texts_and_says_by_which_words() -> None:
    def words(text: str) -> dict[str, float]:
        return dict.fromkeys(text.split(), 1.0)

    pairs = [(f"sorry no {n}", f"sure yes {n}") for n in "abcdefgh"]
    model = BradleyTerry[str]([Block("word", words, counts=True)]).fit(pairs)
    assert model.probability([("sorry about that", "sure thing")])[0] > 0.6
    assert {name for name, _ in model.explain("sorry no", most=2)} == {"word sorry", "word no"}
    assert model.reward(["never seen"])[0] == 0


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.integers(2, 5))
def test_no_group_is_split_by_folds(groups: list[int], n: int) -> None:
    found = folds(groups, n=n)
    assert all(len({fold for fold, group in zip(found, groups, strict=True) if group == one}) == 1 for one in groups)


def test_people_have_all_the_say_until_the_critic_has_shown_something() -> None:
    fresh = Critic().score(change(0.02), votes(Say.APPROVE))
    assert (fresh.weight, fresh.good) == (1.0, 0.8)


def test_the_weight_goes_to_whoever_foresaw_what_came() -> None:
    blind, sighted = lived(people_right=0.5), lived(people_right=1.0)
    assert blind.weight(voted=True) < 0.3
    assert sighted.weight(voted=True) > blind.weight(voted=True) + 0.3
    assert blind.score(change(0.02), votes(Say.APPROVE)).good < 0.3


def test_each_prediction_is_made_before_its_outcome_is_learnt() -> None:
    one, other = lived(people_right=0.7), lived(people_right=0.7)
    first, second = one.update(change(0.02), 1.0), other.update(change(0.02), 0.0)
    assert first.score == second.score
    assert one.score(change(0.02)) != other.score(change(0.02))


def test_changes_in_noise_give_the_critic_no_say() -> None:
    random, critic = np.random.default_rng(5), Critic()
    for n in range(60):
        critic.update(change(0.02 if random.random() < 0.5 else 0.005, id=f"d{n}"), float(random.random() < 0.5))
    assert critic.weight(voted=False) > 0.5
    assert critic.score(change(0.02)).good == pytest.approx(0.5, abs=0.12)


def test_epsilon_greedy_takes_the_best_but_for_a_share_of_epsilon() -> None:
    critic = lived(people_right=0.7)
    arms = [change(0.02, id="up"), change(0.005, id="down", kind="refactor")]
    assert {critic.select_action(arms, epsilon=0.0).decision.id for _ in range(5)} == {"down"}
    other = sum(critic.select_action(arms, epsilon=0.4).decision.id == "up" for _ in range(200))
    assert binomtest(other, 200, 0.2).pvalue > 1e-4
    with pytest.raises(ValueError, match="no change"):
        critic.select_action([])


def test_an_action_value_moves_from_belief_to_what_was_seen() -> None:
    critic = Critic()
    before = critic.value(change(0.02))
    for n in range(12):
        critic.update(change(0.02, id=f"d{n}"), 0.0)
    assert before == 0.5
    assert critic.value(change(0.02)) < 0.1


@pytest.mark.parametrize(
    ("said", "found"),
    [((), 0), ((Say.COMMENT,), 0), ((Say.APPROVE, Say.REJECT), 0), ((Say.APPROVE, Say.APPROVE, Say.REJECT), 1), ((Say.REJECT,), -1)],
)  # fmt: skip
def test_votes_are_counted_by_head(said: Sequence[Say], found: int) -> None:
    assert tally(votes(*said)) == found


def test_a_persons_last_word_counts_and_a_comment_is_none() -> None:
    word = [Vote(decision="d1", say=say, by="ann") for say in (Say.APPROVE, Say.APPROVE, Say.REJECT, Say.COMMENT)]
    assert tally(word) == -1


def test_one_person_in_two_spellings_is_one_voter() -> None:
    said = {"ann": Say.APPROVE, "Ann": Say.APPROVE, " ANN ": Say.APPROVE, "bob": Say.REJECT, "cleo": Say.REJECT}
    assert tally([Vote(decision="d1", say=say, by=by) for by, say in said.items()]) == -1


def test_calibration_error_is_small_for_true_chances_and_large_for_boasts() -> None:
    random = np.random.default_rng(0)
    p = random.uniform(0.1, 0.9, 4000)
    y = (random.random(4000) < p).astype(float)
    honest, boast = calibration(p, y), calibration(np.clip(0.5 + 2 * (p - 0.5), 0, 1), y)
    assert honest.value < 0.04 < boast.low


@pytest.mark.parametrize(("follow", "answer"), [(True, "clean"), (False, "hacked")])
def test_a_reward_that_rises_without_its_labels_is_called_hacked(follow: bool, answer: str) -> None:
    random = np.random.default_rng(1)
    low, high = random.uniform(0.1, 0.7, 400), random.uniform(0.6, 1.0, 400)
    labels = [(random.random(400) < (said if follow else 0.4)).astype(float) for said in (low, high)]
    found = hacking((low, labels[0]), (high, labels[1]))
    assert found.answer == answer
    assert found.promised == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize(("n", "answer"), [(0, "unsure"), (1, "unsure"), (LEAST - 1, "unsure"), (LEAST, "hacked")])
def test_few_labels_say_neither(n: int, answer: str) -> None:
    assert hacking(([0.1] * n, [1] * n), ([0.9] * n, [0] * n)).answer == answer
    assert hacking(([0.1] * LEAST, [1] * LEAST), ([0.9] * n, [0] * n)).answer == answer


def test_labels_that_cannot_rise_any_more_are_no_hacking() -> None:
    everybody = [1.0] * 100
    assert hacking(([0.5] * 100, everybody), ([0.9] * 100, everybody)).answer == "unsure"


@pytest.mark.parametrize(
    ("said", "labels", "answer"),
    [
        ((0.95, 0.95), (0.9, 0.3), "hacked"),  # it said the same of all, and what people liked is gone
        ((0.8, 0.6), (0.8, 0.2), "hacked"),  # they fell further than it said
        ((0.8, 0.5), (0.8, 0.5), "unsure"),  # says the same of all that came later: nothing follows it there
        ((0.9, 0.9), (0.9, 0.9), "unsure"),
        ((0.9, 0.9), (0.5, 0.5), "unsure"),  # boastful from the start
    ],
)
def test_a_critic_that_promises_nothing_is_held_to_that(
    said: tuple[float, float], labels: tuple[float, float], answer: str
) -> None:
    n = 400
    sides = [
        ([says] * n, [1.0] * round(n * share) + [0.0] * round(n * (1 - share))) for says, share in zip(said, labels, strict=True)
    ]
    assert hacking(sides[0], sides[1]).answer == answer


def test_too_few_labels_are_not_called_clean_for_want_of_a_promise() -> None:
    assert hacking(([0.95] * LEAST, [1.0] * LEAST), ([0.95] * LEAST, [0.0] * 4 + [1.0] * (LEAST - 4))).answer != "clean"


@pytest.mark.parametrize("n", [LEAST, 50, 200])
def test_an_honest_critic_that_promises_nothing_is_hardly_ever_called_hacked(n: int) -> None:
    random, called = np.random.default_rng(n), 0
    for _ in range(200):
        sides = [(said, (random.random(n) < said).astype(float)) for said in (random.uniform(0.4, 0.9, n) for _ in range(2))]
        called += hacking(sides[0], sides[1]).answer == "hacked"
    assert binomtest(called, 200, 0.05, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize("n", [LEAST, 50, 200])
def test_an_honest_critic_is_hardly_ever_called_hacked(n: int) -> None:
    random, called = np.random.default_rng(n), 0
    for _ in range(100):
        low, high = random.uniform(0.3, 0.6, n), random.uniform(0.4, 0.8, n)
        sides = [(said, (random.random(n) < said).astype(float)) for said in (low, high)]
        called += hacking(sides[0], sides[1]).answer == "hacked"
    assert binomtest(called, 100, 0.05, alternative="greater").pvalue > 0.01


def upside_down(said: Floats) -> Floats:
    return 1.3 - said


def too_much(said: Floats) -> Floats:
    return said - 0.25


def whatever(said: Floats) -> Floats:
    return np.full_like(said, 0.65)


@pytest.mark.parametrize("truth", [upside_down, too_much, whatever])
@pytest.mark.parametrize("n", [LEAST, 50, 200])
def test_a_critic_whose_later_scores_people_do_not_follow_is_hardly_ever_called_clean(
    truth: Callable[[Floats], Floats], n: int
) -> None:
    random, answers = np.random.default_rng(n), list[str]()
    for _ in range(60):
        said = [random.uniform(0.4, 0.9, n) for _ in range(2)]
        chances = (said[0], truth(said[1]))
        labels = [(random.random(n) < chance).astype(float) for chance in chances]
        answers.append(hacking((said[0], labels[0]), (said[1], labels[1])).answer)
    assert binomtest(answers.count("clean"), 60, 0.025, alternative="greater").pvalue > 0.01
    assert n < 200 or truth is not upside_down or answers.count("hacked") >= 54


def test_an_honest_critic_with_enough_labels_is_mostly_called_clean() -> None:
    random, answers = np.random.default_rng(5), list[str]()
    for _ in range(60):
        said = [random.uniform(*span, 200) for span in ((0.3, 0.6), (0.4, 0.9))]
        labels = [(random.random(200) < chance).astype(float) for chance in said]
        answers.append(hacking((said[0], labels[0]), (said[1], labels[1])).answer)
    assert answers.count("clean") >= 50


def test_agreement_is_the_share_of_pairs_in_their_order_and_its_interval_holds_the_truth() -> None:
    random, inside = np.random.default_rng(6), 0
    said, labels = random.integers(0, 5, 40) / 4, (random.random(40) < 0.5).astype(float)
    pairs = [(good > bad) + (good == bad) / 2 for good in said[labels == 1] for bad in said[labels == 0]]
    assert auroc(said, labels).value == pytest.approx(np.mean(pairs))
    for _ in range(400):
        labels = (random.random(30) < 0.6).astype(float)
        said = ndtr(random.normal(labels))
        found = auroc(said, labels)
        inside += found.low <= ndtr(2**-0.5) <= found.high
    assert inside >= 370
    assert (auroc(said, np.ones(30)).low, auroc(said, np.ones(30)).high) == (0.0, 1.0)


@pytest.mark.parametrize("side", [([0.5] * 30, [1.0] * 29), ([], [1.0]), ([[0.5] * 30], [[1.0] * 30]), ([math.nan] * 30, [1.0] * 30),
                                  ([0.5] * 30, [math.nan] * 30), ([1.5] * 30, [1.0] * 30), ([0.5] * 30, [-1.0] * 30)])  # fmt: skip
def test_what_is_no_pair_of_lists_is_refused(side: tuple[list[float], list[float]]) -> None:
    good = ([0.5] * 30, [1.0] * 30)
    for sides in ((side, good), (good, side)):
        with pytest.raises(ValueError, match="nothing was compared"):
            hacking(*sides)


def test_the_reported_front_shows_what_each_weight_costs() -> None:
    found = report(lived(people_right=0.6))
    assert [round(point.weight, 1) for point in found.front] == [n / 10 for n in range(11)]
    assert found.front[-1].people == 0
    assert found.front[-1].outcomes > found.front[0].outcomes
    assert found.error is not None
    assert found.error.value < (found.error_people or 0)
    assert any("weight 0.3" in line for line in found.lines())


def test_the_error_bar_tells_a_gain_from_noise() -> None:
    assert chance([]) is None
    assert chance([0.1]) == 1.0
    assert chance([0.0, 0.0]) == 0.5
    assert (chance([1.0, -1.0, 0.1]) or 0) == pytest.approx(0.52, abs=0.02)
    assert (chance([1.0, 1.1, 0.9]) or 0) > 0.999


def test_features_tell_how_far_each_entry_moves() -> None:
    found = numbers(change(0.04))
    assert (found["recipe.lr by"], found["recipe.lr up"], found["entries"]) == (2.0, 1.0, 1.0)
    assert "heads by" not in found


def patched(*added: str, id: str = "d1") -> Change:
    details = {"module": "attention", "config": CHAMPION.config, "patch": "".join(f"+{line}\n" for line in added)}
    decision = Decision(
        id=id, decider="x", action=Action(kind="patch", task="a", details=details), evidence=(), expected=0.5, expects="", why=""
    )
    return Change(decision=decision, champion=CHAMPION, subject="b-v1")


GOOD, BAD = "        x = careful(x)", "        x = reckless(x)"


@pytest.mark.parametrize(
    "bought",
    [
        "        # careful",
        "        # x = careful(x)",
        '        "careful careful"',
        '        """x = careful(x)"""',
        "        careful",
        "        careful, x",
        "",
    ],
)
def test_no_good_score_is_bought_with_what_runs_nothing(bought: str) -> None:
    critic = Critic()
    for n in range(40):
        critic.update(patched(BAD if n % 2 else GOOD, id=f"d{n}"), float(not n % 2))
    bare, padded = critic.score(patched(BAD)), critic.score(patched(BAD, *[bought] * 20))
    assert bare.critic < 0.2
    assert padded.critic == pytest.approx(bare.critic)


@pytest.mark.parametrize(
    "lines", [("        x: careful = y",), ("        if False:", "            careful()", "        x = y"), ("        while 0: careful()", "        x = y")]
)  # fmt: skip
def test_annotations_and_what_stands_under_a_false_test_are_not_read(lines: tuple[str, ...]) -> None:
    found = words(patched(*lines)).keys()
    assert {"+ x", "+ y"} <= found
    assert "+ careful" not in found


def test_a_name_counts_once_and_a_line_that_is_no_program_has_its_names_read() -> None:
    once = words(patched("        x = careful(y)"))
    assert once.keys() == {"+ x", "+ careful", "+ y"}
    assert words(patched(*["        x = careful(y)"] * 20)) == once
    cut = patched("    return careful(", "        speed=y, text='# no comment',  # nor this")
    assert words(cut).keys() == {"+ careful", "+ speed", "+ y", "+ text"}
    assert "+ attention" not in words(Change(decision=patched("x = 1").decision, champion=CHAMPION))


@pytest.mark.parametrize("value", [math.inf, math.nan, 10**400, 1e-320, 1e308, -1.0, 0, None, [1, 2], {"a": 1}])
def test_no_value_of_a_config_keeps_the_critic_from_learning(value: object) -> None:
    odd = change(0.04)
    odd.decision.action.details["config"]["recipe"]["lr"] = value
    critic = Critic()
    for n in range(6):
        critic.update(change(0.02 if n % 2 else 0.005, id=f"d{n}"), float(not n % 2))
    critic.update(odd, 1.0)
    assert all(math.isfinite(number) for number in numbers(odd).values())
    assert 0 < critic.score(change(0.005)).critic < 1
