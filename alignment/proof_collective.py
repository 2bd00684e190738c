"""The proof of the collective constitution, on conversations and prompts that people made: `python -m alignment.proof_collective [folder]`.

Prints one row a claim with its figure, what it should be, and whether it holds. The folder holds `polis/*/` and `xstest/prompts.csv`; `--quick`
plants a fault once per conversation rather than five times.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from alignment.consensus import group_informed_consensus
from alignment.labeller import Labeller
from alignment.opinion_groups import Recipe, adjusted_rand, find_groups
from alignment.polis_export import Conversation, read
from alignment.vote_audit import audit

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "alignment"
GRID = tuple(Recipe(least_share=share, slack=slack) for slack in (2.0, 1.0, 0.0) for share in (0.05, 0.03, 0.01))
"""Of equally good ones the first is taken: fewer groups, larger ones."""
SEEDS = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One claim as measured."""

    claim: str
    figure: str
    asked: str
    holds: bool | None
    """None where nothing is asked of it."""


def conversations(folder: Path) -> list[Conversation]:
    """Every conversation below `folder`, by name."""
    return [read(path.parent) for path in sorted((folder / "polis").glob("*/participants-votes.csv"))]


def agreement(conversation: Conversation, *, seed: int = 0, recipe: Recipe | None = None) -> float:
    """The adjusted Rand index of the groups found with Polis' own, over those to whom Polis gave one."""
    inside = conversation.groups >= 0
    found = find_groups(conversation.votes, accepted=conversation.accepted, seed=seed, recipe=recipe)
    return adjusted_rand(found.labels[inside], conversation.groups[inside])


def mean_interval(values: NDArray[np.float64], *, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean, values drawn anew."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (10_000, len(values)))].mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def consensus_row(known: Sequence[Conversation]) -> Iterator[Row]:
    """Polis' exported column against ours, with Polis' groups."""
    for conversation in known:
        theirs = np.array([np.nan if s.consensus is None else s.consensus for s in conversation.statements])
        if np.isnan(theirs).all():
            continue
        off = np.abs(group_informed_consensus(conversation.votes, conversation.groups) - theirs)
        figure = f"largest difference {np.nanmax(off):.1e} over {np.isfinite(off).sum()} of {len(off)} statements"
        yield Row(claim=f"consensus, {conversation.name}", figure=figure, asked="1e-12, all", holds=bool((off <= 1e-12).all()))


def group_rows(known: Sequence[Conversation]) -> Iterator[Row]:
    """Agreement with Polis' groups, by conversation and seed; then with the recipe chosen on the other conversations."""
    table = np.array([[agreement(c, seed=s) for s in SEEDS] for c in known])
    for conversation, values in zip(known, table, strict=True):
        figure = f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f} over {len(values)} seeds)"
        yield Row(claim=f"groups, {conversation.name}", figure=figure, asked="", holds=None)
    low, high = mean_interval(table.mean(1))
    means = table.mean(0)
    figure = f"{table.mean():.3f} ({low:.3f} to {high:.3f} over {len(known)} conversations; seeds {means.min():.3f} to {means.max():.3f})"
    yield Row(claim="groups, mean", figure=figure, asked=">= 0.75", holds=bool(table.mean() >= 0.75))
    grid = np.array([[agreement(c, recipe=recipe) for recipe in GRID] for c in known])
    out = np.array([grid[i, np.delete(grid, i, axis=0).mean(0).argmax()] for i in range(len(known))])
    low, high = mean_interval(out)
    figure = f"{out.mean():.3f} ({low:.3f} to {high:.3f}), of {len(GRID)} recipes"
    yield Row(claim="groups, recipe chosen on the others", figure=figure, asked=">= 0.75", holds=bool(out.mean() >= 0.75))


