"""Which sentences say the same, by their letters: TF-IDF of runs of three to five letters, cosine, and the nearest two joined first.

It reads spelling, not meaning: a paraphrase in other words is missed, and `should` against `should not` lie close, so whoever merges asks `at_odds`
and the votes as well. Source: Manning, Raghavan, Schütze, "Introduction to Information Retrieval" (2008), chapters 6 and 17.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alignment.straight import straight

Matrix = NDArray[np.float64]
_SIZES = (3, 4, 5)
_WORD = re.compile(r"\w+(?:'\w+)*")
_NOT = re.compile(
    r"(?:not?|never|none|nothing|nobody|nowhere|neither|nor|without|hardly|stop|cannot|\w+n't|(?:ca|wo|do|does|did|is|are|was|were|should|would|could|must|has|have)nt)"
)
_SIDES = tuple(
    tuple(frozenset(side.split()) for side in line.split("|"))
    for line in """more higher greater raise rise increase grow expand add extend strengthen | less fewer lower smaller fall drop decrease reduce cut shrink remove limit weaken
    allow permit legalise legalize accept welcome support favour favor approve | ban forbid prohibit outlaw reject refuse oppose block
    keep maintain preserve retain stay remain | abolish scrap end leave quit repeal lose
    for | against
    open start begin enable | close shut stop disable
    always everybody everyone all every | never nobody none no
    good better best right safe easy fair true | bad worse worst wrong dangerous hard unfair false
    high strong strict early fast rich young big large | low weak loose late slow poor old small little
    public common | private
    before | after
    include encourage attract | exclude discourage deter
    mandatory compulsory required | voluntary optional
    with | without
    first most | last least
    win gain | lose
    local national | foreign global""".splitlines()
)
"""Words that speak for one thing, and for the opposite."""
_TURNED = ("un", "in", "im", "il", "ir", "dis", "non", "mis", "de", "anti")


def runs(text: str) -> Counter[str]:
    """The runs of three to five letters, words padded with blanks."""
    words = re.findall(r"\w+", text.lower())
    plain = f" {' '.join(words)} " if words else ""
    return Counter(plain[i : i + n] for n in _SIZES for i in range(len(plain) - n + 1))


def alikeness(texts: Sequence[str]) -> Matrix:
    """(N, N): the cosine of every two texts, in [0, 1]; a text without letters is like none."""
    counts = [runs(text) for text in texts]
    spread = Counter(run for found in counts for run in found)
    column = {run: i for i, run in enumerate(sorted(spread))}
    table = np.zeros((len(texts), max(len(column), 1)))
    for row, found in zip(table, counts, strict=True):
        for run, n in found.items():
            row[column[run]] = (1 + np.log(n)) * (np.log((1 + len(texts)) / (1 + spread[run])) + 1)
    length = np.linalg.norm(table, axis=1, keepdims=True)
    table = table / np.where(length > 0, length, 1.0)
    return np.asarray(np.clip(table @ table.T, 0.0, 1.0), dtype=np.float64)


def spelt(text: str) -> tuple[str, ...]:
    """The words of a text, in lower case: what two texts share that differ in signs and blanks alone."""
    return tuple(_WORD.findall(straight(text).casefold()))


def at_odds(one: str, two: str) -> bool:
    """Whether two sentences that are spelt alike say different things: one denies it, or has the opposite word, another number, the same words in another order.

    Two such turns cancel each other (`should not ban`, `should allow`). English only; in doubt it says yes, which leaves two sentences apart.
    """
    first, second = spelt(one), spelt(two)
    here, there = Counter(first) - Counter(second), Counter(second) - Counter(first)
    if not here and not there:
        return first != second
    if any(word.isdigit() for word in (*here, *there)):
        return True
    turns = sum(n for side in (here, there) for word, n in side.items() if _NOT.fullmatch(word))
    bare = [{_bare(word) for word in side if not _NOT.fullmatch(word)} for side in (here, there)]
    turns += sum(any(bare[n] & left and bare[1 - n] & right for n in (0, 1)) for left, right in _SIDES)
    turns += sum(_turned(a, b) or _turned(b, a) for a in bare[0] for b in bare[1])
    return turns % 2 == 1


def _bare(word: str) -> str:
    """Without the endings of verbs and plurals, as `_SIDES` has it where it has it so."""
    forms = [word]
    for end in ("s", "d", "ed", "ing"):
        if word.endswith(end):
            stem = word.removesuffix(end)
            forms += [stem, f"{stem}e", re.sub(r"(.)\1$", r"\1", stem)]
    return next((form for form in forms if any(form in side for line in _SIDES for side in line)), word)


def _turned(word: str, other: str) -> bool:
    return len(word) > 3 and any(other == before + word for before in _TURNED)


def joined(alike: Matrix, *, least: float) -> list[list[int]]:
    """Indices joined so that every two of a set are alike by `least` or more, most alike first; each index in one set."""
    sets = [[i] for i in range(len(alike))]
    pairs = [(i, j) for i, j in zip(*np.triu_indices(len(alike), 1), strict=True) if alike[i, j] >= least]
    for i, j in sorted(pairs, key=lambda p: -alike[p]):
        one, two = (next(s for s in sets if x in s) for x in (i, j))
        if one is not two and alike[np.ix_(one, two)].min() >= least:
            sets.remove(two)
            one += two
    return [sorted(s) for s in sets]
