"""Recall in text asks for what was shown far back and nowhere else, and reads the same documents by all keys, the best and the nearest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.data import Corpus
from bench.probe import IGNORED
from bench.request import Bench
from bench.suites import topk_recall
from plan.nouns import Request

SHORT: dict[str, Any] = {"length": 128, "lengths": [16, 32], "pairs": 4, "tokens": 2048, "test": 16, "near": 2}


def source(size: int = 4000) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 200, size=size).astype(np.uint8)


@pytest.mark.parametrize(("length", "pairs"), [(64, 4), (256, 32), (256, 64)])
def test_every_label_is_the_value_that_a_dictionary_of_the_pairs_gives(length: int, pairs: int) -> None:
    inputs_BT, labels_BT = topk_recall.planted(np.random.default_rng(1), source(), 8, length=length, pairs=pairs)
    for inputs, labels in zip(inputs_BT.tolist(), labels_BT.tolist(), strict=True):
        shown = {inputs[t]: inputs[t + 1] for t in range(length // 2) if 128 <= inputs[t] < 192}
        asked = [t for t in range(length) if labels[t] != IGNORED]
        assert len(shown) == pairs
        assert sorted(inputs[t] for t in asked) == sorted(shown), "each key is asked for once"
        assert [labels[t] for t in asked] == [shown[inputs[t]] for t in asked]
        assert min(asked) >= length - length // 4
        assert sum(token >= 192 for token in inputs) == pairs, "nothing but the pairs tells a value"


def test_around_the_pairs_the_text_is_as_it_stands_but_for_bytes_that_look_like_keys() -> None:
    text = source()
    inputs, _ = (part[0].astype(int) for part in topk_recall.planted(np.random.default_rng(2), text, 1, length=256, pairs=4))
    starts = [
        s for s in range(len(text) - 256) if all(t >= 128 or t == min(b, 127) for t, b in zip(inputs, text[s:], strict=False))
    ]
    assert len(starts) == 1


@pytest.mark.parametrize(("length", "pairs", "size"), [(64, 17, 4000), (1024, 65, 4000), (64, 0, 4000), (64, 4, 64)])
def test_pairs_that_do_not_fit_are_refused(length: int, pairs: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"{pairs} pairs"):
        topk_recall.planted(np.random.default_rng(0), source(size), 1, length=length, pairs=pairs)


def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, k_top: int, steps: int) -> dict[str, float]:
    text = source()
    facts = {"corpus": "test", "data_digest": "0", "bytes_train": len(text), "bytes_validation": len(text)}
    monkeypatch.setattr(topk_recall, "corpus", lambda source: Corpus(train=text, validation=text, facts=facts))
    config = {"d_model": 64, "heads": 1, "ffn_multiple": 0.0, "k_top": k_top}
    request = Request(module="topk_attention", benchmark="topk-recall-32k-v1", seed=1, config=config, steps=steps)
    bench = Bench(request=request, folder=tmp_path)
    own = {**bench.options, **SHORT}
    monkeypatch.setattr(Bench, "options", property(lambda self: own))
    return topk_recall.measure(bench)


def test_reading_as_many_keys_as_there_are_loses_and_gains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(tmp_path, monkeypatch, k_top=SHORT["length"], steps=3)
    assert found["accuracy_loss"] == found["context_gain"] == 0
    assert found["accuracy"] == found["full_accuracy"]


def test_what_is_learnt_on_short_documents_is_found_in_longer_ones_and_not_among_the_nearest_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(tmp_path, monkeypatch, k_top=8, steps=250)
    assert found["full_accuracy"] > 0.8
    assert found["context_gain"] > 0.6, "the nearest eight bytes are all in the last quarter"
    assert found["accuracy_loss"] == found["full_accuracy"] - found["accuracy"]
