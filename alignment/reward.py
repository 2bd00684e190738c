"""A Bradley-Terry reward model: from pairs of which one was better, a number for each thing, of texts or decisions alike.

    P(a is better than b) = sigmoid(reward(a) - reward(b)),   reward(x) = weights . features(x)

The features come in blocks, each a function from a thing to named numbers, so that every reward can be told as the names that make it.
A ridge keeps the weights small; how strong it has to be is found on inner folds that keep together what belongs together.
Source: Bradley and Terry, "Rank analysis of incomplete block designs", Biometrika 1952.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize

T = TypeVar("T")
Array = NDArray[np.float64]
STRENGTHS = (0.25, 0.5, 1.0, 2.0)
"""Ridges that the inner folds choose from."""
FEW = 40
"""Pairs below which there is nothing to choose on: the ridge is `CAREFUL`."""
CAREFUL = 0.5


@dataclass(frozen=True)
class Block(Generic[T]):
    """One kind of feature. Counts are damped, weighted by how rare a name is, and have length one; numbers have deviation one.

    A block can also bring its features as rows of a matrix (`vectors`, for embeddings); they are taken from their mean.
    """

    name: str
    extract: Callable[[T], Mapping[str, float]] = lambda thing: {}
    counts: bool = False
    vectors: Callable[[Sequence[T]], Array] | None = None
    share: float = 1.0
    """The mean square of its differences over the training pairs: how much it has to say beside other blocks."""
    rare: int = 2
    """Counts: things that a name has to stand in, for it to be known."""


class BradleyTerry(Generic[T]):
    """A reward for things of type T, learnt from pairs."""

    def __init__(self, blocks: Sequence[Block[T]], *, strength: float | None = None) -> None:
        self.blocks, self.strength = tuple(blocks), strength
        self.names: list[tuple[str, str]] = []
        """(block, name) of each weight."""
        self.weights: Array = np.zeros(0)
        self._columns: list[dict[str, int]] = []
        self._scales: list[Array] = []
        self._means: list[Array] = []
        self._sizes: list[float] = []

    def fit(
        self, pairs: Sequence[tuple[T, T]], wins: Sequence[float] | None = None, *, groups: Sequence[Hashable] | None = None
    ) -> BradleyTerry[T]:
        """Learn from `pairs`; `wins` is the probability that the first is better (default 1). `groups` are never split by an inner fold."""
        if not pairs:
            raise ValueError("a reward cannot be learnt from no pair; nothing was changed")
        y = np.ones(len(pairs)) if wins is None else np.asarray(wins, dtype=float)
        things = [one for pair in pairs for one in pair]
        self._know(things)
        self._sizes = [1.0] * len(self.blocks)
        parts = [part[::2] - part[1::2] for part in self._parts(things)]
        found = [float(part.multiply(part).sum()) / len(pairs) for part in parts]
        self._sizes = [
            float(np.sqrt(block.share / size)) if size else 1.0 for block, size in zip(self.blocks, found, strict=True)
        ]
        x = self.matrix(things)
        d = sparse.csr_matrix(x[::2] - x[1::2])
        if self.strength is None:
            self.strength = self._chosen(d, y, groups or range(len(pairs)))
        self.weights = ridge(d, y, self.strength)
        return self

    def reward(self, things: Sequence[T]) -> Array:
        """One number for each; only differences mean something."""
        return np.asarray(self.matrix(things) @ self.weights, dtype=float)

    def probability(self, pairs: Sequence[tuple[T, T]]) -> Array:
        """How likely the first of each pair is the better one."""
        found = self.reward([one for pair in pairs for one in pair])
        return sigmoid(found[::2] - found[1::2])

    def explain(self, thing: T, *, most: int = 5) -> list[tuple[str, float]]:
        """The names that move this thing's reward most, and by how much, the largest first."""
        row = sparse.csr_matrix(self.matrix([thing]))
        parts = [(f"{self.names[j][0]} {self.names[j][1]}", float(v * self.weights[j])) for j, v in zip(row.indices, row.data, strict=True)]  # fmt: skip
        return sorted(parts, key=lambda part: (-abs(part[1]), part[0]))[:most]

    def matrix(self, things: Sequence[T]) -> Any:
        """Features, things x names, as a sparse matrix; names that training never saw are left out."""
        return sparse.csr_matrix(
            sparse.hstack([size * part for size, part in zip(self._sizes, self._parts(things), strict=True)])
        )

    def _parts(self, things: Sequence[T]) -> list[Any]:
        """The features of each block, before blocks are made comparable."""
        parts = []
        for block, columns, scale, mean in zip(self.blocks, self._columns, self._scales, self._means, strict=True):
            if block.vectors is not None:
                parts.append(sparse.csr_matrix(block.vectors(things) - mean))
                continue
            rows, cols, values = list[int](), list[int](), list[float]()
            for i, thing in enumerate(things):
                for name, value in block.extract(thing).items():
                    j = columns.get(name)
                    if j is not None and value:
                        rows.append(i)
                        cols.append(j)
                        values.append(1 + np.log(value) if block.counts else value)
            part = sparse.csr_matrix((values, (rows, cols)), shape=(len(things), len(columns))) @ sparse.diags_array(scale)
            if block.counts:
                length = np.sqrt(np.asarray(part.multiply(part).sum(axis=1)).ravel())
                part = sparse.diags_array(1 / np.maximum(length, 1e-12)) @ part
            parts.append(sparse.csr_matrix(part))
        return parts

    def _know(self, things: Sequence[T]) -> None:
        """Take in which names there are, how rare each is and how far it spreads."""
        self._columns, self._scales, self._means, self.names = [], [], [], []
        for block in self.blocks:
            if block.vectors is not None:
                mean = block.vectors(things).mean(axis=0)
                self._means.append(mean)
                self._columns.append({})
                self._scales.append(np.ones(0))
                self.names += [(block.name, str(j)) for j in range(len(mean))]
                continue
            self._means.append(np.zeros(0))
            found = [block.extract(thing) for thing in things]
            seen = Counter(name for one in found for name in one)
            names = sorted(name for name, n in seen.items() if not block.counts or n >= block.rare)
            if block.counts:
                scale = np.array([np.log((1 + len(things)) / (1 + seen[name])) + 1 for name in names])
            else:
                spread = np.array([np.std([one.get(name, 0.0) for one in found]) for name in names])
                scale = np.divide(1.0, spread, out=np.zeros(len(names)), where=spread > 1e-9)
            self._columns.append({name: j for j, name in enumerate(names)})
            self._scales.append(scale)
            self.names += [(block.name, name) for name in names]

    def _chosen(self, d: Any, y: Array, groups: Sequence[Hashable]) -> float:
        """The ridge with the least loss on held-out inner folds."""
        if len(y) < FEW:
            return CAREFUL
        fold = folds(groups, n=3)
        losses = []
        for strength in STRENGTHS:
            z = np.zeros(len(y))
            for k in range(3):
                z[fold == k] = d[fold == k] @ ridge(d[fold != k], y[fold != k], strength)
            losses.append(loss(z, y))
        return STRENGTHS[int(np.argmin(losses))]


def ridge(d: Any, y: Array, strength: float) -> Array:
    """Weights with the least log loss on differences `d` (pairs x names) that win with probability `y`, plus strength / 2 |weights|^2."""
    t = d.T.tocsr() if sparse.issparse(d) else d.T

    def cost(w: Array) -> tuple[float, Array]:
        z = d @ w
        return len(y) * loss(z, y) + strength / 2 * float(w @ w), t @ (sigmoid(z) - y) + strength * w

    return np.asarray(minimize(cost, np.zeros(d.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x)


def loss(z: Array, y: Array) -> float:
    """Mean log loss of the log odds `z` against what happened, `y` in [0, 1]."""
    return float(np.mean(np.logaddexp(0.0, z) - y * z))


def sigmoid(z: Array) -> Array:
    """Log odds as probabilities."""
    return 0.5 * (1 + np.tanh(z / 2))


def folds(groups: Sequence[Hashable], *, n: int, seed: int = 0) -> NDArray[np.int64]:
    """A fold in 0..n-1 for each entry; entries of one group are in one fold, and folds have nearly equally many groups."""
    order = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    dealt = np.random.default_rng(seed).permutation(len(order)) % n
    return np.asarray([dealt[order[group]] for group in groups])
