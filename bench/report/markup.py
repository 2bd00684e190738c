"""HTML and SVG as nested calls. Text is escaped unless it is already `Markup`, so forgetting to escape is not possible."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from bench.report.wording import clean

INLINE = re.compile(
    r"(?<!`)`(?P<code>[^`\n]+)`(?!`)"
    r"|\*\*(?P<strong>[^\s*](?:[^*]*[^\s*])?)\*\*"
    r"|(?<![\w*])\*(?P<em>[^\s*](?:[^*]*[^\s*])?)\*(?![\w*])"
    r"|\[(?P<words>[^\[\]\n]+)\]\((?P<link>(?:https?://|#)[^()\s]*|[^():\s]+)\)"
)
STANDS = re.compile(r"^(?:\s|[-*+]\s|[>|#]|\d+[.)]\s)|(?: {2}|\\)$", re.MULTILINE)
"""A line of a list, quote, table, heading or indented code, or one that asks for a break: its block keeps its lines."""
VOID = frozenset({"meta", "link", "br", "hr", "wbr"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | int | None | Iterable["Child"]
Attribute = str | int | float | bool | None


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """One element. Attributes: `class_` is written `class`, `a_b` is `a-b`; None and False are left out, True stands bare."""
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-") if key != "viewBox" else key
        words.append(key if value is True else f'{key}="{escape(clean(_number(value)), quote=True)}"')
    opening = f"<{' '.join(words)}>"
    return Markup(opening if name in VOID else f"{opening}{join(children)}</{name}>")


def join(children: Child) -> Markup:
    """The children one after another, each escaped unless it is Markup."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, (str, int)):
        return Markup(escape(clean(str(children)), quote=False))
    return Markup("".join(join(child) for child in children))


def prose(text: str) -> list[Child]:
    """A plan's prose: the lines of a paragraph flow into one another, marked words are elements, all else stays as it is written."""
    if "```" in text or "~~~" in text:
        return inline(text)
    blocks = re.split(r"\n{2,}", text.strip("\n"))
    return inline("\n\n".join(block if STANDS.search(block) else block.replace("\n", " ") for block in blocks))


def coded(sentence: str) -> list[Child]:
    """A sentence of the house's own, with what stands in backticks as code."""
    return [tag("code", part) if i % 2 else part for i, part in enumerate(re.split(r"`([^`\n]+)`", sentence))]


def inline(text: str) -> list[Child]:
    """Text with its inline code, strong and emphasised words and links as elements.

    Links become elements only where they lead to the web or into the page; of one to a file its words are left, for a report travels
    alone. It never runs what a plan says.
    """
    children: list[Child] = []
    at = 0
    for found in INLINE.finditer(text):
        children.append(text[at : found.start()])
        at = found.end()
        if found["code"]:
            children.append(tag("code", found["code"]))
        elif found["strong"]:
            children.append(tag("strong", inline(found["strong"])))
        elif found["em"]:
            children.append(tag("em", inline(found["em"])))
        elif found["link"].startswith(("http:", "https:", "#")):
            children.append(tag("a", inline(found["words"]), href=found["link"]))
        else:
            children.append(inline(found["words"]))
    return [*children, text[at:]]


def _number(value: str | int | float) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
