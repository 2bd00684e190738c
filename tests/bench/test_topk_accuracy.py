"""Accuracy after a long context compares one set of weights with itself, and scores only what has the whole context before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data import Corpus
from bench.request import Bench
from bench.suites import topk_accuracy
from modules.decoder import Decoder
from plan.nouns import Request

SHORT = {"context": 96, "places": 2, "window": 32, "length": 32, "long": 64}


def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, k_top: int) -> tuple[dict[str, float], Bench]:
    generator = np.random.default_rng(0)
    text = generator.choice(np.frombuffer(b"aaab", dtype=np.uint8), size=4000)
    facts = {"corpus": "test", "data_digest": "0", "bytes_train": len(text), "bytes_validation": len(text)}
    monkeypatch.setattr(topk_accuracy, "corpus", lambda source: Corpus(train=text, validation=text, facts=facts))
    config = {"d_model": 16, "heads": 2, "k_top": k_top}
    request = Request(module="topk_attention", benchmark="topk-accuracy-32k-v1", seed=1, config=config, steps=20)
    bench = Bench(request=request, folder=tmp_path)
    own = {**bench.options, **SHORT}
    monkeypatch.setattr(Bench, "options", property(lambda self: own))
    return topk_accuracy.measure(bench), bench


def test_reading_as_many_keys_as_there_are_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, bench = measured(tmp_path, monkeypatch, k_top=4000)
    assert found["accuracy_loss"] == 0
    assert found["accuracy"] == found["full_accuracy"] > 0.6
    assert found["commonest"] > 0.6
    assert bench.facts["scored"] == SHORT["places"] * SHORT["window"]


def test_the_loss_is_the_difference_of_both_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = measured(tmp_path, monkeypatch, k_top=1)
    assert found["accuracy_loss"] == found["full_accuracy"] - found["accuracy"]


def test_bytes_are_foretold_as_by_one_pass_over_the_document() -> None:
    model = Decoder.build("topk_attention", config={"d_model": 16, "k_top": 4}, decoder={"layers": 2}).eval()
    document_BT = torch.randint(256, (1, 50), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = model(document_BT)[0][0].argmax(-1)
    first, state = topk_accuracy.foretold(model, document_BT[:, :30], None, window=16)
    for _ in range(2):  # one context is gone on from again and again
        rest, _ = topk_accuracy.foretold(model, document_BT[:, 30:], state, window=16)
        assert torch.equal(torch.cat([first, rest]), whole)
