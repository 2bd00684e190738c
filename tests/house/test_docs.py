"""What the pages say is so: commands, options, links, exit codes, records, plans, and the examples of the how-to pages."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
from markdown_it import MarkdownIt

from agents import events
from agents.cli import app
from bench import eval_harness
from bench.events import KINDS, Started, attempt_key
from bench.ledger import Ledger
from plan import catalogue
from plan.exits import Exit
from plan.faults import EXPLAIN, PlanFaults
from plan.grammar import parse
from plan.house import PACKAGES
from plan.layout import SETTINGS
from plan.nouns import Request, Run, Status
from plan.rows import RULES
from plan.units import KNOWN

HOUSE = Path(__file__).resolve().parents[2]
PAGES = sorted([*HOUSE.glob("*.md"), *HOUSE.glob("docs/*.md"), *HOUSE.glob("design/*.md"), *HOUSE.glob("plan/*.md")])
VERBS: dict[str, set[str]] = {
    verb: {word for parameter in command.params for word in parameter.opts if word.startswith("--")} | {"--help"}
    for verb, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}
MODULES = sorted(
    f"bench.{path.parent.name if path.stem == '__main__' else path.stem}"
    for path in [*HOUSE.glob("bench/*.py"), *HOUSE.glob("bench/*/__main__.py")]
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")
RUN_COMMAND = "python3 -m venv .venv && . .venv/bin/activate && python -m pip install -e . && orchestrate run --plan plan/Plan.md"
TEST_COMMAND = "python3 -m venv .venv && . .venv/bin/activate && python -m pip install -e '.[test]' && python -m pytest"


@dataclass(frozen=True)
class Fence:
    """A fenced block: the page, its first line, its info string and what it holds."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def named(page: Path) -> str:
    return str(page.relative_to(HOUSE))


def page(name: str) -> str:
    return (HOUSE / name).read_text(encoding="utf-8")


def fences() -> Iterator[Fence]:
    for path in PAGES:
        for token in MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8")):
            if token.type == "fence" and token.map:
                yield Fence(path, token.map[0] + 1, token.info.strip(), token.content)


def rows_below(text: str, header: str) -> list[list[str]]:
    """Cells of the table rows whose header begins with `header`."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(header):
            next(lines)
            found = takewhile(lambda line: line.startswith("|"), lines)
            return [[cell.strip() for cell in row.strip("|").split("|")] for row in found]
    raise AssertionError(f"no table {header!r}")


EXAMPLES = {match[1]: fence for fence in fences() if (match := re.fullmatch(r"python file=(\S+)", fence.info))}
PLANS = [fence for fence in fences() if fence.info.split() and fence.info.split()[0] == "markdown"]


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_command_on_a_page_exists_with_its_options(path: Path) -> None:
    for verb, rest in re.findall(r"\borchestrate ([a-z][a-z-]*)([^`\n|]*)", code_of(path)):
        assert verb in VERBS, f"no verb `{verb}`"
        options = set(OPTION.findall(rest.partition("&&")[0].partition(" #")[0]))
        assert options <= VERBS[verb], f"`orchestrate {verb}` has no {options - VERBS[verb]}"
    for module in re.findall(r"\bpython -m ((?:bench|agents)[\w.]*)", code_of(path)):
        assert importlib.util.find_spec(module), f"no module `{module}`"


def code_of(path: Path) -> str:
    """What stands on the page in fences and backticks, a line each; prose may say `orchestrate` as a word."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8")):
        if token.type == "fence":
            found.append(token.content)
        found += [child.content for child in token.children or () if child.type == "code_inline"]
    return "\n".join(found)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_section_with_exactly_its_options(verb: str) -> None:
    section = re.split(r"^## ", page("docs/cli.md"), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(f"{verb}\n")]
    assert set(re.findall(r"^\| `(--[a-z-]+)`", text, re.MULTILINE)) == VERBS[verb] - {"--help"}


