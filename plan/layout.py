"""How a plan lies on the page: which lines are headings, settings, tables, configs, comments or prose.

Every character of the source belongs to exactly one span. Where Markdown itself would lose text without
a word (a paragraph that was meant as a table, a fence nobody closed) the loss is reported as a fault.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plan.faults import Fault
from plan.pieces import Piece, cells

if TYPE_CHECKING:
    from markdown_it.token import Token

SETTINGS = (
    "module", "benchmark", "needs", "budget", "seeds", "device", "priority", "gate", "data", "pulls", "improve", "trials", "search",
)  # fmt: skip
MEANT = {
    "depends": "needs", "depends on": "needs", "after": "needs", "steps": "budget", "time": "budget", "corpus": "data", "dataset": "data",
    "model": "module", "suite": "benchmark", "gpu": "device", "repeats": "seeds",
}  # fmt: skip
"""Other words that people write for a setting."""
HEADER = ("metric", "", "threshold", "rule")
CONFIG = "toml config"
CONFIG_MARKS = frozenset({"toml", "config", "conf", "cfg", "ini"})
"""Words in another fence's mark that show it was meant as one."""

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_SETTING = re.compile(r"\s*[-*+]\s+\*\*(?P<key>[^*]+)\*\*[ \t]*:(?P<value>.*)")
_ALMOST = re.compile(
    r"(?P<before>\s*(?:\d+[.)]\s)?(?:\s*[-*+]?\s*\[[ x]?\]\s)?(?:[^\w|<]|_)*)(?P<key>[a-z]+)(?P<after>[^\w]*)", re.IGNORECASE
)
_PLAIN = re.compile(rf" {{0,3}}(?P<key>{'|'.join(SETTINGS)})[ \t]*:[ \t]*\S+(?:[ \t]+\S+){{0,3}}[ \t]*")
_FRONT = re.compile(r"\s*|[\w-]+\s*:.*|\s+\S.*|-\s.*")
_DASHES = re.compile(r"[\s|:-]*-[\s|:-]*")
_TASK = re.compile(r"\s+##\s+(?P<content>[a-z0-9-]+:\s.*)")
_ALMOST_TASK = re.compile(
    r" {0,3}(?:[#＃]{2}(?![#＃])|\\#\\?#(?!#)|<h2\b[^>]*>)\s*(?P<content>[^\s#].*?)(?:</h2>)?\s*", re.IGNORECASE
)
_MAYBE_TASK = re.compile(
    r"[ \ufeff]{0,3}(?:#{2,6}\s*|\*\*|__|<h[2-6]\b[^>]*>)(?P<content>[^\s#].*?)(?:\*\*|__|</h[2-6]>)?\s*", re.IGNORECASE
)
_NAMED = re.compile(r"`?[a-z0-9][a-z0-9-]*`?\s*:\s*\S.*")
_HEADING = re.compile(r" {0,3}#{1,2}[ \t]+\S")
_TABLE = re.compile(r"\s*\|.*|\s*`?metric`?\s*\|.*|[^|]+\|\s*(?:[<>]=?|[=≤≥])\s*\|[^|]+\|.*", re.IGNORECASE)
"""The beginning of a table, its header, or a target whose first `|` is missing."""


