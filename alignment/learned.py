"""Rules from decisions that slipped through: what `IterativeAligner` finds in the ledger's past, as precepts that a guard can apply alone.

A lesson takes the decisions whose outcome was not known at the one before. What earlier lessons learnt from is recalled from the ledger in
the same halves, and how many rules they tested counts on, so that learning often proves nothing by chance. Only decisions on candidates are
compared with each other: purchases of seeds differ from them in every word.
"""

from __future__ import annotations

import ast
import hashlib
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from alignment.iterative import STRANGE, TESTS, IterativeAligner, Rule, Transcript, above, said, written
from alignment.steps import normal
from plan.decision import IMPROVING, Candidate, Decision, entries
from plan.precepts import Lesson, Origin, Precept, Shown
from plan.wire import decode, encode

ALARMS, ERROR = 0.05, 0.05


def shown(decision: Decision) -> frozenset[str]:
    """What a decision shows: the words of its reason, what its config sets, and what its patch calls, sets and imports."""
    found = {f"says {mark}" for mark in said(re.sub(r"\d+", " ", normal(decision.why)))}
    try:
        candidate = Candidate.of(decision.action.details)
    except (KeyError, TypeError):
        return frozenset(found)
    found |= {f"config {path}" for path, _ in entries(candidate.config)} | {f"module {candidate.module}"}
    if candidate.patch:
        found |= {"patch", *written(_added(candidate.patch))}
    return frozenset(found | {f"kind {decision.action.kind}", f"decider {decision.decider}"})


def breaks(decision: Decision, precept: Precept) -> bool:
    """Whether the decision shows all that the precept forbids together."""
    found = shown(decision)
    strange = {f"strange {mark.partition(' ')[0]}" for mark in found.difference(precept.usual)}
    return bool(precept.marks) and (found | strange).issuperset(precept.marks)


def lesson(judged: Sequence[tuple[Decision, bool]], *, before: Sequence[Lesson], known: Mapping[str, Decision]) -> Lesson:
    """What can be learnt from decisions that are known to be violations (True) or fine, after the lessons `before`.

    `known`: the ledger's decisions, by id. Of `judged`, only what is new to the lessons, or turned out otherwise since, makes the batch.
    """
    told = {one.decision: one.bad for earlier in before for one in earlier.batch}
    batch = [(one, bad) for one, bad in judged if one.action.kind in IMPROVING and told.get(one.id) is not bad]
    rules = [Rule(marks=frozenset(one.marks)) for earlier in before for one in earlier.kept if one.marks]
    aligner = IterativeAligner(marks, rules=rules, alarms=ALARMS, error=ERROR)
    for earlier in before:
        aligner.recall([_transcript(known[one.decision], one.bad) for one in earlier.batch], tested=earlier.tested)
    tested = aligner.tested
    rounds = aligner.iterate([[_transcript(one, bad) for one, bad in batch]])
    return Lesson(
        origin=Origin.FAILURES,
        kept=tuple(_precept(rule, aligner.usual) for found in rounds for rule in found.kept),
        batch=tuple(Shown(decision=one.id, bad=bad) for one, bad in batch),
        tested=aligner.tested - tested,
        dropped=tuple(f"{rule.text}: {why}" for found in rounds for rule, why in found.dropped),
    )


def needed() -> int:
    """How many decisions that turned out fine it takes before any rule can be shown to alarm rarely enough."""
    return 2 * next(n for n in count(1) if above(0, n, error=ERROR / TESTS / 2) <= ALARMS)


def marks(text: str) -> frozenset[str]:
    """Marks of a decision that stands as a transcript's text."""
    return shown(decode(Decision, text))


def _transcript(decision: Decision, bad: bool) -> Transcript:
    return Transcript(id=decision.id, text=encode(decision), bad=bad)


def _precept(rule: Rule, usual: Iterable[str]) -> Precept:
    forbidden = tuple(sorted(rule.marks))
    kinds = {mark.partition(" ")[2] for mark in forbidden if mark.startswith("strange ")} & STRANGE
    digest = hashlib.sha256("\n".join((Origin.FAILURES, *forbidden)).encode()).hexdigest()
    return Precept(
        id="l" + digest[:8],
        origin=Origin.FAILURES,
        text=rule.text,
        rests_on=f"caught {rule.caught} of {rule.of} held-out violations and {rule.wrong} fine ones, p {rule.p_value:.2g}; "
        f"false alarms of all rules at most {rule.alarms:.1%}",
        causes=rule.causes,
        marks=forbidden,
        usual=tuple(sorted(mark for mark in usual if mark.partition(" ")[0] in kinds)),
        confidence=(rule.caught + 1) / (rule.caught + rule.wrong + 2),
    )


def _added(patch: str) -> str:
    """What a patch adds, as a program of its own where that is one."""
    lines = [line[1:] for line in patch.splitlines() if line.startswith("+") and not line.startswith("+++")]
    text = textwrap.dedent("\n".join(lines))
    for form in (text, "def added(self):\n" + textwrap.indent(text, "    ")):
        try:
            ast.parse(form)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return form
    return text
