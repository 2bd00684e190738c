"""The verb `rules`: derives rules from what people voted, learns others from decisions that slipped through, lists them all, and takes one back.

A rule is a fact of the ledger, made in a lesson that is appended whole: a process that is killed while it learns leaves the lesson out, and
the same command makes it again. Guards apply it from the next decision on.
"""

from __future__ import annotations

import hashlib
import json as jsonlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agents.options import JsonOption, LedgerOption
from bench.hold import DEFAULT_LEDGER
from plan.exits import Exit

if TYPE_CHECKING:
    from alignment.collective import Rule
    from bench.fold import Facts
    from plan.precepts import Lesson, Precept


def rules(
    rule: Annotated[str | None, typer.Argument(help="Rule id (v... or l...), with --withdraw.")] = None,
    votes: Annotated[
        Path | None,
        typer.Option("--votes", metavar="EXPORT", help="Derive rules from this folder, a conversation as Polis exports it."),
    ] = None,
    min_agreement: Annotated[
        float,
        typer.Option("--min-agreement", min=0.01, max=0.99, help="With --votes: support that every opinion group has to give."),
    ] = 0.6,
    accept: Annotated[
        list[str] | None, typer.Option("--accept", help="With --votes: go on in spite of alarms of this kind; may be repeated.")
    ] = None,
    learn: Annotated[bool, typer.Option("--learn", help="Learn from the ledger's decisions that turned out badly.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take RULE back, for good.")] = False,
    by: Annotated[str | None, typer.Option("--by", help="With --withdraw: who says so; default: your account.")] = None,
    comment: Annotated[str, typer.Option("--comment", help="With --withdraw: why.")] = "",
    ledger: LedgerOption = DEFAULT_LEDGER,
    json: JsonOption = False,
) -> None:
    """List the rules that decisions are held against beside the constitution; derive, learn or withdraw them."""
    from agents.reading import say

    if sum((votes is not None, learn, withdraw)) > 1:
        raise typer.Exit(say(Exit.USAGE, "`--votes`, `--learn` and `--withdraw` are three different things; nothing was written"))
    if withdraw != (rule is not None):
        raise typer.Exit(say(Exit.USAGE, "a rule's id and `--withdraw` go together; nothing was written"))
    if rule is not None:
        raise typer.Exit(taken_back(rule, ledger, by=by, comment=comment, json=json))
    if votes is not None:
        raise typer.Exit(derived(votes, ledger, min_agreement=min_agreement, accept=tuple(accept or ()), json=json))
    raise typer.Exit(learnt(ledger, json=json) if learn else listed(ledger, json=json))


def derived(folder: Path, place: str, *, min_agreement: float, accept: Sequence[str], json: bool) -> Exit:
    """Put on record what every opinion group of an export supports."""
    from typing import get_args

    from agents.reading import say
    from alignment.collective import derive_rules
    from alignment.polis_export import MATRIX, STATEMENTS, read
    from alignment.vote_audit import Kind
    from bench.ledger import Ledger
    from plan.catalogue import suggest
    from plan.precepts import Lesson, Origin

    kinds: tuple[Any, ...] = get_args(Kind)
    for word in accept:
        if word not in kinds:
            near = suggest(word, kinds)
            hint = f"did you mean `{near}`?" if near else f"there are {', '.join(kinds)}"
            return say(Exit.USAGE, f"there is no alarm `{word}`; {hint}; nothing was derived")
    try:
        conversation = read(folder)
        found = derive_rules(conversation, min_agreement=min_agreement, accept=[kind for kind in kinds if kind in accept])
    except (ValueError, OSError) as fault:  # of the export, an alarm, votes without groups: each says what it is and its mend
        return say(Exit.ENVIRONMENT, f"{fault}\n  the ledger is untouched")
    if not found.rules:
        return say(
            Exit.NOTHING, f"no statement of `{conversation.name}` has {min_agreement:.0%} of every group; nothing was written"
        )
    parts = [(folder / name).read_bytes() for name in (MATRIX, STATEMENTS)]
    digest = hashlib.sha256(b"\0".join([*parts, repr((min_agreement, sorted(accept))).encode()])).hexdigest()
    lesson = Lesson(
        origin=Origin.VOTES,
        kept=tuple(_agreed(rule, conversation.name) for rule in found.rules),
        source=f"{conversation.name}, at least {min_agreement:.0%} of each of {len(found.groups)} groups, their stability {found.stability:.2f}",
        noticed=tuple(f"{'accepted' if finding.alarm else 'noticed'}: {finding.message}" for finding in found.findings),
    )
    with Ledger.open(place) as ledger:
        if not ledger.append("lesson", f"votes/{digest}", lesson):
            return say(
                Exit.NOTHING, f"these votes were read before; {ledger.where} holds their rules already, nothing was written"
            )
        return _told(lesson, ledger.where, json=json)


