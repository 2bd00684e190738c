"""One task with three runs, and decisions about it, for guards to look at."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from plan.decision import Action, Decision, Situation
from plan.nouns import (
    Budget,
    Comparator,
    Cost,
    Plan,
    Request,
    Rule,
    RuleKind,
    Run,
    Seeds,
    State,
    Status,
    Target,
    Task,
    Threshold,
    Verdict,
)  # fmt: skip

TARGET = Target(
    metric="accuracy", comparator=Comparator.GE, threshold=Threshold(value=0.5), rule=Rule(kind=RuleKind.LOWER, level=0.95)
)
PLAN = """# Plan: one task

## a: a task

- **module**: `attention`
- **benchmark**: `mqar-16x2-v64-v1`
- **seeds**: 3
- **improve**: tune

| metric | | threshold | rule |
| --- | -- | --: | --- |
| `accuracy` | >= | 0.5 | every seed |
"""
EVIDENCE = tuple(f"r{seed + 1:08x}" for seed in range(3))


def run(seed: int, **given: Any) -> Run:
    request = Request(module="attention", benchmark="mqar-16x2-v64-v1", seed=seed)
    facts = {"identity": {"data": {"name": "", "digest": "aa"}}}
    sound: dict[str, Any] = {
        "key": f"{seed + 1:08x}".ljust(64, "0"),
        "status": Status.OK,
        "metrics": {"accuracy": 0.4},
        "facts": facts,
        "cost": Cost(seconds=10.0),
    }
    return Run(request=request, **{**sound, **given})


def situation(
    *,
    runs: tuple[Run, ...] | None = None,
    config: dict[str, Any] | None = None,
    reason: str = "",
    plan: Plan | None = None,
    budget: Budget | None = None,
    most: int = 8,
    granted: int = 3,
    free: Collection[int] = (),
) -> Situation:
    """Task `a` with `granted` seeds, a run each, which may buy up to `most`; another task pays for the seeds `free`."""
    task = Task(
        id="a",
        title="a",
        module="attention",
        benchmark="mqar-16x2-v64-v1",
        targets=(TARGET,),
        seeds=Seeds(first=3, most=most),
        config=config or {},
        budget=budget or Budget(),
    )
    found = runs if runs is not None else tuple(map(run, range(granted)))
    state = State.UNSURE if not reason else State.WAITING
    return Situation(
        plan=plan or Plan(title="", tasks=(task,), path="P.md", source="", digest=""),
        verdicts=(Verdict(task="a", target=TARGET, state=state, n=granted, reason=reason),),
        runs={"a": found},
        seeds={"a": granted},
        free={"a": frozenset(free)},
    )


def decision(kind: str, details: dict[str, Any], **given: Any) -> Decision:
    sound: dict[str, Any] = {"id": "d1", "decider": "x", "evidence": EVIDENCE, "expected": 0.5, "expects": "margin", "why": ""}
    return Decision(action=Action(kind=kind, task="a", details=details), **{**sound, **given})


def candidate(kind: str = "refactor", *, patch: str = "", config: dict[str, Any] | None = None, **more: Any) -> Decision:
    return decision(kind, {"module": "attention", "config": config or {}, "patch": patch, **more})
