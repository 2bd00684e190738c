"""What a peer holds at most is told beside what the house holds, and contests that take minutes are raced only by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bench.peer_speed import Contest, Form, Memory, Peer, contests, hold

SIZE = 1 << 16
MEGABYTES = "megabyte-generation-256", "megabyte-generation-512"


def twice(x: Tensor) -> Tensor:
    return x + x


def in_a_sum(x: Tensor) -> Tensor:
    return torch.stack([x, x]).sum(0)


def doubled() -> Contest:
    """Numbers and themselves: added at once, which takes one result, and as a sum of two copies, which takes three."""
    return Contest(
        name="doubled",
        ours=twice,
        peers={"copies": Peer(form=lambda: in_a_sum), "absent": Peer(form=absent)},
        inputs=lambda: {"x": torch.ones(SIZE)},
        directions=("forward",),
    )


def absent() -> Form:
    raise ImportError("no such package")


def test_the_peaks_of_both_are_told_and_nothing_is_timed() -> None:
    missing, told = hold(doubled(), rounds=1, memory=True)
    assert isinstance(told, Memory)
    assert (told.ours, told.theirs) == (4 * SIZE, 3 * 4 * SIZE)
    assert "0.25 MiB against 0.75, 0.333 of it" in str(told)
    assert "not installed" in str(missing)


def test_a_peer_that_computes_something_else_has_no_peak() -> None:
    other = replace(doubled(), peers={"other": Peer(form=lambda: lambda x: x * 2.01)})
    with pytest.raises(AssertionError):
        list(hold(other, rounds=1, memory=True))


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (["megabyte-generation"], MEGABYTES),
        (["megabyte-generation-1024"], ("megabyte-generation-1024",)),
        (["generation-2"], MEGABYTES[:1]),
    ],
)
def test_what_takes_minutes_is_raced_by_its_whole_name_alone(only: list[str], names: tuple[str, ...]) -> None:
    assert tuple(contest.name for contest in contests(only)) == names