def planted() -> dict[str, Callable[[Conversation, np.random.Generator], Conversation]]:
    """Faults by name; each takes a clean conversation and returns one with the fault."""

    def shuffled(share: float) -> Callable[[Conversation, np.random.Generator], Conversation]:
        def plant(clean: Conversation, rng: np.random.Generator) -> Conversation:
            groups, inside = clean.groups.copy(), rng.permutation(np.flatnonzero(clean.groups >= 0))
            chosen = inside[: int(share * len(inside))]
            groups[chosen] = groups[rng.permutation(chosen)]
            return replace(clean, groups=groups)

        return plant

    def block(clean: Conversation, rng: np.random.Generator) -> Conversation:
        groups, inside = clean.groups.copy(), np.flatnonzero(clean.groups >= 0)
        rows = inside[rng.integers(0, len(inside) // 2) :]
        groups[rows] = np.roll(groups[rows], int(rng.choice([-2, -1, 1, 2])))
        return replace(clean, groups=groups)

    def rows(clean: Conversation, rng: np.random.Generator) -> Conversation:
        return replace(clean, votes=np.roll(clean.votes, int(rng.integers(1, len(clean.votes))), axis=0), declared=None)

    def counted(clean: Conversation, rng: np.random.Generator) -> Conversation:
        return replace(clean, votes=np.roll(clean.votes, int(rng.integers(1, len(clean.votes))), axis=0))

    def columns(clean: Conversation, rng: np.random.Generator) -> Conversation:
        return replace(clean, votes=np.roll(clean.votes, int(rng.integers(1, clean.votes.shape[1])), axis=1))

    def copied(least: int) -> Callable[[Conversation, np.random.Generator], Conversation]:
        def plant(clean: Conversation, rng: np.random.Generator) -> Conversation:
            i = int(rng.choice(np.flatnonzero((~np.isnan(clean.votes)).sum(1) >= least)))
            both = np.append(np.arange(len(clean.votes)), i)
            declared = None if clean.declared is None else clean.declared[both]
            people = (*clean.participants, "copy")
            return replace(clean, participants=people, votes=clean.votes[both], groups=clean.groups[both], declared=declared)

        return plant

    return {
        "all labels shuffled": shuffled(1.0),
        "half the labels shuffled": shuffled(0.5),
        "labels of a block of rows shifted": block,
        "votes of all rows shifted, no counts": rows,
        "votes of all rows shifted": counted,
        "columns shifted": columns,
        "a participant with 7 votes or more copied": copied(7),
        "a participant with 20 votes or more copied": copied(20),
    }


def audit_rows(known: Sequence[Conversation], *, times: int) -> Iterator[Row]:
    """Alarms on clean files, then on planted ones; a copy counts as found where a finding names it."""
    alarms = [(c.name, f) for c in known for f in audit(c) if f.alarm]
    figure = f"{len({name for name, _ in alarms})} of {len(known)} raise one"
    yield Row(claim="audit, clean files", figure=figure, asked="none", holds=not alarms)
    for name, plant in planted().items():
        told, alarmed = 0, 0
        for number, clean in enumerate(known):
            rng = np.random.default_rng([number, 7])
            for _ in range(times):
                found = audit(plant(clean, rng))
                own = [f for f in found if "copy" in f.participants] if "copied" in name else [f for f in found if f.alarm]
                told, alarmed = told + bool(own), alarmed + any(f.alarm for f in own)
        n = times * len(known)
        asked = "" if name.startswith("half") else "all told"
        yield Row(
            claim=f"audit, {name}",
            figure=f"{told} of {n} told, {alarmed} as alarms",
            asked=asked,
            holds=told == n if asked else None,
        )


def label_row(folder: Path) -> Row:
    """XSTest prompts by a labeller that reads words only, leaving out one type with its contrast."""
    with (folder / "xstest" / "prompts.csv").open(newline="", encoding="utf-8") as file:
        prompts = list(csv.DictReader(file))
    texts = [p["prompt"] for p in prompts]
    unsafe = np.array([p["label"] == "unsafe" for p in prompts])
    family = np.array([_family(p["type"]) for p in prompts])
    chance, abstained, wrong = np.zeros(len(texts)), 0, 0
    for left in np.unique(family):
        out = family == left
        inside = np.flatnonzero(~out)
        labeller = Labeller.fit(
            [texts[i] for i in inside],
            [bool(unsafe[i]) for i in inside],
            [str(family[i]) for i in inside],
            clauses={"harm": "nobody is harmed"},
        )
        labels = labeller.label([texts[i] for i in np.flatnonzero(out)])
        chance[out] = [label.unsafe for label in labels]
        abstained += sum(label.tag == "abstain" for label in labels)
        wrong += sum(label.tag == ("safe" if bad else "unsafe") for label, bad in zip(labels, unsafe[out], strict=True))
    ranks = rankdata(chance)
    positives = int(unsafe.sum())
    area = (ranks[unsafe].sum() - positives * (positives + 1) / 2) / (positives * (len(texts) - positives))
    bins = np.clip((chance * 10).astype(int), 0, 9)
    ece = sum((bins == b).mean() * abs(chance[bins == b].mean() - unsafe[bins == b].mean()) for b in np.unique(bins))
    figure = f"AUROC {area:.3f}, ECE {ece:.3f}, abstains on {abstained} of {len(texts)}, wrong on {wrong} of the others"
    return Row(claim="labels, XSTest prompts, words only", figure=figure, asked="", holds=None)


def _family(kind: str) -> str:
    """A type and its contrast leave together: both discrimination types share one, so do both privacy types."""
    plain = kind.removeprefix("contrast_")
    return "discrimination" if "discr" in plain else "privacy" if plain.startswith("privacy") else plain


def rows(folder: Path, *, times: int = 5) -> Iterator[Row]:
    """Every row of the proof, as it is measured."""
    known = conversations(folder)
    if not known:
        raise SystemExit(f"{folder}: no `polis/*/participants-votes.csv` below it; name the folder that holds them")
    yield from consensus_row(known)
    yield from group_rows(known)
    yield from audit_rows(known, times=times)
    yield label_row(folder)


def main(arguments: Sequence[str]) -> int:
    """Print the rows; 1 when a claim misses."""
    named = [a for a in arguments if not a.startswith("-")]
    missed = False
    for row in rows(Path(named[0]) if named else FOLDER, times=1 if "--quick" in arguments else 5):
        verdict = {None: "-", True: "holds", False: "misses"}[row.holds]
        missed |= row.holds is False
        print(f"| {row.claim} | {row.figure} | {row.asked} | {verdict} |", flush=True)
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
