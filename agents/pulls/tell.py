"""The verb `pulls`: looks, prints, and appends what it saw to the ledger, where every face of the scoreboard reads it."""

from __future__ import annotations

import asyncio
import json as jsonlib
import sys
import uuid
from pathlib import Path

from agents.pulls.mergetree import PullsFault
from agents.pulls.watch import Source, Watcher
from agents.reading import console, say
from bench.ledger import Ledger
from bench.pulls import Mergeable, Pair, Pulls
from bench.report.wording import clean
from plan.exits import Exit
from plan.wire import SCHEMA, encode, plain

WORD = {Mergeable.YES: "✓ merges", Mergeable.NO: "✗ CONFLICT", Mergeable.UNKNOWN: "? unknown"}
MOST_LINES = 60
"""Pairs that are told one by one; the rest is counted."""


def look_at_pulls(source: Source, place: str, *, concurrent: bool, every: float | None, json: bool) -> Exit:
    """Everything `orchestrate pulls` does; the exit code of the last look."""
    try:
        with Ledger.open(place) as ledger:
            file = Path(ledger.where)
            cache = (file.parent if file.is_absolute() else Path("runs")) / "pulls.db"
            return asyncio.run(_look(source, ledger, cache, concurrent=concurrent, every=every, json=json))
    except PullsFault as fault:
        return say(Exit.ENVIRONMENT, clean(str(fault)))


async def _look(source: Source, ledger: Ledger, cache: Path, *, concurrent: bool, every: float | None, json: bool) -> Exit:
    async with Watcher(source, cache=cache, concurrent=concurrent) as watcher:
        if every is None:
            return _told(await watcher.look(), watcher, ledger, json=json)
        code = Exit.NOTHING
        async for seen in watcher.looks(every):
            code = _told(seen, watcher, ledger, json=json)
        return code


def _told(seen: Pulls, watcher: Watcher, ledger: Ledger, *, json: bool) -> Exit:
    record(ledger, seen)
    spent = watcher.github.spent() if watcher.github else ""
    if json:
        print(jsonlib.dumps({"v": SCHEMA, **plain(seen), "requests": spent}), flush=True)
    else:
        _print(seen)
    if spent:
        print(f"requests: {spent}", file=sys.stderr, flush=True)
    if not seen.pulls:
        return Exit.NOTHING
    return Exit.MISSED if seen.troubled else Exit.UNDECIDED if seen.unknown else Exit.HOLDS


def record(ledger: Ledger, seen: Pulls) -> bool:
    """Append the look, unless it is what the latest one saw; whether it was appended."""
    latest = None
    for event in ledger.events():
        if event.kind == "pulls":
            latest = event.body
    return latest != encode(seen) and ledger.append("pulls", str(uuid.uuid4()), seen)


def _print(seen: Pulls) -> None:
    from rich.table import Table

    out = console()
    many = len(seen.pulls)
    if not many:
        out.print(clean(f"{seen.repository}: no open pull requests"))
    else:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in ("pull", "base", "into its base", "with others", "server", "title"):
            table.add_column(column, overflow="fold")
        for pull, pair in zip(seen.pulls, seen.against_base, strict=True):
            beside = sum(pull.name in (one.ours, one.theirs) for one in seen.between)
            cells = (
                pull.name,
                pull.base,
                _word(pair),
                f"✗ {beside} of {many - 1}" if beside else "✓",
                pull.said.value,
                pull.title,
            )
            table.add_row(*map(clean, cells))
        out.print(table)
        out.print()
    for note in seen.notes:
        out.print(clean(f"note: {note}"))
    told = [pair for pair in (*seen.against_base, *seen.between) if not pair.clean]
    for pair in told[:MOST_LINES]:
        for line in lines(pair):
            out.print(clean(line))
    if len(told) > MOST_LINES:
        out.print(f"... and {len(told) - MOST_LINES} more pairs; `--json` has them all")
    broken = sum(not pair.clean for pair in seen.against_base)
    out.print(
        f"{many - broken} of {many} merge into their base, {seen.pairs - len(seen.between)} of {seen.pairs} pairs with each other"
    )


def _word(pair: Pair) -> str:
    return "✗ BREAKS A NAME" if pair.mergeable is Mergeable.YES and pair.clashes else WORD[pair.mergeable]


def lines(pair: Pair) -> list[str]:
    """What is the matter between two sides, one line each."""
    sides = f"{pair.theirs} into {pair.ours}"
    if pair.mergeable is Mergeable.UNKNOWN:
        return [f"UNKNOWN   {sides}: {pair.why}"]
    told = [f"CONFLICT  {sides}: {one.path} ({one.kind})" for one in pair.conflicts]
    if pair.mergeable is Mergeable.NO and not told:
        told = [f"CONFLICT  {sides}: {pair.why or 'no path is named'}"]
    for one in pair.clashes:
        gone = f"{one.gone_by} takes away `{one.name}` ({one.what}) of {one.gone}"
        told.append(f"NAME      {sides}: {gone}, which {one.used_by} newly uses at {one.used}")
    return told
