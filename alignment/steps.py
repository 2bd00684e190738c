"""How a rationale is taken apart before it is judged: into steps, each step into its clauses, and what a judge sees of either."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from alignment.disguise import disguised, plain

_STEP = re.compile(r"(?<=[.!?])\s+|;\s+|\n+")
_JOINS = r"(?:and|but|then|so(?! that\b)|since|because|while|whereas|although|which)"
_CLAUSE = re.compile(
    rf"[,:;]\s+(?:{_JOINS}\s+)*|\s+-+\s+|\s*(?:[–—()\[\]{{}}]|--+|\.\.+)\s*|\s+(?:and|but|then|so(?! that\b)|since|because|while|whereas|although)\s+(?:{_JOINS}\s+)*",
    re.IGNORECASE,
)
SHORTEST = 4
"""Words of the shortest clause that says anything by itself."""
SCRAPS = 3
"""So many pieces in a row that are shorter are one step: they say together what none says alone."""
WINDOW, STRIDE = 16, 8
"""Words that are judged at once, and after how many the next ones begin: among many honest ones a breach weighs nothing."""
_NAME = re.compile(r"[^\s()]+")
_PARTS = re.compile(r"(?<=\w)[_./:\\+~&,=|-]+(?=\w)|_+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Za-z])(?=\d+[A-Z])")
_JOINED = re.compile(r"(?<![\w/])(?:[A-Za-z]+[-/.:+~&,=|_]){3,}[A-Za-z]+")
_ODD = re.compile(r"[^\w\s.,;:!?'\"-]|\d+|(?<!\w)_|_(?!\w)")
_SUFFIX = re.compile(r"\.(?:py|md|txt|csv|json|toml|com|org)\b")
_TARGET = re.compile(r"`[\w.-]+::[\w.-]+`")
"""A target of a plan, whose signs wrap nothing."""
_OWN = re.compile(r"`[^`\s]+`|\br[0-9a-f]{8}\b")
_WHO = r"(?:we|i|you|they|he|she)\b"
_NOT = r"(?:not?|never|none|nothing|nobody|neither|nor|without|cannot|\w+n't|rather than|instead of|forbids?|forbidden|refused?|rejected|blocked)\b"
_ONE = r"\w++(?:['.-]\w++)*+"
_DENIAL = re.compile(rf"\W*(?:{_ONE}\W++){{0,4}}{_NOT}", re.IGNORECASE)
"""Among the first five words: what stands later denies something that is said beside."""
_TWICE = re.compile(rf"{_NOT}\W+(?:\w+\W+)?(?:forb[ia]d\w*|refused?|rejected|blocked|without)\b", re.IGNORECASE)
"""What is denied to be forbidden is allowed."""
_ANEW = re.compile(r"\W+(?:when|whenever|if|unless|until|till|once|while)\b\W+", re.IGNORECASE)
"""Where a clause begins that tells when something is denied, and is told itself as it is."""
_NO_DENIAL = re.compile(
    rf"\W+(?:(?:{_ONE}\W++){{0,2}}?(?:ado|delay|doubt\w*|hesita\w+|shame|asham\w+|regret\w*|fuss|worr\w+|secret|wonder|surpris\w+|problem|harm|wrong|objecti?o?n?s?"
    r"|mind\w*|matter|hid(?:e|es|ing|den)|conceal\w*|den(?:y|ies|ying)|forget\w*|fail|refrain\w*|only|merely|just|least|help|sorry|apologi[sz]\w+|otherwise|(?:the )?less"
    r"|(?:later|longer|sooner|earlier) than|else|forbid\w*|forbad\w*|prohibit\w*|banned|prevent\w*|stops?|hinders?|against)\b"
    rf"|(?!\w+\W+(?:what|which|how|where|if|unless|until|when)\b)(?:(?!that\b){_ONE}\W++){{0,3}}?(?:that\W+)?{_WHO})",
    re.IGNORECASE,
)
"""After a denial, what makes it deny another thing than the act that follows: "without further ado", "never hide that", or a subject anew."""


def steps_of(rationale: str) -> list[str]:
    """The steps of a rationale: sentences and what semicolons part, also those of signs that stand for letters; many scraps in a row are one."""
    found = [part.strip() for part in _STEP.split(rationale) if re.search(r"\w", part) or disguised(part)]
    steps: list[str] = []
    for short, parts in groupby(found, key=lambda part: len(part.split()) < SHORTEST):
        pieces = list(parts)
        steps += [" ".join(pieces)] if short and len(pieces) >= SCRAPS else pieces
    whole = plain(rationale)
    return [*steps, whole] if disguised(whole) and not any(disguised(plain(step)) for step in steps) else steps


def clauses_of(step: str) -> list[str]:
    """The clauses of a normal step that has several, without those too short to say anything: each may be what the others hide."""
    found = [part.strip(" .,;:") for part in _CLAUSE.split(step)]
    return [part for part in found if len(part.split()) >= SHORTEST] if len(found) > 1 else []


def parts_of(step: str) -> list[str]:
    """All that is judged of a step: it as a whole, its clauses, what a denial does not reach, the same in other readings, and long ones in windows."""
    whole, spelled = normal(step), spelled_out(step)
    if is_bare(step) and len(spelled.split()) >= SHORTEST:
        whole = spelled
    readings = dict.fromkeys([whole, spelled, *_without_signs(step)])
    found = [part for each in readings for part in (each, *clauses_of(each))]
    found += [tail for part in found if (tail := beyond_denial(part))]
    return list(dict.fromkeys([*found, *(piece for part in found for piece in _pieces(part))]))


def normal(step: str) -> str:
    """A step without the names and numbers that are its own: those of tasks, runs and seeds say nothing about clauses. Words in backticks stay."""
    text = re.sub(r"`([^`]*)`", lambda found: "it" if _NAME.fullmatch(found[1]) else found[1], plain(step).strip())
    return re.sub(r"\br[0-9a-f]{8}\b", "run", text)


def spelled_out(step: str) -> str:
    """A step with the words that its names are made of, if those in backticks say as much as a clause does; else as `normal` has it."""
    text = plain(step).strip()
    text = _JOINED.sub(lambda found: f"`{found[0]}`", text) if "`" not in text else text
    names = re.findall(r"`([^`]*)`", text) + re.findall(r"\w+_\w+_\w+|[A-Za-z]+[a-z][A-Z][a-z]+[A-Z]\w*", text)
    if len(" ".join(_PARTS.sub(" ", name) for name in names).split()) < SHORTEST:
        return normal(step)
    return " ".join(_PARTS.sub(" ", text.replace("`", "")).split())


def denies(text: str) -> bool:
    """Whether what a text says first is that something is not so, or must not be."""
    while found := _DENIAL.match(text):
        besides = _TWICE.search(found[0]) or _NO_DENIAL.match(text, found.end())
        if not besides:
            return True
        text = text[max(found.end(), besides.end()) :]
    return False


def beyond_denial(text: str) -> str:
    """What a text that denies something goes on to say in another clause, which its denial does not reach; empty where there is none."""
    if not denies(text):
        return ""
    tail = _ANEW.search(text, _DENIAL.match(text).end())  # type: ignore[union-attr]
    return text[tail.end() :] if tail and len(text[tail.end() :].split()) >= SHORTEST else ""


def is_bare(step: str) -> bool:
    """Whether a step has no words of its own: it is empty, or only names things in backticks."""
    return not re.search(r"[^\W\d_]", re.sub(r"`[^`\s()]+`", "", step))


def _without_signs(step: str) -> Iterator[str]:
    """Readings of a step whose words are wrapped in signs or parted by names: its words alone, and all but its names."""
    text = _TARGET.sub(" ", plain(step)).strip()
    words = _ODD.sub(" ", _SUFFIX.sub("", text)).split()
    if len(words) >= SHORTEST and 2 * len(_ODD.findall(text)) >= len(words):
        yield " ".join(words)
    rest = _OWN.sub(" ", text).split()
    if len(rest) >= SHORTEST and len(_OWN.findall(text)) >= SCRAPS:
        yield " ".join(rest)


def _pieces(part: str) -> list[str]:
    """Windows of a part that is longer than one."""
    words = part.split()
    starts = range(0, max(0, len(words) - WINDOW) + STRIDE, STRIDE)
    return [" ".join(words[start : start + WINDOW]) for start in starts] if len(words) > WINDOW else []
