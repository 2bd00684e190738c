"""Every character of a plan is accounted for, whatever the text, and nothing but faults ever comes out of `parse`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plan.faults import PlanFaults
from plan.grammar import parse, print_plan, spans
from plan.nouns import Plan, Task
from plan.wire import decode, encode
from tests.plan.known import GOOD, SHELVES

WORDS = st.sampled_from([
    "dense-copy", "`accuracy`", "peak_bytes", "retnet", "copy-64-v1", "every seed", "lower 95%", "0.98 x dense-copy", "512 MiB", "≥", "<=",
    "18 ms", "1e999", "nan", "速い", "\u202e", "p<0.01 vs dense-copy", "up to", "5", "[a](#b)", "**module**", "", " ", "\t", "\\|", "|", "x", "%",
])  # fmt: skip
CELLS = st.lists(WORDS, max_size=6).map(lambda cells: "| " + " | ".join(cells) + " |")
LINES = st.one_of(
    st.sampled_from(GOOD.split("\n")),
    st.builds("- **{}**: {}".format, st.sampled_from(["module", "needs", "seeds", "budget", "gate", "data", "colour"]), WORDS),
    CELLS,
    st.sampled_from(
        [
            "| metric | | threshold | rule |",
            "|---|---|---|---|",
            "# Plan",
            "## a: b",
            "## x",
            "```toml config",
            "```",
            "~~~",
            "<!--",
            "-->",
            "> quote",
            "1. one",
            "  - nested",
            "\t- **module**: x",
            "    code",
            "===",
            "---",
            "[a]: b",
            "<details>",
            "[decoder]",
            "layers = 'x'",
            "a.b = 1",
            "",
            "",
            "x = 1979-05-27",
            "heads = inf",
            "\ufeff",
            "\x00",
            "\x0b",
            "\u2028",
            "## dense-copy: again",
            "- - **needs**: y",
            "*",
        ]
    ),
    st.text(max_size=20),
)
PARTS = re.split(r"((?<=\|)|\n|: | \|)", GOOD)


@st.composite
def nearly_good(draw: st.DrawFn) -> str:
    """A good plan with a few of its cells, values or lines replaced."""
    parts = list(PARTS)
    for place in draw(st.lists(st.integers(0, len(parts) - 1), min_size=1, max_size=4)):
        parts[place] = draw(st.one_of(WORDS, WORDS.map(" {} ".format), LINES))
    return "".join(parts)


MARKDOWN = st.builds(lambda lines, end: end.join(lines), st.lists(LINES, max_size=25), st.sampled_from(["\n", "\r\n", "\r"]))


def outcome(source: str) -> Plan | PlanFaults:
    """What `parse` makes of the text; any other exception is a failure of the test."""
    try:
        return parse(source, shelves=SHELVES)
    except PlanFaults as faults:
        return faults


@settings(max_examples=400, deadline=None)
@given(st.one_of(nearly_good(), MARKDOWN, st.text(max_size=200)))
@example(GOOD)
@example("\ufeff" + GOOD.replace("\n", "\r\n"))
@example("# a\n\n" + "> " * 30 + "deep\n" + "- " * 40 + "deeper")
def test_the_spans_of_any_text_are_the_text(source: str) -> None:
    found = spans(source)
    assert print_plan(found) == source
    edges = [0, *(span.end for span in found)]
    assert [span.start for span in found] == edges[:-1]
    assert edges[-1] == len(source)
    assert all(span.text == source[span.start : span.end] for span in found)


@settings(max_examples=400, deadline=None)
@given(st.one_of(nearly_good(), MARKDOWN, st.text(max_size=200)))
@example(GOOD + "\ud800")
@example(GOOD.replace("heads = 4", "heads = 1979-05-27\ngamma = inf"))
def test_any_text_is_a_plan_or_has_faults_that_can_be_shown(source: str) -> None:
    read = outcome(source)
    if isinstance(read, Plan):
        assert read.source == source
        assert read.tasks
        assert all(task.targets for task in read.tasks)
        assert decode(Plan, encode(read)) == read
        return
    lines = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert read.faults
    for fault in read.faults:
        assert 1 <= fault.line <= len(lines)
        assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1
    assert str(read).endswith("; nothing was run\n")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, len(GOOD) - 1), max_size=3, unique=True), st.sampled_from(["", "x", "|", "`", "\n", "*", " ", "#"])
)
@example([GOOD.index("| `peak_bytes`")], "\n")
def test_a_good_plan_with_a_few_wrong_characters_loses_no_task_without_a_word(places: list[int], instead: str) -> None:
    source = GOOD
    for place in sorted(places, reverse=True):
        source = source[:place] + instead + source[place + 1 :]
    assert print_plan(spans(source)) == source
    read = outcome(source)
    if isinstance(read, PlanFaults):
        assert read.faults
    elif source.count("\n## ") == 2:
        assert [task.module for task in read.tasks] == ["attention", "retnet"]
        assert [len(task.targets) for task in read.tasks] == [2, 2]


def meant(plan: Plan) -> list[Task]:
    """The tasks without what moves with the lines: line numbers and prose."""
    return [
        replace(task, line=0, prose="", targets=tuple(replace(target, line=0) for target in task.targets)) for task in plan.tasks
    ]  # fmt: skip


def test_white_space_never_changes_what_a_plan_says_without_a_word() -> None:
    lines = GOOD.split("\n")
    kept = told = 0
    for number, line in enumerate(lines):
        for edited in (f" {line}", f"   {line}", f"    {line}", f"\t{line}", f"\n{line}", f"{line} ", f"{line}\t"):
            read = outcome("\n".join([*lines[:number], edited, *lines[number + 1 :]]))
            if isinstance(read, PlanFaults):
                told += 1
            else:
                kept += 1
                assert meant(read) == meant(parse(GOOD, shelves=SHELVES)), edited
    assert kept > 100
    assert told > 50


def test_what_a_span_is_called_follows_what_it_is() -> None:
    kinds = [span.kind for span in spans(GOOD) if span.kind != "blank"]
    assert kinds == [
        "heading", "prose", "setting", "heading", "setting", "setting", "setting", "table",
        "heading", "setting", "setting", "setting", "table", "config",
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_and_a_byte_order_mark_change_the_digest_but_not_the_tasks(end: str) -> None:
    plain = parse(GOOD, shelves=SHELVES)
    source = "\ufeff" + GOOD.replace("\n", end)
    other = parse(source, shelves=SHELVES)
    assert other.tasks == plain.tasks
    assert other.digest == hashlib.sha256(source.encode()).hexdigest() != plain.digest
