"""A seed that timed out and is drawn anew: what a session makes of it, and how the task can still pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.schedule import Job, reason
from agents.standing import Standing
from bench.draws import GOES_ON
from bench.events import Started, attempt_key
from bench.ledger import Ledger
from bench.scoreboard import scoreboard
from plan.grammar import parse
from plan.nouns import Cost, Limits, Run, State, Status, Verdict

PLAN = """# P

- **gate**: off
- **budget**: 60 s

## one: of its own

- **module**: `attention`
- **benchmark**: `mqar-64x4-v64-v1`
- **seeds**: 3

| metric     |    | threshold | rule       |
| ---------- | -- | --------: | ---------- |
| `accuracy` | >= |       0.4 | lower 95%  |
| `accuracy` | <= |       1.0 | every seed |

## two: compared with it

- **module**: `attention`
- **benchmark**: `mqar-64x4-v64-v1`
- **seeds**: 3
- **needs**: `one`

| metric     |    | threshold | rule      |
| ---------- | -- | --------: | --------- |
| `accuracy` | >= |   0.5 x one | lower 95% |

```toml config
d_model = 16
```
"""
NUMBERS = {0: 0.97, 1: 0.98, 2: 0.99}


class Scene:
    """A real ledger, and sessions on it; measurements are told to the ledger and not carried out."""

    def __init__(self, folder: Path) -> None:
        self.plan = parse(PLAN, path="P.md")
        self.ledger = Ledger.open(folder / "ledger.db")

    def session(self, *, retry: bool = False) -> Standing:
        standing = Standing(self.plan, self.ledger, retry_failed=retry)
        standing.refresh()
        return standing

    def tell(self, standing: Standing, job: Job, status: Status = Status.OK, *, goes_on: bool = False) -> None:
        number = standing.facts.next_attempt(job.key)
        standing.begun(job)
        begun = Started(tasks=job.tasks, request=job.request, limits=Limits(seconds=1), identity=job.identity.parts)
        run = Run(
            key=job.key,
            request=job.request,
            status=status,
            cost=Cost(seconds=1),
            metrics={"accuracy": NUMBERS[job.request.seed]} if status is Status.OK else {},
            facts={GOES_ON: goes_on},
            attempt=number,
        )
        self.ledger.append("started", attempt_key(job.key, number), begun)
        self.ledger.append("run", attempt_key(job.key, number), run)
        standing.refresh()

    def publish(self, standing: Standing) -> None:
        self.ledger.append("wanted", f"s/{standing.facts.seq}", standing.wanted())


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.ledger.close()


def states(verdicts: tuple[Verdict, ...]) -> list[State]:
    return [verdict.state for verdict in verdicts]


def drawn_anew(scene: Scene, *, goes_on: bool = False) -> Standing:
    """Seed 1 of `one` timed out and was measured again, all else was measured once."""
    standing = scene.session()
    for job in standing.jobs:
        timed_out = job.tasks == ("one",) and job.request.seed == 1
        scene.tell(standing, job, Status.TIMED_OUT if timed_out else Status.OK, goes_on=goes_on)
    (again,) = (job for job in standing.jobs if job.key not in standing.done)
    assert again.key in standing.grants()
    scene.tell(standing, again)
    standing.judge()
    return standing


UNSURE = [State.UNSURE, State.PASS, State.UNSURE]


def test_no_verdict_with_an_error_rests_on_a_seed_that_was_drawn_anew_alone_nor_on_a_comparison_with_it(scene: Scene) -> None:
    standing = drawn_anew(scene)
    assert states(standing.verdicts) == UNSURE
    assert all("a seed of `one` came to no number" in v.reason for v in standing.verdicts if v.state is State.UNSURE)
    scene.publish(standing)
    assert states(scoreboard(scene.ledger, scene.plan).verdicts) == UNSURE
    assert not scene.session().grants()


def test_what_went_on_from_its_checkpoint_is_no_second_draw(scene: Scene) -> None:
    assert states(drawn_anew(scene, goes_on=True).verdicts) == [State.PASS] * 3


def test_measuring_the_other_seeds_anew_as_well_gives_verdicts_with_the_error_of_a_second_test(scene: Scene) -> None:
    drawn_anew(scene)
    standing = scene.session(retry=True)
    waiting = [job for job in standing.jobs if job.key in standing.grants()]
    assert [(job.tasks, job.request.seed) for job in waiting] == [(("one",), 0), (("one",), 2)]
    for job in waiting:
        assert job.key not in standing.done
        assert reason(job, standing.facts, done=False) == "measured, and to be drawn anew as another seed was"
        scene.tell(standing, job)
    assert not standing.grants()
    standing.judge()
    assert states(standing.verdicts) == [State.PASS] * 3
    assert [v.error for v in standing.verdicts] == [pytest.approx(0.05 / 6), None, pytest.approx(0.05 / 6)]
    scene.publish(standing)
    assert [v.error for v in scoreboard(scene.ledger, scene.plan).verdicts] == [v.error for v in standing.verdicts]
