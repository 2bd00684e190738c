"""How many bad changes are caught with the critic beside people, at equal votes, on recorded measurements of real candidates.

Protocol. A grid (`python -m agents.learning.record plan/Improve.md FILE`) holds the metric of each candidate on five seeds. Each task's own module
and config is the champion; every other row of its benchmark that has the same module and differs in at most two entries, or another
module, is a change, bad where its mean gain over the seeds is not positive or it has no numbers. In each of eight lives, 150 of them come in random order. People vote on every fifth,
before the outcome, and are right eight times of ten; what they reject is caught. The other arm has the same votes and the guard's rule: also
caught is what the blend gives less than `DOUBT`. What is caught is not tried and teaches nothing, but for one in ten.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignment.critic import Change, Critic, chance
from alignment.critic_report import bootstrap, report
from alignment.guards.critic import DOUBT
from plan.catalogue import HOUSE
from plan.decision import Action, Candidate, Decision, Say, Vote, entries
from plan.grammar import read
from plan.nouns import Task

VOTED, RIGHT, STILL = 0.2, 0.8, 0.1
"""Share of changes that people vote on, how often they are right, and the share of caught changes that are tried all the same."""
ORDERS = 8
LONG = 150
"""Changes in one life, drawn without replacement."""
ASKED = 0.60


@dataclass(frozen=True, slots=True)
class Lived:
    """A change and how it turned out."""

    change: Change
    good: float

    @property
    def bad(self) -> bool:
        """Whether its mean gain is not positive."""
        return self.good <= 0.5


def changes(grid: Path, plan: Path = HOUSE / "plan" / "Improve.md") -> list[Lived]:
    """Every change that the grid can tell the outcome of."""
    with grid.open(newline="") as file:
        lines = list(csv.reader(line for line in file if not line.startswith("#")))[1:]
    found: list[Lived] = []
    for task in read(plan).tasks:
        target = task.targets[0]
        rows = {(module, config): [float(v) if v else None for v in values] for benchmark, module, config, metric, *values in lines
                if (benchmark, metric) == (task.benchmark, target.metric)}  # fmt: skip
        own = rows.get((task.module, _key(task.config)))
        if own is None or None in own:
            continue
        for (module, config), values in rows.items():
            candidate = Candidate(module=module, config=json.loads(config))
            if not _near(task, candidate):
                continue
            sign = 1.0 if target.comparator.wants_more else -1.0
            gains = [sign * (b - a) for a, b in zip(own, values, strict=True) if a is not None and b is not None]
            good = chance(gains) if len(gains) == len(own) else 0.0
            kind = "replace" if module != task.module else "tune"
            action = Action(kind=kind, task=task.id, details=candidate.details)
            id = f"d{len(found):04d}"
            decision = Decision(id=id, decider="grid", action=action, evidence=(), expected=0.0, expects="", why="")
            champion = Candidate(module=task.module, config=task.config)
            found.append(Lived(Change(decision=decision, champion=champion, subject=task.benchmark), good or 0.0))
    return found


def _key(config: Mapping[str, Any]) -> str:
    return json.dumps({k: dict(v) if isinstance(v, Mapping) else v for k, v in config.items()}, sort_keys=True)


def _near(task: Task, candidate: Candidate) -> bool:
    one, two = dict(entries(task.config)), dict(entries(candidate.config))
    apart = sum(one.get(key) != two.get(key) for key in {*one, *two})
    return candidate.module != task.module or 0 < apart <= 2


def order(lived: list[Lived], *, seed: int) -> tuple[Critic, dict[str, int]]:
    """One life: the critic at its end, and how many changes of which kind were caught by whom."""
    random, critic = np.random.default_rng(seed), Critic(seed=seed)
    counts = dict.fromkeys(("bad", "good", "people bad", "people good", "both bad", "both good"), 0)
    for n in random.permutation(len(lived))[:LONG]:
        one = lived[int(n)]
        votes: tuple[Vote, ...] = ()
        if random.random() < VOTED:
            approve = one.bad != (random.random() < RIGHT)
            votes = (Vote(decision=one.change.decision.id, say=Say.APPROVE if approve else Say.REJECT, by="ann"),)
        rejected = bool(votes) and votes[0].say is Say.REJECT
        caught = rejected or critic.score(one.change, votes).good < DOUBT
        side = "bad" if one.bad else "good"
        counts[side] += 1
        counts[f"people {side}"] += rejected
        counts[f"both {side}"] += caught
        if not caught or random.random() < STILL:
            critic.update(one.change, one.good, votes)
    return critic, counts


def caught(grid: Path, *, seed: int) -> list[str]:
    """The row of the claim, with its interval over orders and people, and the critic's own record."""
    lived = changes(grid)
    lives = [order(lived, seed=1000 * seed + k) for k in range(ORDERS)]
    more = bootstrap(np.array([c["both bad"] / max(1, c["people bad"]) - 1 for _, c in lives]))
    mean = {name: float(np.mean([c[name] for _, c in lives])) for name in lives[0][1]}
    word = "pass" if more.low >= ASKED else "fail" if more.high < ASKED else "unsure"
    return [
        f"{word}  bad changes caught beyond people alone, at equal votes: {more.text}; asked {ASKED}",
        f"      of {mean['bad']:.0f} bad changes: people {mean['people bad']:.1f}, with the critic {mean['both bad']:.1f}; "
        f"false alarms of {mean['good']:.0f} good ones: {mean['people good']:.1f} and {mean['both good']:.1f}",
        *("      " + line for line in report(lives[0][0]).lines()),
    ]
