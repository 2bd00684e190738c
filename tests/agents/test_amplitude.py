"""The closed outcome laws are those of the circuits, the intervals cover, and the errors fall as they should."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from agents.search.amplitude import METHODS, PHASE_HOLDS, Oracle, amplified, amplitude_estimate, phase_law
from agents.search.bayesian import amplitude_estimate_bayesian
from agents.search.posterior import Posterior
from agents.search.simulation import estimates, scaling

AMPLITUDES = (0.0, 1e-6, 0.03, 0.2, 0.49, 0.5, 0.77, 1 - 1e-9, 1.0)


def circuit(amplitude: float, qubits: int, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """A dense A on `qubits` qubits with that amplitude of a good subspace, its Grover iterate, and the good subspace's projector."""
    size = 1 << qubits
    good = np.zeros(size)
    good[rng.permutation(size)[: max(1, size // 2)]] = 1
    state = rng.normal(size=size) + 1j * rng.normal(size=size)
    ours, theirs = good * state, (1 - good) * state
    target = math.sqrt(amplitude) * ours / np.linalg.norm(ours) + math.sqrt(1 - amplitude) * theirs / np.linalg.norm(theirs)
    basis, _ = np.linalg.qr(np.column_stack([target, rng.normal(size=(size, size - 1)) + 1j * rng.normal(size=(size, size - 1))]))
    basis[:, 0] = target
    zero = np.zeros(size)
    zero[0] = 1
    about_start = np.eye(size) - 2 * np.outer(zero, zero)
    iterate = -basis @ about_start @ basis.conj().T @ np.diag(1 - 2 * good)
    return basis, iterate, good


@pytest.mark.parametrize("amplitude", AMPLITUDES)
@pytest.mark.parametrize("qubits", range(1, 7))
def test_amplified_shots_follow_a_dense_statevector(amplitude: float, qubits: int) -> None:
    prepare, iterate, good = circuit(amplitude, qubits, np.random.default_rng(qubits))
    state = prepare[:, 0]
    for k in range(9):
        assert float((good * np.abs(state) ** 2).sum()) == pytest.approx(amplified(amplitude, k), abs=1e-12)
        state = iterate @ state


@pytest.mark.parametrize("amplitude", AMPLITUDES)
@pytest.mark.parametrize("qubits", range(1, 7))
def test_phases_follow_a_dense_statevector(amplitude: float, qubits: int) -> None:
    prepare, iterate, _ = circuit(amplitude, 2, np.random.default_rng(qubits))
    size = 1 << qubits
    rows, state = [], prepare[:, 0]
    for _ in range(size):
        rows.append(state / math.sqrt(size))
        state = iterate @ state
    turns = np.arange(size)
    inverse_fourier = np.exp(-2j * np.pi * np.outer(turns, turns) / size) / math.sqrt(size)
    found = (np.abs(inverse_fourier @ np.array(rows)) ** 2).sum(axis=1)
    assert found == pytest.approx(phase_law(amplitude, qubits), abs=1e-12)
    assert found.sum() == pytest.approx(1)


def test_draws_follow_their_laws_and_cost_what_they_say() -> None:
    oracle = Oracle(0.3, seed=0)
    hits = oracle.successes(3, 20_000)
    assert oracle.queries == 20_000 * 7
    assert stats.binomtest(hits, 20_000, amplified(0.3, 3)).pvalue > 1e-4
    outcomes = np.bincount(oracle.phases(4, 20_000), minlength=16)
    assert oracle.queries == 20_000 * 7 + 20_000 * 31
    assert stats.chisquare(outcomes, phase_law(0.3, 4) * 20_000).pvalue > 1e-4


def test_one_phase_is_as_near_as_the_theorem_says() -> None:
    for amplitude in np.linspace(0.001, 0.999, 101):
        law, angle = phase_law(float(amplitude), 5), math.asin(math.sqrt(amplitude))
        found = np.pi * np.arange(32) / 32
        near = np.abs(np.minimum(found, np.pi - found) - angle) <= math.pi / 32 + 1e-12
        assert law[near].sum() >= PHASE_HOLDS - 1e-12


@pytest.mark.parametrize("method", [*METHODS, "bayesian"])
def test_every_interval_covers_as_often_as_it_promises(method: str) -> None:
    """At an error of 5 %, the two ends among the amplitudes; the proof has 2,000 of them."""
    amplitudes = np.append(np.random.default_rng(1).random(118), (0.0, 1.0))
    found = estimates(method, amplitudes, epsilon=0.03, seed=11)
    covered = sum(one.low <= a <= one.high for one, a in zip(found, amplitudes, strict=True))
    assert covered >= stats.binom.ppf(0.001, 120, 0.95)
    assert all(one.low <= one.value <= one.high for one in found)
    if method != "maximum-likelihood":
        assert all((one.high - one.low) / 2 <= 0.03 + 1e-9 for one in found)


@pytest.mark.parametrize("method", ["iterative", "maximum-likelihood", "canonical", "bayesian"])
def test_the_error_times_the_queries_of_a_quantum_estimator_stays_flat(method: str) -> None:
    found = scaling(method, (0.03, 0.003, 0.0003), runs=20, seed=2)
    assert abs(found.slope) < 0.2
    assert found.queries[-1] > 30 * found.queries[0]


def test_the_error_times_the_queries_of_plain_sampling_grows_as_a_root() -> None:
    assert scaling("sampling", (0.03, 0.01, 0.003), runs=40, seed=2).slope == pytest.approx(0.5, abs=0.12)


def test_the_posterior_on_cells_is_the_exact_one() -> None:
    """Against a dense grid that is never thinned."""
    posterior, oracle, data = Posterior(), Oracle(0.37, seed=5), []
    for k, shots in ((0, 20), (1, 20), (4, 10), (13, 10), (40, 10)):
        data.append((k, shots, oracle.successes(k, shots)))
        posterior.update(*data[-1])
    angles = (np.arange(400_000) + 0.5) * math.pi / 800_000
    dense = sum(stats.binom.logpmf(hits, n, np.sin((2 * k + 1) * angles) ** 2) for k, n, hits in data)
    weights = np.exp(dense - dense.max())
    assert posterior.mean() == pytest.approx(float((weights * np.sin(angles) ** 2).sum() / weights.sum()), abs=1e-5)
    assert posterior.mode() == pytest.approx(math.sin(float(angles[dense.argmax()])) ** 2, abs=1e-4)
    kept = angles[weights / weights.mean() >= 0.05]
    assert posterior.interval(0.05) == pytest.approx((math.sin(kept[0]) ** 2, math.sin(kept[-1]) ** 2), abs=2e-3)


def test_what_is_not_known_is_refused_and_what_is_printed_is_honest() -> None:
    with pytest.raises(ValueError, match="no method `magic`"):
        amplitude_estimate(0.5, method="magic")
    with pytest.raises(ValueError, match=r"between 0 and 1, not 1\.5"):
        amplitude_estimate(1.5)
    with pytest.raises(ValueError, match="`epsilon`"):
        amplitude_estimate_bayesian(0.5, epsilon=0.0)
    assert "saves no evaluations" in amplitude_estimate(0.5, epsilon=0.1).text
