"""The rows of a target table: metric, comparator, threshold and rule, each read where it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from plan.catalogue import suggest
from plan.layout import HEADER, Block, Layout
from plan.nouns import Comparator, Rule, RuleKind
from plan.pieces import Piece, cells

COMPARATORS = {
    "<": Comparator.LT, "<=": Comparator.LE, "≤": Comparator.LE, "=": Comparator.EQ,
    ">=": Comparator.GE, "≥": Comparator.GE, ">": Comparator.GT,
}  # fmt: skip
HUGE = 1e200
"""No threshold is larger; in any unit it still is a finite number."""
_MEANT = {"=>": ">=", "=<": "<=", "==": "=", "≧": ">=", "≦": "<=", "⩾": ">=", "⩽": "<="}
RULES = ("every seed", "mean", "median", "iqm", "lower 95%", "upper 95%", "anytime 95%", "p<0.01 vs task")
_LEVEL = re.compile(r"(lower|upper|anytime)\s+([0-9]{1,3}(?:\.[0-9]{1,12})?)\s*%")
_P_VALUE = re.compile(r"p\s*<\s*(?P<level>[0-9]*\.?[0-9]{1,12})\s+vs\.?\s+(?P<task>\S.*)")
_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]{1,3}(?:_[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_UNIT = re.compile(r"(?:(?:[^\W\d_]|[%×])[^\s,]*)?")
_RELATIVE = re.compile(r"[x×]\s+(?P<task>\S.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A threshold as written: a number with its unit, or a factor of another task's metric."""

    place: Piece
    number: float
    unit: Piece
    task: Piece | None = None
    metric: Piece | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row as written; a cell that was not understood is None and has its fault already."""

    line: Piece
    metric: Piece
    comparator: Comparator | None
    comparator_place: Piece
    threshold: Amount | None
    rule: Rule | None
    rule_place: Piece
    versus: Piece | None = None


def is_target_table(page: Layout, block: Block) -> bool:
    """Whether a table was meant to hold targets, by its titles or, where it has none, by its first line."""
    titles = _titles(page, block)
    alike = [title for title in titles if suggest(title, ("metric", "threshold", "rule"))]
    return "metric" in titles or len(alike) >= 2 or (len(titles) == len(HEADER) and titles[1] in COMPARATORS)


def _titles(page: Layout, block: Block) -> tuple[str, ...]:
    return tuple(cell.bare().text.strip("*_").lower() for cell in cells(page.lines[block.first]))


def read_table(page: Layout, block: Block) -> list[Row] | None:
    """The rows of a target table; None for a table that is prose, an empty list after a fault."""
    if not is_target_table(page, block):
        return None
    if _titles(page, block) != HEADER:
        page.report(
            "P019", "a target table has other columns", page.lines[block.first].strip(), label="not the header of a target table",
            help="the header is exactly `| metric |    | threshold | rule |`",
        )  # fmt: skip
        return []
    lines = page.lines[block.first + 2 : block.last]
    if not lines:
        page.report("P020", "a target table has no rows", page.lines[block.first].strip(), label="nothing below this header",
                    help="add a row, for example `| accuracy | ≥ | 0.99 | every seed |`")  # fmt: skip
    rows = [_row(page, line) for line in lines]
    return [row for row in rows if row]


def _row(page: Layout, line: Piece) -> Row | None:
    found = cells(line)
    if len(found) > len(HEADER):
        page.report("P020", f"a row has {len(found)} cells where the table has 4", found[4], label="Markdown drops this without a word",
                    help="a `|` inside a cell is written `\\|`")  # fmt: skip
        return None
    if len(found) < len(HEADER) or not found[0].text:
        is_prose = "|" not in line.text
        page.report("P020", "a row without a metric" if len(found) == 4 else f"a row has {len(found)} of 4 cells", line.strip(),
                    label="not a target", help="leave an empty line after the table" if is_prose
                    else "a row is `| metric | comparator | threshold | rule |`")  # fmt: skip
        return None
    if set(line.text) <= set(" |:-"):
        page.report(
            "P020", "a second row of dashes", line.strip(), label="not a target", help="one row of dashes stands below the header"
        )
        return None
    metric, comparator, threshold, rule = found
    read, versus = _rule(page, rule)
    return Row(
        line=line, metric=metric.bare(), comparator=_comparator(page, comparator), comparator_place=comparator,
        threshold=_threshold(page, threshold), rule=read, rule_place=rule, versus=versus,
    )  # fmt: skip


def _comparator(page: Layout, cell: Piece) -> Comparator | None:
    sign = cell.bare()
    if sign.text in COMPARATORS:
        return COMPARATORS[sign.text]
    meant = _MEANT.get(sign.text)
    page.report("P005", f"unknown comparator `{sign.text}`" if sign.text else "a target without a comparator", sign, label="not a comparator",
                help=f"did you mean `{meant}`?" if meant else "the comparators are < <= = >= > (or ≤ ≥)")  # fmt: skip
    return None


def _threshold(page: Layout, cell: Piece) -> Amount | None:
    whole = cell.bare()
    match = _NUMBER.match(whole.text)
    number = float(match.group()) if match else HUGE
    rest = whole.cut(match.end()).strip() if match else whole
    relative = _RELATIVE.fullmatch(rest.text)
    if not abs(number) < HUGE or (relative and number <= 0) or not (relative or _UNIT.fullmatch(rest.text)):
        _no_number(page, whole)
        return None
    if not relative:
        return Amount(place=whole, number=number, unit=rest)
    task = rest.cut(relative.start("task")).bare()
    metric = None
    if "." in task.text:
        dot = task.text.index(".")
        task, metric = task.cut(0, dot).bare(), task.cut(dot + 1).bare()
    return Amount(place=whole, number=number, unit=rest.cut(0, 0), task=task, metric=metric)


def _no_number(page: Layout, cell: Piece) -> None:
    comma = re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+\b.*", cell.text)
    page.report(
        "P008", f"the threshold `{cell.text}` is not understood" if cell.text else "a target without a threshold", cell, label="not a number",
        help=f"write thousands as `{cell.text.replace(',', '_')}`" if comma
        else "a threshold is a number with its unit (`512 MiB`), or a factor of another task (`0.98 x attention-copy`)",
    )  # fmt: skip


def _rule(page: Layout, cell: Piece) -> tuple[Rule | None, Piece | None]:
    whole = cell.bare()
    text = " ".join(whole.text.replace("\\<", "<").lower().split())
    for kind in (RuleKind.EVERY_SEED, RuleKind.MEAN, RuleKind.MEDIAN, RuleKind.IQM):
        if text == kind.value:
            return Rule(kind=kind), None
    if match := _LEVEL.fullmatch(text):
        level = float(Decimal(match[2]) / 100)
        if 0.5 < level < 1:
            return Rule(kind=RuleKind(match[1]), level=level), None
        page.report("P006", f"`{whole.text}` asks for an impossible confidence", whole, label="not between 50% and 100%",
                    help=f"for example `{match[1]} 95%`")  # fmt: skip
    elif match := _P_VALUE.fullmatch(whole.text):
        level = float(match["level"])
        versus = whole.cut(match.start("task")).bare()
        if 0 < level < 0.5:
            return Rule(kind=RuleKind.P_VALUE, level=level, versus=versus.text), versus
        page.report("P006", f"`{whole.text}` asks for an impossible significance", whole, label="not between 0 and 0.5",
                    help=f"for example `p<0.01 vs {versus.text}`")  # fmt: skip
    else:
        page.report("P006", f"unknown statistical rule `{whole.text}`" if whole.text else "a target without a rule", whole,
                    label="not a rule", help=_rule_help(text))  # fmt: skip
    return None, None


def _rule_help(text: str) -> str:
    if match := re.fullmatch(r"(lower|upper|anytime) 0?(\.\d+)", text):
        return f"say the confidence in percent: `{match[1]} {100 * float(match[2]):g}%`"
    if re.fullmatch(r"(lower|upper|anytime)( \d+(\.\d+)?)?", text):
        return f"say the confidence in percent: `{text if ' ' in text else text + ' 95'}%`"
    if re.fullmatch(r"p ?< ?[\d.]+", text):
        return f"say with which task to compare: `{text} vs task-id`"
    near = suggest(text, RULES)
    return f"did you mean `{near}`?" if near else "the rules are " + ", ".join(f"`{rule}`" for rule in RULES)
