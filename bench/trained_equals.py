"""Candidates that are their champion under another name, on real trainings: what the promotion rule makes of them, and what is usual.

Each is the same small transformer, trained anew from other random numbers, so every promotion is a false one. What was trained is kept in a
file, line by line, so that a proof that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import heapq
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.false_verdicts import SPEED_OF_FAILURE, WORKERS, Rate
from bench.promotion import Answer, Duel, Flags, Floats, Pair, duel, fewest, follow, share

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data import Corpus

ERROR = 0.05
ALONE = 2 * fewest(ERROR)
"""Pairs that each candidate is judged on which has the whole error to itself; it is measured on at least as many."""
SEEDS = 1000
"""More than any duel has pairs, so that no two trainings share their random numbers."""
STEPS, WIDTH, BATCH, LENGTH, WINDOWS = 10, 16, 4, 32, 32
LR, SLOW_LR = 1e-2, 6.6e-3
"""Peak learning rates of the champion, and of one that is truly worse."""
SUBMISSION, COMPLETION = "submission order", "pairs folded as they complete"
GOOD = "good ones finish sooner"


def train_once(stream: int, lr: float = LR) -> float:
    """Bits per byte on held-out text of one small training, whose start and batches come from the random numbers of `stream`."""
    import torch

    from bench.suites.bytes import bits_per_byte
    from modules.decoder import Decoder
    from modules.trainer import Recipe, next_token, train

    text, held_BT = _text()

    def batch(step: int) -> Tensor:
        return torch.from_numpy(text.batch(seed=stream, step=step, batch=BATCH, length=LENGTH))

    model = Decoder.build("transformer", config={"d_model": WIDTH, "heads": 2}, decoder={"layers": 1}, seed=stream)
    train(model, batch, loss=next_token, recipe=Recipe(lr=lr, batch=BATCH, length=LENGTH), steps=STEPS, seed=stream)
    model.eval()
    return bits_per_byte(model, held_BT, batch=WINDOWS)


@cache
def _text() -> tuple[Corpus, Tensor]:
    import torch

    from bench.data import corpus

    torch.set_num_threads(1)
    text = corpus("bytes-stdlib")
    return text, torch.from_numpy(text.windows(count=WINDOWS, length=2 * LENGTH))


class Kept:
    """Trainings by stream and learning rate: from the file, else done now and added to it. Those of other code or data do not count."""

    def __init__(self, file: Path) -> None:
        self.file, self.trained = file, 0
        self._scores: dict[tuple[int, float], float] = {}
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            try:
                of, stream, lr, score = json.loads(line)
            except ValueError:  # cut off when it was written
                continue
            if of == self._of:
                self._scores[stream, lr] = score
        self.found = len(self._scores)

    def __call__(self, stream: int, lr: float = LR) -> float:
        if (stream, lr) not in self._scores:
            self._scores[stream, lr] = train_once(stream, lr)
            self.trained += 1
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(f"\n{json.dumps([self._of, stream, lr, self._scores[stream, lr]])}")
        return self._scores[stream, lr]

    @cached_property
    def _of(self) -> str:
        """What the scores rest on: the code that is run, the text, and the machine's libraries."""
        from bench.identity import identify
        from plan.nouns import Request

        same = identify(Request(module="transformer", benchmark="bytes-stdlib-v1", seed=0, steps=STEPS)).key
        return hashlib.sha256(
            f"{same} {inspect.getsource(train_once)} {STEPS} {WIDTH} {BATCH} {LENGTH} {WINDOWS}".encode()
        ).hexdigest()[:16]


