"""Whether words that were found in a rationale are said of this action and of our own runs, or denied, hoped for, asked for, or told of others.

A claim is looked at in its clause: what stands before and after it up to the next comma, stop or conjunction. Only what is left when all of this
is taken away can be held against facts.
"""

from __future__ import annotations

import re

REACH = 120
"""Letters on either side of a match that are looked at."""
_EDGE = re.compile(
    r"[.!?](?=\s|$)|[;:\n]|,(?=\s)|\b(?:and|but|so(?! that)|while|whereas|because|since|although|though|yet|which|hence|then)\b",
    re.I,
)
_STOP = re.compile(r"[.!?](?=\s|$)|;|\n")
_DENIED = re.compile(
    r"(?:\b(?:not|no|never|nor|neither|hardly|barely|without|cannot|rather than|instead of|more than|other than|far from)\b|n't\b)(?:\W+\w+){0,3}\W*$",
    re.I,
)
_HOPED = re.compile(
    r"\b(?:may|might|could|should|would|will|shall|can|cannot|must|has to|have to|had to|needs?|to be|be|likely|probabl\w*|perhaps|maybe|possibly|try|let|wants?|asks?|asked|require[sd]?|aims?|intend\w*|in order to|next)\b|'ll\b",
    re.I,
)  # fmt: skip
_GUESSED = re.compile(
    r"\b(?:expect\w*|hope\w*|hoping|guess\w*|believe\w*|suspect\w*|predict\w*|suppos\w*|assum\w*|i think|we think|hypothes\w*|forecasts?|foresees?)\b",
    re.I,
)
_CONDITION = re.compile(
    r"\b(?:before|until|once|if|when|unless|whether|so that|in case|provided|as soon as|for|to (?:make|get|have|let|see)|makes?|getting|making)\b",
    re.I,
)
_OTHERS = re.compile(
    r"\b(?:papers?|articles?|surveys?|thesis|blogs?|literature|authors?|publish\w*|publications?|et al|arxiv|elsewhere|in theory|textbooks?|leaderboards?|vendors?|upstream|original(?:ly)?|folklore|known to|said to|people)\b",
    re.I,
)  # fmt: skip
_OURS = re.compile(
    r"\b(?:our|ours|ledger|we (?:have )?(?:measured|saw|seen|got|found|scored|ran)|r[0-9a-f]{8}|(?:in|over|of|after|all|both|every) (?:\w+ )?(?:runs|seeds|trials))\b",
    re.I,
)


def clause(text: str, start: int, end: int) -> tuple[str, str]:
    """What stands before and after `text[start:end]` in the same clause."""
    return _within(_EDGE, text, start, end)


def sentence(text: str, start: int, end: int) -> tuple[str, str]:
    """The same up to the next stop."""
    return _within(_STOP, text, start, end)


def _within(edge: re.Pattern[str], text: str, start: int, end: int) -> tuple[str, str]:
    before, after = text[max(0, start - REACH) : start], text[end : end + REACH]
    edges = [found.end() for found in edge.finditer(before)]
    cut = edge.search(after)
    return before[edges[-1] if edges else 0 :], after[: cut.start() if cut else None]


def denied(text: str, start: int) -> bool:
    """Whether a negation stands at most three words before, in the same clause: `not only`, `no better`, `rather than`."""
    return _DENIED.search(clause(text, start, start)[0]) is not None


def hoped(text: str, start: int, end: int) -> bool:
    """Whether it is what may be, shall be or is asked for: a modal or a wish in its clause, a guess before it in its sentence."""
    before, after = clause(text, start, end)
    said = f"{before} {text[start:end]} {after}"
    return _HOPED.search(said) is not None or _GUESSED.search(f"{sentence(text, start, end)[0]} {said}") is not None


def conditional(text: str, start: int) -> bool:
    """Whether what stands before it in its clause makes it a condition or an aim."""
    return _CONDITION.search(clause(text, start, start)[0]) is not None


def of_others(text: str, start: int, end: int) -> bool:
    """Whether its sentence speaks of what others found, and not of runs of ours."""
    said = f"{sentence(text, start, start)[0]} {text[start:end]} {sentence(text, end, end)[1]}"
    return _OTHERS.search(said) is not None and _OURS.search(said) is None
