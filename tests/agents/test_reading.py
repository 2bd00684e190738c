"""What the reading verbs print is what the ledger holds, character by character."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.reading import list_runs
from bench.events import Started, attempt_key
from bench.ledger import Ledger
from plan.exits import Exit
from plan.nouns import Request, Run, Status


def test_a_message_with_brackets_and_colons_is_listed_as_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = "shape [2, 3] and [bold] and [/b] and :smile: are text"
    request = Request(module="attention", benchmark="mqar-64x4-v1", seed=0)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.append("started", attempt_key("k", 1), Started(tasks=("t",), request=request))
        ledger.append("run", attempt_key("k", 1), Run(key="k", request=request, status=Status.CRASHED, message=message))
    assert list_runs(str(tmp_path / "ledger.db"), module=None, status=None, json=False) is Exit.HOLDS
    assert message in capsys.readouterr().out
