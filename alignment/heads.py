"""A verdict with a probability that is as often right as it says: a kernel head, calibrated on what it has not seen, with an abstention band.

The head is kernel ridge regression on one-hot labels. Its leave-a-group-out answers have a closed form, so calibration and the conformal
band rest on answers to groups (a model, a family of prompts, a template) that had no part in them, without a second training.

Sources: kernel ridge and its leave-out residuals, "The Elements of Statistical Learning" 7.10 (Hastie et al. 2009); conformal sets,
"Algorithmic Learning in a Random World" 2.2 (Vovk et al. 2005); temperature, "On Calibration of Modern Neural Networks" (Guo et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Columns to mean 0 and deviation 1, as they were in training."""

    mean: Matrix
    deviation: Matrix

    @classmethod
    def of(cls, rows: Matrix) -> Scale:
        """The scale of these rows; a constant column is left at 0."""
        deviation = rows.std(axis=0)
        return cls(mean=rows.mean(axis=0), deviation=np.where(deviation > 1e-9, deviation, np.inf))

    def __call__(self, rows: Matrix) -> Matrix:
        return np.asarray((rows - self.mean) / self.deviation)


def rbf(one: Matrix, two: Matrix, *, width: float) -> Matrix:
    """exp(-d^2 / (2 width^2 D)), where D is the number of columns: 1 on the diagonal."""
    squares = (one * one).sum(1)[:, None] + (two * two).sum(1)[None, :] - 2 * one @ two.T
    return np.asarray(np.exp(-np.maximum(squares, 0.0) / (2 * width * width * one.shape[1])))


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelHead:
    """What was learned from n labelled rows: weights of the n kernels and a calibrator."""

    weights: Matrix
    """(n, classes)."""
    calibrator: Matrix
    """(classes + 1, classes): from raw answers and 1 to logits."""
    held_out: Matrix
    """(n, classes): calibrated probabilities of the training rows by heads that had not seen their group."""
    labels: Labels

    @classmethod
    def fit(
        cls, gram: Matrix, labels: Labels, groups: Sequence[str], *, classes: int, ridge: float, drawn: Sequence[str] = ()
    ) -> KernelHead:
        """Learn from a Gram matrix (n, n), and calibrate on the answers to groups that are not `drawn`; ValueError when there is one group only,
        which leaves nothing to calibrate on.
        """
        names = np.asarray(groups)
        if len(set(groups)) < 2:
            raise ValueError("one group cannot be calibrated on: give at least two")
        inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
        weights = inverse @ (np.eye(classes)[labels] - 1.0 / classes)
        raw = np.empty((len(gram), classes))
        for name in sorted(set(groups)):
            inside = names == name
            target = np.eye(classes)[labels[inside]] - 1.0 / classes
            raw[inside] = target - np.linalg.solve(inverse[np.ix_(inside, inside)], weights[inside])
        told = ~np.isin(names, list(drawn))
        calibrator = _calibrator(raw[told], labels[told], classes)
        return cls(weights=weights, calibrator=calibrator, held_out=_softmax(_one(raw) @ calibrator), labels=labels)

    def probabilities(self, cross: Matrix) -> Matrix:
        """(m, classes) from the kernels (m, n) between new rows and those of training."""
        return _softmax(_one(cross @ self.weights) @ self.calibrator)

    def band(self, error: float) -> float:
        """Least probability that a class needs to stay in the conformal set, so that the truth is left out at most `error` of the time."""
        truth = np.sort(self.held_out[np.arange(len(self.labels)), self.labels])
        rank = math.floor(error * (len(truth) + 1))
        return float(truth[rank - 1]) if rank >= 1 else 0.0


def _one(rows: Matrix) -> Matrix:
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


def _softmax(logits: Matrix) -> Matrix:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _calibrator(raw: Matrix, labels: Labels, classes: int, penalty: float = 0.05) -> Matrix:
    """Multinomial logistic regression of the labels on the raw answers, shrunk a little."""
    rows, targets = _one(raw), np.eye(classes)[labels]

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        matrix = flat.reshape(rows.shape[1], classes)
        given = _softmax(rows @ matrix)
        value = -np.sum(targets * np.log(given + 1e-12)) + 0.5 * penalty * np.sum(matrix * matrix)
        return float(value), np.asarray((rows.T @ (given - targets) + penalty * matrix).ravel())

    found = minimize(loss, np.zeros(rows.shape[1] * classes), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return np.asarray(found.x.reshape(rows.shape[1], classes))
