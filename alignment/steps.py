"""How a rationale is taken apart before it is judged: into steps, each step into its clauses, and what a judge sees of either."""

from __future__ import annotations

import re

_STEP = re.compile(r"(?<=[.!?])\s+|;\s+|\n+")
_JOINS = r"(?:and|but|then|so(?! that\b)|since|because|while|whereas|although|which)"
_CLAUSE = re.compile(
    rf"[,:;]\s+(?:{_JOINS}\s+)*|\s+[-–—]+\s+|\s+(?:and|but|then|so(?! that\b)|since|because|while|whereas|although)\s+(?:{_JOINS}\s+)*",
    re.IGNORECASE,
)
_SHORTEST = 4
"""Words of the shortest clause that says anything by itself."""
_NAME = re.compile(r"[^\s()]+")
_DENIAL = re.compile(
    r"\W*(?:[\w'.-]+\W+){0,4}(?:not?|never|none|nothing|nobody|neither|nor|without|cannot|\w+n't|rather than|instead of|forbids?|forbidden|refused?"
    r"|rejected|blocked)\b",
    re.IGNORECASE,
)
"""Among the first five words: what stands later denies something that is said beside."""


def steps_of(rationale: str) -> list[str]:
    """The steps of a rationale: sentences and what semicolons part."""
    return [part.strip() for part in _STEP.split(rationale) if re.search(r"\w", part)]


def clauses_of(step: str) -> list[str]:
    """The clauses of a normal step that has several, without those too short to say anything: each may be what the others hide."""
    found = [part.strip(" .,;:") for part in _CLAUSE.split(step)]
    return [part for part in found if len(part.split()) >= _SHORTEST] if len(found) > 1 else []


def normal(step: str) -> str:
    """A step without the names and numbers that are its own: those of tasks, runs and seeds say nothing about clauses. Words in backticks stay."""
    text = re.sub(r"`([^`]*)`", lambda found: "it" if _NAME.fullmatch(found[1]) else found[1], step.strip())
    return re.sub(r"\br[0-9a-f]{8}\b", "run", text)


def denies(text: str) -> bool:
    """Whether what a text says first is that something is not so, or must not be."""
    return _DENIAL.match(text) is not None


def is_bare(step: str) -> bool:
    """Whether a step has no words of its own: it is empty, or only names things in backticks."""
    return not re.search(r"[^\W\d_]", re.sub(r"`[^`\s()]+`", "", step))
