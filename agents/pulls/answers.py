"""Reading what a server answered: every field has to be there and be what the API documents, or an error says what was found."""

from __future__ import annotations

import json
from typing import Any

from agents.pulls.mergetree import OID, PullsFault
from bench.pulls import Mergeable, Pull

STATES = {"MERGEABLE": Mergeable.YES, "CONFLICTING": Mergeable.NO, "UNKNOWN": Mergeable.UNKNOWN}


def take(noun: Any, name: str, *kinds: type) -> Any:
    """A field that has to be there with one of these types; PullsFault otherwise."""
    value = noun.get(name) if isinstance(noun, dict) else None
    missing = not isinstance(noun, dict) or (value is None and type(None) not in kinds)
    if missing or not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise odd(f"`{name}` as {' or '.join(kind.__name__ for kind in kinds)}", value if isinstance(noun, dict) else noun)
    return value


def odd(wanted: str, found: Any) -> PullsFault:
    """What to tell of an answer that is not as documented."""
    return PullsFault(f"the server's answer lacks {wanted}: it has {json.dumps(found)[:60]}; nothing was recorded")


def from_graphql(node: Any) -> Pull:
    """A pull request of the GraphQL list."""
    branch = take(node, "baseRef", dict, type(None))
    tip = take(take(branch, "target", dict), "oid", str) if branch else take(node, "baseRefOid", str)
    return _pull(
        node,
        head=take(node, "headRefOid", str),
        base=take(node, "baseRefName", str),
        tip=tip,
        said=state(take(node, "mergeable", str, type(None))),
    )


def from_rest(node: Any) -> Pull:
    """A pull request of the REST list, which does not say whether it merges."""
    head, base = take(node, "head", dict), take(node, "base", dict)
    return _pull(
        node, head=take(head, "sha", str), base=take(base, "ref", str), tip=take(base, "sha", str), said=Mergeable.UNKNOWN
    )


def _pull(node: Any, *, head: str, base: str, tip: str, said: Mergeable) -> Pull:
    number = take(node, "number", int)
    if number < 1 or not all(OID.fullmatch(oid) for oid in (head, tip)):
        raise odd("a pull request's number and object ids", [number, head, tip])
    title = take(node, "title", str)
    return Pull(name=f"#{number}", number=number, title=title[:200], head=head, base=base, base_head=tip, said=said)


def state(word: str | None) -> Mergeable:
    """GitHub's word as one of ours; null is unknown, never a no."""
    if word is None:
        return Mergeable.UNKNOWN
    if word not in STATES:
        raise odd(f"a mergeable state ({', '.join(STATES)})", word)
    return STATES[word]


def error_types(body: Any) -> set[str]:
    """The kinds of GraphQL's errors, which come with status 200."""
    errors = body.get("errors") if isinstance(body, dict) else None
    return {str(error.get("type")) for error in errors if isinstance(error, dict)} if isinstance(errors, list) else set()


def first_error(body: Any) -> str:
    """GraphQL's first error in brackets; empty when there is none."""
    errors = body.get("errors") if isinstance(body, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return f" ({message(first)})" if message(first) else ""


def message(body: Any) -> str:
    """What the server says of it, on one line, without what would steer a terminal."""
    found = body.get("message") if isinstance(body, dict) else None
    plain = "".join(sign if sign.isprintable() else " " for sign in found) if isinstance(found, str) else ""
    return " ".join(plain.split())[:200]


def whole(text: str | None) -> float:
    """A small count in a header; 0 for anything else."""
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else 0.0
