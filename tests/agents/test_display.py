"""What a person sees while measurements run, on a terminal that knows Unicode and on one that does not."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from agents.display import LiveDisplay, PlainDisplay, sparkline
from agents.events import Noted, Progressed, Started
from plan.nouns import Request


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_live_display_shows_what_runs_and_what_is_said(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace")
    with LiveDisplay(Console(file=stream, force_terminal=True, width=80)) as show:
        show(
            Started(
                run="r1", tasks=("few",), request=Request(module="attention", benchmark="b-v1", seed=2), attempt=1, reason="new"
            )
        )
        show(Progressed(run="r1", step=3, total=4, numbers={"loss": 0.5}))
        show(Noted(text="all is [well]"))
    stream.flush()
    shown = raw.getvalue().decode()
    assert "all is [well]" in shown
    assert "attention seed 2" in shown
    assert "3/4" in shown


def test_a_curve_with_numbers_that_are_none_is_drawn_from_the_others() -> None:
    assert sparkline([1.0, float("inf"), 2.0, float("nan")]) == sparkline([1.0, 2.0])
    assert len(sparkline([1e308, -1e308])) == 2


def test_time_is_told_since_the_session_began_kernels_built_before_included() -> None:
    stream = io.StringIO()
    PlainDisplay(stream, clock=lambda: 61.0, since=1.0)(Noted(text="opened"))
    assert stream.getvalue() == "1 m 00 s  opened\n"
