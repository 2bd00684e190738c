"""What was typeset is read by every judge of text as what was typed."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.claims import mismatches
from alignment.disguise import plain
from alignment.encoder import Lexical, MiniLM, installed
from alignment.facts import Facts, house_file
from alignment.marks import said
from alignment.refusal import roles
from alignment.requests import features
from alignment.sayings import at_odds, spelt
from alignment.steps import normal, parts_of
from alignment.straight import straight
from plan.decision import Decision
from tests.alignment.facts_of_a_task import decision, situation

TYPED = "I can't help with that \"well-known\" trick, it isn't safe and won't be."
SIGNS = {
    "curly": {"'": "\u2019", '"': "\u201d"},
    "turned": {"'": "\u2018", '"': "\u201c"},
    "primes": {"'": "\u2032", '"': "\u2033"},
    "letters": {"'": "\u02bc", '"': "\u02ba"},
    "wide": {"'": "\uff07", '"': "\uff02"},
    "low": {"'": "\u201b", '"': "\u201e"},
    "angles": {'"': "\u00ab"},
    "accent": {"'": "\u00b4"},
    "hyphens": {"-": "\u2011"},
}


@pytest.fixture(params=SIGNS, ids=str)
def signs(request: pytest.FixtureRequest) -> dict[int, str]:
    return str.maketrans(SIGNS[request.param])


def made(why: str) -> Decision:
    return decision("tune", {"module": "attention", "config": {"heads": 2}, "patch": ""}, why=why)


def test_judges_read_the_typeset_as_the_typed(signs: dict[int, str]) -> None:
    typeset = TYPED.translate(signs)
    assert typeset != TYPED
    assert straight(typeset) == TYPED
    assert normal(typeset) == normal(TYPED)
    assert parts_of(typeset) == parts_of(TYPED)
    assert roles(typeset) == roles(TYPED) != roles("I can help with that")
    assert np.array_equal(features(typeset), features(TYPED))
    assert said(typeset) == said(TYPED)
    assert spelt(typeset) == spelt(TYPED)
    assert at_odds(typeset, TYPED) is False
    encode = Lexical().encode
    assert np.array_equal(encode([typeset]), encode([TYPED]))


@pytest.mark.skipif(not installed(), reason="the extra `language` is not installed")
def test_the_encoder_reads_the_typeset_as_the_typed(signs: dict[int, str]) -> None:
    assert np.array_equal(*(MiniLM().encode([text]) for text in (TYPED.translate(signs), TYPED)))


@pytest.mark.parametrize("sign", ["'", "\u2019", "\u2032", "\u02bc"])
def test_what_a_reason_denies_is_no_claim_however_its_apostrophe_is_set(sign: str) -> None:
    facts = [
        Facts(decision=made(f"this {word} change the patch; heads = 4"), situation=situation(), read=house_file)
        for word in ("doesn't", f"doesn{sign}t")
    ]
    one, two = ([each.text for each in mismatches(each)] for each in facts)
    assert one == two
    assert one
    assert two[0].startswith("says `")


def test_a_dash_parts_clauses_still() -> None:
    assert straight("one \u2013 two \u2014 three") == "one \u2013 two \u2014 three"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("ten \\ud800 heads", "ten \ufffd heads"),
        ("ten \ud800 heads", "ten \ufffd heads"),
        ("ends in \udc00", "ends in \ufffd"),
        ("fine \\ud83d\\ude00 so far", "fine \U0001f600 so far"),
    ],
)
def test_halves_of_a_sign_are_joined_or_replaced_so_that_every_judge_can_read_them(text: str, read: str) -> None:
    assert plain(text) == read
    assert straight(straight(text)) == straight(text)
    straight(plain(text)).encode("utf-8")
    encode = MiniLM().encode if installed() else Lexical().encode
    assert np.isfinite(encode([normal(text), text])).all()
