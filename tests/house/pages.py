"""The Markdown pages of the house, and what stands in their fences, tables and backticks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from markdown_it import MarkdownIt

HOUSE = Path(__file__).resolve().parents[2]
PAGES = sorted([*HOUSE.glob("*.md"), *HOUSE.glob("docs/*.md"), *HOUSE.glob("design/*.md"), *HOUSE.glob("plan/*.md")])


@dataclass(frozen=True)
class Fence:
    """A fenced block: the page, its first line, its info string and what it holds."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def named(page: Path) -> str:
    return str(page.relative_to(HOUSE))


def page(name: str) -> str:
    return (HOUSE / name).read_text(encoding="utf-8")


def fences() -> Iterator[Fence]:
    for path in PAGES:
        for token in MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8")):
            if token.type == "fence" and token.map:
                yield Fence(path, token.map[0] + 1, token.info.strip(), token.content)


def rows_below(text: str, header: str) -> list[list[str]]:
    """Cells of the table rows whose header begins with `header`."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(header):
            next(lines)
            found = takewhile(lambda line: line.startswith("|"), lines)
            return [[cell.strip() for cell in row.strip("|").split("|")] for row in found]
    raise AssertionError(f"no table {header!r}")


def code_of(path: Path) -> str:
    """What stands on the page in fences and backticks, a line each; prose may say `orchestrate` as a word."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8")):
        if token.type == "fence":
            found.append(token.content)
        found += [child.content for child in token.children or () if child.type == "code_inline"]
    return "\n".join(found)
