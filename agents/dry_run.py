"""The option `--dry-run`: the task graph, every run with the cache's reason, and the estimated time."""

from __future__ import annotations

from collections.abc import Sequence

from agents.display import clock_text
from agents.orchestrator import Options
from agents.reading import console
from agents.schedule import DEFAULT_SECONDS, Job, gate_of, jobs, reason, seeds_wanted, select
from bench.fold import Facts, fold
from bench.identity import Identifier
from bench.ledger import Ledger, LedgerFault
from plan.exits import Exit
from plan.nouns import Plan, Run


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
        gate = gate_of(task, wanted)
        for job in wanted:
            if task.id in job.tasks or job is gate:
                name = "gate" if job is gate else f"seed {job.request.seed}"
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