@dataclass(frozen=True, slots=True)
class Span:
    """A run of whole lines of one kind: heading, setting, table, config, comment, prose or blank."""

    kind: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One thing on the page: its kind and its lines, from `first` up to `last` (0-based, exclusive)."""

    kind: str
    first: int
    last: int
    level: int = 0
    """Of a heading: 1 for `#`."""
    content: str = ""
    """Of a heading: its text; of a fence: its info string."""


class Layout:
    """The source as lines and blocks, with the faults of what Markdown would have dropped."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.faults: list[Fault] = []
        body = source.removeprefix("\ufeff")
        shift = len(source) - len(body)
        found = [match for match in _LINE.finditer(body) if match.group() or match.start() == 0]
        self.starts = [match.start() + shift for match in found]
        self.lines = [Piece(match.group().rstrip("\r\n"), match.start() + shift) for match in found]
        self.blocks = list(self._filled(sorted(self._found(body), key=lambda block: block.first)))

    def spans(self) -> list[Span]:
        """The blocks as stretches of the source; together they are the source."""
        edges = [0 if block.first == 0 else self.starts[block.first] for block in self.blocks] + [len(self.source)]
        return [
            Span(block.kind, start, end, self.source[start:end])
            for block, start, end in zip(self.blocks, edges, edges[1:], strict=False)
            if start < end
        ]

    def text(self, block: Block) -> Piece:
        """The lines of a block, without the end of the last one."""
        first, last = self.lines[block.first], self.lines[block.last - 1]
        return Piece(self.source[first.at : last.at + len(last.text)], first.at)

    def report(self, code: str, message: str, place: Piece, *, label: str = "", help: str = "") -> None:
        """Add a fault that points at `place` (its first line, where it has several)."""
        line = self.line_of(place) - 1
        column = place.at - self.starts[line]
        width = max(1, min(len(place.text), len(self.lines[line].text) - column))
        fault = Fault(code=code, message=message, line=line + 1, column=column + 1, width=width, label=label, help=help)
        if fault not in self.faults:
            self.faults.append(fault)

    def line_of(self, place: Piece) -> int:
        """The 1-based line in which a piece begins."""
        return max(1, bisect_right(self.starts, place.at))

    def faulty(self, block: Block, code: str) -> bool:
        """Whether a fault `code` has been told about the lines of `block`."""
        return any(fault.code == code and block.first < fault.line <= block.last for fault in self.faults)

    def _found(self, body: str) -> Iterator[Block]:
        from markdown_it import MarkdownIt

        markdown = MarkdownIt("commonmark").enable("table")
        markdown.core.ruler.enableOnly(["normalize", "block"])
        tokens = markdown.parse(body)
        around: list[str] = []
        front = self._front_matter()
        quoted: list[tuple[int, Token]] = []
        for index, token in enumerate(tokens):
            if token.nesting < 0:
                around.pop()
                if quoted and "blockquote_open" not in around:
                    yield from self._quotation(tokens, quoted)
                    quoted = []
            elif token.map and token.map[0] >= front:
                if "blockquote_open" in around:
                    quoted.append((index, token))
                else:
                    yield from self._block(tokens, index, around)
            if token.nesting > 0:
                around.append(token.type)

    def _block(self, tokens: Sequence[Token], index: int, around: Sequence[str]) -> Iterator[Block]:
        token = tokens[index]
        first, last = token.map or (0, 0)
        while last > first + 1 and not self.lines[last - 1].text.strip():
            last -= 1
        if around and token.type in ("heading_open", "table_open", "fence") and not self._nested(token, self.lines[first]):
            return
        if token.type == "heading_open":
            yield Block(kind="heading", first=first, last=last, level=int(token.tag[1:]), content=tokens[index + 1].content)
        elif token.type == "table_open":
            yield Block(kind="table", first=first, last=last)
        elif token.type == "fence":
            self._closed(token, first, last)
            yield Block(
                kind="config" if token.info.strip() == CONFIG else "prose", first=first, last=last, content=token.info.strip()
            )
        elif token.type == "html_block":
            self._html(token.content, first, last)
            comment = token.content.lstrip().startswith("<!--")
            headings = [] if comment else list(self._almost_headings(first, last))
            yield from headings or [Block(kind="comment" if comment else "prose", first=first, last=last)]
        elif token.type == "inline" and list(around) == ["bullet_list_open", "list_item_open", "paragraph_open"]:
            if _SETTING.match(self.lines[first].text) and tokens[index - 2].type == "list_item_open":
                self._lost_table(first + 1, last)
                yield Block(kind="setting", first=first, last=last)
            else:
                self._prose(first, last)
                yield from self._almost_headings(first, last)
        elif (token.type == "inline" and "tr_open" not in around and "heading_open" not in around) or token.type == "code_block":
            self._prose(first, last)
            yield from self._indented(first, last)
            yield from self._almost_headings(first, last)

    def _front_matter(self) -> int:
        """How many lines at the top are front matter of another tool: a fault, and none of them is read."""
        closing = next((n for n, line in enumerate(self.lines[1:], 1) if line.text.rstrip() == "---"), 0)
        inside = [line.text for line in self.lines[1:closing]]
        if (
            self.lines[0].text.rstrip() != "---"
            or not all(map(_FRONT.fullmatch, inside))
            or not any(":" in text for text in inside)
        ):
            return 0
        self.report("P032", "front matter is not read", self.lines[0], label="not a part of a plan",
                    help="take it away; a setting of all tasks stands below the title: `- **seeds**: 5`")  # fmt: skip
        return closing + 1

    def _almost_headings(self, first: int, last: int) -> Iterator[Block]:
        """Lines that a reader takes for a task's heading and Markdown for prose: a fault, and then read all the same."""
        for number in range(first, last):
            line = self.lines[number]
            if found := _ALMOST_TASK.fullmatch(line.text):
                if _NAMED.fullmatch(found["content"]):
                    self.report("P015", "this line looks like a task heading but is prose", line.strip(), label="not read as a heading",
                                help=f"write `## {found['content']}`: two `#` at the left margin, then a space")  # fmt: skip
                yield Block(kind="heading", first=number, last=number + 1, level=2, content=found["content"])
            elif (found := _MAYBE_TASK.fullmatch(line.text)) and _NAMED.fullmatch(found["content"]):
                yield Block(kind="heading", first=number, last=number + 1, level=3, content=found["content"])

    def _quotation(self, tokens: Sequence[Token], quoted: Sequence[tuple[int, Token]]) -> Iterator[Block]:
        """Parts of the plan in a quotation: a fault, unless they are a task that is quoted whole, and a heading is then read all the same."""
        heads = [(token, tokens[index + 1].content) for index, token in quoted if token.tag == "h2"]
        heads = [(token, content) for token, content in heads if _NAMED.fullmatch(content)]
        for token, content in heads:
            first, last = token.map or (0, 0)
            below = next((line.text for line in self.lines[last:] if line.text.strip(" \t>")), "")
            if _SETTING.match(below) or _TABLE.fullmatch(below) or _marks_config(below):
                self._unread(self.lines[first], "a quoted heading")
                yield Block(kind="heading", first=first, last=last, level=2, content=content)
        for _, token in () if heads else quoted:
            line = self.lines[(token.map or (0, 0))[0]]
            inside = Piece(line.text.lstrip(" \t>"), 0)
            if what := self._part(token, inside):
                self._unread(line, f"a quoted {what}")

    def _unread(self, line: Piece, what: str) -> None:
        self.report("P032", f"{what} is not read", line.strip(), label="a quotation, as it stands", help="take the `>` away")

    def _indented(self, first: int, last: int) -> Iterator[Block]:
        """Task headings and configs that their indentation makes code: a fault, and the headings then read all the same."""
        for number in range(first, last):
            line = self.lines[number]
            if found := _TASK.fullmatch(line.text):
                self.report("P032", "an indented heading is not read", line.strip(), label="code, as it stands",
                            help="put it at the left margin, with an empty line above")  # fmt: skip
                yield Block(kind="heading", first=number, last=number + 1, level=2, content=found["content"])
            elif _marks_config(line.text):
                self.report("P032", "an indented config is not read", line.strip(), label="code, as it stands",
                            help="put its first and its last line at the left margin, with an empty line above")  # fmt: skip

    def _filled(self, blocks: Sequence[Block]) -> Iterator[Block]:
        """`blocks` and, between them, the lines that are blank or prose."""
        line = 0
        for block in [*blocks, Block(kind="end", first=len(self.lines), last=len(self.lines))]:
            while line < block.first:
                start, blank = line, not self.lines[line].text.strip()
                while line < block.first and (not self.lines[line].text.strip()) == blank:
                    line += 1
                yield Block(kind="blank" if blank else "prose", first=start, last=line)
            if block.last > block.first:
                yield block
            line = max(line, block.last)

    def is_underlined(self, block: Block) -> bool:
        """Whether a heading is one because of the line of dashes below it."""
        return block.last > block.first + 1

    def _prose(self, first: int, last: int) -> None:
        """Report lines that a reader would take for a setting or a table and Markdown takes for prose."""
        self._lost_table(first, last)
        for line in self.lines[first:last]:
            if plain := _PLAIN.fullmatch(line.text):
                self._no_setting(line.cut(*plain.span("key")))
                continue
            almost = _ALMOST.match(line.text)
            if not almost or almost["key"].lower() not in SETTINGS:
                continue
            bullet = re.match(r"\W*?(?:[-*+]|\d+[.)])\s", almost["before"])
            bold = almost["before"].endswith(("*", "_"))
            if (bullet and bold) or (":" in almost["after"] and (bullet or bold)):
                self._no_setting(line.cut(*almost.span("key")))

    def _no_setting(self, key: Piece) -> None:
        self.report(
            "P004", f"this line reads like the setting `{key.text}` but is prose", key, label="not read as a setting",
            help=f"write it as a list item of its own, at the left margin: `- **{key.text.lower()}**: ...`",
        )  # fmt: skip

    def _lost_table(self, first: int, last: int) -> None:
        lost = [n for n in range(first, last) if _TABLE.fullmatch(self.lines[n].text)]
        if not lost or (lost[0] > first and self.lines[lost[0]].text.count("|") < 2):
            return
        row = self.lines[lost[0]].strip()
        shown = self.lines[lost[0]].text.expandtabs(4)
        indent = len(shown) - len(shown.lstrip())
        below = self.lines[lost[0] + 1].text if lost[0] + 1 < len(self.lines) else ""
        above = next((line.text for line in reversed(self.lines[: lost[0]]) if line.text.strip()), "")
        if indent > 3:
            help = "a table stands at the left margin; four spaces or a tab make it code"
        elif lost[0] == first and _TABLE.fullmatch(above) and not self.lines[lost[0] - 1].text.strip():
            help = "an empty line parts it from its table; take that line away"
        elif not _DASHES.fullmatch(below):
            help = "a table needs the row `| --- | --- | --- | --- |` right below its header"
        elif len(cells(row)) != (below_cells := len(cells(Piece(below, 0)))):
            help = f"the header has {len(cells(row))} cells and the row of dashes has {below_cells}; Markdown wants as many"
        else:
            help = "leave an empty line above the table"
        self.report("P021", "these lines look like a table but Markdown reads them as prose", row, label="not a table", help=help)

    def _nested(self, token: Token, line: Piece) -> bool:
        """Whether this is a part of the plan inside a list item: a fault, and then read all the same."""
        what = self._part(token, line)
        if not what:
            return False
        self.report(
            "P032", f"a {what} inside a list item is not read", line.strip(), label="inside a list item",
            help="put it at the left margin, with an empty line above",
        )  # fmt: skip
        return True

    def _part(self, token: Token, line: Piece) -> str:
        """What part of a plan begins with `token`; empty for prose."""
        if token.type == "table_open" and any(cell.bare().text.lower() == "metric" for cell in cells(line)):
            return "target table"
        return (
            "heading" if token.tag in ("h1", "h2") else "config" if token.type == "fence" and token.info.strip() == CONFIG else ""
        )

    def _closed(self, token: Token, first: int, last: int) -> None:
        fence = token.markup
        opening = self.lines[first].strip()
        closing = self.lines[last - 1].text.strip()
        swallowed = sum(1 for line in self.lines[first + 1 : last] if _HEADING.match(line.text))
        inner = next((n for n in range(first + 1, last) if _opens(self.lines[n].text, fence)), None)
        if last - first < 2 or set(closing) != {fence[0]} or len(closing) < len(fence):
            ate = f" and swallows {swallowed} heading" + ("" if swallowed == 1 else "s") if swallowed else ""
            self.report(
                "P022", f"this fence is never closed{ate}", opening, label="opened here",
                help=f"put {fence} on a line of its own where it ends",
            )  # fmt: skip
        elif inner is not None:
            self.report(
                "P022", f"this fence is not closed before another one opens in line {inner + 1}", opening, label="opened here",
                help=f"put {fence} on a line of its own where it ends, or open it with {fence}{fence[0]} if the inner one is an example",
            )  # fmt: skip

    def _html(self, content: str, first: int, last: int) -> None:
        opening = self.lines[first].strip()
        if content.lstrip().startswith("<!--"):
            if "-->" not in content:
                self.report("P022", "this comment is never closed; everything below it is lost", opening,
                            label="opened here", help="put `-->` where it ends")  # fmt: skip
        elif any(shape.match(line.text) for line in self.lines[first:last] for shape in (_HEADING, _SETTING, _TABLE)) or any(
            _marks_config(line.text) for line in self.lines[first:last]
        ):
            self.report("P022", "this piece of HTML swallows a part of the plan", opening, label="opened here",
                        help="leave an empty line after it, and close it")  # fmt: skip


def setting(line: Piece) -> tuple[Piece, Piece]:
    """Key and value of a setting's first line."""
    match = _SETTING.match(line.text)
    assert match, "a block of kind `setting` begins with one"
    return line.cut(match.start("key"), match.end("key")).strip(), line.cut(match.start("value")).strip()


def spans(source: str) -> list[Span]:
    """Every character of `source` exactly once, in order, by what it is."""
    return Layout(source).spans()


def print_plan(spans: Sequence[Span]) -> str:
    """The text the spans were read from."""
    return "".join(span.text for span in spans)


def _marks_config(line: str) -> bool:
    """Whether the line would open a config at the left margin."""
    return line.strip()[:3] in ("```", "~~~") and line.strip().lstrip("`~").strip() == CONFIG


def _opens(line: str, fence: str) -> bool:
    """Whether `line` would open a fence with an info string, were it not inside one of `fence`."""
    return bool(re.match(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*[^\s{re.escape(fence[0])}]", line))
