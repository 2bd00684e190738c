"""Measures learning curves of a module to fit scaling laws to: `python -m tests.bench.learning_curves > curves.csv`.

Every point is a training of its own, of that many bytes, because the learning rate's schedule ends with the training: a point read
off a longer run would be of another recipe. The columns are those of `scaling-law-curves-v1`: the last point of each curve is held out.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import torch

from bench.request import Bench
from bench.suites.bytes import measure
from plan.nouns import Request

BATCH, LENGTH = 4, 128


def curve(module: str, *, width: int, steps: list[int], seed: int) -> list[tuple[int, float]]:
    """(bytes trained on, validation bits per byte) after each number of steps."""
    points = []
    for count in steps:
        config = {"d_model": width, "recipe": {"batch": BATCH, "length": LENGTH, "lr": 3e-3}}
        request = Request(module=module, benchmark="bytes-stdlib-v1", seed=seed, steps=count, config=config)
        with tempfile.TemporaryDirectory() as folder:
            numbers = measure(Bench(request=request, folder=Path(folder)))
        points.append((count * BATCH * LENGTH, numbers["val_bpb"]))
        print(f"{module} {width}: {points[-1][0]} bytes, {points[-1][1]:.4f} bpb", file=sys.stderr, flush=True)
    return points


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.learning_curves", description=__doc__.splitlines()[0])
    parser.add_argument("--module", default="transformer")
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--points", type=int, default=13, help="trainings of a curve, each 1.6 times as long as the one before")
    parser.add_argument("--shortest", type=int, default=8, help="steps of the first training")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    steps = [round(chosen.shortest * 1.6**i) for i in range(chosen.points)]
    sheet = csv.writer(sys.stdout, lineterminator="\n")
    sheet.writerow(["curve", "bytes", "val_bpb", "heldout"])
    for width in chosen.widths:
        points = curve(chosen.module, width=width, steps=steps, seed=chosen.seed)
        sheet.writerows([f"{chosen.module} {width}", x, f"{y:.6f}", int(i == len(points) - 1)] for i, (x, y) in enumerate(points))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
