"""How a measurement ends when an exception says by itself what happened: in one sentence, and under the right name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.autobench import AutoBench, Outcome
from bench.autobench.tree import LINUX
from plan import wire
from plan.nouns import Request, Status

pytestmark = pytest.mark.skipif(not LINUX, reason="the guarantees are made on Linux")
Measured = Callable[..., Outcome]
HERE = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def server() -> Iterator[AutoBench]:
    with AutoBench(preload=("torch",)) as server:
        yield server


@pytest.fixture
def measured(server: AutoBench, tmp_path: Path) -> Measured:
    """The outcome of a training on a small text, with overrides of the module's config."""
    text = tmp_path / "text.txt"
    text.write_text("".join(f"line {n} of a text that nobody reads {n * n}\n" for n in range(4000)))

    def measured(*, recipe: dict[str, Any] | None = None, data: Path = text, **config: Any) -> Outcome:
        table = {"d_model": 16, "heads": 2, **config, "recipe": {"batch": 2, "length": 32, **(recipe or {})}}
        asked = Request(module="transformer", benchmark="bytes-path-v1", seed=0, steps=20, data=str(data), config=table)
        arguments = {"request": wire.plain(asked), "folder": str(tmp_path)}
        outcome = server.start_call("bench.autobench.measure:measure", arguments, folder=tmp_path / "run").wait(60)
        assert outcome is not None
        return outcome

    return measured


def test_a_training_that_diverges_is_not_finite_and_not_a_crash(measured: Measured) -> None:
    outcome = measured(recipe={"lr": 1e18, "warmup": 0.0})
    assert outcome.status is Status.NOT_FINITE
    assert "try a smaller `lr`" in outcome.message
    assert "Traceback" not in outcome.log_tail


@pytest.mark.parametrize("fault", ["config", "terms", "data"])
def test_what_a_user_asked_wrongly_is_told_in_one_sentence_without_a_traceback(
    fault: str, measured: Measured, tmp_path: Path
) -> None:
    asked: dict[str, dict[str, Any]] = {
        "config": {"haeds": 4},
        "terms": {"decoder": {"vocabulary": 32}},
        "data": {"data": tmp_path / "nothing.txt"},
    }
    outcome = measured(**asked[fault])
    said = {"config": "no key `haeds`; did you mean `heads`?", "terms": "the benchmark fixes it to 256", "data": "nothing.txt"}
    assert outcome.status is Status.CRASHED
    assert said[fault] in outcome.message
    assert outcome.log_tail.splitlines() == [outcome.message]


def test_candidate_code_cannot_name_another_status_nor_hide_its_traceback_without_a_message(
    server: AutoBench, tmp_path: Path
) -> None:
    for case in ("claims_to_be_ok", "claims_to_have_told"):
        outcome = server.start_call(f"autobench_told_cases:{case}", folder=tmp_path / case, paths=[HERE]).wait(30)
        assert outcome is not None
        assert outcome.status is Status.CRASHED
        assert "Traceback" in outcome.log_tail
