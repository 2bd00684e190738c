"""Where one task stands, as the refactor agent sees it: a state of few words, the candidates that did not fight yet, and what their trials say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from agents.candidates import untried
from agents.duels import ERROR
from agents.learning.lore import Change, change
from agents.trials import TRIAL
from bench import promotion
from envs.changes import FEW, KINDS, Aim, State, asks, distance, missed, shortfall
from plan import catalogue
from plan.decision import IMPROVING, Candidate, Situation, entries
from plan.fields import Field
from plan.nouns import Run, Task, Verdict
from plan.nouns import State as Word
from plan.wire import encode

Untried = Callable[[Task, str, Situation], tuple[Candidate, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A candidate that did not fight yet, and its trials so far."""

    kind: str
    candidate: Candidate
    runs: tuple[Run, ...]
    asked: int
    """Trials that were asked for; those that guards forbade brought no run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where one task stands, as far as the agent looks."""

    task: Task
    verdicts: tuple[Verdict, ...]
    aims: tuple[Aim, ...]
    gap: float
    """The champion's shortfall."""
    subject: Aim | None
    """What a duel would be about; None when nothing is wanting."""
    arms: tuple[Arm, ...]
    state: State
    busy: Arm | None
    """A candidate that met the target in its first trial and has to show it again, or has to fight."""


def duel_of(situation: Situation) -> int:
    """Measurements kept back for the next duel: both sides of the fewest pairs that win, which its place among all duels tells."""
    k = 1 + sum(one.action.kind in IMPROVING for one in situation.decisions)
    return 2 * promotion.fewest(promotion.share(k, ERROR))


def seen(task: Task, situation: Situation, untried: Untried = untried) -> View | None:
    """Where `task` stands; None when there is nothing measured to look at."""
    verdicts = tuple(verdict for verdict in situation.verdicts if verdict.task == task.id)
    aims = tuple(_aim(task, verdict) for verdict in verdicts if verdict.threshold is not None)
    if not verdicts or not aims:
        return None
    champion = champion_of(task, situation)
    gap = sum(_short(verdict) for verdict in verdicts)
    wanting = [v for word in (Word.FAIL, Word.UNSURE) for v in verdicts if v.state is word and v.threshold is not None]
    subject = _aim(task, wanting[0]) if wanting else None
    arms = tuple(_arms(task, situation, untried)) if subject else ()
    tune, refactor, replace = (_stock(kind, arms, task, champion, situation) for kind in KINDS)
    former = [_short(verdict) for verdict in situation.former if verdict.task == task.id]
    fell = bool(former) and gap > sum(former)
    trend = _trend(aims, gap, situation.trials.get(task.id, ()))
    left = "few" if situation.trials_left.get(task.id, 0) <= duel_of(situation) + FEW else "plenty"
    about = subject.asks if subject else "quality"
    state = State(distance(gap), about, trend, left, tune, refactor, replace, "yes" if fell else "no")
    met = [arm for arm in arms if subject and _promises(arm, subject, aims, gap)]
    return View(
        task=task, verdicts=verdicts, aims=aims, gap=gap, subject=subject, arms=arms, state=state,
        busy=met[0] if met and not fell else None,
    )  # fmt: skip


Moved = tuple[str, float]
"""The one number that parts a candidate from its champion, and the logarithm of its factor."""


def moves_of(view: View, champion: Candidate) -> Iterator[tuple[Moved, float]]:
    """What was moved in trials of this task so far, and by how much nearer it brought it."""
    for arm in view.arms:
        if arm.runs and (moved := moved_to(champion, arm.candidate)) is not None:
            yield moved, view.gap - mean(view.aims, arm.runs)


def promise(here: Moved | None, known: Sequence[tuple[Moved, float]]) -> float | None:
    """What trials of the same setting say of one that was not tried: more of what brought it nearer, less of what did not; None: they say nothing."""
    if here is None:
        return None
    found = [(by, gain) for (path, by), gain in known if path == here[0]]
    same = [(abs(by), gain) for by, gain in found if by * here[1] > 0]
    if same:
        by, gain = min(same, key=lambda one: abs(one[0] - abs(here[1])))
        return gain * min(2.0, abs(here[1]) / by)
    return -0.5 * min(gain for _, gain in found) if found else None


Terms = tuple[str, str | None, int | None, str]
"""What two tasks have in common when a candidate measures the same for both: benchmark, data, steps, device."""


def terms_of(task: Task) -> Terms:
    """The task's."""
    return task.benchmark, task.data, task.budget.steps, task.device


def name_of(candidate: Candidate) -> str:
    """What tells a candidate from every other."""
    return encode(candidate)


