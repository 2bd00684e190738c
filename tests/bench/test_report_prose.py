"""A plan's prose in the HTML report: marks become elements, and nothing in it is ever run."""

from __future__ import annotations

from bench.report.markup import join, prose


def shown(text: str) -> str:
    return str(join(prose(text)))


def test_emphasis_code_and_links_are_elements() -> None:
    assert shown("a **bold *x* word**") == "a **bold <em>x</em> word**"
    assert shown("a **bold** and *soft* `co*de*` [here](https://e.org/a)") == (
        'a <strong>bold</strong> and <em>soft</em> <code>co*de*</code> <a href="https://e.org/a">here</a>'
    )
    assert shown("[down](#task)") == '<a href="#task">down</a>'


def test_stars_that_mark_nothing_stay() -> None:
    for text in ("2 * 3 * 4", "a*b*c", "* item", "** not **", "``two``"):
        assert shown(text) == text


def test_markup_and_scripts_in_prose_are_text() -> None:
    assert shown("**<b onload=x>**") == "<strong>&lt;b onload=x&gt;</strong>"
    assert shown("[x](javascript:alert)") == "[x](javascript:alert)"
    assert '"' not in shown('[x](https://e.org/"onclick="y)').replace('<a href="', "").replace('">x', "")
