"""Did a change make anything better or worse? The plan's tasks under another revision's `modules` and `kernels`, and under the user's.

The revision is unpacked into a folder beside the ledger; no branch, no work tree and no index of the repository is touched. Whatever measures and
judges is the user's own, on both sides. A task whose code, config and data mean the same on both sides is unchanged and costs nothing. Others
are measured in pairs on common seeds, who goes first in turn, until each row is decided by the promotion rule, asked both ways.

Declared: of rows on which nothing changed in truth, the chance that any is called better or worse is at most ERROR.
"""

from __future__ import annotations

import io
import math
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from bench import promotion
from bench.direction import Better, better_when
from bench.one_by_one import OneByOne
from bench.overlay import LAID
from bench.repository import GitFault, attempt, text
from plan.catalogue import HOUSE
from plan.exits import Exit
from plan.nouns import Comparator, Limits, Request, Run, Status, Task

ERROR = 0.05
SEEDS = 1_000_000
"""Seed of the first pair: apart from those of verdicts, searches and duels, on which a change may have been chosen."""

SAME = 3
"""Pairs of equal numbers after which a metric is taken as one that seeds do not change, such as a size."""


class Answer(StrEnum):
    """What is known of one metric of one task, against the base."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"
    UNCHANGED = "unchanged"
    """What it runs on means the same in both revisions, or gave the same numbers."""
    NONE = "no answer"
    """The base cannot be measured, or nobody has said which way is better."""


class BaseFault(Exception):
    """The revision cannot be had; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one task. Gains are in the metric's unit, positive where the user's tree is better."""

    task: str
    module: str
    benchmark: str
    metric: str
    answer: Answer
    reason: str
    n: int = 0
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    """Each end of the interval is wrong with probability `error`, at whatever moment one looks."""
    error: float | None = None
    runs: tuple[str, ...] = ()
    """Base and own, pair by pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    task: Task
    metric: str
    better: Better | None

    def row(self, answer: Answer, reason: str) -> Row:
        task = self.task
        return Row(task=task.id, module=task.module, benchmark=task.benchmark, metric=self.metric, answer=answer, reason=reason)


def commit_of(revision: str, *, house: Path = HOUSE) -> str:
    """The commit that `revision` names in the repository of the house; BaseFault when there is none."""
    if revision.startswith("-"):
        raise BaseFault(f"`{revision}` is no revision")
    try:
        return (
            _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", house=house).decode().strip()
        )
    except BaseFault:
        _git("rev-parse", "--git-dir", house=house)  # tells what is the matter where there is no repository at all
        raise BaseFault(f"there is no revision `{revision}` in {house}; `git branch -a` and `git log` list them") from None


def unpacked(commit: str, work: Path, *, house: Path = HOUSE) -> Path:
    """The folder with the commit's `modules` and `kernels`, below `work`; made when it is not there, whole or not at all."""
    folder = work / "base" / commit[:16]
    if folder.is_dir():
        return folder
    archive = _git("archive", "--format=tar", commit, "--", *LAID, house=house)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(made, filter="data")
    try:
        made.rename(folder)
    except OSError:  # somebody else was sooner
        shutil.rmtree(made)
    return folder


def against_base(
    tasks: Sequence[Task],
    commit: str,
    bench: OneByOne,
    *,
    most: int | None = None,
    tell: Callable[[Run, str], None] = lambda *_: None,
) -> tuple[Row, ...]:
    """A row for each metric that `tasks` have targets on. `bench` knows where the tree called `commit` lies; `most`: pairs for each
    row, default as many as a duel of that error may have.

    `tell` hears of each run and whose it is.
    """
    questions = [question for task in tasks for question in _questions(task)]
    changed = dict[str, str | None]()
    for task in {question.task.id: question.task for question in questions}.values():
        changed[task.id] = _obstacle(task, commit, bench)
    asked = [q for q in questions if changed[q.task.id] == "" and q.better is not None]
    error = ERROR / 2 / max(1, len(asked))
    rows = list[Row]()
    for task in tasks:
        mine = [question for question in questions if question.task.id == task.id]
        obstacle = changed[task.id] if mine else None
        if obstacle is None:
            rows += [q.row(Answer.UNCHANGED, "its code, config and data mean the same at the base") for q in mine]
        elif obstacle:
            rows += [q.row(Answer.NONE, obstacle) for q in mine]
        else:
            rows += _measured(mine, commit, bench, error=error, most=most, tell=tell)
    return tuple(rows)


def exit_code(rows: Sequence[Row]) -> Exit:
    """1 when anything is worse, 6 when something is undecided or has no answer, 5 when there is no row, else 0."""
    answers = {row.answer for row in rows}
    if not answers:
        return Exit.NOTHING
    if Answer.WORSE in answers:
        return Exit.MISSED
    return Exit.UNDECIDED if answers & {Answer.UNDECIDED, Answer.NONE} else Exit.HOLDS


