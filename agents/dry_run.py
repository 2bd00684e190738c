"""The option `--dry-run`: the task graph, every run with the cache's reason, and the estimated time."""

from __future__ import annotations

from collections.abc import Sequence

from agents.budget import DEFAULT_SECONDS
from agents.orchestrator import Options
from agents.reading import console
from agents.schedule import Job, gate_of, reason
from agents.standing import Standing
from bench.fold import Facts
from bench.ledger import Ledger, LedgerFault
from bench.report.wording import duration
from plan.exits import Exit
from plan.nouns import Plan, Run


def print_forecast(plan: Plan, place: str, options: Options) -> Exit:
    """Print what `run` would do. Nothing is measured and nothing is written."""
    standing = _standing(plan, place, options)
    facts, wanted = standing.facts, standing.jobs
    new = [job for job in wanted if job.key not in standing.done]
    out = console()
    out.print(f"{plan.path}: {len(standing.tasks)} tasks, {len(wanted)} measurements, {options.workers} at a time", markup=False)
    for task in standing.tasks:
        needs = f"  needs {', '.join(task.needs)}" if task.needs else ""
        out.print(f"\n{task.id}  ({task.module} on {task.benchmark}){needs}", markup=False)
        gate = gate_of(task, wanted)
        for job in wanted:
            if task.id in job.tasks or job is gate:
                name = "gate" if job is gate else f"seed {job.request.seed}"
                why = reason(job, facts, done=job.key in standing.done)
                out.print(f"  {job.run_id}  {name:<8} {why}", markup=False)
    seconds = sum(estimate(job, facts) or 0.0 for job in new) / options.workers
    unknown = sum(1 for job in new if estimate(job, facts) is None)
    keys = {job.key for job in new}
    caps = [
        a.budget.seconds if a.budget.seconds is not None else DEFAULT_SECONDS * len(keys.intersection(a.keys))
        for a in standing.accounts
        if keys.intersection(a.keys)
    ]
    cap = sum(caps) / options.workers
    known = f"about {duration(seconds)}" if new and unknown < len(new) else "no time" if not new else "unknown time"
    more = f", {unknown} of them never measured here" if unknown and new else ""
    limit = f"; at most {duration(cap)} by the tasks' budgets" if new else ""
    out.print(f"\n{len(wanted) - len(new)} cached, {len(new)} to measure: {known}{more}{limit}; nothing was run", markup=False)
    return Exit.HOLDS


def _standing(plan: Plan, place: str, options: Options) -> Standing:
    """Where the plan stands in the ledger at `place`, or in none when there is none yet."""
    try:
        with Ledger.open(place, create=False) as ledger:
            standing = Standing(plan, ledger, only=options.only, retry_failed=options.retry_failed)
            standing.refresh()
            return standing
    except LedgerFault as fault:
        if "no ledger here yet" not in str(fault):
            raise
    standing = Standing(plan, None, only=options.only)
    standing.refresh()
    return standing


def estimate(job: Job, facts: Facts) -> float | None:
    """Mean seconds of finished runs of the same module, benchmark and steps; None when there is none."""
    same = [
        run.cost.seconds for run in _runs(facts) if _kind(run) == (job.request.module, job.request.benchmark, job.request.steps)
    ]
    return sum(same) / len(same) if same else None


def _kind(run: Run) -> tuple[str, str, int | None]:
    return run.request.module, run.request.benchmark, run.request.steps


def _runs(facts: Facts) -> Sequence[Run]:
    return [attempts[-1].run for attempts in facts.attempts.values() if attempts[-1].done]
