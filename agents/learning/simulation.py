"""The loop on recorded measurements: deciders, trials, duels and verdicts as in `agents.orchestrator`, with a grid in place of processes.

A decider is asked as in a real run, with a `Situation` of the same make, and carried out by the same rules: two trials that meet the target, then a
duel under `bench.promotion` with the share of its place among all duels, then the verdict on seeds of its own. Recorded seeds are few, so
a duel's pairs are drawn from them, which is the one thing that a real run does differently.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agents.duels import ERROR, subject_of
from agents.learning.replay import TRIALS, VERDICTS, Grid, own
from agents.trials import TRIAL
from bench import promotion
from bench.fold import ROLLBACK
from bench.judge import judge
from plan.decision import IMPROVING, Bout, Candidate, Decider, Decision, Situation, Tried
from plan.nouns import Plan, Run, State, Task, Verdict


@dataclass(slots=True)
class Work:
    """One task and what was done about it."""

    task: Task
    chain: list[Candidate]
    """The champions, the plan's own first."""
    trials: list[Run] = field(default_factory=list)
    fought: list[Tried] = field(default_factory=list)
    pairs: int = 0
    """Measurements of duels."""
    stopped: bool = False
    first_pass: int | None = None
    """Trials until every target passed."""

    @property
    def spent(self) -> int:
        """Measurements that trying has cost."""
        return len(self.trials) + self.pairs


class Simulation:
    """One run of a plan on a grid; `seed` orders the recorded seeds and draws the pairs of duels."""

    def __init__(self, plan: Plan, grid: Grid, decider: Decider, *, seed: int, trials: int | None = None) -> None:
        """`trials`: measurements that trying on a task may cost, duels included; None: what the plan says of each."""
        self.grid, self.decider = grid, decider
        self.trials = {task.id: (task.trials or 0) if trials is None else trials for task in plan.tasks}
        self.plan = replace(
            plan,
            tasks=tuple(replace(task, seeds=replace(task.seeds, first=len(VERDICTS), most=len(VERDICTS))) for task in plan.tasks),
        )
        self.work = {task.id: Work(task, [own(task)]) for task in self.plan.tasks}
        self.draw, self.seed = random.Random(f"simulation {seed}"), seed
        self.decisions: list[Decision] = []
        self.duels = 0

    def run(self) -> None:
        """Ask and carry out until nobody asks for anything any more."""
        while True:
            situation = self.situation()
            asked = self.decider.ask(situation)
            for decision in asked:
                self.decisions.append(decision)
                self._carry_out(decision, situation)
            self._note_passes()
            if not asked:
                return

    def situation(self) -> Situation:
        """What is known now."""
        held = {id: replace(one.task, module=one.chain[-1].module, config=one.chain[-1].config) for id, one in self.work.items()}
        former: list[Verdict] = []
        for id, one in self.work.items():
            if len(one.chain) > 1:
                former += [
                    v
                    for v in self._judged(
                        {**held, id: replace(one.task, module=one.chain[-2].module, config=one.chain[-2].config)}
                    )
                    if v.task == id
                ]
        return Situation(
            plan=replace(self.plan, tasks=tuple(task for id, task in self._held().items() if not self.work[id].stopped)),
            verdicts=tuple(v for v in self._judged(held) if not self.work[v.task].stopped),
            runs={id: self._runs(task) for id, task in held.items()},
            seeds={id: len(VERDICTS) for id in held},
            decisions=tuple(self.decisions),
            champions={id: one.chain[-1] for id, one in self.work.items()},
            tried=tuple(tried for one in self.work.values() for tried in one.fought),
            trials={id: tuple(one.trials) for id, one in self.work.items()},
            trials_left={id: max(0, self.trials[id] - one.spent) for id, one in self.work.items()},
            former=tuple(former),
        )

    def _held(self) -> Mapping[str, Task]:
        return {id: one.task for id, one in self.work.items()}

    def _judged(self, held: Mapping[str, Task]) -> tuple[Verdict, ...]:
        plan = replace(self.plan, tasks=tuple(held.values()))
        return judge(plan, {id: self._runs(task) for id, task in held.items()})

    def _runs(self, task: Task) -> tuple[Run, ...]:
        held = Candidate(module=task.module, config=task.config)
        return tuple(self._named(self.grid.run(task, held, seed)) for seed in VERDICTS)

    def _named(self, run: Run, *place: object) -> Run:
        """The run under a key of this simulation, since what a decider draws follows from the keys it knows."""
        return replace(run, key=hashlib.sha256(f"{self.seed} {run.key} {place}".encode()).hexdigest())

    def _carry_out(self, decision: Decision, situation: Situation) -> None:
        action = decision.action
        one = self.work[action.task]
        if action.kind == "stop":
            one.stopped = True
        elif action.kind == ROLLBACK:
            one.chain.pop()
            one.fought = [replace(t, rolled_back=t.rolled_back or t.decision == action.details["decision"]) for t in one.fought]
        elif action.kind == TRIAL:
            for details in action.details["candidates"]:
                one.trials.append(self._trial(one, Candidate.of(details)))
        elif action.kind in IMPROVING:
            self._fight(decision, one, situation)

    def _trial(self, one: Work, candidate: Candidate) -> Run:
        before = sum((run.request.module, run.request.config) == (candidate.module, candidate.config) for run in one.trials)
        order = random.Random(f"{self.seed} {candidate!r}").sample(TRIALS, len(TRIALS))
        return self._named(self.grid.run(one.task, candidate, order[before % len(order)]), one.task.id, len(one.trials))

    def _fight(self, decision: Decision, one: Work, situation: Situation) -> None:
        candidate, champion = Candidate.of(decision.action.details), one.chain[-1]
        self.duels += 1
        subject = subject_of(situation.verdicts, one.task)
        assert subject is not None, "a decider asked for a duel where nothing is wanting"
        target, better, _ = subject
        share = promotion.share(self.duels, ERROR)
        most, paid = promotion.limit(share), (self.trials[one.task.id] - one.spent) // 2
        pairs: list[tuple[float | None, float | None]] = []
        answer = None
        while len(pairs) < paid:
            pairs.append((self._number(one.task, champion, target.metric), self._number(one.task, candidate, target.metric)))
            answer = promotion.duel(pairs, better=better, error=share, most=most)
            if answer.ended:
                break
        word = answer.answer.value if answer is not None and answer.ended else "undecided"
        one.pairs += 2 * len(pairs)
        bout = Bout(answer=word, why="", metric=target.metric, better=better, pairs=tuple(pairs), runs=("",) * (2 * len(pairs)))
        one.fought.append(
            Tried(
                decision=decision.id,
                kind=decision.action.kind,
                task=one.task.id,
                candidate=candidate,
                champion=champion,
                bout=bout,
            )
        )
        if word == "promote":
            one.chain.append(candidate)

    def _number(self, task: Task, candidate: Candidate, metric: str) -> float | None:
        return self.grid.run(task, candidate, self.draw.choice(TRIALS)).metrics.get(metric)

    def _note_passes(self) -> None:
        held = {id: replace(one.task, module=one.chain[-1].module, config=one.chain[-1].config) for id, one in self.work.items()}
        verdicts = self._judged(held)
        for id, one in self.work.items():
            if one.first_pass is None and all(v.state is State.PASS for v in verdicts if v.task == id):
                one.first_pass = len(one.trials)


Make = Callable[[int], Decider]
"""A decider for one policy seed."""


def passes(simulation: Simulation) -> Sequence[str]:
    """Tasks whose targets all pass at the end."""
    return [id for id, one in simulation.work.items() if one.first_pass is not None]
