"""Finds the opinion groups of a conversation from its votes alone: impute, reduce to two dimensions, cluster, choose how many.

Near to Polis' own pipeline as its authors describe it (Small et al. 2021, sections 3 and 4): a statement that moderation did not accept counts
as passed by everybody; unseen votes take the statement's mean; the two largest principal components; a participant's point is moved out by
sqrt(statements / votes); up to 100 small clusters around those who came first; then 2 to 5 groups of these by k-means, rated by silhouette.
Polis goes on from where it stood a vote ago, and an export has no such past. Two things stand in for it: no group holds less than `least_share`
of the participants, else k-means spends one on an outlier; and the fewest groups are taken whose silhouette is within a standard error of the
best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alignment.polis_export import Labels, Votes

Points = NDArray[np.float64]
Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the groups depend on besides votes and seed; one for all conversations."""

    min_votes: int = 7
    """Whoever voted less does not shape the groups."""
    base: int = 100
    """Small clusters at most."""
    least_groups: int = 2
    most: int = 5
    """Groups at most."""
    least_share: float = 0.03
    """Of the participants that shape the groups, at least so many in each."""
    slack: float = 1.0
    """Standard errors of the silhouette that fewer groups may cost."""
    restarts: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Who thinks alike."""

    labels: Labels
    """(P,): largest group first; -1 for whoever did not vote."""
    core: NDArray[np.bool_]
    """(P,): whose votes shaped the groups; the others stand where they lie."""
    points: Points
    """(P, 2)."""
    centres: Points
    """(k, 2)."""
    silhouettes: tuple[tuple[int, float], ...]
    """Of each number of groups that was possible."""
    seed: int

    @property
    def members(self) -> Labels:
        """(P,): the labels of the core, -1 elsewhere."""
        return np.where(self.core, self.labels, -1)

    def __len__(self) -> int:
        return len(self.centres)


def find_groups(
    votes: Votes, *, accepted: NDArray[np.bool_] | None = None, seed: int = 0, recipe: Recipe | None = None
) -> Groups:
    """The groups in `votes` (P, S); the same seed gives the same bits. ValueError where fewer than 4 shape them, or they do not part."""
    recipe = recipe or Recipe()
    voted = (~np.isnan(votes)).sum(1)
    core = voted >= min(recipe.min_votes, votes.shape[1])
    if core.sum() < 4:
        raise ValueError(
            f"{core.sum()} participants have {recipe.min_votes} votes or more, groups take 4: gather more. nothing was found"
        )
    rng = np.random.default_rng(seed)
    points = project(votes, accepted=accepted)
    small, weights = _small_clusters(points[core], recipe.base)
    least = recipe.least_share * float(core.sum())
    options: list[tuple[Points, float, float]] = []
    for k in range(recipe.least_groups, min(recipe.most, 2 + len(small) // 12) + 1):
        centres = k_means(small, weights, k=k, restarts=recipe.restarts, least=least, rng=rng)
        if centres is not None:
            each = silhouette(points[core], nearest(points[core], centres))
            options.append((centres, float(each.mean()), float(each.std() / np.sqrt(len(each)))))
    if not options:
        raise ValueError("the participants do not part: all vote alike, or only single ones stand apart. nothing was found")
    _, best, error = max(options, key=lambda o: o[1])
    centres = next(c for c, score, _ in options if score >= best - recipe.slack * error)
    sizes = np.bincount(nearest(points[core], centres), minlength=len(centres))
    centres = centres[np.argsort(-sizes, kind="stable")]
    return Groups(
        labels=np.where(voted > 0, nearest(points, centres), -1),
        core=core,
        points=points,
        centres=centres,
        silhouettes=tuple((len(c), score) for c, score, _ in options),
        seed=seed,
    )


def project(votes: Votes, *, accepted: NDArray[np.bool_] | None = None) -> Points:
    """(P, 2): everybody's place on the two largest principal components, moved out by sqrt(statements / votes)."""
    filled = votes if accepted is None else np.where(accepted, votes, 0.0)
    seen = ~np.isnan(filled)
    known = np.where(seen, filled, 0.0)
    means = known.sum(0) / np.maximum(seen.sum(0), 1)
    centred = np.where(seen, known - means, 0.0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, :-3:-1]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), range(axes.shape[1])] < 0, -1.0, 1.0)
    return np.asarray(centred @ axes * np.sqrt(votes.shape[1] / np.maximum(seen.sum(1), 1))[:, None], dtype=np.float64)


