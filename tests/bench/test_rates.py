"""The best of a few learning rates: chosen on validation puzzles, told on test puzzles, with the window around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.rates import best_rate, window
from bench.request import Bench
from bench.subject import TermsError
from modules.trainer import NotFinite
from plan import catalogue
from plan.nouns import Request

NAME = "mqar-64x4-v64-rates-v1"
RATES = [1e-3, 3e-3, 1e-2, 3e-2]


def bench_for(folder: Path, *, steps: int = 3, **recipe: float) -> Bench:
    config = {"d_model": 16, "recipe": {"batch": 4, **recipe}}
    return Bench(request=Request(module="attention", benchmark=NAME, seed=100, config=config, steps=steps), folder=folder)


def told(validation: dict[float, float], test: dict[float, float], diverging: tuple[float, ...] = ()):  # type: ignore[no-untyped-def]
    """A benchmark whose outcome at each rate is known."""

    def measure(part: Bench) -> dict[str, float]:
        rate = part.request.config["recipe"]["lr"]
        if rate in diverging:
            raise NotFinite("loss", 7, float("inf"))
        part.series["accuracy"] = [(1, 0.99), (2, validation[rate])]
        return {"accuracy": test[rate], "steps_to_99": 5.0}

    return measure


def test_the_rate_is_chosen_on_validation_and_reported_on_test(tmp_path: Path) -> None:
    """The test puzzles would have chosen 1e-3; choosing by them would report luck."""
    validation = dict(zip(RATES, [0.5, 0.95, 0.92, 0.1], strict=True))
    test = dict(zip(RATES, [0.99, 0.93, 0.91, 0.2], strict=True))
    bench = bench_for(tmp_path)
    found = best_rate(bench, told(validation, test))
    assert found == {"accuracy": 0.93, "steps_to_99": 5.0, "best_lr": 3e-3, "lr_window": pytest.approx(10 / 3)}
    assert bench.facts["validation_accuracy"] == {"0.001": 0.5, "0.003": 0.95, "0.01": 0.92, "0.03": 0.1}
    assert bench.series["accuracy at 0.01"] == [(1, 0.99), (2, 0.92)]


def test_a_rate_at_which_training_diverges_is_none_that_works(tmp_path: Path) -> None:
    accuracy = dict.fromkeys(RATES, 0.95)
    found = best_rate(bench_for(tmp_path), told(accuracy, accuracy, diverging=(1e-2, 3e-2)))
    assert found["lr_window"] == pytest.approx(3)
    assert found["best_lr"] in RATES[:2]
    with pytest.raises(NotFinite):
        best_rate(bench_for(tmp_path), told(accuracy, accuracy, diverging=tuple(RATES)))
    nothing = dict.fromkeys(RATES, 0.0)
    assert best_rate(bench_for(tmp_path), told(nothing, nothing, diverging=(1e-3,)))["best_lr"] != 1e-3


def test_the_window_ends_at_the_first_gap() -> None:
    assert window(RATES, [0.95, 0.2, 0.99, 0.95], 2) == pytest.approx(3)
    assert window(RATES, [0.95, 0.99, 0.95, 0.95], 1) == pytest.approx(30)
    assert window(RATES, [0.2, 0.99, 0.3, 0.95], 1) == 1
    assert window(RATES, [0.2, 0.89, 0.3, 0.1], 1) == 0


def test_a_task_that_sets_the_rate_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TermsError, match="leave it out"):
        catalogue.load("benchmark", NAME)(bench_for(tmp_path, lr=1e-3))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A real sweep of a tiny model: its folder and what it found."""
    folder = tmp_path_factory.mktemp("swept")
    return folder, catalogue.load("benchmark", NAME)(bench_for(folder))


def test_the_best_rate_s_numbers_are_those_of_the_plain_benchmark_at_that_rate(
    swept: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    _, found = swept
    shelf = catalogue.shelf("benchmark")
    assert set(found) == set(shelf[NAME].arguments["metrics"])
    plain, options = (dict(shelf[name].arguments["options"]) for name in ("mqar-64x4-v64-v1", NAME))
    assert options.pop("rates") == RATES
    assert {**plain, "recipe": {**plain["recipe"], "lr": 0}} == {**options, "recipe": {**options["recipe"], "lr": 0}}
    config = {"d_model": 16, "recipe": {"batch": 4, "lr": found["best_lr"]}}
    request = Request(module="attention", benchmark="mqar-64x4-v64-v1", seed=100, config=config, steps=3)
    alone = catalogue.load("benchmark", "mqar-64x4-v64-v1")(Bench(request=request, folder=tmp_path))
    assert {**found, **alone} == found


def test_a_killed_sweep_goes_on_from_the_rates_it_has(swept: tuple[Path, dict[str, float]]) -> None:
    folder, found = swept
    kept = {path: path.read_bytes() for path in folder.glob("rate-*/training.pt")}
    assert len(kept) == len(RATES)
    again = bench_for(folder)
    assert catalogue.load("benchmark", NAME)(again) == found
    assert again.facts["resumed_at"] == 3, "a finished rate was trained again"
    assert {path: path.read_bytes() for path in kept} == kept
