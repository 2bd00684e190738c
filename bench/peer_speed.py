"""How fast the house's operations are against the public ones a user would otherwise pick: `python -m bench.peer_speed`.

Every file of `bench/peers/` yields Contests: the house's form, its peers, the inputs of all. First each peer must agree with
the house's form in outputs and gradients; then all run in interleaved rounds in one process, in random order within a round. A ratio
is the median over rounds of peer seconds / house seconds, with a bootstrap interval; CPU seconds of the process on one thread, wall clock on more.
Below its peers stands how near each of the house's forms comes to what the machine can do, measured in the same run (`bench.ceiling`).
All run with the allocator's settings that every measurement of the house has (`confine.ALLOCATOR`): without them the kernel clears the pages
of each large result anew, which is half the time of a peer that writes many, and none of its arithmetic. `--allocator default` leaves them out.
The peers are an extra: `pip install touchstone-lab[peers]`; one that is not installed is a row that says so.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bench.peers
from bench.autobench.confine import ALLOCATOR
from bench.ceiling import Ceiling, Demand, Fraction, clock, measured_ceiling, size
from bench.flops import count_flops
from bench.pairs import median_ratio
from bench.suites.memory_growth import allocator_peak
from kernels.agreement import assert_agrees, outputs_and_gradients

Form = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A public implementation of the same map."""

    form: Callable[[], Form]
    """Imports and adapts it to the contest's inputs; ImportError where it is not installed."""
    at_least: float | None = None
    """How many times faster the house wants to be in training (forward and backward)."""
    within: float = 1e-4
    """Largest RMSE ratio of outputs and gradients against the house's form; `inf` where only the work is the same, not the map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One operation at one size."""

    name: str
    ours: Form
    peers: Mapping[str, Peer]
    inputs: Callable[[], dict[str, Tensor]]
    """Named float inputs of every form; gradients are taken in all of them."""
    directions: Sequence[str] = ("training", "forward")
    parameters: Sequence[Tensor] = field(default_factory=tuple)
    """Further leaves that training computes gradients of, in the house's form."""
    reads: Sequence[tuple[Tensor, int]] = ()
    """What else a forward pass of the house's form has to read, and how many times: to tell its share of the ceiling."""
    spared: int = 0
    """Bytes of the inputs that a forward pass of the house's form need not read."""
    long: bool = False
    """Takes minutes a round, so it is raced only where `--only` gives its whole name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The outcome against one peer in one direction."""

    contest: str
    direction: str
    peer: str
    at_least: float | None
    seconds: float = float("nan")
    """Median of the house's form."""
    ratio: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    missing: str = ""
    """Why there is no figure."""

    def __str__(self) -> str:
        told = f"{self.contest:28} {self.direction:8} {self.peer:34} "
        if self.missing:
            return told + self.missing
        target = f"  wanted {self.at_least:g}x" if self.at_least is not None else ""
        return told + f"{self.ratio:7.2f}x ({self.low:.2f} to {self.high:.2f})  {1e3 * self.seconds:9.2f} ms{target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What the house's form does of what the machine can, in one direction."""

    contest: str
    direction: str
    seconds: float
    """Median."""
    demand: Demand
    reached: Fraction | None
    """None where nothing is counted."""

    def __str__(self) -> str:
        told = self.reached or "no operations are counted"
        return f"{self.contest:28} {self.direction:8} {'=':34} {told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What torch's allocator held at most in one direction, inputs not counted, in bytes."""

    contest: str
    direction: str
    peer: str
    ours: int
    theirs: int

    def __str__(self) -> str:
        share = f"{self.ours / self.theirs:.3f} of it" if self.theirs else "which holds nothing"
        return f"{self.contest:28} {self.direction:8} {self.peer:34} {self.ours / 2**20:.4g} MiB against {self.theirs / 2**20:.4g}, {share}"


def contests(only: Sequence[str]) -> Iterator[Contest]:
    """Every contest whose file or name contains one of `only`; all but the long ones when it is empty."""
    for found in pkgutil.iter_modules(bench.peers.__path__):
        for contest in importlib.import_module(f"bench.peers.{found.name}").contests():
            if contest.name in only or (
                not contest.long and (not only or any(word == found.name or word in contest.name for word in only))
            ):
                yield contest