def _questions(task: Task) -> Iterator[_Question]:
    """One for each metric of its targets, in their order."""
    for metric in dict.fromkeys(target.metric for target in task.targets):
        comparators = {target.comparator for target in task.targets if target.metric == metric} - {Comparator.EQ}
        ways: set[Better] = {"more" if comparator.wants_more else "less" for comparator in comparators}
        better = ways.pop() if len(ways) == 1 else better_when(task.module, task.benchmark, metric)
        yield _Question(task=task, metric=metric, better=better)


def _request(task: Task, seed: int, tree: str = "") -> Request:
    return Request(
        module=task.module, benchmark=task.benchmark, seed=seed, config=task.config, steps=task.budget.steps, device=task.device, data=task.data, tree=tree,
    )  # fmt: skip


def _obstacle(task: Task, commit: str, bench: OneByOne) -> str | None:
    """Empty when the task can be compared; None when nothing differs; else why not."""
    own = bench.key(_request(task, SEEDS))
    try:
        return None if bench.key(_request(task, SEEDS, commit)) == own else ""
    except (LookupError, OSError, SyntaxError, ValueError) as error:  # the base may lack the module, or hold anything
        return f"the base cannot be measured ({type(error).__name__}: {error})"


def _measured(
    questions: Sequence[_Question],
    commit: str,
    bench: OneByOne,
    *,
    error: float,
    most: int | None,
    tell: Callable[[Run, str], None],
) -> list[Row]:
    """Pairs on fresh seeds until each question is decided; the rows of one task."""
    task = questions[0].task
    limits = Limits(seconds=task.budget.seconds) if task.budget.seconds else Limits()
    pairs, open_questions = list[tuple[Run, Run]](), True
    rows = list[Row]()
    while open_questions:
        seed = SEEDS + len(pairs)
        sides = [("base", _request(task, seed, commit)), ("own", _request(task, seed))]
        found = dict[str, Run]()
        for name, request in sides if len(pairs) % 2 == 0 else sides[::-1]:
            found[name] = bench.run(request, limits=limits)
            tell(found[name], name)
        pairs.append((found["base"], found["own"]))
        told = [_answer(question, pairs, error=error, most=most) for question in questions]
        rows, open_questions = [row for row, _ in told], not all(ended for _, ended in told)
    return rows


def _answer(question: _Question, pairs: Sequence[tuple[Run, Run]], *, error: float, most: int | None) -> tuple[Row, bool]:
    """What the pairs say, and whether it stands."""
    better, metric = question.better, question.metric
    if better is None:
        return question.row(Answer.NONE, f"nobody has said which way `{metric}` is better"), True
    most = most or promotion.limit(error)
    numbers = [(_number(base, metric), _number(own, metric)) for base, own in pairs][:most]
    gained = promotion.gains(numbers, better=better)
    up, down = promotion.evidence(gained), promotion.evidence(-gained)
    bar, left = -math.log(error), most - np.arange(1, len(numbers) + 1)
    ended = (np.maximum(up, down) >= bar) | (np.maximum(up, down) + math.log(2) * left < bar)
    last = int(ended.argmax()) if ended.any() else len(numbers) - 1
    n, over = last + 1, bool(ended[last])
    gained, numbers = gained[:n], numbers[:n]
    if n >= SAME and not gained.any() and None not in numbers[0]:
        return replace(question.row(Answer.UNCHANGED, f"both gave the same on all {n} pairs"), n=n), True
    if over and all(base is None for base, _ in numbers):
        return question.row(Answer.NONE, f"the base has no number on any seed: {pairs[0][0].message}"), True
    answer = Answer.BETTER if up[last] >= bar else Answer.WORSE if down[last] >= bar else Answer.UNDECIDED
    whole = all(None not in pair for pair in numbers)
    low, high = promotion.bounds(gained, error=error) if whole else (None, None)
    failed = sum(own is None for _, own in numbers)
    reason = f"better on {int((gained > 0).sum())}, worse on {int((gained < 0).sum())} of {n} pairs"
    reason += f"; {failed} of the own runs ended without it" if failed else ""
    return replace(
        question.row(answer, reason), n=n, gain=float(gained.mean()) if whole else None, low=low, high=high, error=error,
        runs=tuple(run.id for pair in pairs[:n] for run in pair),
    ), over  # fmt: skip


def _number(run: Run, metric: str) -> float | None:
    return run.metrics.get(metric) if run.status is Status.OK else None


def _git(*command: str, house: Path) -> bytes:
    """What a git command that writes nothing tells."""
    try:
        done = attempt(*command, cwd=house)
    except GitFault as fault:
        raise BaseFault(str(fault)) from None
    if done.returncode:
        words = text(done.stderr).strip().splitlines()
        raise BaseFault(f"`git {command[0]}` of {command[-1]} failed in {house}" + (f": {words[-1]}" if words else ""))
    return done.stdout
