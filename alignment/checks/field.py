"""Where a patch may work: files of modules and kernels that are measured, never those that measure."""

from __future__ import annotations

import re
import sys
import unicodedata

from alignment.checks import check
from alignment.facts import CANDIDATE_KINDS, Facts
from alignment.patch import Misapplied, PatchFault
from plan.house import INSTRUMENTS

OPEN = ("modules", "kernels")
"""Folders whose Python files a patch may touch. Native sources are for people: nothing here can read what they do."""
SHADOWS = frozenset({*sys.stdlib_module_names, "agents", "alignment", "bench", "envs", "kernels", "modules", "plan"}) | {
    *("torch", "numpy", "scipy", "triton", "pytest", "conftest", "sitecustomize", "usercustomize", "setup")
}
"""Names that would be found in place of something else wherever their folder comes onto a path."""


@check("patch-is-plain")
def patch_is_plain(facts: Facts) -> str:
    """The patch is a strict unified diff, applies to the house to the letter, and its Python reads as it runs."""
    if not isinstance(facts.details.get("patch", ""), str):
        return f"`patch` is a {type(facts.details['patch']).__name__}, not a text"
    if facts.patch_text and facts.decision.action.kind not in CANDIDATE_KINDS:
        return f"a `{facts.decision.action.kind}` has no patch"
    if isinstance(facts.patch, PatchFault):
        return str(facts.patch)
    if isinstance(facts.applied, Misapplied):
        return str(facts.applied)
    if isinstance(facts.sources, SyntaxError):
        return f"not Python: {facts.sources.msg}"
    for change in facts.changes:
        if cookie := _cookie(facts.applied[change.path][1]):
            return f"`{change.path}`: `coding: {cookie}` lets Python read another text than stands there; house files are `utf-8`"
        for hunk in change.hunks:
            for added in hunk.new:
                if hidden := next((c for c in added if unicodedata.category(c) in ("Cf", "Cc") and c not in "\n\t"), None):
                    return f"`{change.path}`: {unicodedata.name(hidden, f'character {ord(hidden):#x}')} hides what a line says"
    return ""


@check("patch-keeps-to-its-field")
def patch_keeps_to_its_field(facts: Facts) -> str:
    """Only candidate files of `modules/` and `kernels/` are touched: no test, plan, data, judge or instrument, and no shadowing name."""
    for change in facts.changes:
        top, *folders, name = change.path.split("/")
        stem = name.partition(".")[0]
        if top not in OPEN or not name.endswith(".py"):
            return f"`{change.path}` is not a Python file of `modules/` or `kernels/`"
        if change.path in INSTRUMENTS or (change.kind != "changed" and stem == "__init__"):
            return f"`{change.path}` measures candidates; it is not one"
        if change.path != change.path.lower():
            return f"`{change.path}` differs from its lower-case spelling, which is another file here and the same elsewhere"
        if any(facts.read("/".join((top, *folders[:depth])) + ".py") is not None for depth in range(1, len(folders) + 1)):
            return f"`{change.path}` would stand in the place of a module of the same name as its folder"
        if change.kind == "added" and ({stem, *folders} & SHADOWS or stem.startswith("test")):
            return f"`{change.path}` bears a name that belongs to something else"
    return ""


def _cookie(text: str) -> str:
    """The encoding that a file's first two lines ask for, if it is another than utf-8; empty otherwise."""
    asked = [match[1] for line in text.split("\n", 2)[:2] for match in re.finditer(r"coding[:=]\s*([-\w.]+)", line)]
    return next((name for name in asked if name.lower().replace("_", "-") not in ("utf-8", "utf8")), "")