def measured_elsewhere(task: Task, situation: Situation) -> dict[str, list[Run]]:
    """Trials that other tasks on the same terms paid for, by candidate."""
    found: dict[str, list[Run]] = {}
    for other in situation.plan.tasks:
        if other.id != task.id and terms_of(other) == terms_of(task):
            for run in situation.trials.get(other.id, ()):
                if not run.request.tree:
                    found.setdefault(name_of(Candidate(module=run.request.module, config=run.request.config)), []).append(run)
    return found


def change_of(view: View, arm: Arm, situation: Situation) -> Change:
    """How the candidate differs from the champion, in words that mean the same on other tasks."""
    metric = view.subject.metric if view.subject else ""
    return change(metric, arm.kind, champion_of(view.task, situation), arm.candidate)


def champion_of(task: Task, situation: Situation) -> Candidate:
    """Who stands for the task now."""
    return situation.champions.get(task.id) or Candidate(module=task.module, config=task.config)


def moved_to(champion: Candidate, candidate: Candidate) -> Moved | None:
    """None where it is more than one entry, or no number."""
    before, after = dict(entries(champion.config)), dict(entries(candidate.config))
    paths = [path for path in {*before, *after} if before.get(path) != after.get(path)]
    if champion.module != candidate.module or len(paths) != 1:
        return None
    old, new = (_number(champion.module, config, paths[0]) for config in (before, after))
    return (paths[0], math.log(new / old)) if old and new and old > 0 and new > 0 else None


@cache
def _trainer() -> Mapping[str, Field]:
    return catalogue.shelves().recipe


def _number(module: str, config: Mapping[str, object], path: str) -> float | None:
    """The number at `path`, by default the shelf's; None when it is none."""
    entry, name = catalogue.shelf("module")[module], path.rpartition(".")[2]
    trainer = _trainer() if path.startswith("recipe.") else {}
    fallback = entry.recipe.get(name, trainer[name].default) if name in trainer else entry.fields.get(name, Field("")).default
    value = config.get(path, fallback)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _arms(task: Task, situation: Situation, untried: Untried) -> Iterator[Arm]:
    runs = situation.trials.get(task.id, ())
    trials = [one for one in situation.decisions if one.action.kind == TRIAL and one.action.task == task.id]
    asked = [Candidate.of(details) for one in trials for details in one.action.details["candidates"]]
    for kind in (kind for kind in KINDS if kind in task.improve):
        for candidate in untried(task, kind, situation):
            mine = tuple(run for run in runs if is_of(run, candidate))
            yield Arm(kind=kind, candidate=candidate, runs=mine, asked=asked.count(candidate))


def is_of(run: Run, candidate: Candidate) -> bool:
    """Whether the run measured the candidate."""
    return (run.request.module, run.request.config) == (candidate.module, candidate.config)


def _stock(kind: str, arms: Sequence[Arm], task: Task, champion: Candidate, situation: Situation) -> str:
    mine = [arm for arm in arms if arm.kind == kind]
    if all(arm.asked for arm in mine):
        return "none"
    fought = any(one.kind == kind and one.task == task.id and one.champion == champion for one in situation.tried)
    return "tried" if fought or any(arm.asked for arm in mine) else "fresh"


def _trend(aims: Sequence[Aim], gap: float, runs: Sequence[Run]) -> str:
    if not runs:
        return "untried"
    last = runs[-1].request
    before = [shortfall(aims, run) for run in runs if (run.request.module, run.request.config) != (last.module, last.config)]
    return "nearer" if shortfall(aims, runs[-1]) < min([gap, *before]) else "no-nearer"


def _aim(task: Task, verdict: Verdict) -> Aim:
    target, entry = verdict.target, catalogue.shelf("benchmark").get(task.benchmark)
    units: Mapping[str, str] = (entry.arguments.get("metrics") or {}) if entry else {}
    about = asks(units.get(target.metric, ""), target.metric)
    assert verdict.threshold is not None
    return Aim(metric=target.metric, comparator=target.comparator, threshold=verdict.threshold, asks=about)


def _short(verdict: Verdict) -> float:
    if verdict.state is Word.PASS:
        return 0.0
    return 1.0 if verdict.margin is None else missed(max(0.0, -verdict.margin))


def mean(aims: Sequence[Aim], runs: Sequence[Run]) -> float:
    """Mean shortfall of some runs; at least one."""
    return sum(shortfall(aims, run) for run in runs) / len(runs)


def _promises(arm: Arm, subject: Aim, aims: Sequence[Aim], gap: float) -> bool:
    """Whether all its trials met the target, and none of them cost more elsewhere."""
    met = bool(arm.runs) and all(subject.met(run) for run in arm.runs) and arm.asked <= len(arm.runs)
    return met and mean(aims, arm.runs) < gap
