"""The synthetic probes: the generators against slow readings of their definitions, and scores of guessers and oracles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import probe
from bench.kernel_flops import causal_pairs
from bench.probe import IGNORED, accuracy
from bench.request import Bench
from bench.suites.in_context_recall import in_context_recall
from bench.suites.mqar import mqar
from bench.suites.selective_copying import selective_copying
from modules.decoder import Decoder
from plan import catalogue
from plan.nouns import Request

Made = tuple[np.ndarray, np.ndarray]

MAKERS: dict[str, Callable[[np.random.Generator, int], Made]] = {
    "mqar": lambda rng, n: mqar(rng, n, vocabulary=64, length=64, pairs=16),
    "mqar, published": lambda rng, n: mqar(rng, n, vocabulary=8192, length=128, pairs=8),
    "selective copying": lambda rng, n: selective_copying(rng, n, vocabulary=16, length=64, copied=8),
    "in-context recall": lambda rng, n: in_context_recall(rng, n, vocabulary=16, length=128, every_token=False),
}


def test_every_mqar_label_is_the_value_a_dictionary_of_the_pairs_gives() -> None:
    K, T, V = 8, 64, 40
    inputs, labels = mqar(np.random.default_rng(3), 300, vocabulary=V, length=T, pairs=K)
    for row, wanted in zip(inputs.tolist(), labels.tolist(), strict=True):
        keys, values = row[0 : 2 * K : 2], row[1 : 2 * K : 2]
        assert len(set(keys)) == len(set(values)) == K
        assert all(1 <= key < V // 2 for key in keys)
        assert all(V // 2 <= value < V for value in values)
        recalled = dict(zip(keys, values, strict=True))
        asked = []
        for place in range(T):
            token = row[place]
            if place >= 2 * K and token:
                assert (place - 2 * K) % 2 == 0
                assert wanted[place] == recalled[token]
                asked.append(token)
            else:
                assert wanted[place] == IGNORED
        assert sorted(asked) == sorted(keys)


def test_mqar_gaps_follow_the_power_law_drawn_without_replacement() -> None:
    K, T, n = 3, 20, 12_000
    inputs, labels = mqar(np.random.default_rng(0), n, vocabulary=64, length=T, pairs=K)
    first_key_at = np.argmax(inputs[:, 2 * K :] == inputs[:, :1], axis=1) // 2
    taken = (labels[:, 2 * K :: 2] != IGNORED).mean(axis=0)
    chance = np.arange(1, (T - 2 * K) // 2 + 1) ** (0.01 - 1.0)
    chance /= chance.sum()
    rng = np.random.default_rng(1)
    literal = np.array([rng.choice(len(chance), size=K, replace=False, p=chance) for _ in range(n)])
    expected_first = np.bincount(literal[:, 0], minlength=len(chance)) / n
    expected_taken = np.bincount(literal.ravel(), minlength=len(chance)) / n
    noise = 5 * np.sqrt(0.25 * 2 / n)
    np.testing.assert_allclose(np.bincount(first_key_at, minlength=len(chance)) / n, expected_first, atol=noise)
    np.testing.assert_allclose(taken, expected_taken, atol=noise)
    assert chance[0] > 2 * chance[-1]


def test_mqar_keys_and_values_are_uniform_in_every_place() -> None:
    inputs, _ = mqar(np.random.default_rng(0), 40_000, vocabulary=12, length=20, pairs=4)
    for place in range(8):
        counts = np.bincount(inputs[:, place] - (6 if place % 2 else 1))
        assert len(counts) == (6 if place % 2 else 5)
        np.testing.assert_allclose(counts / 40_000, 1 / len(counts), atol=0.01)


def test_mqar_refuses_what_its_definition_excludes() -> None:
    for length, pairs, vocabulary in [(62, 16, 64), (63, 4, 64), (64, 8, 16)]:
        with pytest.raises(ValueError, match="mqar wants"):
            mqar(np.random.default_rng(0), 2, vocabulary=vocabulary, length=length, pairs=pairs)


def test_selective_copying_asks_for_the_tokens_in_order_without_the_blanks() -> None:
    K, T, V = 16, 256, 16
    inputs, labels = selective_copying(np.random.default_rng(5), 400, vocabulary=V, length=T, copied=K)
    for row, wanted in zip(inputs.tolist(), labels.tolist(), strict=True):
        spoken = [token for token in row if token < V - 2]
        assert len(spoken) == K
        assert row[T - K - 1] == V - 1
        assert row.count(V - 1) == 1
        assert row[T - K :] == [V - 2] * K
        assert wanted == [IGNORED] * (T - K) + spoken
    before_first = (np.cumsum(inputs < V - 2, axis=1) == 0).sum(axis=1)
    assert before_first.mean() == pytest.approx((T - 2 * K - 1) / K, rel=0.1)


def test_in_context_recall_asks_for_a_key_s_value_from_its_second_showing_on() -> None:
    inputs, labels = in_context_recall(np.random.default_rng(7), 300, vocabulary=16, length=32, every_token=False)
    everything = in_context_recall(np.random.default_rng(7), 300, vocabulary=16, length=32, every_token=True)
    np.testing.assert_array_equal(inputs, everything[0])
    np.testing.assert_array_equal(inputs[:, 1:], everything[1][:, :-1])
    mappings = set()
    for row, wanted, following in zip(inputs.tolist(), labels.tolist(), everything[1].tolist(), strict=True):
        seen: dict[int, int] = {}
        for place in range(0, 31, 2):
            key, value = row[place], following[place]
            assert key < 8 <= value < 16
            assert wanted[place] == (seen.get(key, IGNORED))
            assert seen.setdefault(key, value) == value
        assert wanted[1::2] == [IGNORED] * 15
        assert wanted[30] != IGNORED
        mappings.add(tuple(sorted(seen.items())))
    assert len(mappings) > 290


def test_the_last_key_of_in_context_recall_is_uniform_over_the_keys_shown() -> None:
    inputs, _ = in_context_recall(np.random.default_rng(2), 30_000, vocabulary=8, length=8, every_token=False)
    shown, last = inputs[:, 0:6:2], inputs[:, 6]
    twice = (shown[:, 0] == shown[:, 1]) & (shown[:, 1] != shown[:, 2])
    assert (last[twice] == shown[twice, 0]).mean() == pytest.approx(0.5, abs=0.03)


class Oracle(nn.Module):
    """Solves each probe by looking it up in the sequence, as an ideal memory would."""

    def __init__(self, probe: str, vocabulary: int) -> None:
        super().__init__()
        self.probe, self.vocabulary = probe, vocabulary

    def forward(self, inputs_BT: Tensor, positions: Tensor) -> tuple[Tensor, None]:
        said = torch.zeros_like(inputs_BT)
        for b, row in enumerate(inputs_BT.tolist()):
            if self.probe == "selective copying":
                spoken = [token for token in row if token < self.vocabulary - 2]
                said[b, -len(spoken) :] = torch.tensor(spoken)
                continue
            for place, token in enumerate(row):
                earlier = [i for i in range(place) if row[i] == token]
                said[b, place] = row[earlier[0] + 1] if earlier else 0
        return nn.functional.one_hot(said[positions], self.vocabulary).float(), None


class Guesser(nn.Module):
    """Says a value at random, knowing only which tokens can be values at all."""

    def __init__(self, low: int, high: int, vocabulary: int) -> None:
        super().__init__()
        self.low, self.high, self.vocabulary = low, high, vocabulary

    def forward(self, inputs_BT: Tensor, positions: Tensor) -> tuple[Tensor, None]:
        generator = torch.Generator().manual_seed(0)
        said = torch.randint(self.low, self.high, (int(positions.sum()),), generator=generator)
        return nn.functional.one_hot(said, self.vocabulary).float(), None


@pytest.mark.parametrize("probe", MAKERS)
def test_an_oracle_scores_everything_and_a_guesser_scores_chance(probe: str) -> None:
    vocabulary = {"mqar": 64, "mqar, published": 8192}.get(probe, 16)
    low, high = (0, 14) if probe == "selective copying" else (vocabulary // 2, vocabulary)
    inputs, labels = (torch.from_numpy(part) for part in MAKERS[probe](np.random.default_rng(0), 200))
    assert accuracy(Oracle(probe, vocabulary), inputs, labels, batch=64) == 1.0
    guessed = accuracy(Guesser(low, high, vocabulary), inputs, labels, batch=200)
    n, chance = int((labels != IGNORED).sum()), 1 / (high - low)
    assert abs(guessed - chance) < 5 * (chance / n) ** 0.5 + 1 / n


@pytest.mark.parametrize("probe", MAKERS)
def test_the_same_seed_makes_the_same_puzzles_whatever_the_global_generators_hold(probe: str) -> None:
    first = MAKERS[probe](np.random.default_rng([0, 1, 2]), 50)
    np.random.seed(99)
    again = MAKERS[probe](np.random.default_rng([0, 1, 2]), 50)
    other = MAKERS[probe](np.random.default_rng([0, 2, 1]), 50)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


def probe_names() -> list[str]:
    return [
        n for n, entry in catalogue.shelf("benchmark").items() if {"accuracy", "steps_to_99"} <= set(entry.arguments["metrics"])
    ]


def measured(name: str, folder: Path, *, steps: int, seed: int = 0) -> tuple[dict[str, float], Bench]:
    folder.mkdir(exist_ok=True)
    config = {"d_model": 16, "heads": 1, "recipe": {"batch": 4}}
    bench = Bench(request=Request(module="attention", benchmark=name, seed=seed, config=config, steps=steps), folder=folder)
    return catalogue.load("benchmark", name)(bench), bench


@pytest.mark.parametrize("name", [n for n in probe_names() if ("v64" in n or not n.startswith("mqar")) and "rates" not in n])
def test_a_probe_returns_what_it_declares_and_an_untrained_model_scores_near_chance(name: str, tmp_path: Path) -> None:
    numbers, bench = measured(name, tmp_path, steps=2)
    assert set(numbers) == set(catalogue.shelf("benchmark")[name].arguments["metrics"])
    assert numbers["accuracy"] < {
        "state-tracking-parity-v1": 0.65,
        "state-tracking-s3-v1": 0.35,
        "state-tracking-s3-swaps-v1": 0.5,
    }.get(name, 0.2)
    assert numbers["steps_to_99"] == 3, "one more than the steps: a target of at most all of them fails"
    assert bench.facts["reached_99"] is False
    assert bench.facts["examples"] == 8


def test_a_probe_counts_the_arithmetic_of_a_training_step_per_token(tmp_path: Path) -> None:
    _, bench = measured("mqar-64x4-v64-v1", tmp_path, steps=1)
    T, labels, vocabulary, d, layers = 64, 4, 64, 16, 2
    linear, attended = 2 * T * 4 * d * d * layers + 2 * labels * d * vocabulary, 4 * d * causal_pairs(T, T) * layers
    assert bench.facts["train_flops"] == (3 * linear + 3.5 * attended) / T


def test_a_probe_is_the_same_number_for_the_same_seed_and_another_for_another(tmp_path: Path) -> None:
    name = "mqar-64x4-v64-v1"
    first, _ = measured(name, tmp_path / "a", steps=6)
    again, _ = measured(name, tmp_path / "b", steps=6)
    other, _ = measured(name, tmp_path / "c", steps=6, seed=1)
    assert first == again
    assert first != other


def test_training_reads_logits_where_a_key_is_asked_for_and_nowhere_else() -> None:
    """At 8,192 tokens the head is most of the work: 4 positions of 64 cost a sixteenth of it."""
    B, K, V = 8, 4, 8192
    model = Decoder.build("attention", config={"d_model": 16}, decoder={"vocabulary": V, "tie": False}, seed=0)
    read: list[tuple[int, ...]] = []
    model.head.register_forward_hook(lambda module, inputs, logits: read.append(tuple(logits.shape)))
    inputs, labels = (torch.from_numpy(part) for part in mqar(np.random.default_rng(0), B, vocabulary=V, length=64, pairs=K))
    loss, _ = probe.cross_entropy(model, (inputs, labels))
    assert read == [(B * K, V)]
    everywhere = nn.functional.cross_entropy(model(inputs)[0].flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    assert loss.item() == pytest.approx(everywhere.item(), rel=1e-5)