@pytest.mark.parametrize("module", MODULES)
def test_the_modules_that_are_commands_have_exactly_the_options_that_are_told(module: str) -> None:
    (row,) = [row for row in rows_below(page("docs/cli.md"), "| command") if module in row[0]]
    if module == "bench.eval_harness":
        options = {word for parameter in typer.main.get_command(eval_harness.app).params for word in parameter.opts}
    else:
        done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=HOUSE, capture_output=True, text=True, check=True)
        options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", done.stdout, re.MULTILINE))
    assert set(re.findall(r"--[a-z-]+", row[1])) == options - {"--help"}


def test_the_readme_has_both_commands_and_the_judge_reads_the_second() -> None:
    readme = page("README.md")
    assert f"<!-- run -->\n```sh\n{RUN_COMMAND}\n```\n" in readme
    assert f"<!-- test -->\n```sh\n{TEST_COMMAND}\n```\n" in readme
    (line,) = [line for line in page(".ci/run").splitlines() if line.startswith("command=$(")]
    read = subprocess.run(["bash", "-c", f'{line}; printf %s "$command"'], cwd=HOUSE, capture_output=True, text=True, check=True)
    assert read.stdout == TEST_COMMAND


# ---------------------------------------------------------------- facts


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8")):
        for child in token.children or ():
            href = str(child.attrs.get("href", "")) if child.type == "link_open" else ""
            if href and "://" not in href:
                target, _, anchor = href.partition("#")
                file = (path.parent / target).resolve() if target else path
                assert file.exists(), f"{href} leads nowhere"
                assert not anchor or anchor in slugs(file), f"{href}: no such heading"


