"""Finds the opinion groups of a conversation from its votes alone: impute, reduce to two dimensions, cluster, choose how many.

Near to Polis' own pipeline as its authors describe it (Small et al. 2021, sections 3 and 4): a statement that moderation did not accept counts
as passed by everybody; unseen votes take the statement's mean; the two largest principal components; a participant's point is moved out by
sqrt(statements / votes); up to 100 small clusters around those who came first; then 2 to 5 groups of these by k-means.
Polis rates their number by silhouette and goes on from where it stood a vote ago; an export has no such past. Two things stand in for it: no
group holds less than `least_share` of the participants, else k-means spends one on an outlier; and the fewest groups are taken that are found again
among participants drawn anew as surely as any other number is, to a standard error (Hennig 2007).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    """Standard errors of being found again that fewer groups may cost."""
    replicates: int = 20
    """How often participants are drawn anew to see which number of groups is found again."""
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
    stabilities: tuple[tuple[int, float], ...]
    """Of each number of groups that was possible: the mean adjusted Rand index with those among participants drawn anew; empty where one was asked."""
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
    options = _clustered(points[core], recipe, rng)
    if not options:
        raise ValueError("the participants do not part: all vote alike, or only single ones stand apart. nothing was found")
    alike = _found_again(votes[core], accepted, points[core], options, recipe, seed) if len(options) > 1 else {}
    centres = options[_fewest(alike, slack=recipe.slack) if alike else next(iter(options))]
    sizes = np.bincount(nearest(points[core], centres), minlength=len(centres))
    centres = centres[np.argsort(-sizes, kind="stable")]
    return Groups(
        labels=np.where(voted > 0, nearest(points, centres), -1),
        core=core,
        points=points,
        centres=centres,
        stabilities=tuple((k, float(np.mean(each))) for k, each in alike.items()),
        seed=seed,
    )


def _clustered(points: Points, recipe: Recipe, rng: np.random.Generator) -> dict[int, Points]:
    """The centres of each number of groups that is possible."""
    small, weights = _small_clusters(points, recipe.base)
    found = {}
    for k in range(recipe.least_groups, min(recipe.most, 2 + len(small) // 12) + 1):
        centres = k_means(small, weights, k=k, restarts=recipe.restarts, least=recipe.least_share * len(points), rng=rng)
        if centres is not None:
            found[k] = centres
    return found


def _found_again(
    votes: Votes, accepted: NDArray[np.bool_] | None, points: Points, options: dict[int, Points], recipe: Recipe, seed: int
) -> dict[int, list[float]]:
    """Of each number of groups, how like those of everybody are the ones found anew, from the means on, among as many drawn with repeats."""
    rng = np.random.default_rng([seed, 2])
    alike: dict[int, list[float]] = {k: [] for k in options}
    for _ in range(recipe.replicates):
        rows = np.sort(rng.choice(len(votes), len(votes)))
        drawn = project(votes[rows], accepted=accepted)
        anew = _clustered(drawn, replace(recipe, restarts=8), rng)
        for k, centres in options.items():
            before = nearest(points[rows], centres)
            alike[k].append(adjusted_rand(nearest(drawn, anew[k]), before) if k in anew else 0.0)
    return alike


def _fewest(alike: dict[int, list[float]], *, slack: float = 1.0) -> int:
    """The fewest groups that are not found again less surely than the number that is most surely: by standard errors of the paired difference."""
    best = max(alike, key=lambda k: np.mean(alike[k]))
    for k in sorted(alike):
        less = np.array(alike[best]) - np.array(alike[k])
        if less.mean() <= slack * less.std() / np.sqrt(len(less)):
            return k
    return best


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
