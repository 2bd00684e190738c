"""The MAD tasks beyond plain recall and copying: every label recomputed from the inputs by a slow reading of the definition."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.probe import IGNORED
from bench.request import Bench
from bench.suites.compression import AutoEncoder, compression, sinusoids
from bench.suites.fuzzy_recall import fuzzy_recall
from bench.suites.in_context_recall import in_context_recall
from bench.suites.memorization import facts, memorization
from modules.decoder import Decoder
from plan import catalogue
from plan.nouns import Request

Made = tuple[np.ndarray, np.ndarray]


def test_noisy_recall_labels_are_what_a_dictionary_gives_and_noise_asks_nothing() -> None:
    V, N, T = 32, 16, 64
    made = {
        every: in_context_recall(
            np.random.default_rng(3), 400, vocabulary=V, length=T, every_token=every, noise_tokens=N, noise_share=0.3
        )
        for every in (False, True)
    }
    inputs, labels = made[False]
    np.testing.assert_array_equal(inputs, made[True][0])
    np.testing.assert_array_equal(inputs[:, 1:], made[True][1][:, :-1])
    slots = noisy = 0
    for row, wanted, following in zip(inputs.tolist(), labels.tolist(), made[True][1].tolist(), strict=True):
        seen: dict[int, int] = {}
        for place in range(0, T - 1, 2):
            key, value = row[place], following[place]
            assert (key < 8 <= value < 16) or (16 <= key < 32 and 16 <= value < 32)
            if key >= 16:
                assert wanted[place] == IGNORED
                assert place < T - 2, "the last pair asks"
                noisy += 1
            else:
                assert wanted[place] == seen.get(key, IGNORED)
                assert seen.setdefault(key, value) == value
        assert wanted[1::2] == [IGNORED] * (T // 2 - 1)
        assert wanted[-1] != IGNORED
        slots += T // 2
    assert noisy / slots == pytest.approx(0.3 * (T // 2 - 2) / (T // 2), abs=0.02)


def test_even_when_all_may_be_noise_one_key_is_shown_and_asked() -> None:
    inputs, labels = in_context_recall(
        np.random.default_rng(0), 200, vocabulary=32, length=16, every_token=False, noise_tokens=16, noise_share=0.999999
    )
    for row, wanted in zip(inputs.tolist(), labels.tolist(), strict=True):
        (shown,) = [place for place in range(0, 14, 2) if row[place] < 16]
        assert row[14] == row[shown]
        assert wanted[14] == row[shown + 1]


def test_noise_without_tokens_for_it_is_refused() -> None:
    for tokens, share in [(0, 0.2), (16, 0.0)]:
        with pytest.raises(ValueError, match="noise tokens where there is noise"):
            in_context_recall(
                np.random.default_rng(0), 2, vocabulary=32, length=16, every_token=False, noise_tokens=tokens, noise_share=share
            )


def motifs(tokens: list[int], half: int, pad: int) -> tuple[list[tuple[tuple[int, ...], tuple[int, ...], int]], int]:
    """Pairs (key, value, place of the value's first token) read off a row, and how much padding opens it."""
    begin = next(place for place, token in enumerate(tokens) if token != pad)
    assert pad not in tokens[begin:]
    found, place = [], begin
    while place < len(tokens):
        key_end = next(i for i in range(place, len(tokens)) if tokens[i] >= half)
        end = next((i for i in range(key_end, len(tokens)) if tokens[i] < half), len(tokens))
        found.append((tuple(tokens[place:key_end]), tuple(tokens[key_end:end]), key_end))
        place = end
    return found, begin


@pytest.mark.parametrize("training", [True, False])
def test_fuzzy_recall_labels_are_what_a_dictionary_of_motifs_gives(training: bool) -> None:
    V, T, M, half = 16, 128, 3, 7
    inputs, labels = fuzzy_recall(np.random.default_rng(5), 300, vocabulary=V, length=T, motif=M, training=training)
    assert inputs.shape == labels.shape == (300, T)
    sizes: Counter[tuple[int, int]] = Counter()
    repeats = 0
    for row, wanted in zip(inputs.tolist(), labels.tolist(), strict=True):
        whole = [*row, wanted[-1]]
        assert wanted[-1] != IGNORED
        pairs, padding = motifs(whole, half, V - 1)
        assert padding < 4 * M
        expected = [IGNORED] * (T + 1)
        seen: dict[tuple[int, ...], tuple[int, ...]] = {}
        for key, value, place in pairs:
            assert len(set(key)) == len(key) <= M
            assert len(set(value)) == len(value) <= M
            assert training or len(key) == M
            if key in seen:
                assert value == seen[key]
                expected[place : place + len(value)] = value
                repeats += 1
            else:
                sizes[len(key), len(value)] += 1
            seen[key] = value
        assert pairs[-1][0] in [key for key, *_ in pairs[:-1]], "the last key was never shown"
        assert wanted == ([IGNORED if token == V - 1 else token for token in whole[1:]] if training else expected[1:])
    if not training:
        shares = np.array([sizes[M, size] for size in (1, 2, 3)]) / sum(sizes.values())
        np.testing.assert_allclose(shares, 1 / 3, atol=0.03)
        assert repeats > 300
    else:
        assert set(sizes) == {(k, v) for k in (1, 2, 3) for v in (1, 2, 3)}


def test_fuzzy_motifs_are_uniform_and_the_key_asked_for_is_any_of_those_shown() -> None:
    inputs, labels = fuzzy_recall(np.random.default_rng(1), 20_000, vocabulary=7, length=24, motif=2, training=False)
    keys, asked = Counter[tuple[int, ...]](), Counter[int]()
    for row, wanted in zip(inputs.tolist(), labels.tolist(), strict=True):
        pairs, _ = motifs([*row, wanted[-1]], 3, 6)
        keys[pairs[0][0]] += 1
        if len({key for key, *_ in pairs[:-1]}) == len(pairs) - 1 == 5:
            asked[[key for key, *_ in pairs].index(pairs[-1][0])] += 1
    assert len(keys) == 6
    assert max(abs(n / 20_000 - 1 / 6) for n in keys.values()) < 0.015
    assert len(asked) == 5
    assert max(abs(n / asked.total() - 1 / 5) for n in asked.values()) < 0.05


def test_fuzzy_recall_refuses_motifs_that_do_not_fit() -> None:
    for vocabulary, length, motif in [(16, 11, 3), (6, 64, 3)]:
        with pytest.raises(ValueError, match="fuzzy recall wants"):
            fuzzy_recall(np.random.default_rng(0), 2, vocabulary=vocabulary, length=length, motif=motif, training=True)


def test_memorized_facts_are_the_same_in_every_sequence_and_one_to_one() -> None:
    inputs, labels = memorization(np.random.default_rng(11), 500, vocabulary=256, length=32)
    value_of: dict[int, int] = {}
    for row, wanted in zip(inputs.tolist(), labels.tolist(), strict=True):
        for place in range(0, 32, 2):
            key = row[place]
            assert row[place + 1] == 255
            assert wanted[place] == IGNORED
            assert value_of.setdefault(key, wanted[place + 1]) == wanted[place + 1]
    assert set(value_of) == set(range(127))
    assert len(set(value_of.values())) == 127
    assert set(value_of.values()) < set(range(127, 255))
    other, _ = memorization(np.random.default_rng(12), 500, vocabulary=256, length=32)
    assert (other != inputs).any()
    assert facts(256).tolist() == [value_of[key] for key in range(127)]
    assert sum(value == key + 127 for key, value in value_of.items()) < 10, "the facts can be guessed"


def test_compression_asks_for_all_tokens_but_the_one_that_ends_the_sequence() -> None:
    inputs, labels = compression(np.random.default_rng(0), 5000, vocabulary=16, length=32)
    assert (inputs[:, -1] == 15).all()
    assert (labels[:, -1] == IGNORED).all()
    np.testing.assert_array_equal(inputs[:, :-1], labels[:, :-1])
    np.testing.assert_allclose(np.bincount(inputs[:, :-1].ravel(), minlength=15) / inputs[:, :-1].size, 1 / 15, atol=0.002)


def encoder(seed: int = 0) -> AutoEncoder:
    decoder = Decoder.build("attention", config={"d_model": 16}, decoder={"vocabulary": 16, "tie": False}, seed=0)
    return AutoEncoder(decoder, length=12, seed=seed)


def test_a_sequence_is_read_back_from_the_features_of_its_last_position_alone() -> None:
    """The same last features give the same tokens at every place, whatever stands there; other last features do not."""
    model = encoder()
    tokens = torch.from_numpy(compression(np.random.default_rng(0), 3, vocabulary=16, length=12)[0])
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    model.encoder.blocks = torch.nn.ModuleList()  # no block: position 11 knows its own token only
    told, _ = model(tokens, everywhere)
    said = told.unflatten(0, (3, 12))
    torch.testing.assert_close(said[0], said[1])
    assert not torch.allclose(said[0, 0], said[0, 5])
    changed = tokens.clone()
    changed[0, -1] = 3
    said_then, _ = model(changed, everywhere)
    assert not torch.allclose(said_then.unflatten(0, (3, 12))[0], said[0])


def test_the_reader_computes_logits_at_asked_places_only_and_depends_on_its_seed() -> None:
    model, tokens = encoder(), torch.from_numpy(compression(np.random.default_rng(0), 3, vocabulary=16, length=12)[0])
    asked = torch.zeros_like(tokens, dtype=torch.bool)
    asked[0, 3] = asked[2, 7] = True
    everywhere, _ = model(tokens, torch.ones_like(asked))
    torch.testing.assert_close(model(tokens, asked)[0], everywhere[asked.flatten()])
    weights = [dict(made.named_parameters())["reader.0.weight"] for made in (model, encoder(), encoder(seed=1))]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_sinusoids_are_those_of_the_formula() -> None:
    table = sinusoids(7, 6)
    for place in range(7):
        for i in range(3):
            angle = place / 10_000 ** (2 * i / 6)
            assert table[place, 2 * i].item() == pytest.approx(np.sin(angle), abs=1e-6)
            assert table[place, 2 * i + 1].item() == pytest.approx(np.cos(angle), abs=1e-6)


def test_facts_are_learnt_by_heart_in_seconds(tmp_path: Path) -> None:
    """Fewer steps than the benchmark's, a narrow model: far above one in 128, so labels stand where they can be learnt."""
    config = {"d_model": 32, "recipe": {"batch": 64, "lr": 1e-2}}
    bench = Bench(
        request=Request(module="attention", benchmark="memorization-32-v1", seed=100, config=config, steps=150), folder=tmp_path
    )
    assert catalogue.load("benchmark", "memorization-32-v1")(bench)["accuracy"] > 0.3


def test_a_sequence_is_read_back_better_than_by_chance_in_seconds(tmp_path: Path) -> None:
    config = {"d_model": 32, "recipe": {"batch": 64, "lr": 5e-3}}
    bench = Bench(
        request=Request(module="attention", benchmark="compression-32-v1", seed=100, config=config, steps=150), folder=tmp_path
    )
    numbers = catalogue.load("benchmark", "compression-32-v1")(bench)
    assert numbers["accuracy"] > 0.12
    decoder = Decoder.build("attention", config={"d_model": 32}, decoder={"vocabulary": 16, "tie": False})
    reader = 2 * (32 * 32 + 32) + 2 * 32 + 32 * 16 + 16
    assert numbers["parameters"] == decoder.parameters_count - 32 * 16 + reader
    assert numbers["state_bytes"] == decoder.state_bytes(1, 32)
