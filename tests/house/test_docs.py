"""What the pages say is so: commands, options, links, exit codes, records, and how the ledger is read."""

from __future__ import annotations

import importlib.util
import os
import re
import sqlite3
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

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
from plan.faults import EXPLAIN
from plan.layout import SETTINGS
from plan.nouns import Request, Run, Status
from plan.rows import RULES
from plan.units import KNOWN
from tests.house.pages import HOUSE, PAGES, code_of, fences, named, page, rows_below

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
TEST_COMMAND = "python3 -m venv .venv && . .venv/bin/activate && python -m pip install -e '.[test]' && python -m pytest -n auto"


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_command_on_a_page_exists_with_its_options(path: Path) -> None:
    for verb, rest in re.findall(r"\borchestrate ([a-z][a-z-]*)([^`\n|]*)", code_of(path)):
        assert verb in VERBS, f"no verb `{verb}`"
        options = set(OPTION.findall(rest.partition("&&")[0].partition(" #")[0]))
        assert options <= VERBS[verb], f"`orchestrate {verb}` has no {options - VERBS[verb]}"
    for module in re.findall(r"\bpython -m ((?:bench|agents)[\w.]*)", code_of(path)):
        assert importlib.util.find_spec(module), f"no module `{module}`"


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
