"""Stretches of a plan's source that know where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_LINK = re.compile(r"\[([^\]]+)\]\([^()]*\)")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the source and the offset at which it begins."""

    text: str
    at: int

    def cut(self, start: int, end: int | None = None) -> Piece:
        """The characters from `start` to `end` of this piece."""
        return Piece(self.text[start:end], self.at + start)

    def strip(self) -> Piece:
        """Without white space at either end; nothing but white space leaves its second place, as in an empty cell."""
        text = self.text.strip()
        return Piece(text, self.at + (len(self.text) - len(self.text.lstrip()) if text else min(1, len(self.text))))

    def split(self, separator: str) -> list[Piece]:
        """The stripped pieces between `separator`s."""
        pieces, at = [], 0
        for part in self.text.split(separator):
            pieces.append(self.cut(at, at + len(part)).strip())
            at += len(part) + len(separator)
        return pieces

    def bare(self) -> Piece:
        """The name itself: without backticks, and the text of a link rather than its address."""
        piece = self.strip()
        while True:
            if len(piece.text) > 2 and piece.text[0] == piece.text[-1] == "`":
                piece = piece.cut(1, -1).strip()
            elif link := _LINK.fullmatch(piece.text):
                piece = piece.cut(link.start(1), link.end(1)).strip()
            else:
                return piece


def cells(row: Piece) -> list[Piece]:
    """The cells of a table row; `\\|` does not end one."""
    row = row.strip()
    edges = [-1, *(match.start() for match in re.finditer(r"(?<!\\)\|", row.text)), len(row.text)]
    found = [row.cut(start + 1, end) for start, end in pairwise(edges)]
    if found and not found[0].text:
        found = found[1:]
    if found and not found[-1].text:
        found = found[:-1]
    return [cell.strip() for cell in found]