def nearest(points: Points, centres: Points) -> Labels:
    """(N,): the index of the nearest centre."""
    return np.asarray(_squares(points, centres).argmin(1), dtype=np.int64)


def k_means(points: Points, weights: Weights, *, k: int, restarts: int, least: float, rng: np.random.Generator) -> Points | None:
    """(k, 2): the centres with the least weighted squares over `restarts` starts, each group weighing at least `least`; None if there are none."""
    if len(np.unique(points, axis=0)) < k:
        return None
    starts = np.array([_spread(points, weights, k, rng) for _ in range(restarts)])
    for _ in range(100):
        own = ((points[None, :, None] - starts[:, None]) ** 2).sum(3).argmin(2)
        held = (own[:, :, None] == np.arange(k)) * weights[None, :, None]
        mass = held.sum(1)
        moved = np.where(
            mass[:, :, None] > 0, np.einsum("rnk,nd->rkd", held, points) / np.maximum(mass, 1e-12)[:, :, None], starts
        )
        if np.abs(moved - starts).max() < 1e-9:
            break
        starts = moved
    squares = ((points[None, :, None] - starts[:, None]) ** 2).sum(3)
    own = squares.argmin(2)
    mass = ((own[:, :, None] == np.arange(k)) * weights[None, :, None]).sum(1)
    cost = np.where(mass.min(1) >= max(least, 1e-12), (squares.min(2) * weights).sum(1), np.inf)
    return np.asarray(starts[cost.argmin()]) if np.isfinite(cost.min()) else None


def silhouette(points: Points, labels: Labels) -> NDArray[np.float64]:
    """(N,): how much nearer each point is to its own group than to the next one, in [-1, 1]; 0 for a group of one (Rousseeuw 1987)."""
    groups, own = np.unique(labels, return_inverse=True)
    sizes = np.bincount(own)
    sums = np.array([np.sqrt(_squares(points, points[own == g])).sum(1) for g in range(len(groups))]).T
    rows = np.arange(len(points))
    inside = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    outside = sums / sizes
    outside[rows, own] = np.inf
    other = outside.min(1)
    return np.asarray(
        np.where(sizes[own] == 1, 0.0, (other - inside) / np.maximum(np.maximum(other, inside), 1e-12)), dtype=np.float64
    )


def adjusted_rand(one: Labels, two: Labels) -> float:
    """How far two groupings agree beyond chance: 1 the same, about 0 unrelated (Hubert and Arabie 1985)."""
    if len(one) != len(two) or len(one) < 2:
        raise ValueError(f"groupings of {len(one)} and {len(two)}; both need the same 2 or more. nothing was compared")
    a, b = (np.unique(labels, return_inverse=True)[1] for labels in (one, two))
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)

    def pairs(counts: NDArray[np.float64]) -> float:
        return float((counts * (counts - 1) / 2).sum())

    rows, columns = pairs(table.sum(1)), pairs(table.sum(0))
    chance, most = rows * columns / pairs(np.array([float(len(a))])), (rows + columns) / 2
    return 1.0 if most == chance else (pairs(table) - chance) / (most - chance)


def _small_clusters(points: Points, most: int) -> tuple[Points, Weights]:
    """At most `most` small clusters and how many participants are in each, begun where the first different ones stand."""
    _, first = np.unique(points, axis=0, return_index=True)
    centres = points[np.sort(first)[:most]]
    for _ in range(20):
        own = nearest(points, centres)
        sizes = np.bincount(own, minlength=len(centres)).astype(np.float64)
        sums = np.array([np.bincount(own, weights=points[:, d], minlength=len(centres)) for d in range(points.shape[1])]).T
        moved = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
        still = np.abs(moved - centres).max() < 0.01
        centres = moved
        if still:
            break
    return centres[sizes > 0], sizes[sizes > 0]


def _spread(points: Points, weights: Weights, k: int, rng: np.random.Generator) -> Points:
    """k starting points, each likelier the further it lies from those before (Arthur and Vassilvitskii 2007)."""
    chosen = [int(rng.choice(len(points), p=weights / weights.sum()))]
    while len(chosen) < k:
        far = _squares(points, points[chosen]).min(1) * weights
        chosen.append(int(rng.choice(len(points), p=far / far.sum())))
    return points[chosen]


def _squares(points: Points, centres: Points) -> NDArray[np.float64]:
    return np.asarray(((points[:, None] - centres[None]) ** 2).sum(2), dtype=np.float64)
