"""The verb `promote`: a branch ready for review from the champion that stands for a task."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from agents.actions import written
from agents.champions import Champion
from agents.reading import read_plan, say
from agents.replay import replayed
from agents.running import workshop
from agents.standing import Standing
from agents.worktree import Branches, NoRepository, folder_of, toml
from alignment.patch import Misapplied, parse
from bench.ledger import Ledger
from bench.report import wording
from bench.repository import GitFault
from bench.scoreboard import Scoreboard, scoreboard
from plan.catalogue import suggest
from plan.decision import Candidate, told
from plan.exits import Exit
from plan.wire import SCHEMA


def promote(task: str, plan_path: Path | None, place: str, *, branch: str | None, json: bool) -> Exit:
    """Make the branch and tell its name; nothing else of the repository is touched."""
    with Ledger.open(place, create=False) as ledger:
        board = scoreboard(ledger, None if plan_path is None else read_plan(plan_path))
        work = workshop(ledger)
        standing = Standing(board.plan, ledger, trees=lambda tree: folder_of(work, tree))
        standing.refresh()
    ids = [one.id for one in board.plan.tasks]
    if task not in ids:
        near = suggest(task, ids)
        return say(Exit.NOTHING, f"the plan has no task `{task}`" + (f"; did you mean `{near}`?" if near else ""))
    chain = standing.reigns[task].chain if task in standing.reigns else ()
    if len(chain) < 2:
        return say(Exit.NOTHING, f"nothing but the plan's own stands for `{task}`; there is nothing to promote")
    name = branch or f"promote/{task}"
    try:
        branches = Branches(work)
        edited = branches.edited()
        if edited and not json:
            print(_beside(edited), file=sys.stderr)
        commit = branches.offer(
            name, champion=_files(task, chain[-1], branches), message=_message(task, chain, standing, board, edited)
        )
    except (NoRepository, GitFault, ValueError) as error:
        return say(Exit.ENVIRONMENT, f"no branch was made: {error}")
    if json:
        print(
            jsonlib.dumps(
                {
                    "v": SCHEMA,
                    "task": task,
                    "branch": name,
                    "commit": commit,
                    "decision": chain[-1].decision,
                    "uncommitted": edited,
                }
            )
        )
    else:
        print(f"{name} at {commit[:12]}: {told(chain[0].candidate, chain[-1].candidate)}\n  see it with: git show {name}")
        print(
            "\n".join(
                [
                    "to keep it, write in the plan" + (", once the branch is merged" if chain[-1].candidate.patch else "") + ":",
                    "",
                    *in_a_plan(chain[-1].candidate),
                ]
            )
        )
    return Exit.HOLDS


def in_a_plan(candidate: Candidate) -> Iterator[str]:
    """The module and config of a candidate as a task of a plan says them; its patch is no part of a plan."""
    yield f"- **module**: `{candidate.module}`"
    if candidate.config:
        yield from ("", "```toml config", *toml(candidate.config).strip().splitlines(), "```")


def _files(task: str, champion: Champion, branches: Branches) -> dict[str, str | None]:
    """What the branch changes of the user's last commit; ValueError when the patch was made for other files."""
    files: dict[str, str | None] = {f"champions/{task}.toml": written(champion.candidate)}
    for change in parse(champion.candidate.patch) if champion.candidate.patch else ():
        try:
            files[change.path] = change.applied(branches.at_head(change.path))
        except Misapplied as fault:
            raise ValueError(
                f"its patch does not fit your last commit ({fault}); commit what it was measured with first"
            ) from None
    return files


def _message(task: str, chain: tuple[Champion, ...], standing: Standing, board: Scoreboard, edited: Sequence[str]) -> str:
    beside = ["", _beside(edited)] if edited else []
    title = f"{task}: {told(chain[0].candidate, chain[-1].candidate)}"
    plan = ["", "In a plan:", "", *in_a_plan(chain[-1].candidate)]
    return "\n".join([title, "", *_evidence(task, chain, standing, board), *plan, *beside, ""])


def _beside(edited: Sequence[str]) -> str:
    """What was measured and is not on the branch."""
    return f"measured beside edits that are in no commit of yours, and so not on this branch: {', '.join(edited)}"


def _evidence(task: str, chain: tuple[Champion, ...], standing: Standing, board: Scoreboard) -> Iterator[str]:
    before: Candidate = chain[0].candidate
    for champion in chain[1:]:
        case = standing.facts.cases[champion.decision]
        bout = case.bout
        if bout is None or bout.e_value is None or bout.error is None:
            continue
        yield f"Decision {champion.decision} by {case.decision.decider}: {told(before, champion.candidate)}"
        yield f"  {case.decision.why}"
        yield f"  duel on {bout.metric} ({bout.better} is better): {bout.why}; an equal would be promoted with probability {wording.rate(bout.error)} at most"
        yield f"  mean gain between {_end(bout.low)} and {_end(bout.high)}, at any moment; e-value {bout.e_value:.4g}"
        yield f"  runs {' '.join(bout.runs)}"
        yield f"  recomputed from the ledger: {replayed(case, standing.facts) or 'the same, bit for bit'}"
        before = champion.candidate
    for verdict in board.verdicts_of(task):
        yield f"{verdict.id}: {verdict.state.value} at n {verdict.n}; {verdict.reason}; runs {' '.join(verdict.runs)}"


def _end(bound: float | None) -> str:
    return "no bound yet" if bound is None else f"{bound:.4g}"