def hold(
    contest: Contest, *, rounds: int, seed: int = 0, ceiling: Ceiling | None = None, memory: bool = False
) -> Iterator[Row | Reached | Memory]:
    """Prove agreement, then time `rounds` rounds; AssertionError where a peer computes something else. With a `ceiling` tell what is Reached.

    With `memory` nothing is timed: the peaks of one call each are told, after one that is not counted.
    """
    forms: dict[str, Form] = {"": contest.ours}
    for name, peer in contest.peers.items():
        try:
            forms[name] = peer.form()
        except ImportError as error:
            for direction in contest.directions:
                yield Row(
                    contest=contest.name,
                    direction=direction,
                    peer=name,
                    at_least=peer.at_least,
                    missing=f"not installed: {error}",
                )
    inputs = contest.inputs()
    expected = outputs_and_gradients(contest.ours, inputs, seed=seed)
    for name, form in forms.items():
        if name and contest.peers[name].within != float("inf"):
            assert_agrees(outputs_and_gradients(form, inputs, seed=seed), expected, within=contest.peers[name].within)
    for direction in contest.directions:
        works = {name: _work(form, inputs, direction, contest.parameters) for name, form in forms.items()}
        if memory:
            peaks = {name: _peak(work) for name, work in works.items()}
            for name in peaks.keys() - {""}:
                yield Memory(contest=contest.name, direction=direction, peer=name, ours=peaks[""], theirs=peaks[name])
            continue
        times = _times(works, rounds=rounds, seed=seed)
        for name, peer in contest.peers.items():
            if name in times:
                ratio, low, high = median_ratio(list(zip(times[name], times[""], strict=True)))
                yield Row(
                    contest=contest.name,
                    direction=direction,
                    peer=name,
                    at_least=peer.at_least if direction == "training" else None,
                    seconds=sorted(times[""])[rounds // 2],
                    ratio=ratio,
                    low=low,
                    high=high,
                )
        if ceiling is not None:
            demand, seconds = demanded(contest, direction, inputs), sorted(times[""])[rounds // 2]
            fraction = ceiling.of(demand, seconds)
            yield Reached(contest=contest.name, direction=direction, seconds=seconds, demand=demand, reached=fraction)


def demanded(contest: Contest, direction: str, inputs: Mapping[str, Tensor]) -> Demand:
    """What the house's form of a contest cannot do without; in training what is read forward is read again, and every gradient is touched once."""
    results = list[object]()
    flops = count_flops(lambda: results.append(_work(contest.ours, inputs, direction, contest.parameters)()))
    result = results[0] if isinstance(results[0], tuple) else results
    outside = size(t for t in result if isinstance(t, Tensor))
    given, besides = size((*inputs.values(), *contest.parameters)), sum(size([t]) * times for t, times in contest.reads)
    resident = given + outside + size(t for t, _ in contest.reads)
    once = given + besides + outside - contest.spared
    again = 2 * given + besides + outside if direction == "training" else 0
    return Demand(flops=flops, bytes=once + again, resident=resident)


def _work(form: Form, inputs: Mapping[str, Tensor], direction: str, parameters: Sequence[Tensor]) -> Callable[[], object]:
    if direction == "forward":

        def forward() -> object:
            with torch.no_grad():
                return form(**inputs)

        return forward
    leaves = {name: x.detach().requires_grad_() for name, x in inputs.items()}

    def training() -> object:
        result = form(**leaves)
        out = result[0] if isinstance(result, tuple) else result
        for leaf in (*leaves.values(), *parameters):
            leaf.grad = None
        torch.autograd.backward(out, torch.ones_like(out))
        return out

    return training


def _peak(work: Callable[[], object]) -> int:
    work()
    return allocator_peak(work, device="cpu")


def _times(works: Mapping[str, Callable[[], object]], *, rounds: int, seed: int) -> dict[str, list[float]]:
    """Seconds per round of every work, after one untimed call each."""
    now = clock()
    order, times = random.Random(seed), {name: list[float]() for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name in order.sample(list(works), len(works)):
            began = now()
            works[name]()
            times[name].append(now() - began)
    return times


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.peer_speed", description="operations against the public ones")
    parser.add_argument(
        "--only", action="append", default=[], help="a file of bench/peers or part of a contest's name; repeatable"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--allocator", choices=("house", "default"), default="house")
    parser.add_argument("--memory", action="store_true", help="tell peaks of memory in place of times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the ceiling and all rows there too")
    chosen = parser.parse_args()
    if chosen.allocator == "house" and not ALLOCATOR.items() <= os.environ.items():  # read when a process begins
        os.execve(sys.executable, [sys.executable, "-m", "bench.peer_speed", *sys.argv[1:]], {**os.environ, **ALLOCATOR})
    torch.set_num_threads(chosen.threads)
    ceiling, rows = measured_ceiling(threads=chosen.threads), list[Row | Reached | Memory]()
    for contest in contests(chosen.only):
        for row in hold(contest, rounds=chosen.rounds, ceiling=ceiling, memory=chosen.memory):
            print(row, flush=True)
            rows.append(row)
    print(ceiling)
    if chosen.json:
        told: dict[str, Any] = {"ceiling": ceiling.to_dict(), "rows": [asdict(row) for row in rows]}
        chosen.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
