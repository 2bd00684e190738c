"""What `why` shows of a target is what was judged."""

from __future__ import annotations

from agents.why import _verdict_lines
from bench.judge import judge
from bench.scoreboard import Scoreboard
from plan.nouns import Comparator, Plan, Request, Rule, RuleKind, Run, Seeds, Status, Target, Task, Threshold


def of(id: str, *accuracies: float) -> tuple[Task, tuple[Run, ...]]:
    wish = Threshold(value=2.0, task="few") if id == "many" else Threshold(value=0.0)
    target = Target(metric="accuracy", comparator=Comparator.GE, threshold=wish, rule=Rule(kind=RuleKind.EVERY_SEED))
    n = len(accuracies)
    task = Task(id=id, title=id, module="m", benchmark=f"{id}-v1", targets=(target,), seeds=Seeds(first=n, most=n), gate=False)
    runs = (
        Run(
            key=f"{seed}{id}".encode().hex(),
            request=Request(module="m", benchmark=f"{id}-v1", seed=seed),
            status=Status.OK,
            metrics={"accuracy": accuracy},
        )
        for seed, accuracy in enumerate(accuracies)
    )
    return task, tuple(runs)


def test_a_relative_threshold_under_every_seed_is_shown_seed_by_seed() -> None:
    pairs = [of("few", 0.1, 0.2), of("many", 0.25, 0.38)]  # the second seed misses 0.4, though it is above the mean of 0.3
    plan = Plan(title="", tasks=tuple(task for task, _ in pairs), path="P.md", source="", digest="")
    runs = {task.id: done for task, done in pairs}
    board = Scoreboard(plan=plan, verdicts=judge(plan, runs), runs=runs)
    (verdict,) = board.verdicts_of("many")
    assert verdict.state == "fail"
    lines = list(_verdict_lines(verdict, board))
    assert "accuracy ≥ 0.4, rule `every seed`" in lines[1]
    assert "measured  0.38 " in lines[2]
    assert "margin −5.0 %" in lines[2]
    assert [line.split("  ", 3)[-1].strip() for line in lines[-2:]] == ["0.25   against 0.2", "0.38   against 0.4"]
