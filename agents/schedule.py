"""Which measurements a plan wants, in which order, and why one of them cannot start yet.

Pure: everything here is a function of the plan, the seeds granted, and the runs already folded.
Jobs stand in submission order: priority, then the plan's order, then the seed. That order never
depends on which measurement happens to finish first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.fold import Facts
from bench.identity import Identity, explain
from plan import catalogue
from plan.nouns import Plan, Request, Run, Status, Task
from plan.wire import plain

GATE = "contract-v1"
"""The benchmark whose `failures` must be 0 before any number of a module counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One measurement the plan wants, known by its key; several tasks may want the same."""

    request: Request
    identity: Identity
    tasks: tuple[str, ...]
    """Ids of the tasks that measure it; empty for what is only a gate, and for what only a decision asks for."""
    payer: str = ""
    """Of what a decision asks for: the task whose budget pays."""
    decision: str = ""
    """Id of the decision that asks for it; empty for what the plan itself asks for."""

    @property
    def key(self) -> str:
        """What the run is known by in the ledger."""
        return self.identity.key

    @property
    def gate(self) -> bool:
        """True for contract checks, which no gate can hold back."""
        return self.request.benchmark == GATE

    @property
    def alone(self) -> bool:
        """True when the benchmark times things and nothing else may run beside it."""
        entry = catalogue.shelf("benchmark").get(self.request.benchmark)
        return bool(entry and entry.arguments.get("alone"))

    @property
    def run_id(self) -> str:
        """The id its run has or will have."""
        return "r" + self.key[:8]


Identify = Callable[[Request], Identity]
Granted = Callable[[str, Collection[str]], int | None]
"""(task id, keys of its runs) -> seeds that decisions resting on those runs granted it."""


def request_of(task: Task, seed: int) -> Request:
    """What measuring `task` with `seed` asks for."""
    return Request(
        module=task.module,
        benchmark=task.benchmark,
        seed=seed,
        config=task.config,
        steps=task.budget.steps,
        device=task.device,
        data=task.data,
        tree=task.tree,
    )


def gate_request(task: Task) -> Request:
    """The gate of `task`: the contract of its module at its own config; tasks that share both share one gate."""
    return Request(module=task.module, benchmark=GATE, seed=0, config=task.block, tree=task.tree)


def gate_of(task: Task, all_jobs: Iterable[Job]) -> Job | None:
    """The job that is the gate of `task`; none where the plan switches it off."""
    wish = gate_request(task)
    return next((job for job in all_jobs if job.request == wish), None) if task.gate else None


def select(plan: Plan, only: Sequence[str]) -> tuple[Task, ...]:
    """The named tasks and all they need, in plan order; all tasks when `only` is empty."""
    if not only:
        return plan.tasks
    wanted, queue = set[str](), list(only)
    while queue:
        id = queue.pop()
        if id not in wanted:
            wanted.add(id)
            queue.extend(plan.task(id).needs)
    return tuple(task for task in plan.tasks if task.id in wanted)


def seeds_wanted(tasks: Sequence[Task], identify: Identify, granted: Granted) -> dict[str, int]:
    """Seeds to measure per task: the first look, what decisions granted, and as many as its pairs need.

    A grant counts only while the runs it rests on are runs of today's code, config and data.
    """
    wanted = _paired(tasks, {task.id: task.seeds.first for task in tasks})
    while True:
        more = dict(wanted)
        for task in tasks:
            keys = {identify(request_of(task, seed)).key for seed in range(wanted[task.id])}
            more[task.id] = max(wanted[task.id], granted(task.id, keys) or 0)
        if _paired(tasks, more) == wanted:
            return wanted
        wanted = more


def reach(tasks: Sequence[Task], seeds: Mapping[str, int]) -> dict[str, int]:
    """Seeds that each task may come to want, as far as the plan says; at least those it wants by now."""
    return _paired(tasks, {task.id: max(task.seeds.most, seeds[task.id]) for task in tasks})


def _paired(tasks: Sequence[Task], seeds: dict[str, int]) -> dict[str, int]:
    for _ in tasks:  # a partner may have partners of its own
        for task in tasks:
            for partner in partners(task):
                seeds[partner] = max(seeds.get(partner, 0), seeds[task.id])
    return seeds


def partners(task: Task) -> set[str]:
    """Tasks whose runs `task` is compared with seed by seed."""
    return {name for target in task.targets for name in (target.threshold.task, target.rule.versus) if name is not None}


def jobs(tasks: Iterable[Task], seeds: Mapping[str, int], identify: Identify, *, alternate: bool = False) -> tuple[Job, ...]:
    """Every measurement wanted by `tasks`, with `seeds[task id]` seeds each; task by task, or seed by seed where they `alternate`."""
    found: dict[str, Job] = {}

    def want(request: Request, owners: tuple[str, ...]) -> None:
        identity = identify(request)
        known = found.get(identity.key)
        owners = owners if known is None else (*known.tasks, *(o for o in owners if o not in known.tasks))
        found[identity.key] = Job(request=request, identity=identity, tasks=owners)

    wanted = [(task, seed) for task in sorted(tasks, key=lambda task: -task.priority) for seed in range(seeds[task.id])]
    for task, seed in sorted(wanted, key=lambda pair: pair[1]) if alternate else wanted:
        if task.gate:
            want(gate_request(task), ())
        want(request_of(task, seed), (task.id,))
    return tuple(found.values())


def gate_word(run: Run | None) -> str | None:
    """None when the gate is open; else the reason it is not."""
    if run is None:
        return "its contract checks have not run yet"
    if run.status is not Status.OK:
        return f"its contract checks ended {run.status.value}: {run.message}"
    failures = run.metrics.get("failures", 1.0)
    return None if failures == 0 else f"{failures:g} of its contract checks are red"


def obstacle(job: Job, plan: Plan, all_jobs: Sequence[Job], runs: Mapping[str, Run]) -> str | None:
    """Why `job` cannot start now, in words; None when it can. What it may cost is `agents.budget`'s business."""
    if job.gate or job.decision:
        return None
    reasons = [_task_obstacle(plan.task(id), all_jobs, runs) for id in job.tasks]
    return None if None in reasons else reasons[0]


