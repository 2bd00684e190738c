"""The loop as a user meets it: verdicts, the cache, signals, budgets, resuming."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents.loop import HOUSE, Loop, facts, kill


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """A plan worked through without interruption."""
    loop = Loop(tmp_path_factory.mktemp("finished"))
    done = loop.run()
    assert done.returncode == 1, done.stderr
    return loop


def test_every_target_is_judged_with_interval_and_seeds(finished: Loop) -> None:
    report = json.loads(finished.report())
    states = {(v["task"], v["target"]["rule"]["kind"]): v for v in report["targets"]}
    assert states["few", "every seed"]["state"] == "pass"
    assert states["many", "lower"]["state"] == "fail"
    assert states["again", "mean"]["state"] == "fail"
    assert all(v["n"] >= 3 and v["low"] <= v["value"] <= v["high"] for v in report["targets"])


def test_a_measurement_that_two_tasks_want_is_made_once(finished: Loop) -> None:
    known = facts(finished)
    shared = [key for key in known.wanted.tasks["again"] if key in known.wanted.tasks["few"]]
    assert len(shared) == 3
    assert all(len(known.attempts[key]) == 1 for key in shared)
    board = json.loads(finished.call("report", "--format", "json", "--out", "-").stdout)
    seconds = {task: sum(run["cost"]["seconds"] for run in runs) for task, runs in board["runs"].items()}
    assert board["seconds"]["again"] == pytest.approx(seconds["again"])  # a third of its budget each, a fifth of that of `few`
    assert board["seconds"]["few"] == pytest.approx(seconds["few"] - seconds["again"])
    assert sum(board["seconds"].values()) == pytest.approx(board["spent"])


def test_an_unsure_target_buys_the_registered_look_and_no_more(finished: Loop) -> None:
    known = facts(finished)
    assert [d.action.details["seeds"] for d in known.decisions] == [5]
    assert len(known.wanted.tasks["few"]) == 5
    (case,) = known.cases.values()
    assert {"affordable", "evidence", "preregistered"} <= {opinion.guard for opinion in case.opinions}
    assert {opinion.stance.value for opinion in case.opinions} == {"allow"}


def test_a_second_run_measures_nothing_and_imports_no_torch(finished: Loop) -> None:
    before = len(facts(finished).attempts)
    script = (
        "import sys\nsys.argv = ['orchestrate', *sys.argv[1:]]\nfrom agents.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print('TORCH', 'torch' in sys.modules, end.code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "--plan", "Plan.md"],
        cwd=finished.folder,
        env=finished.environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "TORCH False 1", done.stderr
    assert "measuring" not in done.stderr
    assert len(facts(finished).attempts) == before


def test_dry_run_tells_what_is_cached_and_what_an_edit_would_measure_again(finished: Loop) -> None:
    assert "8 cached, 0 to measure" in finished.run("--dry-run").stdout
    changed = Loop(finished.folder.with_name("changed"))
    (changed.folder / "Plan.md").write_text((finished.folder / "Plan.md").read_text().replace("d_model = 16", "d_model = 24", 1))
    told = changed.run("--dry-run", "--ledger", str(finished.folder / "runs/ledger.db")).stdout
    assert "request `config.d_model`: 16 -> 24" in told
    assert "nothing was run" in told


@pytest.mark.parametrize("what", ["few", "few::accuracy", "run", "decision"])
def test_why_tells_the_story_of_everything_by_its_name(finished: Loop, what: str) -> None:
    known = facts(finished)
    name = {"run": "r" + known.wanted.tasks["few"][0][:8], "decision": known.decisions[0].id}.get(what, what)
    done = finished.call("why", name)
    assert done.returncode == 0, done.stderr
    assert name in done.stdout


def test_why_suggests_the_name_that_was_meant(finished: Loop) -> None:
    done = finished.call("why", "feww::accuracy")
    assert done.returncode == 5
    assert "did you mean `few::accuracy`" in done.stderr


def test_only_measures_a_task_and_what_it_needs(tmp_path: Path) -> None:
    loop = Loop(tmp_path, steps=2)
    ran = loop.run("--only", "again", "--workers", "1")
    assert set(facts(loop).wanted.tasks) == {"again"}
    assert [line.split()[0] for line in ran.stdout.splitlines() if "accuracy" in line and line.startswith(" ")] == ["again"]
    assert "2 other tasks of the plan, untouched: 3 waiting" in ran.stdout
    misspelt = loop.run("--only", "agian")
    assert misspelt.returncode == 5
    assert "did you mean `again`" in misspelt.stderr


def test_a_spent_budget_leaves_the_rest_waiting_and_a_later_run_goes_on_under_trio_to_the_same_report(
    finished: Loop, tmp_path: Path
) -> None:
    loop = Loop(tmp_path)
    assert loop.run("--budget", "0s").returncode == 1
    assert {v["state"] for v in json.loads(loop.report())["targets"]} == {"waiting"}
    assert facts(loop).attempts == {}
    assert [stop.reason for stop in facts(loop).stops.values()] == ["budget of 0 s spent"]
    assert loop.run("--backend", "trio").returncode == 1
    assert loop.report() == finished.report()


def test_killed_anywhere_it_resumes_to_the_same_report(finished: Loop, tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    for words in ("measuring", "measured", "decision"):
        process = loop.start()
        loop.wait_for(words)
        kill(process)
        (loop.folder / "out.txt").write_text("")
    assert loop.run().returncode == 1
    assert loop.report() == finished.report()
    assert loop.report("html") == finished.report("html")
    done = [a for attempts in facts(loop).attempts.values() for a in attempts if a.done]
    assert len({a.key for a in done}) == len(done) == 8


def test_a_second_orchestrator_is_told_who_holds_the_ledger(tmp_path: Path) -> None:
    loop = Loop(tmp_path, steps=400)
    first = loop.start()
    try:
        loop.wait_for("measuring")
        second = loop.run()
        assert second.returncode == 4
        assert str(first.pid) in second.stderr
    finally:
        kill(first)


def test_one_interrupt_finishes_what_runs_and_says_how_to_go_on(tmp_path: Path) -> None:
    loop = Loop(tmp_path, steps=40)
    process = loop.start()
    loop.wait_for("measuring")
    kill(process, signal.SIGINT)
    assert process.returncode == 130
    assert "the same command goes on later" in loop.said()
    finished = [attempts[-1] for attempts in facts(loop).attempts.values()]
    assert finished
    assert all(attempt.done for attempt in finished)


def test_a_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    loop = Loop(tmp_path, steps=100_000)
    process = loop.start()
    loop.wait_for("measuring")
    process.send_signal(signal.SIGINT)
    loop.wait_for("Ctrl-C again")
    kill(process, signal.SIGINT)
    assert process.returncode == 130
    assert all(not attempts[-1].done for attempts in facts(loop).attempts.values())


def test_bad_input_is_told_with_its_mend(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    assert loop.run("--budget", "soon").returncode == 2
    (tmp_path / "Plan.md").write_text("# Plan: nothing\n")
    assert loop.run().returncode == 3
    (tmp_path / "notes.db").write_text("not a database" * 100)
    done = Loop(tmp_path).run("--ledger", "notes.db")
    assert done.returncode == 4
    assert "notes.db" in done.stderr


GATED = """# Plan: one module at two configs

