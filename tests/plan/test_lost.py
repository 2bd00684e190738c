"""Lines that Markdown makes prose of and a reader does not: none of them is lost without a word."""

from __future__ import annotations

import pytest

from plan.faults import Fault, PlanFaults
from plan.grammar import parse
from tests.plan.known import GOOD, SHELVES

SECOND = "## retnet-copy: RetNet recalls as well"


def only_fault(source: str) -> Fault:
    with pytest.raises(PlanFaults) as caught:
        parse(source, shelves=SHELVES)
    (fault,) = caught.value.faults
    return fault


@pytest.mark.parametrize(
    "line", ["1. **seeds**: 9", "2) **seeds**: 9", "- [x] **seeds**: 9", "- [ ] **seeds**: 9", "seeds: 9", "seeds : 3, up to 8"]
)
def test_a_setting_in_a_shape_that_is_not_read_is_told_with_its_mend(line: str) -> None:
    fault = only_fault(GOOD.replace("- **seeds**: 5", line))
    assert (fault.code, fault.line) == ("P004", 5)
    assert "`- **seeds**: ...`" in fault.help


def test_a_sentence_that_names_a_setting_is_prose() -> None:
    prose = "Seeds: see below.\n\nThe budget: twenty minutes.\n\nseeds: they are the unit over which every claim is made."
    assert prose in parse(GOOD.replace("Why it matters.", prose), shelves=SHELVES).prose


@pytest.mark.parametrize("opening", ["##", "##\u00a0", "＃＃ ", "\\## ", "\\#\\# "])
def test_a_heading_that_markdown_takes_for_prose_is_told_and_its_targets_stay_its_own(opening: str) -> None:
    fault = only_fault(GOOD.replace("## retnet-copy", f"{opening}retnet-copy"))
    assert (fault.code, fault.line) == ("P015", GOOD[: GOOD.index(SECOND)].count("\n") + 1)
    assert f"`{SECOND}`" in fault.help


@pytest.mark.parametrize(
    "line", ["<h2>retnet-copy: RetNet recalls as well</h2>", "<H2 id='r'>retnet-copy: RetNet recalls as well</H2>"]
)
def test_a_heading_in_html_is_told(line: str) -> None:
    fault = only_fault(GOOD.replace(SECOND, line))
    assert (fault.code, fault.message) == ("P015", "this line looks like a task heading but is prose")


@pytest.mark.parametrize("sign", ["≤", "<", ">=", "="])
def test_a_target_without_its_first_bar_below_an_empty_line_is_told(sign: str) -> None:
    row = "| `peak_bytes` | ≤  |   512 MiB | every seed |"
    fault = only_fault(GOOD.replace(row, "\n" + row[1:].replace("≤", sign)))
    assert (fault.code, fault.line) == ("P021", GOOD[: GOOD.index(row)].count("\n") + 2)
    assert "an empty line parts it from its table" in fault.help


def test_bars_in_a_sentence_are_prose() -> None:
    prose = "The conditional p(a | b) <= p(a | c), and |x| <= 3 | y."
    assert parse(GOOD.replace("Why it matters.", prose), shelves=SHELVES).prose == prose


def test_hashes_inside_fences_comments_and_headings_of_prose_are_left_alone() -> None:
    prose = "### a heading: of prose\n\n```sh\n##b: two\n```\n\n<!-- ##b: two -->\n\n> ##b: two\n\n#12 is a number"
    assert parse(GOOD.replace("Why it matters.", prose), shelves=SHELVES).prose.startswith("### a heading")


@pytest.mark.parametrize("inside", ["seeds: 9", "title: mine\nseeds: 9\n", "tags:\n  - a\n- b\n\nseeds: 9"])
def test_front_matter_is_told_and_nothing_else_is_said_of_it(inside: str) -> None:
    fault = only_fault(f"---\n{inside}\n---\n\n{GOOD}")
    assert (fault.code, fault.line, fault.message) == ("P032", 1, "front matter is not read")


def test_a_rule_at_the_top_is_not_front_matter() -> None:
    assert len(parse(f"---\n\n{GOOD}\n\n---\n", shelves=SHELVES).tasks) == 2