def fight(
    k: int, champion: Callable[[int], float], challenger: Callable[[int], float], *, least: int = 0
) -> tuple[Duel, list[tuple[float, float]]]:
    """The k-th duel of a run, pair by pair until it is ended and `least` pairs are measured; both sides measure a seed."""
    pairs = list[tuple[float, float]]()
    while not (found := duel(pairs, better="less", error=share(k, ERROR))).ended or len(pairs) < least:
        pairs.append((champion(len(pairs)), challenger(len(pairs))))
    return found, pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run of candidates that equal their champion came to, on real trainings."""

    duels: tuple[Duel, ...]
    """The k-th of them with the k-th share of the error, as in a run."""
    pairs: tuple[tuple[tuple[float, float], ...], ...]
    """(champion, challenger) of each candidate: those that its duel read, and at least ALONE."""

    @property
    def scores(self) -> Floats:
        """Every number that was measured."""
        return np.array([number for pairs in self.pairs for pair in pairs for number in pair])

    @property
    def kept(self) -> int:
        """Candidates whose score on the first seed was better: what `keep if better` keeps."""
        return sum(pairs[0][1] < pairs[0][0] for pairs in self.pairs)

    @property
    def in_a_row(self) -> int:
        """The same where each must beat the best score so far."""
        best = np.minimum.accumulate([self.pairs[0][0][0], *(pairs[0][1] for pairs in self.pairs)])
        return int((np.diff(best) < 0).sum())

    @property
    def spread(self) -> float:
        """Standard deviation of a pair's difference, relative to the metric."""
        gaps = [champion - challenger for pairs in self.pairs for champion, challenger in pairs]
        return float(np.std(gaps) / self.scores.mean())

    def count(self, answer: Answer) -> int:
        """Duels that ended so."""
        return sum(found.answer is answer for found in self.duels)


def run_on_trainings(candidates: int, *, measure: Callable[[int], float], say: Callable[[str], None]) -> Trained:
    """One run of duels; each has trainings of its own on both sides, as each has fresh seeds in the loop. `measure(stream)` trains."""

    def side(place: int) -> Callable[[int], float]:
        return lambda seed: measure(place * SEEDS + seed)

    duels, all_pairs = list[Duel](), list[tuple[tuple[float, float], ...]]()
    for k in range(1, candidates + 1):
        found, pairs = fight(k, side(2 * k), side(2 * k + 1), least=ALONE)
        duels.append(found)
        all_pairs.append(tuple(pairs))
        if k % 50 == 0:
            say(f"  {k} of {candidates} candidates")
    return Trained(duels=tuple(duels), pairs=tuple(all_pairs))


def rates_alone(trained: Trained, rng: np.random.Generator) -> Iterator[Rate]:
    """How many of the candidates are promoted when each has the whole declared error: by workers, and by who finishes sooner.

    The rule is asked after every completion with what is known by then, as the loop asks it. Beside it the habit of folding pairs as they complete,
    which has to exceed the error where good ones are the first to end.
    """
    gains = np.array([[champion - challenger for champion, challenger in pairs[:ALONE]] for pairs in trained.pairs])
    worlds = {"bad ones finish sooner": gains < 0, GOOD: gains > 0}
    for world, sooner in worlds.items():
        for workers in WORKERS:
            seconds = rng.exponential(1.0, gains.shape) / np.where(sooner, SPEED_OF_FAILURE, 1.0)
            order = np.array([list(completed(row, workers=workers)) for row in seconds.tolist()])
            ours = sum(
                _asked(pairs, order=row) is Answer.PROMOTE for pairs, row in zip(trained.pairs, order.tolist(), strict=True)
            )
            habit = int(promoted(np.take_along_axis(gains, order, axis=1), error=ERROR, most=ALONE).sum())
            for method, false in ((SUBMISSION, ours), (COMPLETION, habit)):
                within = True if method == SUBMISSION else False if world == GOOD and workers > 1 else None
                yield Rate(world=f"{world}, {workers:2d} workers", method=method, false=false, of=len(gains), within=within)


def completed(seconds: Sequence[float], *, workers: int) -> Iterator[int]:
    """The order in which measurements end that take so long and are begun one after the other, `workers` at a time."""
    running = [(duration, place) for place, duration in enumerate(seconds[:workers])]
    heapq.heapify(running)
    begun = len(running)
    while running:
        now, place = heapq.heappop(running)
        if begun < len(seconds):
            heapq.heappush(running, (now + seconds[begun], begun))
            begun += 1
        yield place


def _asked(pairs: Sequence[Pair], *, order: Sequence[int]) -> Answer:
    """The answer when pairs become known in this order and the rule is asked each time."""
    known: list[Pair | None] = [None] * ALONE
    for place in order:
        known[place] = pairs[place]
        if (found := duel(known, better="less", error=ERROR, most=ALONE)).ended:
            return found.answer
    return Answer.UNDECIDED


def promoted(won: Floats, *, error: float, most: int) -> Flags:
    """Which duels (rows of gains) promote when they are looked at after every pair."""
    course = follow(won, error=error, most=most)
    first = course.ended.argmax(axis=1)[:, None]
    return np.asarray(np.take_along_axis(course.promotes, first, axis=1)[:, 0])
