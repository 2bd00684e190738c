"""`python -m bench.eval_harness` as a user meets it: its table, its exit codes, its errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.eval_harness import app
from bench.ledger import Ledger
from plan.exits import Exit, FailOn, exit_code
from plan.nouns import State, Verdict
from tests.bench.report_boards import EVERY, target
from tests.bench.test_scoreboard import PLAN, tell

HOUSE = Path(__file__).resolve().parents[2]
WITHOUT_TORCH = """import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, Refuse())
sys.argv = ["eval_harness", *sys.argv[1:]]
from bench.eval_harness import main
sys.exit(main())
"""


def harness(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process where torch cannot be imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATE_")}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**kept, "PYTHONPATH": str(HOUSE), "PYTHONIOENCODING": "utf-8", **environment},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger at the default place, one elsewhere whose targets fail, and plans."""
    made = tmp_path_factory.mktemp("harness")
    with Ledger.open(made / "runs" / "ledger.db") as ledger:
        tell(ledger, killed=True)
    with Ledger.open(made / "failing.db") as ledger:
        tell(ledger, killed=False, text=PLAN.replace("6.0 bpb", "4.0 bpb"))
    (made / "broken.md").write_text(PLAN.replace("**module**: `retnet`", "**module**: `retnut`"))
    (made / "good.md").write_text(PLAN)
    return made


def test_without_torch_the_default_ledger_gives_the_table_and_all_hold(folder: Path) -> None:
    done = harness(folder)
    assert done.returncode == Exit.HOLDS, done.stderr
    assert done.stdout.count("✓ pass") == 2
    assert done.stdout.splitlines()[-1].startswith("2 hold  measured for")
    assert str(folder / "runs" / "ledger.db") in done.stdout


def test_the_flag_beats_the_environment_which_beats_the_default(folder: Path) -> None:
    environment = {"ORCHESTRATE_LEDGER": "failing.db"}
    assert "FAIL  dense::val_bpb  plan/Two.md:12" in harness(folder, **environment).stdout
    assert "FAIL" not in harness(folder, "--ledger", "runs/ledger.db", **environment).stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--ledger", "failing.db"), Exit.MISSED),
        (("--ledger", "failing.db", "--fail-on", "never"), Exit.HOLDS),
        (("--fail-on", "sometimes"), Exit.USAGE),
        (("--json", "--markdown"), Exit.USAGE),
        (("--plan", "broken.md"), Exit.FAULTS),
        (("--plan", "missing.md"), Exit.ENVIRONMENT),
        (("--ledger", "missing.db"), Exit.ENVIRONMENT),
        (("--ledger", "good.md"), Exit.ENVIRONMENT),
    ],
)
def test_exit_codes_say_what_happened_and_errors_name_the_mend(
    folder: Path, arguments: tuple[str, ...], code: Exit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ORCHESTRATE_LEDGER", raising=False)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    if code in (Exit.FAULTS, Exit.ENVIRONMENT):
        assert done.stdout == ""
        assert "help: " in done.stderr


def test_a_plan_never_measured_waits_and_reading_makes_no_ledger(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    unmeasured = ("--plan", "good.md", "--ledger", "nothing/here.db")
    done = CliRunner().invoke(app, unmeasured)
    assert done.exit_code == Exit.MISSED
    assert done.stdout.count("… waiting") == 2
    assert "no ledger at nothing/here.db" in done.stderr
    assert not (folder / "nothing").exists()
    assert CliRunner().invoke(app, (*unmeasured, "--fail-on", "fail")).exit_code == Exit.HOLDS


def test_json_is_one_document_and_html_goes_to_its_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ("--json", "--timeless", "--html", "out/report.html"))
    assert {t["state"] for t in json.loads(done.stdout)["targets"]} == {"pass"}
    assert (folder / "out" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_markdown_is_printed_instead_of_the_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert "| task | metric | target |" in CliRunner().invoke(app, ("--markdown",)).stdout


@pytest.mark.parametrize(
    ("states", "fail_on", "code"),
    [
        ("pass pass", "unsure", 0),
        ("pass unsure", "unsure", 1),
        ("pass waiting", "unsure", 1),
        ("pass unsure waiting", "fail", 0),
        ("pass fail", "fail", 1),
        ("fail unsure", "never", 0),
        ("", "unsure", 5),
    ],
)
def test_verdicts_become_an_exit_code(states: str, fail_on: str, code: int) -> None:
    verdicts = [Verdict(task="t", target=target("m", "<=", 1.0, EVERY), state=State(state)) for state in states.split()]
    assert exit_code(verdicts, FailOn(fail_on)) == code
