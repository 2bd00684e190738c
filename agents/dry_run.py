"""The option `--dry-run`: the task graph, every run with the cache's reason, and the estimated time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.display import clock_text
from agents.orchestrator import Options
from agents.reading import console
from agents.schedule import DEFAULT_SECONDS, Job, jobs, seeds_wanted, select
from bench.fold import Facts, fold
from bench.identity import Identifier, explain
from bench.ledger import Ledger, LedgerFault
from plan.exits import Exit
from plan.nouns import Plan, Run, Status


def print_forecast(plan: Plan, place: str, options: Options) -> Exit:
    """Print what `run` would do. Nothing is measured and nothing is written."""
    try:
        with Ledger.open(place, create=False) as ledger:
            facts = fold(ledger.events())
    except LedgerFault as fault:
        if "no ledger here yet" not in str(fault):
            raise
        facts = Facts()
    tasks = select(plan, options.only)
    identify = Identifier().identify
    wanted = jobs(tasks, seeds_wanted(tasks, identify, lambda id, keys: facts.granted(id, among=keys)), identify)
    out = console()
    out.print(f"{plan.path}: {len(tasks)} tasks, {len(wanted)} measurements, {options.workers} at a time", markup=False)
    for task in tasks:
        needs = f"  needs {', '.join(task.needs)}" if task.needs else ""
        out.print(f"\n{task.id}  ({task.module} on {task.benchmark}){needs}", markup=False)
        for job in wanted:
            if task.id in job.tasks or (job.gate and task.gate and job.request.module == task.module):
                name = "gate" if job.gate else f"seed {job.request.seed}"
                out.print(f"  {job.run_id}  {name:<8} {reason(job, facts)}", markup=False)
    new = [job for job in wanted if not facts.done(job.key)]
    seconds = sum(estimate(job, facts) or 0.0 for job in new) / options.workers
    unknown = sum(1 for job in new if estimate(job, facts) is None)
    cap = sum(task.budget.seconds or DEFAULT_SECONDS * task.seeds.first for task in tasks) / options.workers
    known = f"about {clock_text(seconds)}" if new and unknown < len(new) else "no time" if not new else "unknown time"
    more = f", {unknown} of them never measured here" if unknown and new else ""
    limit = f"; at most {clock_text(cap)} by the tasks' budgets" if new else ""
    out.print(f"\n{len(wanted) - len(new)} cached, {len(new)} to measure: {known}{more}{limit}; nothing was run", markup=False)
    return Exit.HOLDS


def reason(job: Job, facts: Facts) -> str:
    """Why the job is cached, or what changed since the nearest earlier run of the same kind."""
    run = facts.run(job.key)
    if run is not None:
        return f"cached: {run.status.value}" + (
            "" if run.status is Status.OK else f" ({run.message}); --retry-failed measures it again"
        )
    if job.key in facts.attempts:
        return "interrupted: goes on from its checkpoint"
    earlier = _nearest(job, facts)
    return "changed: " + "; ".join(explain(earlier, job.identity.parts, facts.code)) if earlier else "new"


def estimate(job: Job, facts: Facts) -> float | None:
    """Mean seconds of finished runs of the same module, benchmark and steps; None when there is none."""
    same = [
        run.cost.seconds for run in _runs(facts) if _kind(run) == (job.request.module, job.request.benchmark, job.request.steps)
    ]
    return sum(same) / len(same) if same else None


def _kind(run: Run) -> tuple[str, str, int | None]:
    return run.request.module, run.request.benchmark, run.request.steps


def _nearest(job: Job, facts: Facts) -> Mapping[str, Any] | None:
    """What the latest run of the same seed and task, else of the same seed, module and benchmark, was made of."""
    best: tuple[bool, int, Mapping[str, Any]] | None = None
    for attempts in facts.attempts.values():
        last = attempts[-1]
        asked = (last.request.module, last.request.benchmark)
        same_task = bool(set(last.tasks) & set(job.tasks))
        if last.request.seed == job.request.seed and (same_task or asked == (job.request.module, job.request.benchmark)):
            best = max(best or (False, 0, {}), (same_task, last.seq, last.identity), key=lambda found: found[:2])
    return best[2] if best else None


def _runs(facts: Facts) -> Sequence[Run]:
    return [attempts[-1].run for attempts in facts.attempts.values() if attempts[-1].done]
