"""Which measurements a plan wants, in which order, and what keeps one from starting."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from agents.schedule import Job, gate_of, jobs, obstacle, reason, request_of, seeds_wanted, select
from bench.events import Event, Started, attempt_key
from bench.fingerprint import Code
from bench.fold import Facts
from bench.identity import Identity
from plan.nouns import Budget, Comparator, Plan, Request, Rule, RuleKind, Run, Seeds, Status, Target, Task, Threshold
from plan.wire import encode, plain


def identify(request: Request) -> Identity:
    return Identity(key=sha256(encode(request).encode()).hexdigest(), parts={}, code=Code(digest=""))


def task(
    id: str,
    *,
    needs: tuple[str, ...] = (),
    module: str = "attention",
    seeds: Seeds | None = None,
    budget: Budget | None = None,
    priority: int = 0,
    gate: bool = False,
    versus: str | None = None,
    config: dict[str, Any] | None = None,
) -> Task:
    target = Target(
        metric="accuracy", comparator=Comparator.GE, threshold=Threshold(value=0.5, task=versus), rule=Rule(kind=RuleKind.MEAN)
    )
    return Task(
        id=id,
        title=id,
        module=module,
        benchmark=f"{id}-v1",
        targets=(target,),
        needs=needs,
        seeds=seeds or Seeds(first=2, most=2),
        budget=budget or Budget(),
        priority=priority,
        gate=gate,
        config=config or {},
    )


def plan(*tasks: Task) -> Plan:
    return Plan(title="", tasks=tasks, path="P.md", source="", digest="")


def wanted(*tasks: Task, granted: dict[str, int] | None = None) -> tuple[Job, ...]:
    seeds = seeds_wanted(tasks, identify, lambda id, keys: (granted or {}).get(id))
    return jobs(tasks, seeds, identify)


def run(job: Job, status: Status = Status.OK, **metrics: float) -> Run:
    return Run(key=job.key, request=job.request, status=status, metrics=metrics, message="why not")


def names(found: Iterable[Job]) -> list[str]:
    return [f"{job.request.benchmark}:{job.request.seed}" for job in found]


def test_jobs_stand_in_the_order_of_priority_then_plan_then_seed() -> None:
    found = wanted(task("a"), task("b", priority=1), task("c"))
    assert names(found) == ["b-v1:0", "b-v1:1", "a-v1:0", "a-v1:1", "c-v1:0", "c-v1:1"]


def test_a_task_compared_seed_by_seed_brings_its_rival_to_as_many_seeds() -> None:
    found = wanted(
        task("a", seeds=Seeds(first=1, most=1)),
        task("b", needs=("a",), seeds=Seeds(first=2, most=4), versus="a"),
        granted={"b": 4},
    )
    assert names(found) == ["a-v1:0", "a-v1:1", "a-v1:2", "a-v1:3", "b-v1:0", "b-v1:1", "b-v1:2", "b-v1:3"]


def test_a_grant_that_rests_on_seeds_a_rival_asked_for_is_measured() -> None:
    one, rival = task("a"), task("b", needs=("a",), seeds=Seeds(first=4, most=4), versus="a")
    evidence = {identify(request_of(one, seed)).key for seed in range(4)}

    def granted(id: str, keys: Collection[str]) -> int | None:
        return 5 if id == "a" and evidence <= set(keys) else None

    assert seeds_wanted((one, rival), identify, granted) == {"a": 5, "b": 4}
    assert seeds_wanted((one,), identify, granted) == {"a": 2}


def test_only_takes_the_needs_along_and_nothing_else() -> None:
    chosen = select(plan(task("a"), task("b", needs=("a",)), task("c", needs=("b",)), task("d")), ["c"])
    assert [t.id for t in chosen] == ["a", "b", "c"]


def test_no_number_before_the_gate_is_green() -> None:
    gate, first, _ = wanted(p := task("a", gate=True))
    assert gate.gate
    assert obstacle(gate, plan(p), (gate, first), {}) is None
    assert "have not run yet" in str(obstacle(first, plan(p), (gate, first), {}))
    assert "2 of its contract checks are red" in str(obstacle(first, plan(p), (gate, first), {gate.key: run(gate, failures=2.0)}))
    assert "crashed" in str(obstacle(first, plan(p), (gate, first), {gate.key: run(gate, Status.CRASHED)}))
    assert obstacle(first, plan(p), (gate, first), {gate.key: run(gate, failures=0.0)}) is None


def test_tasks_of_one_module_share_a_gate_only_where_their_blocks_are_configured_alike() -> None:
    tasks = [
        task("a", gate=True, config={"heads": 2, "recipe": {"lr": 1e-3}}),
        task("b", gate=True, config={"heads": 2, "decoder": {"layers": 4}}),
        task("c", gate=True, config={"heads": 5}),
    ]
    found = wanted(*tasks)
    a, b, c = (gate_of(one, found) for one in tasks)
    assert a is b is not c
    assert [gate.request.config for gate in (a, c) if gate] == [{"heads": 2}, {"heads": 5}]
    runs = {gate.key: run(gate, failures=failures) for gate, failures in ((a, 0.0), (c, 1.0)) if gate}
    started = [job.tasks for job in found if not job.gate and obstacle(job, plan(*tasks), found, runs) is None]
    assert started == [("a",), ("a",), ("b",), ("b",)]


def test_a_task_that_measures_the_contract_itself_waits_for_no_gate() -> None:
    mine = replace(task("a", gate=True), benchmark="contract-v1")
    found = wanted(mine)
    assert [obstacle(job, plan(mine), found, {}) for job in found] == [None, None]


def test_a_task_waits_until_all_it_needs_is_measured_and_for_ever_when_that_crashed() -> None:
    tasks = task("a"), task("b", needs=("a",))
    a0, a1, b0, b1 = found = wanted(*tasks)
    assert obstacle(a0, plan(*tasks), found, {}) is None
    assert "not measured yet" in str(obstacle(b0, plan(*tasks), found, {a0.key: run(a0)}))
    assert obstacle(b0, plan(*tasks), found, {a0.key: run(a0), a1.key: run(a1)}) is None
    assert "ended crashed" in str(obstacle(b1, plan(*tasks), found, {a0.key: run(a0), a1.key: run(a1, Status.CRASHED)}))


def test_a_task_whose_need_cannot_be_measured_does_not_start() -> None:
    tasks = task("a"), task("b", needs=("a",))
    without = wanted(tasks[1])
    assert obstacle(without[0], plan(*tasks), without, {}) == "needs `a`, which cannot be measured"


def known_by(code: str) -> Callable[[Request], Identity]:
    def identity(request: Request) -> Identity:
        parts = {"request": plain(request), "code": code, "data": {"digest": ""}, "environment": {}}
        return Identity(key=sha256(encode(parts).encode()).hexdigest(), parts=parts, code=Code(digest=code))

    return identity


def told(tasks: Iterable[Task], *, after: Iterable[Task] = (), code: str = "c0") -> list[str]:
    """Why each job of `tasks` is to be measured in a ledger where those of `after` were begun under the code `c0`."""
    facts = Facts()
    for seq, job in enumerate(jobs(after, {one.id: 1 for one in after}, known_by("c0")), 1):
        begun = Started(tasks=job.tasks, request=job.request, identity=job.identity.parts)
        facts.advance(Event(seq=seq, at=0.0, kind="started", key=attempt_key(job.key, 1), body=encode(begun)))
    return [reason(job, facts, done=False) for job in jobs(tasks, {one.id: 1 for one in tasks}, known_by(code))]


def test_a_first_measurement_is_new_whatever_other_tasks_have_measured_at_other_configs() -> None:
    one, other = (replace(task(id, gate=True, config={"heads": heads}), benchmark="b-v1") for id, heads in (("a", 2), ("b", 5)))
    assert told([other], after=[one]) == ["new", "new"]
    assert told([one], after=[one], code="c1") == ["changed: the code changed"] * 2
    edited = replace(one, config={"heads": 4})
    assert told([edited], after=[one]) == ["new", "changed: request `config.heads`: 2 -> 4"]
    renamed = replace(one, id="c")
    assert told([renamed], after=[one], code="c1") == ["changed: the code changed"] * 2