def slugs(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_exit_codes_told_are_those_there_are() -> None:
    told = rows_below(page("docs/cli.md"), "| exit code")
    assert {(int(code), name.strip("`")) for code, name, _ in told} == {(int(exit), exit.name) for exit in Exit}
    short = {int(code) for row in rows_below(page("README.md"), "| exit code") for code in row[0].split(",")}
    assert short == set(map(int, Exit))


def test_every_record_of_a_run_is_told_with_all_its_fields() -> None:
    told = {row[0].strip("`"): row[1] for row in rows_below(page("docs/cli.md"), "| event")}
    kinds = {kind.__name__.lower(): kind for kind in get_args(events.Event) if kind is not events.Progressed}
    assert told.keys() == kinds.keys()
    for name, kind in kinds.items():
        outer = re.sub(r"\([^()]*\)", "", told[name])
        assert set(re.findall(r"`(\w+)`", outer)) == {field.name for field in fields(kind)}, name


def test_every_kind_of_event_is_told() -> None:
    assert {row[0].strip("`") for row in rows_below(page("docs/ledger.md"), "| kind")} == KINDS


def test_the_plans_page_names_every_setting_rule_unit_and_key() -> None:
    text = page("docs/plan.md")
    assert [row[0].strip("`") for row in rows_below(text, "| setting")] == list(SETTINGS)
    assert set(re.findall(r"`([^`]+)`", " ".join(row[0] for row in rows_below(text, "| rule")))) == set(RULES)
    assert set(re.findall(r"`([^`]+)`", " ".join(row[1] for row in rows_below(text, "| unit")))) == KNOWN
    shelves = catalogue.shelves()
    keys = {row[0].strip("`[]"): re.findall(r"`(\w+)`", row[1]) for row in rows_below(text, "| table")}
    assert keys == {"decoder": list(shelves.decoder), "recipe": list(shelves.recipe)}
    assert f"{min(EXPLAIN)} to {max(EXPLAIN)}" in text


def test_the_ledger_can_be_read_as_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(
        key="ab" * 32, request=Request(module="retnet", benchmark="b-v1", seed=7), status=Status.OK, metrics={"val_bpb": 2.5}
    )
    with Ledger.open(tmp_path / "runs/ledger.db") as ledger:
        ledger.append("started", attempt_key(run.key, 1), Started(tasks=("a",), request=run.request))
        ledger.append("run", attempt_key(run.key, 1), run)
    monkeypatch.chdir(tmp_path)
    queries = re.findall(r'^sqlite3 (\S+) "(select[^"]*)"', page("docs/ledger.md"), re.MULTILINE)
    found = [sqlite3.connect(file).execute(query).fetchall() for file, query in queries]
    assert found == [[("run", 1), ("started", 1)], [("ok", 1)], [("abababab", 7, 2.5)]]
    (fence,) = [fence for fence in fences() if fence.page.name == "ledger.md" and fence.info == "python"]
    environment = {**os.environ, "PYTHONPATH": str(HOUSE)}
    done = subprocess.run([sys.executable, "-c", fence.text], env=environment, capture_output=True, text=True)
    assert done.stdout == "rabababab retnet 7 {'val_bpb': 2.5}\n", done.stderr


# ---------------------------------------------------------------- plans and examples


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the house with the examples of the how-to pages on its shelves."""
    copy = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(HOUSE / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOUSE / "pyproject.toml", copy)
    for file, fence in EXAMPLES.items():
        assert not (copy / file).exists(), f"{fence}: `{file}` would replace a file of the house"
        (copy / file).write_text(fence.text, encoding="utf-8")
    return copy


def within(house: Path, script: str) -> Any:
    """What `script` prints as its last line, in JSON, when it runs in that house."""
    environment = {**os.environ, "PYTHONPATH": str(house), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], cwd=house, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("fence", PLANS, ids=str)
def test_every_plan_on_a_page_has_exactly_the_faults_it_says(fence: Fence, request: pytest.FixtureRequest) -> None:
    said = fence.info.split()[2:] if "broken" in fence.info else []
    if fence.page.name.startswith("add-a"):
        script = f"import json; from plan.grammar import parse; print(json.dumps(len(parse({fence.text!r}).tasks)))"
        assert within(request.getfixturevalue("house"), script) > 0
        return
    try:
        assert parse(fence.text, path=str(fence)).tasks
        found: list[str] = []
    except PlanFaults as faults:
        found = [fault.code for fault in faults.faults]
    assert found == said


LISTED = """
import json, sys
from plan import catalogue
assert not any(catalogue.shelf(kind).broken for kind in catalogue.SHELVES)
print(json.dumps([str(catalogue.HOUSE), {kind: list(catalogue.shelf(kind)) for kind in catalogue.SHELVES}, "torch" in sys.modules]))
"""


def test_a_file_put_on_a_shelf_is_listed_without_being_imported(house: Path) -> None:
    place, shelves, torch_imported = within(house, LISTED)
    assert place == str(house)
    assert not torch_imported
    kinds = {folder: kind for kind, folder in catalogue.SHELVES.items()}
    added = {kind: set(names) - set(catalogue.shelf(kind)) for kind, names in shelves.items()}
    assert added == {
        "module": {"leaky"}, "benchmark": {"parity-16-v1"}, "env": {"corridor"}, "decider": {"nearest-first"}, "guard": {"hopeful"},
    }  # fmt: skip
    assert {kinds[str(Path(file).parent)] for file in EXAMPLES} == set(catalogue.SHELVES)


def test_the_examples_are_as_clean_as_the_sources(house: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check", "--no-cache"], ["format", "--no-cache", "--check"]):
        done = subprocess.run([ruff, *command, *EXAMPLES], cwd=house, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


CONTRACT = """
import json
from modules.contract import check
print(json.dumps([str(failure) for failure in check("leaky")]))
"""


def test_the_example_of_a_module_keeps_the_contract(house: Path) -> None:
    assert within(house, CONTRACT) == []


MEASURED = """
import json
from pathlib import Path
import numpy as np
from bench.autobench import AutoBench
from bench.suites.parity import parity
from plan.nouns import Request
from plan.wire import plain

asked = Request(module="leaky", benchmark="parity-16-v1", seed=0, steps=3, config={"d_model": 16, "recipe": {"batch": 4}})
with AutoBench() as bench:
    outcome = bench.start(asked, folder=Path("work")).wait(timeout=120)
puzzle = parity(np.random.default_rng(0), 3, length=9)
print(json.dumps([plain(outcome), *(part.tolist() for part in puzzle)]))
"""


def test_the_example_of_a_benchmark_measures_the_example_of_a_module(house: Path) -> None:
    outcome, bits, labels = within(house, MEASURED)
    assert outcome["status"] == "ok", outcome
    assert 0.3 < outcome["metrics"]["accuracy"] < 0.9
    assert outcome["metrics"]["steps_to_99"] == 3
    assert labels == [[sum(row[: place + 1]) % 2 for place in range(9)] for row in bits]


DECIDED = """
import json
from bench.judge import judge
from plan import catalogue
from plan.decision import Situation
from plan.grammar import parse
from plan.nouns import Request, Run, Status
from plan.wire import plain

TASK = '''## {id}: a task

- **module**: `attention`
- **benchmark**: `mqar-64x4-v1`
- **seeds**: 3, up to 8

| metric     |    | threshold | rule      |
| ---------- | -- | --------: | --------- |
| `accuracy` | >= |       0.5 | lower 95% |

'''

def run(id, seed, value):
    asked = Request(module="attention", benchmark="mqar-64x4-v1", seed=seed)
    return Run(key=f"{id}{seed}".ljust(64, "0"), request=asked, status=Status.OK, metrics={"accuracy": value})

plan = parse("# Plan: two unsure tasks\\n\\n" + TASK.format(id="a1") + TASK.format(id="b1"))
runs = {"a1": tuple(run("a1", i, x) for i, x in enumerate((0.4, 0.55, 0.7))), "b1": tuple(run("b1", i, x) for i, x in enumerate((0.48, 0.56, 0.6)))}
verdicts = judge(plan, runs)
situation = Situation(plan=plan, verdicts=verdicts, runs=runs, seeds={"a1": 3, "b1": 3})
decider = catalogue.load("decider", "nearest-first")()
decisions = decider.ask(situation)
guards = {name: catalogue.load("guard", name)() for name in catalogue.shelf("guard")}
opinions = [[plain(guard.review(decision, situation)) for guard in guards.values()] for decision in decisions]
print(json.dumps([plain(verdicts), plain(decisions), opinions, plain(decider.ask(situation)) == plain(decisions)]))
"""


def test_the_example_of_a_decider_buys_for_the_nearest_task_and_every_guard_answers(house: Path) -> None:
    verdicts, decisions, opinions, same_again = within(house, DECIDED)
    assert [verdict["state"] for verdict in verdicts] == ["unsure", "unsure"]
    nearest = min(verdicts, key=lambda verdict: verdict["more_seeds"])
    (decision,), (said,) = decisions, opinions
    assert same_again
    assert decision["action"] == {"kind": "measure-again", "task": nearest["task"], "details": {"seeds": 5}}
    assert decision["evidence"] == ["r" + key[:8] for key in (f"{nearest['task']}{seed}".ljust(64, "0") for seed in range(3))]
    stances = {opinion["guard"]: opinion["stance"] for opinion in said}
    hoped = nearest["more_seeds"] <= 2
    assert stances == {**dict.fromkeys(catalogue.shelf("guard"), "allow"), "hopeful": "allow" if hoped else "object"}
    assert {opinion["decision"] for opinion in said} == {decision["id"]}


CHECKED = """
import json
from gymnasium.utils.env_checker import check_env
from plan import catalogue
env = catalogue.load("env", "corridor")()
check_env(env, skip_render_check=True)
env.reset(seed=0)
print(json.dumps([env.step(1)[:3] == (1, -0.01, False), [env.step(1)[2] for _ in range(6)][-1]]))
"""


def test_the_example_of_an_environment_passes_gymnasiums_own_checker(house: Path) -> None:
    if importlib.util.find_spec("gymnasium") is None:
        pytest.skip("gymnasium is no dependency of this project and is not installed")
    assert within(house, CHECKED) == [True, True]