def _task_obstacle(task: Task, all_jobs: Sequence[Job], runs: Mapping[str, Run]) -> str | None:
    gate = gate_of(task, all_jobs)
    if gate is not None and (word := gate_word(runs.get(gate.key))) is not None:
        return f"gate of `{task.module}` at the config of `{task.id}`: {word}"
    for need in task.needs:
        wanted = [j for j in all_jobs if need in j.tasks]
        if not wanted:
            return f"needs `{need}`, which cannot be measured"
        broken = [j for j in wanted if j.key in runs and runs[j.key].status is not Status.OK]
        if broken:
            return f"needs `{need}`, whose run {broken[0].run_id} ended {runs[broken[0].key].status.value}"
        if any(j.key not in runs for j in wanted):
            return f"needs `{need}`, which is not measured yet"
    return None


def reason(job: Job, facts: Facts, *, done: bool) -> str:
    """Why the job is cached (`done`), or why it is to be measured: what changed since the nearest earlier run of the same kind."""
    attempts = facts.attempts.get(job.key)
    if attempts is None:
        earlier = _nearest(job, facts)
        return "changed: " + "; ".join(explain(earlier, job.identity.parts, facts.code)) if earlier else "new"
    if not attempts[-1].done:
        return "interrupted: goes on from its checkpoint"
    run = attempts[-1].run
    if not done and run.status is Status.TIMED_OUT:
        return f"timed out after {attempts[-1].limits.seconds:g} s, and its budget has more for it"
    if not done and run.status is Status.OK:
        return "measured, and to be drawn anew as another seed was"
    if not done:
        return f"ended {run.status.value}, to be measured again"
    if run.status is Status.OK:
        return "cached: ok"
    return f"cached: {run.status.value} ({run.message}); --retry-failed measures it again"


def _nearest(job: Job, facts: Facts) -> Mapping[str, Any] | None:
    """What the latest run of the same seed and task, else of the same seed, module, benchmark and config, was made of.

    Another task's run at another config is no earlier form of this one: nothing has changed. So it is with a gate, which is of no task.
    """
    best: tuple[bool, int, Mapping[str, Any]] | None = None
    for attempts in facts.attempts.values():
        last = attempts[-1]
        same_task = bool(set(last.tasks) & set(job.tasks))
        if last.request.seed == job.request.seed and (same_task or _like(last.request) == _like(job.request)):
            best = max(best or (False, 0, {}), (same_task, last.seq, last.identity), key=lambda found: found[:2])
    return best[2] if best else None


def _like(request: Request) -> tuple[str, str, dict[str, Any]]:
    return request.module, request.benchmark, plain(request.config)
