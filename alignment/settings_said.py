"""What a rationale says an action sets, held against the config that it names.

A rationale may speak of many values of one setting: what the champion has, what did not get there, what others use. So it is a claim only when
no value it gives is the one that the config sets, and at least one is proposed: `heads = 16`, `heads: 16`, `use 16 heads`, `heads go up to 16`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from alignment.asserted import clause, denied, of_others, sentence
from alignment.facts import CANDIDATE_KINDS, Facts
from plan.decision import entries

COUNTS = {word: number for number, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"])} | {
    "sixteen": 16, "twenty": 20, "thirty-two": 32, "sixty-four": 64,
}  # fmt: skip
_NUMBER = r"[-+]?\d{1,12}(?:\.\d{1,12})?(?:e[-+]?\d{1,3})?"
_VALUE = rf"(?:{_NUMBER}|'[^'\n]{{0,40}}'|True|False|true|false|{'|'.join(sorted(COUNTS, key=len, reverse=True))})(?![\w.]*\w)"
_LEFT_OUT = re.compile(r"\b([a-z_]{1,40}(?:\.[a-z_]{1,40})?) left out\b")
_OLD = re.compile(
    r"\b(?:from|than|unlike|beyond|instead of|rather than|not|was|were|had|has|used to|champions?|current(?:ly)?|present(?:ly)?|so far|old|former(?:ly)?|defaults?|baseline|rival|today|usual(?:ly)?|already)\W+(?:\w+\W+){0,2}$",
    re.I,
)  # fmt: skip
_BOUND = re.compile(r"\b(?:with|at|about|over|after|above|below|under|most|least|of the|its|per|all|both)\W+(?:\w+\W+)?$", re.I)
_FAILED = re.compile(
    r"^\W*(?:\w+\W+){0,3}?(?:(?:did|does|do|was|were|is|are|has|have|had|could|would|will)(?: not|n't)|cannot|fails?|failed|stall\w*|diverge\w*|lost|loses|too|worse|no better|not|champion\w*|so far|before|as before|by default|today|current\w*|until now|tried)\b",
    re.I,
)  # fmt: skip
_PROPOSED = re.compile(
    r"\b(?:use|using|set|sets|setting|take|takes|taking|try|tries|trying|switch\w*|rais\w+|increas\w+|lower\w*|reduc\w+|doubl\w+|halv\w+|tripl\w+|give|gives|giving|make|makes|go|goes|going|grow\w*|shrink\w*|widen\w*|change\w*|propose\w*|put|puts|next|now|let|want|move\w*|run|train|choose|pick)\b",
    re.I,
)  # fmt: skip


def settings(facts: Facts) -> Iterator[tuple[str, str]]:
    """(what is said, what is so) of every setting that the rationale proposes otherwise than the action does."""
    why = facts.why
    if facts.decision.action.kind in CANDIDATE_KINDS:
        asked = [facts.details]
    else:
        tried = facts.details.get("candidates", ()) if facts.decision.action.kind == "trial" else ()
        asked = [one for one in tried if isinstance(one, Mapping)] if isinstance(tried, list | tuple) else []
    given: dict[str, list[object]] = {}
    for config in (one.get("config", {}) for one in asked):
        if isinstance(config, Mapping):
            for path, value in entries(config):
                for key in {path, path.rpartition(".")[2]}:
                    given.setdefault(key, []).append(value)
    for key, values in given.items():
        named = list(_named_by(key, why))
        if any(_equal(value, one) for value, _, old in named if not old for one in values):
            continue
        wrong = [(value, said) for value, said, old in named if not old and value is not None]
        if wrong:
            yield wrong[0][1], f"the config sets {told(key, values)}"
    for key in _LEFT_OUT.findall(why):
        if len(given.get(key, ())) == len(asked) > 0:
            yield f"{key} left out", f"the config sets {told(key, given[key])}"


def told(key: str, values: list[object]) -> str:
    """`heads = 2 and heads = 4`."""
    return " and ".join(f"{key} = {value!r}" for value in values)


def _named_by(key: str, why: str) -> Iterator[tuple[object, str, bool]]:
    """(value, what is said, whether it is told of something else) for every value that is said of a setting."""
    name = r"[ _]".join(map(re.escape, key.split("_")))
    singular = rf"{name}s?" if not name.endswith("s") else rf"{name[:-1]}s?"
    ways = (
        (rf"(?<![\w.`=])`?{name}`? ?(?:=|:|->|==) ?`?({_VALUE})", True),
        (rf"(?<![\w.])`?{singular}`?(?: [a-z]+){{0,2}}? (?:(?:from|of) \S{{1,12}} )?(?:to|at|of|be|becomes?) ({_VALUE})", False),
        (rf"(?<![\w.=-])({_VALUE}) (?:[a-z]+ )?{singular}\b(?! ?[=:])", False),
    )  # fmt: skip
    for form, plain in ways:
        for found in re.finditer(form, why, re.I):
            before, after = clause(why, found.start(), found.end())
            old = denied(why, found.start()) or of_others(why, found.start(), found.end())
            old = old or _OLD.search(before[-40:]) is not None or _FAILED.search(after) is not None
            if not plain:
                whole = f"{sentence(why, found.start(), found.end())[0][-40:]} {found[0]} {after}"
                old = old or _BOUND.search(before[-20:]) is not None or _PROPOSED.search(whole) is None
            yield _value(found[1]), found[0].strip("` "), old


def _value(said: str) -> object:
    if said.lower() in COUNTS:
        return COUNTS[said.lower()]
    try:
        found: object = ast.literal_eval(said.capitalize() if said.lower() in ("true", "false") else said)
    except (ValueError, SyntaxError):
        return None
    return found


def _equal(said: object, value: object) -> bool:
    return said is not None and isinstance(said, bool) is isinstance(value, bool) and said == value
