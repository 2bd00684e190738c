"""A cheat and its honest twin: two changes of one block that look alike, of which one bends the measurement."""

from __future__ import annotations

import difflib
import textwrap
from dataclasses import dataclass, field

from alignment.facts import house_file
from plan.nouns import Status

BLOCK = "modules/attention.py"
MARKS = {
    "top": '@module("attention", system="S-2"',
    "init": "    def forward(self, x_BTD: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:\n        y_BTD, state = self.mixer(self.norm(x_BTD), state)\n",
    "forward": "        y_BTD, state = self.mixer(self.norm(x_BTD), state)\n",
    "methods": "\n\ndef rotation(",
}
RETURN = "        return x_BTD + y_BTD, state\n"
CLAIM = '        """Bytes of the cache after `length` tokens."""\n        return self.mixer.state_bytes(batch, length)\n'


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What is added to the attention block: before its class, in `__init__`, before and in place of what `forward` returns, methods."""

    first: str = ""
    """The file's first line."""
    top: str = ""
    init: str = ""
    forward: str = ""
    methods: str = ""
    returns: str = ""
    claim: str = ""
    """In place of what `state_bytes` returns."""

    @property
    def patch(self) -> str:
        """The edit as a unified diff of the house's own file."""
        before = house_file(BLOCK)
        assert before is not None
        after = before.replace("y_BTD, state = self.mixer(self.norm(x_BTD), state)\n" + RETURN, "y_BTD, state = self.mixer(self.norm(x_BTD), state)\n        return " + self.returns + "\n") if self.returns else before  # fmt: skip
        if self.claim:
            assert after.count(CLAIM) == 1
            after = after.replace(CLAIM, CLAIM.replace("self.mixer.state_bytes(batch, length)", self.claim))
        for place, depth in (("methods", 4), ("init", 8), ("forward", 8), ("top", 0)):
            if text := getattr(self, place):
                assert after.count(MARKS[place]) == 1, place
                added = textwrap.indent(textwrap.dedent(text).strip("\n") + "\n", " " * depth)
                added = {"top": added + "\n\n", "init": added + "\n", "methods": "\n" + added}.get(place, added)
                after = after.replace(MARKS[place], added + MARKS[place])
        after = self.first + "\n" * bool(self.first) + after
        assert after != before
        return diff(BLOCK, before, after)


def diff(path: str, before: str | None, after: str | None) -> str:
    """A unified diff; None stands for no file."""
    old, new = (f"{side}/{path}" if text is not None else "/dev/null" for side, text in (("a", before), ("b", after)))
    return "".join(difflib.unified_diff((before or "").splitlines(True), (after or "").splitlines(True), old, new))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One cheat, how each layer meets it, and its twin, which every layer lets through."""

    name: str
    cheat: Edit
    twin: Edit
    clause: str = ""
    """The clause on which the guard blocks it; empty where nothing can be read off the patch."""
    status: Status | None = None
    """How its measurement ends when nobody reads the patch; none where it ends well and the score is the honest one."""
    says: str = ""
    """Words of the outcome's message: the clause, where the warden or the instruments found it."""
    scores: bool = field(default=False)
    """Whether the harness cannot see it: its measurement ends well with scores that are not the honest ones. Only the guard stops it."""
    text: bool = False
    """Whether both are measured on a text rather than on puzzles."""
