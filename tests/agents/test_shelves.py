"""What `orchestrate modules` says of the shelves is what their files do when they are imported."""

from __future__ import annotations

import dataclasses
import importlib
import json

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.shelves import settings_of
from plan import catalogue
from plan.exits import Exit

MODULES = sorted(catalogue.shelf("module"))


@pytest.mark.parametrize("name", MODULES)
def test_the_defaults_and_ranges_that_are_told_are_those_of_the_config(name: str) -> None:
    entry = catalogue.shelf("module")[name]
    config = importlib.import_module(entry.dotted).Config
    own = [one for one in settings_of(entry) if "." not in one.key]
    assert [one.key for one in own] == [field.name for field in dataclasses.fields(config)]
    made = config()
    for one in own:
        assert one.about, f"`{one.key}` has no line below it"
        if one.default is not None:
            assert getattr(made, one.key) == one.default
        if one.limits is not None:
            with pytest.raises(ValueError, match=one.key):
                config(**{one.key: type(getattr(made, one.key))(one.limits[1] * 2 + 1)})


def test_the_recipe_that_is_told_of_a_module_is_its_own() -> None:
    from modules import retnet
    from modules.trainer import Recipe

    told = {one.key: one.default for one in settings_of(catalogue.shelf("module")["retnet"])}
    for field in dataclasses.fields(Recipe):
        assert told[f"recipe.{field.name}"] == getattr(retnet.RECIPE, field.name)


def test_every_metric_of_every_benchmark_is_listed_with_its_unit() -> None:
    for name, entry in catalogue.shelf("benchmark").items():
        said = CliRunner().invoke(app, ["modules", name])
        assert said.exit_code == Exit.HOLDS
        for metric, unit in entry.arguments["metrics"].items():
            (line,) = [line for line in said.output.splitlines() if line.split()[:1] == [metric]]
            assert unit in line
    record = json.loads(CliRunner().invoke(app, ["modules", "mqar-64x4-v1", "--json"]).output)
    (one,) = record["entries"]
    assert one["metrics"] == {"accuracy": "", "steps_to_99": "", "parameters": "", "state_bytes": "B"}
    assert one["better"]["accuracy"] == "more"


def test_a_name_that_is_on_no_shelf_is_told_with_the_nearest() -> None:
    missing = CliRunner().invoke(app, ["modules", "retnett"])
    assert missing.exit_code == Exit.NOTHING
    assert "did you mean `retnet`?" in missing.output
    assert CliRunner().invoke(app, ["modules", "retnet", "--table"]).exit_code == Exit.USAGE


def test_help_cuts_no_sentence_and_the_version_is_told() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"})
    assert "..." not in said.output.partition("Commands:")[2]
    assert max(map(len, said.output.splitlines())) <= 80
    assert CliRunner().invoke(app, ["--version"]).output.startswith("orchestrate 0.1.0")