def learnt(place: str, *, json: bool) -> Exit:
    """One lesson from the decisions whose outcome is known."""
    from agents.reading import say
    from alignment.learned import lesson, needed
    from bench.fold import fold
    from bench.ledger import Ledger
    from bench.outcomes import Outcomes
    from plan.decision import IMPROVING
    from plan.precepts import Origin

    with Ledger.open(place, create=False) as ledger:
        facts = fold(ledger.events())
        outcomes = Outcomes(facts)
        judged = [
            (case.decision, not sound)
            for case in facts.cases.values()
            if case.decision.action.kind in IMPROVING and (sound := outcomes.of(case).sound) is not None
        ]
        before = [one for one in facts.lessons if one.origin is Origin.FAILURES]
        made = lesson(judged, before=before, known={one.id: one for one in facts.decisions})
        bad, fine = (sum(is_bad == side for _, is_bad in judged) for side in (True, False))
        if not made.tested:
            why = f"{bad} changes turned out badly and {fine} fine; it takes about {needed()} fine ones, and two bad ones alike, to test a rule"
            return say(Exit.NOTHING, f"nothing to learn yet: {why}; nothing was written")
        if not ledger.append("lesson", f"failures/{len(before) + 1}", made):
            return say(
                Exit.NOTHING, "somebody else learnt a lesson meanwhile; see it with `orchestrate rules`, nothing was written"
            )
        return _told(made, ledger.where, json=json)


def taken_back(id: str, place: str, *, by: str | None, comment: str, json: bool) -> Exit:
    """Withdraw one rule."""
    from agents.plan_diff import account
    from agents.reading import say
    from bench.fold import fold
    from bench.ledger import Ledger
    from plan.catalogue import suggest
    from plan.precepts import Withdrawal
    from plan.wire import SCHEMA, plain

    with Ledger.open(place, create=False) as ledger:
        facts = fold(ledger.events())
        if id not in facts.made:
            near = suggest(id, facts.made)
            return say(Exit.NOTHING, f"the ledger holds no rule `{id}`" + (f"; did you mean `{near}`?" if near else ""))
        word = Withdrawal(precept=id, by=by or account(), comment=comment)
        if not ledger.append("withdrawn", id, word):
            return say(Exit.NOTHING, f"`{id}` was withdrawn already by {facts.withdrawn[id].by}; nothing was written")
        where = ledger.where
    print(
        jsonlib.dumps({"v": SCHEMA, "ledger": where, "withdrawn": plain(word)})
        if json
        else f"{id}: withdrawn by {word.by}, in {where}"
    )
    return Exit.HOLDS


def listed(place: str, *, json: bool) -> Exit:
    """Every rule that was ever made, what it rests on, whether it stands, and how often it was right."""
    from agents.reading import say
    from bench.fold import fold
    from bench.ledger import Ledger
    from bench.report.wording import clean
    from plan.wire import SCHEMA, plain

    with Ledger.open(place, create=False) as ledger:
        facts, where = fold(ledger.events()), ledger.where
    made, standing = facts.made, {one.id for one in facts.precepts}
    if json:
        told = [{**plain(one), "stands": one.id in standing, "record": _record(one, facts)} for one in made.values()]
        print(jsonlib.dumps({"v": SCHEMA, "ledger": where, "rules": told}))
        return Exit.HOLDS if made else Exit.NOTHING
    for one in made.values():
        gone = facts.withdrawn.get(one.id)
        print(clean("\n".join(_lines(one))))
        right, wrong, pending = _record(one, facts)
        print(f"  opinions   {right} right, {wrong} wrong, {pending} pending")
        if gone is not None:
            print(clean(f"  WITHDRAWN  by {gone.by}{f'; {gone.comment}' if gone.comment else ''}"))
    return Exit.HOLDS if made else say(Exit.NOTHING, f"{where} holds no rules; `--votes` derives some, `--learn` learns some")


def _agreed(rule: Rule, name: str) -> Precept:
    from plan.precepts import Origin, Precept

    least, consensus = (f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, low, high in (rule.least, rule.consensus))
    overridden = [f"{one.against} of {one.seen} in group {one.group}" for one in rule.minorities]
    return Precept(
        id="v" + hashlib.sha256(f"{Origin.VOTES}\n{rule.text}".encode()).hexdigest()[:8],
        origin=Origin.VOTES,
        text=" ".join(rule.text.split()),
        rests_on=f"every opinion group of `{name}` supports it, the least one at {least}, their consensus is {consensus} (90 % bootstrap); "
        + (f"it overrides {', '.join(overridden)}" if overridden else "nobody voted against it"),
    )


def _record(precept: Precept, facts: Facts) -> tuple[int, int, int]:
    """(right, wrong, pending) of the opinions that rest on it."""
    from bench.outcomes import Outcomes

    outcomes, counts = Outcomes(facts), [0, 0, 0]
    for case in facts.cases.values():
        named = next((one.guard for one in case.opinions if one.clause.startswith(f"{precept.id}: ")), None)
        if named is not None:
            sound = outcomes.of(case, but=case.heard[named]).sound
            counts[2 if sound is None else int(sound)] += 1
    return counts[0], counts[1], counts[2]


def _lines(one: Precept) -> list[str]:
    found = [f"{one.id}  from {one.origin.value}: {one.text}", f"  rests on   {one.rests_on}"]
    return found + ([f"  caused by  {' '.join(one.causes)}"] if one.causes else [])


def _told(lesson: Lesson, where: str, *, json: bool) -> Exit:
    from bench.report.wording import clean
    from plan.wire import SCHEMA, plain

    if json:
        print(jsonlib.dumps({"v": SCHEMA, "ledger": where, "lesson": plain(lesson)}))
        return Exit.HOLDS
    for one in lesson.kept:
        print(clean("\n".join(_lines(one))))
    for text in (*lesson.noticed, *(f"dropped: {text}" for text in lesson.dropped)):
        print(clean(text))
    n = len(lesson.kept)
    print(f"{n or 'no'} rule{'' if n == 1 else 's'}{f' from {lesson.source}' if lesson.source else ''}, in {where}")
    return Exit.HOLDS
