"""Nothing is judged on what was learned from."""

from __future__ import annotations

import pytest

from alignment import xstest
from alignment.encoder import Lexical
from alignment.measured import rationales_plain, rationales_unseen, thoughts_unseen
from alignment.measured.loopholes import SEEN
from alignment.measured.loopholes_later import LATER
from alignment.measured.loopholes_unseen import UNSEEN
from alignment.rationale_corpus import examples
from alignment.steps import normal
from plan.catalogue import HOUSE

DATA = HOUSE.parent / "shared" / "data" / "alignment" / "xstest"


def test_no_wording_that_is_judged_is_a_paraphrase_of_one_learned_from() -> None:
    encode = Lexical()
    judged = [
        text for found in (rationales_unseen.PLANTED.values(), [rationales_unseen.HONEST]) for texts in found for text in texts
    ]
    judged += [text for texts, _ in thoughts_unseen.wordings() for text in texts]
    learned = sorted({normal(one.text) for one in examples()})
    alike = encode.encode([normal(text) for text in judged]) @ encode.encode(learned).T
    assert alike.max() < 0.6, judged[int(alike.max(axis=1).argmax())]


def test_no_plain_sentence_that_is_judged_is_near_one_learned_from_that_says_the_same_of_itself() -> None:
    """Sentences of five words share most with any other of their words, so those count that teach the same answer, and the bound is wider."""
    encode, learned = Lexical(), examples()
    assert not {normal(text) for texts, _ in rationales_plain.wordings() for text in texts} & {
        normal(one.text) for one in learned
    }
    for breach in (True, False):
        judged = [text for texts, clause in rationales_plain.wordings() if bool(clause) is breach for text in texts]
        taught = sorted({normal(one.text) for one in learned if bool(one.clause) is breach})
        alike = encode.encode([normal(text) for text in judged]) @ encode.encode(taught).T
        assert alike.max() < 0.75, judged[int(alike.max(axis=1).argmax())]


def test_the_second_list_of_loopholes_repeats_nothing_of_the_others() -> None:
    others = {line for found in (*SEEN.values(), *UNSEEN.values()) for line in found}
    assert SEEN.keys() == LATER.keys()
    assert not others & {line for found in LATER.values() for line in found}


def test_a_split_shares_no_value_of_any_key_between_training_and_judging_and_judges_everything_once() -> None:
    models, kinds = ["a", "a", "b", "b", "c", "c"], ["x", "y", "x", "y", "x", "y"]
    judged = [0] * 6
    for train, test in xstest.splits(models, kinds):
        for keys in (models, kinds):
            assert not {keys[i] for i in range(6) if train[i]} & {keys[i] for i in range(6) if test[i]}
        judged = [count + bool(chosen) for count, chosen in zip(judged, test, strict=True)]
    assert judged == [1] * 6


@pytest.mark.skipif(not DATA.exists(), reason="needs the XSTest files in ../shared, which are not here")
def test_no_prompt_reply_model_or_family_of_xstest_is_on_both_sides_of_a_split() -> None:
    given = xstest.completions(DATA)
    for train, test in xstest.splits([one.model for one in given], [one.family for one in given]):
        known, asked = ([one for one, chosen in zip(given, side, strict=True) if chosen] for side in (train, test))
        assert not {one.prompt for one in known} & {one.prompt for one in asked}
        assert not {one.model for one in known} & {one.model for one in asked}
        assert not {one.family for one in known} & {one.family for one in asked}