## sound: two heads divide the width

- **module**: `attention`
- **benchmark**: `flops-v1`
- **seeds**: 1

| metric       |   | threshold | rule       |
| ------------ | - | --------: | ---------- |
| `parameters` | > |         1 | every seed |

```toml config
heads = 2
```

## odd: five heads do not

- **module**: `attention`
- **benchmark**: `flops-v1`
- **seeds**: 1

| metric       |   | threshold | rule       |
| ------------ | - | --------: | ---------- |
| `parameters` | > |         1 | every seed |

```toml config
heads = 5
```
"""


def test_a_task_whose_config_breaks_the_contract_is_not_judged_while_another_of_the_same_module_is(tmp_path: Path) -> None:
    loop = Loop(tmp_path, plan=GATED)
    assert loop.run().returncode == 1
    board = json.loads(loop.report())
    sound, odd = board["targets"]
    assert (sound["state"], odd["state"], odd["n"]) == ("pass", "waiting", 0)
    assert "the gate of `attention` at this task's config is red" in odd["reason"]
    assert "`heads` 5" in odd["reason"]
    assert [board["gates"][task]["metrics"]["failures"] > 0 for task in ("sound", "odd")] == [False, True]
    assert "odd" not in board["runs"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "--plan", "Plan.md", "--backend", "foo"), ("'asyncio', 'trio'",)),
        (("run", "--plan", "Plan.md", "--display", "foo"), ("'auto', 'live', 'plain'",)),
        (("runs", "--status", "foo"), ("'crashed'", "'timed-out'")),
        (("runs", "--module", "atention"), ("did you mean `attention`?",)),
    ],
)
def test_a_choice_that_does_not_exist_is_a_usage_error_that_names_the_choices(
    finished: Loop, words: tuple[str, ...], told: tuple[str, ...]
) -> None:
    done = finished.call(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert all(word in " ".join(done.stderr.replace("│", " ").split()) for word in told), done.stderr


def test_runs_says_when_nothing_is_asked_for(finished: Loop) -> None:
    done = finished.call("runs", "--module", "mamba")
    assert done.returncode == 0
    assert "none of the" in done.stderr


def test_two_ledgers_in_one_folder_have_two_reports(finished: Loop) -> None:
    shutil.copy(finished.folder / "runs/ledger.db", finished.folder / "runs/smoke.db")
    paths = [finished.call("report", "--ledger", f"runs/{name}.db").stdout.strip() for name in ("ledger", "smoke")]
    assert [Path(path).name for path in paths] == ["report.html", "smoke-report.html"]


def test_a_missing_plan_is_told_with_its_mend(tmp_path: Path) -> None:
    for words in (("check",), ("run",), ("report",)):
        done = Loop(tmp_path).call(*words, "--plan", "Plans.md")
        assert (done.returncode, done.stderr.splitlines()[0]) == (4, "error: no plan at Plans.md")
        assert "--plan" in done.stderr


def test_a_verdict_is_announced_when_its_state_changes_not_at_every_seed(tmp_path: Path) -> None:
    told = Loop(tmp_path, plan=GATED.replace("seeds**: 1", "seeds**: 4").replace("every seed", "mean      ")).run().stderr
    assert told.count("sound::parameters pass") == 1


@pytest.mark.slow
def test_the_smoke_plan_touches_every_path(tmp_path: Path) -> None:
    """45 CPU seconds: `pytest -m slow tests/agents/test_loop.py`; every run of the judge works through the same plan and asks for its endings."""
    loop = Loop(tmp_path, plan=(HOUSE / "plan/Smoke.md").read_text())
    done = loop.run()
    states = {v["state"] for v in json.loads(loop.report())["targets"]}
    assert states == {"pass", "fail", "unsure"}, done.stderr
    known = facts(loop)
    assert known.decisions
    assert any(task.needs for task in __import__("plan.grammar").grammar.read(loop.folder / "Plan.md").tasks)
