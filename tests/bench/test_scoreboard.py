"""The record behind every report agrees with the ledger, and its timeless form forgets time alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.events import Abandoned, Effect, Session, Started, Wanted, attempt_key
from bench.hold import LedgerFault
from bench.ledger import Ledger
from bench.report import html, json, markdown, wording
from bench.scoreboard import Scoreboard, scoreboard, timeless
from plan.decision import Action, Decision, Opinion, Stance
from plan.grammar import parse
from plan.nouns import Cost, Request, Run, State, Status
from tests.bench import report_boards

PLAN = """# Two blocks

## dense: the transformer learns

- **module**: `transformer`
- **benchmark**: `bytes-stdlib-v1`
- **budget**: 30 steps
- **seeds**: 3, up to 5

| metric    |    | threshold | rule      |
| --------- | -- | --------: | --------- |
| `val_bpb` | <= |   6.0 bpb | upper 95% |

## retention: RetNet beside it

- **module**: `retnet`
- **benchmark**: `bytes-stdlib-v1`
- **needs**: `dense`
- **budget**: 30 steps
- **seeds**: 3

| metric    |    | threshold | rule       |
| --------- | -- | --------: | ---------- |
| `val_bpb` | <= | 1.2 x dense | every seed |
"""


def key(task: str, seed: int) -> str:
    return f"{task:0<8}{seed:0>56}".replace("t", "7").replace("n", "8")


def finished(module: str, task: str, seed: int, value: float, **changes: object) -> Run:
    made = Run(
        key=key(task, seed),
        request=Request(module=module, benchmark="bytes-stdlib-v1", seed=seed, steps=30),
        status=Status.OK,
        metrics={"val_bpb": value},
        cost=Cost(seconds=4.0),
        facts={"data_digest": "abc", "train_seconds": 3.3},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def gate(module: str) -> Run:
    request = Request(module=module, benchmark="contract-v1", seed=0)
    return Run(key=f"gate-{module}", request=request, status=Status.OK, metrics={"failures": 0.0})


def tell(ledger: Ledger, *, killed: bool, order: tuple[int, ...] = (0, 1, 2), text: str = PLAN) -> None:
    """One story of three seeds a task; `killed`: with an orchestrator that died and was started again in the middle."""
    ledger.append(
        "session", "s1", Session(path="plan/Two.md", text=text, digest="d", command="orchestrate run", machine={"cores": 2})
    )
    tasks = {"dense": "transformer", "retention": "retnet"}
    wanted = Wanted(
        tasks={task: tuple(key(task, seed) for seed in range(3)) for task in tasks},
        gates={task: f"gate-{module}" for task, module in tasks.items()},
    )
    ledger.append("wanted", "s1/1", wanted)
    for module in tasks.values():
        ledger.append("started", f"gate-{module}#1", Started(tasks=(), request=gate(module).request))
        ledger.append("run", f"gate-{module}#1", gate(module))
    for task, module in tasks.items():
        runs = [finished(module, task, seed, 5.0 + 0.1 * seed + len(task) / 100) for seed in range(3)]
        attempt = 1
        for run in runs:
            ledger.append("started", attempt_key(run.key, attempt), Started(tasks=(task,), request=run.request))
        if killed:
            ledger.append("abandoned", attempt_key(runs[0].key, 1), Abandoned(seconds=2.5))
            ledger.append("run", attempt_key(runs[1].key, 1), replace(runs[1], status=Status.KILLED, metrics={}, log_tail="half"))
            ledger.append("run", attempt_key(runs[2].key, 1), runs[2])
            ledger.append("session", f"again-{task}", Session(path="plan/Two.md", text=text, digest="d", machine={"cores": 2}))
            ledger.append("wanted", f"again-{task}/1", wanted)
            for run in runs[:2]:
                ledger.append("started", attempt_key(run.key, 2), Started(tasks=(task,), request=run.request))
                ledger.append(
                    "run",
                    attempt_key(run.key, 2),
                    replace(run, attempt=2, cost=Cost(seconds=9.0), facts={**run.facts, "train_seconds": 8.8}),
                )
            continue
        for seed in order:
            ledger.append("run", attempt_key(runs[seed].key, attempt), runs[seed])


def test_a_seed_far_beyond_the_others_is_not_counted_up_to(tmp_path: Path) -> None:
    far = finished("transformer", "dense", 2**63, 5.0)
    with Ledger.open(tmp_path / "a.db") as ledger:
        tell(ledger, killed=False)
        ledger.append("started", attempt_key(far.key, 1), Started(tasks=("dense",), request=far.request))
        ledger.append("run", attempt_key(far.key, 1), far)
        ledger.append("wanted", "s1/2", Wanted(tasks={"dense": (*(key("dense", seed) for seed in range(3)), far.key)}))
        board = scoreboard(ledger)
    assert board.verdicts[0].n == 3
    assert all(render(board) for render in (html.render, json.render, markdown.render))


def decide(ledger: Ledger, id: str, stance: Stance, *, applied: bool, undone: bool = False) -> None:
    action = Action(kind="measure-again", task="dense", details={"seeds": 5})
    ledger.append(
        "decision", id, Decision(id=id, decider="more-seeds", action=action, evidence=(), expected=1.0, expects="p", why="unsure")
    )
    ledger.append("opinion", f"{id}/budget", Opinion(guard="budget", decision=id, stance=stance, clause="§1", why="because"))
    if applied:
        ledger.append("applied", id, Effect(details={"seeds": 5}))
    if undone:
        ledger.append("undone", id, Effect(details={"why": "the code moved on"}))


def told(tmp_path: Path, name: str, **story: object) -> Scoreboard:
    with Ledger.open(tmp_path / name) as ledger:
        tell(ledger, **story)  # type: ignore[arg-type]
        decide(ledger, "d1", Stance.ALLOW, applied=True)
        return scoreboard(ledger)


def test_a_kept_plan_that_no_longer_fits_the_shelves_is_told_as_such_and_a_current_one_is_the_mend(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        old = PLAN.replace("`retnet`", "`retnet-of-old`")
        assert old != PLAN
        ledger.append("session", "s1", Session(path="plan/Two.md", text=old, digest="d"))
        with pytest.raises(LedgerFault) as fault:
            scoreboard(ledger)
        told = str(fault.value)
        assert all(words in told for words in ("kept in the ledger", "retnet-of-old", "plan/Two.md:", "`--plan`", "untouched"))
        assert len(scoreboard(ledger, parse(PLAN)).verdicts) == 2


def test_an_unsure_target_at_its_last_look_says_that_no_further_look_is_registered() -> None:
    board = report_boards.mixers()
    rows = [row for row in wording.rows(board) if row.verdict.state is State.UNSURE]
    assert rows
    for row in rows:
        seeds = board.plan.task(row.verdict.task).seeds
        assert ("registered no further look" in wording.reason(row)) == (row.verdict.n == seeds.most)


def test_without_a_plan_file_the_plan_is_the_text_of_the_latest_session(tmp_path: Path) -> None:
    board = told(tmp_path, "a.db", killed=False)
    assert board.plan.source == PLAN
    assert [(v.id, v.state, v.n) for v in board.verdicts] == [
        ("dense::val_bpb", State.PASS, 3),
        ("retention::val_bpb", State.PASS, 3),
    ]
    assert board.verdicts[0].values == pytest.approx((5.05, 5.15, 5.25))
    assert board.seconds == {"dense": 12.0, "retention": 12.0}


@pytest.mark.parametrize("render", [html.render, markdown.render, json.render])
def test_a_killed_and_resumed_story_has_the_same_timeless_report_to_the_byte(tmp_path: Path, render) -> None:  # type: ignore[no-untyped-def]
    straight = told(tmp_path, "straight.db", killed=False)
    resumed = told(tmp_path, "resumed.db", killed=True)
    assert render(straight) != render(resumed) or render is markdown.render
    assert render(timeless(straight)) == render(timeless(resumed))


def test_the_timeless_report_still_shows_a_changed_number(tmp_path: Path) -> None:
    board = timeless(told(tmp_path, "a.db", killed=False))
    first, *rest = board.runs["dense"]
    changed = replace(board, runs={**board.runs, "dense": (replace(first, metrics={"val_bpb": 5.06}), *rest)})
    assert html.render(changed) != html.render(board)


def test_time_spent_on_abandoned_attempts_is_charged(tmp_path: Path) -> None:
    assert told(tmp_path, "a.db", killed=True).seconds["dense"] == pytest.approx(2.5 + 4.0 + 4.0 + 9.0 + 9.0)


def test_the_order_of_completion_changes_nothing_in_the_timeless_report(tmp_path: Path) -> None:
    forward, backward = (told(tmp_path, f"{i}.db", killed=False, order=order) for i, order in enumerate([(0, 1, 2), (2, 0, 1)]))
    assert html.render(timeless(forward)) == html.render(timeless(backward))


def test_a_run_that_was_asked_something_else_does_not_count_for_another_plan(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "a.db") as ledger:
        tell(ledger, killed=False)
        longer = parse(PLAN.replace("30 steps", "60 steps"), path="plan/Longer.md")
        easier = parse(PLAN.replace("6.0 bpb", "7.0 bpb"), path="plan/Easier.md")
        assert {v.state for v in scoreboard(ledger, longer).verdicts} == {State.WAITING}
        assert [v.n for v in scoreboard(ledger, easier).verdicts] == [3, 3]


def test_a_decision_is_told_with_its_opinions_and_what_became_of_it(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "a.db") as ledger:
        tell(ledger, killed=False)
        decide(ledger, "d1", Stance.ALLOW, applied=True)
        decide(ledger, "d2", Stance.BLOCK, applied=False)
        decide(ledger, "d3", Stance.ALLOW, applied=True, undone=True)
        outcomes = {told.decision.id: (told.opinions[0].stance, told.outcome) for told in scoreboard(ledger).told}
    assert outcomes["d1"] == (Stance.ALLOW, "applied; now val_bpb pass at n 3")
    assert outcomes["d2"] == (Stance.BLOCK, "not applied: blocked by budget")
    assert outcomes["d3"] == (Stance.ALLOW, "undone: the code moved on")


def test_a_trial_is_told_by_what_it_measured_itself_whatever_the_task_came_to_later(tmp_path: Path) -> None:
    config = {"d_model": 32}
    action = Action(
        kind="trial", task="dense", details={"candidates": [{"module": "retnet", "config": config}], "seeds": [1000, 1001]}
    )
    decision = Decision(id="d7", decider="qae", action=action, evidence=(), expected=0.5, expects="p", why="to be tried")
    with Ledger.open(tmp_path / "a.db") as ledger:
        tell(ledger, killed=False)
        ledger.append("decision", "d7", decision)
        assert scoreboard(ledger).told[0].outcome == "not applied yet"
        ledger.append("applied", "d7", Effect())
        for seed, changes in ((1000, {}), (1001, {"status": Status.CRASHED, "metrics": {}, "message": "no memory"})):
            run = finished("retnet", "dense", seed, 4.25, **changes)
            run = replace(run, request=replace(run.request, config=config))
            before = scoreboard(ledger).told[0].outcome
            ledger.append("started", attempt_key(run.key, 1), Started(tasks=("dense",), request=run.request, decision="d7"))
            ledger.append("run", attempt_key(run.key, 1), run)
        after = scoreboard(ledger).told[0].outcome
    assert before == "measured: module retnet: seed 1000 val_bpb 4.25; seed 1001 not yet"
    assert after == "measured: module retnet: seed 1000 val_bpb 4.25; seed 1001 crashed no memory"


@pytest.mark.parametrize(
    ("payers", "charged"), [({}, "dense"), ({key("dense", seed): "retention" for seed in range(3)}, "retention")]
)
def test_a_run_that_serves_two_tasks_is_charged_to_the_one_that_pays(
    tmp_path: Path, payers: dict[str, str], charged: str
) -> None:
    with Ledger.open(tmp_path / "a.db") as ledger:
        tell(ledger, killed=False)
        shared = tuple(key("dense", seed) for seed in range(3))
        ledger.append("wanted", "s1/9", Wanted(tasks={"dense": shared, "retention": shared}, payers=payers))
        board = scoreboard(ledger, parse(PLAN.replace("`retnet`", "`transformer`"), path="plan/Two.md"))
    assert board.seconds == {charged: 12.0}
    assert board.spent == 12.0
    other = "dense" if charged == "retention" else "retention"
    assert {(lane.task, lane.payer) for lane in board.lanes} == {(charged, ""), (other, charged)}, "a bar in the row of each"
    page = html.render(board)
    rows = re.findall(r'<td><a href="#(\w+)">.*?</td><td class="id">(\w+)</td>', page)
    assert [task for task, _ in rows] == [charged] * 3
    assert page.count(f'</a> and <a href="#{other}">') == 3
    assert page.count(f", paid by {charged}</title>") == 3
    assert "3 runs of 2 tasks" in page


def test_all_that_was_measured_while_a_task_was_improved_is_on_the_time_axis_and_counted(tmp_path: Path) -> None:
    """The plan's own failed runs, those of trials and those of duels, though the verdict rests on the champion's alone."""
    config = {"d_model": 32, "decoder": {"layers": 1}}
    action = Action(kind="tune", task="dense", details={"module": "retnet", "config": config, "patch": "--- a\n+++ b"})
    with Ledger.open(tmp_path / "a.db") as ledger:
        tell(ledger, killed=False)
        plain = scoreboard(ledger)
        ledger.append(
            "decision", "d7", Decision(id="d7", decider="x", action=action, evidence=(), expected=0.5, expects="p", why="w")
        )
        ledger.append("applied", "d7", Effect(details={"k": 1}))
        for seed in (1000, 7_000_000, 1):
            run = replace(finished("retnet", "dense", seed, 4.0), key=f"{seed:0>64}")
            decision = "" if seed == 1 else "d7"
            ledger.append("started", attempt_key(run.key, 1), Started(tasks=("dense",), request=run.request, decision=decision))
            ledger.append("run", attempt_key(run.key, 1), run)
        ledger.append("wanted", "s1/9", Wanted(tasks={"dense": (f"{1:0>64}",)}))
        board = scoreboard(ledger)
    before = {lane.run for lane in plain.lanes}
    assert {lane.run for lane in board.lanes} == before | {"r00000000"}
    assert len(board.lanes) == len(plain.lanes) + 3
    assert board.seconds == {"dense": 6 * 4.0, "retention": 3 * 4.0}
    assert board.spent == 9 * 4.0
    page = html.render(board)
    assert "<li>config: d_model 32, decoder.layers 1</li>" in page
    assert "<pre>--- a\n+++ b</pre>" in page
    assert "&quot;" not in page[page.index('id="decision-d7"') : page.index("outcome</dt>")]


def test_an_empty_ledger_without_a_plan_says_so(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "a.db") as ledger, pytest.raises(LookupError, match="no session yet"):
        scoreboard(ledger)


def test_timeless_keeps_provenance_and_forgets_what_a_slower_machine_would_change() -> None:
    board = timeless(report_boards.mixers())
    facts = board.runs["attention-copy"][0].facts
    assert facts == {"data_digest": "9f2c" * 4, "bytes_train": 27_412_113, "bytes_validation": 3_051_002, "torch": "2.13.0"}
    assert not board.lanes
    assert not board.sessions
    assert all(run.cost == Cost() for runs in board.runs.values() for run in runs)
