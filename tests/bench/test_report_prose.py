"""A plan's prose in the HTML report: marks become elements, and nothing in it is ever run."""

from __future__ import annotations

from bench.report.markup import coded, join, prose


def shown(text: str) -> str:
    return str(join(prose(text)))


def test_emphasis_code_and_links_are_elements() -> None:
    assert shown("a **bold *x* word**") == "a **bold <em>x</em> word**"
    assert shown("a **bold** and *soft* `co*de*` [here](https://e.org/a)") == (
        'a <strong>bold</strong> and <em>soft</em> <code>co*de*</code> <a href="https://e.org/a">here</a>'
    )
    assert shown("[down](#task)") == '<a href="#task">down</a>'
    assert shown("[the `other` plan](../plan/Plan.md) does") == "the <code>other</code> plan does"


def test_lines_of_a_paragraph_flow_and_lists_tables_quotes_and_code_keep_theirs() -> None:
    assert shown("one\ntwo\n\nthree\nfour\n") == "one two\n\nthree four"
    for text in ("- one\n- two", "1. one\n2. two", "    one\n    two", "a | b\n|-|-|\n1 | 2", "one  \ntwo", "one\\\ntwo", "```\none\n\ntwo\nthree\n```"):  # fmt: skip
        assert shown(text) == text


def test_a_sentence_of_the_house_shows_names_as_code_and_changes_nothing_else() -> None:
    assert join(coded("`a::b` waits for *args in `c`")) == "<code>a::b</code> waits for *args in <code>c</code>"
    assert join(coded("one ` alone <b>")) == "one ` alone &lt;b&gt;"


def test_stars_that_mark_nothing_stay() -> None:
    for text in ("2 * 3 * 4", "a*b*c", "* item", "** not **", "``two``"):
        assert shown(text) == text


def test_markup_and_scripts_in_prose_are_text() -> None:
    assert shown("**<b onload=x>**") == "<strong>&lt;b onload=x&gt;</strong>"
    assert shown("[x](javascript:alert)") == "[x](javascript:alert)"
    assert '"' not in shown('[x](https://e.org/"onclick="y)').replace('<a href="', "").replace('">x', "")
