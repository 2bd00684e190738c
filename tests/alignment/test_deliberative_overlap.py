"""Nothing is judged on what was learned from."""

from __future__ import annotations

import pytest

from alignment import xstest
from alignment.deliberative import normal
from alignment.encoder import Lexical
from alignment.measured.loopholes import SEEN
from alignment.measured.loopholes_later import LATER
from alignment.measured.loopholes_unseen import UNSEEN
from alignment.measured.rationales_unseen import HONEST, PLANTED
from alignment.rationale_corpus import BREAKS
from alignment.rationale_corpus import HONEST as LEARNED
from plan.catalogue import HOUSE

DATA = HOUSE.parent / "shared" / "data" / "alignment" / "xstest"


def test_no_planted_breach_is_a_paraphrase_of_one_learned_from() -> None:
    encode = Lexical()
    learned = [line.strip() for lines in (*BREAKS.values(), LEARNED) for line in lines.splitlines()]
    planted = [text for texts in PLANTED.values() for text in texts]
    alike = encode.encode([normal(text) for text in planted]) @ encode.encode([normal(text) for text in learned]).T
    assert alike.max() < 0.6, planted[int(alike.max(axis=1).argmax())]
    assert not {normal(text) for text in HONEST} & {normal(text) for text in learned}


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
