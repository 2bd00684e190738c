"""Scoreboards to show: realistic runs judged by the real judge, so that tables, charts and words have something to say."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence

from bench.judge import judge
from bench.scoreboard import Lane, Scoreboard, Session, Told
from plan.decision import Action, Decision, Opinion, Stance
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
    Status,
    Target,
    Task,
    Threshold,
)

BEGAN = 1_790_000_000.0
SOURCE = """# Sequence mixers that fit one laptop

We ask which sub-quadratic mixers keep attention's recall at a fixed state size.

## attention-copy: softmax attention sets the bar
...
"""
MACHINE = {"cores": 2, "cpu": "Xeon", "torch": "2.13+cpu"}


def target(metric: str, sign: str, value: float, rule: Rule, *, line: int = 0, unit: str = "", task: str | None = None) -> Target:
    return Target(
        metric=metric, comparator=Comparator(sign), threshold=Threshold(value=value, unit=unit, task=task), rule=rule, line=line
    )


EVERY = Rule(kind=RuleKind.EVERY_SEED)
MEDIAN = Rule(kind=RuleKind.MEDIAN)
LOWER = Rule(kind=RuleKind.LOWER, level=0.95)
UPPER = Rule(kind=RuleKind.UPPER, level=0.95)


def run(
    task: Task,
    seed: int,
    metrics: Mapping[str, float] = {},
    *,
    status: Status = Status.OK,
    message: str = "",
    log: str = "",
    series: Mapping[str, Sequence[tuple[float, float]]] = {},
    seconds: float = 12.5,
) -> Run:
    request = Request(module=task.module, benchmark=task.benchmark, seed=seed, config=task.config, steps=task.budget.steps)
    key = hashlib.sha256(f"{task.id} {task.module} {task.benchmark} {seed}".encode()).hexdigest()
    return Run(
        key=key,
        request=request,
        status=status,
        metrics=metrics,
        message=message,
        log_tail=log,
        series={name: tuple(points) for name, points in series.items()},
        cost=Cost(seconds=seconds, cpu_seconds=seconds, peak_bytes=333447168),
        facts={
            "data_digest": "9f2c" * 4,
            "bytes_train": 27_412_113,
            "bytes_validation": 3_051_002,
            "torch": "2.13.0",
            "train_seconds": seconds,
        },
    )


def loss(seed: int, *, steps: int = 400, floor: float = 1.1) -> dict[str, list[tuple[float, float]]]:
    noise = random.Random(seed)
    return {
        "train_loss": [
            (float(step), floor + 2.4 * math.exp(-step / 90) + noise.gauss(0, 0.03)) for step in range(2, steps + 1, 2)
        ]
    }


def plan_of(
    *tasks: Task, title: str = "Sequence mixers that fit one laptop", source: str = SOURCE, path: str = "plan/Plan.md"
) -> Plan:
    return Plan(
        title=title,
        tasks=tasks,
        path=path,
        source=source,
        digest=hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest(),
    )


def mixers() -> Scoreboard:
    """Three passes, a fail, an unsure, a waiting, a task whose runs were all lost, decisions allowed and blocked."""
    attention = Task(
        id="attention-copy",
        title="softmax attention sets the bar",
        module="attention",
        benchmark="copy-64-v1",
        line=5,
        prose="The reference every other task is measured against.\n\nIt pays for recall with memory that grows with the length.",
        seeds=Seeds(first=5, most=5),
        budget=Budget(seconds=600, steps=400),
        targets=(
            target("accuracy", ">=", 0.99, EVERY, line=14),
            target("peak_memory", "<=", 512 * 2.0**20, EVERY, line=15, unit="MiB"),
        ),
    )
    retnet = Task(
        id="retnet-copy",
        title="RetNet recalls as well as attention",
        module="retnet",
        benchmark="copy-64-v1",
        needs=("attention-copy",),
        line=18,
        prose="Retention's decay should not cost recall at this length (Sun et al. 2023).\nIf it does, we look at the slowest head first.",
        seeds=Seeds(first=5, most=8),
        budget=Budget(seconds=1200, steps=400),
        config={"heads": 4, "gamma": "1 - 2 ** -(5 + head)", "decoder": {"layers": 2}},
        targets=(
            target("accuracy", ">=", 0.98, LOWER, line=34, task="attention-copy"),
            target("step_time", "<=", 0.018, MEDIAN, line=35, unit="ms"),
            target("val_bpb", "<=", 2.0, UPPER, line=36, unit="bpb"),
        ),
    )
    mamba = Task(
        id="mamba-tune",
        title="the search finds a better step size than ours",
        module="mamba",
        benchmark="bytes-v1",
        needs=("retnet-copy",),
        line=40,
        prose="",
        seeds=Seeds(first=8, most=12),
        targets=(target("val_bpb", "<=", 1.10, UPPER, line=50, unit="bpb"),),
    )
    broken = Task(
        id="moe-copy",
        title="experts share the load",
        module="moe",
        benchmark="copy-64-v1",
        line=52,
        seeds=Seeds(first=6, most=6),
        targets=(target("accuracy", ">=", 0.9, LOWER, line=60), target("load_balance_std", "<=", 0.1, MEDIAN, line=61)),
    )
    noise = random.Random(7)
    good = [
        run(attention, s, {"accuracy": 0.994 + 0.0007 * s, "peak_memory": (311 + 3.3 * s) * 2**20}, series=loss(s))
        for s in range(5)
    ]
    close = [
        run(
            retnet,
            s,
            {
                "accuracy": 0.981 + 0.012 * noise.gauss(0, 1),
                "step_time": 0.0211 + 0.0002 * s,
                "val_bpb": 1.71 + 0.02 * noise.random(),
            },
            series=loss(s + 10, floor=1.3),
            seconds=31.0,
        )
        for s in range(5)
    ]
    statuses = [s for s in Status if s not in (Status.OK, Status.KILLED)]
    lost = [
        run(
            broken,
            s,
            status=status,
            message=f"what `{status}` looks like",
            log=f'step {s}\nTraceback (most recent call last):\n  File "moe.py", line 71, in forward\nRuntimeError: {status}',
        )
        for s, status in enumerate(statuses)
    ]
    plan = plan_of(attention, retnet, mamba, broken)
    runs = {"attention-copy": tuple(good), "retnet-copy": tuple(close), "moe-copy": tuple(lost)}
    gates = {task.id: run(task, 0, {"failures": 0.0}) for task in plan.tasks}
    verdicts = judge(plan, runs, gates=gates)
    evidence = tuple(one.id for one in close)
    bought = Decision(
        id="d1f0c2aa4",
        decider="more-seeds",
        action=Action(kind="measure-again", task="retnet-copy", details={"seeds": 8}),
        evidence=evidence,
        expected=0.5,
        expects="share of the task's unsure targets that the estimate says the purchase decides",
        why="`retnet-copy::accuracy` unsure after 5 seeds; the plan registered a look at 8",
    )
    fused = Decision(
        id="d77ab01c3",
        decider="search",
        action=Action(kind="retune", task="retnet-copy", details={"gamma": 0.98}),
        evidence=evidence[:2],
        expected=0.006,
        expects="accuracy",
        why="slower decay keeps older pairs",
    )
    told = (
        Told(
            decision=bought,
            at=BEGAN + 190,
            outcome="applied; now accuracy unsure at n 5",
            opinions=(
                Opinion(
                    guard="budget",
                    decision=bought.id,
                    stance=Stance.ALLOW,
                    clause="§2 within the budget",
                    why="210 s of 1200 s are left",
                ),
            ),
        ),
        Told(
            decision=fused,
            at=BEGAN + 220,
            outcome="not applied: blocked by evidence",
            opinions=(
                Opinion(
                    guard="budget", decision=fused.id, stance=Stance.OBJECT, clause="§2 within the budget", why="it leaves 4 s"
                ),
                Opinion(
                    guard="evidence",
                    decision=fused.id,
                    stance=Stance.BLOCK,
                    clause="§3 no change without a green gate",
                    why="two runs are no evidence",
                ),
            ),
        ),
    )
    lanes, at = [], [BEGAN, BEGAN]
    for task, made in runs.items():
        for index, one in enumerate(made):
            worker = index % 2
            lanes.append(Lane(task=task, run=one.id, began=at[worker], ended=at[worker] + one.cost.seconds, status=one.status))
            at[worker] += one.cost.seconds + 0.4
        at = [max(at) + (4000.0 if task == "retnet-copy" else 0.0)] * 2
    session = Session(id="s1", at=BEGAN, command="orchestrate run --plan plan/Plan.md", machine=MACHINE, options={"workers": 2})
    seconds = {task: sum(one.cost.seconds for one in made) for task, made in runs.items()}
    return Scoreboard(
        plan=plan,
        verdicts=verdicts,
        runs=runs,
        gates=gates,
        told=told,
        sessions=(session,),
        spent=sum(seconds.values()),
        lanes=tuple(lanes),
        seconds=seconds,
    )


def many(n: int) -> Scoreboard:
    """`n` targets over n/2 tasks with eight seeds and long curves each."""
    tasks, runs = [], {}
    for index in range(n // 2):
        task = Task(
            id=f"task-{index:02d}",
            title=f"task number {index}",
            module=f"module-{index % 5}",
            benchmark=f"bench-{index % 7}-v1",
            seeds=Seeds(first=8, most=8),
            gate=False,
            line=index * 10 + 1,
            targets=(
                target("accuracy", ">=", 0.9, LOWER, line=index * 10 + 5),
                target("loss", "<=", 1.2, UPPER, line=index * 10 + 6),
            ),
        )
        noise = random.Random(index)
        tasks.append(task)
        runs[task.id] = tuple(
            run(
                task,
                s,
                {
                    "accuracy": 0.9 + noise.gauss(0.004 * (index % 5 - 2), 0.01),
                    "loss": 1.2 + noise.gauss(0.05 * (index % 3 - 1), 0.02),
                },
                series=loss(index * 8 + s, steps=2000),
            )
            for s in range(8)
        )
    plan = plan_of(*tasks, title=f"{n} targets")
    return Scoreboard(plan=plan, verdicts=judge(plan, runs), runs=runs)


def empty() -> Scoreboard:
    """A plan of which nothing was measured."""
    plan = mixers().plan
    return Scoreboard(plan=plan, verdicts=judge(plan, {}))


HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)> & \"quoted\" \x1b[31mred\x1b[2J\x07 \u202eevil [bold]markup[/bold] `tick` | bar é漢字🙂 \ud800"


def hostile() -> Scoreboard:
    """Text in every place a user, a child process or a decider can write to, all of it ill-meant."""
    task = Task(
        id="evil",
        title=HOSTILE + " long" * 400,
        module="attention",
        benchmark="copy-64-v1",
        prose=HOSTILE + "\n</div></article>\n" + HOSTILE,
        line=3,
        config={"name": HOSTILE, "decoder": {"x": HOSTILE}},
        seeds=Seeds(first=2, most=2),
        targets=(target("accuracy", ">=", 0.5, EVERY, line=9),),
    )
    lost = run(task, 1, status=Status.CRASHED, message=HOSTILE, log=HOSTILE + "\n\x1b]0;title\x07progress 1\rprogress 2\n")
    runs = {"evil": (run(task, 0, {"accuracy": 0.7}), lost)}
    plan = plan_of(
        task, title=HOSTILE, source=f"# {HOSTILE}\n\n## evil: {HOSTILE}\n</pre></details><script>1</script>\n", path="plan/<b>.md"
    )
    decision = Decision(
        id="d1",
        decider=HOSTILE,
        action=Action(kind="measure-again", task="evil", details={"x": HOSTILE}),
        evidence=(HOSTILE,),
        expected=1.0,
        expects=HOSTILE,
        why=HOSTILE,
    )
    opinion = Opinion(guard=HOSTILE, decision="d1", stance=Stance.BLOCK, clause=HOSTILE, why=HOSTILE)
    session = Session(id="s", at=BEGAN, command=HOSTILE, machine={"cpu": HOSTILE}, options={"x": HOSTILE})
    return Scoreboard(
        plan=plan,
        verdicts=judge(plan, runs, gates={task.id: run(task, 0, {"failures": 0.0})}),
        runs=runs,
        told=(Told(decision=decision, opinions=(opinion,), outcome=HOSTILE, at=BEGAN),),
        sessions=(session,),
    )
