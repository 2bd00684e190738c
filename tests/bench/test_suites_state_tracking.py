"""State tracking and length extrapolation: group tables against permutations applied by hand, windows against plain slicing."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import data
from bench.request import Bench
from bench.subject import TermsError
from bench.suites import extrapolation, state_tracking
from bench.suites.state_tracking import products, swaps, word_problem
from modules.decoder import Decoder
from plan import catalogue
from plan.nouns import Request

SIZES = {"parity": 2, "s3": 6, "a5": 60}


def even(order: tuple[int, ...]) -> bool:
    """By the number of cycles: an order of n things with c cycles takes n - c swaps."""
    left, cycles = set(range(len(order))), 0
    while left:
        place, cycles = left.pop(), cycles + 1
        while (place := order[place]) in left:
            left.remove(place)
    return (len(order) - cycles) % 2 == 0


@pytest.mark.parametrize("group", SIZES)
def test_the_tables_are_groups_of_the_right_size(group: str) -> None:
    table = products(group)
    n = SIZES[group]
    assert table.shape == (n, n)
    (identity,) = [e for e in range(n) if (table[e] == np.arange(n)).all()]
    assert (table[:, identity] == np.arange(n)).all()
    assert all(len(set(row)) == n for row in [*table.tolist(), *table.T.tolist()]), "every element has an inverse"
    rng = np.random.default_rng(0)
    a, b, c = rng.integers(0, n, size=(3, 2000))
    np.testing.assert_array_equal(table[table[a, b], c], table[a, table[b, c]])
    commutes = (table == table.T).all()
    assert commutes == (group == "parity")


def test_a5_is_simple_and_s3_is_not() -> None:
    """A5 has no normal subgroup: the products of conjugates of any element but the identity give all 60."""
    for group, whole in [("a5", True), ("s3", False)]:
        table = products(group)
        n = len(table)
        inverse = {a: b for a, b in product(range(n), repeat=2) if table[a, b] == 0}
        reached_all = []
        for element in range(1, n):
            found = {int(table[table[inverse[g], element], g]) for g in range(n)}
            while len(more := found | {int(table[a, b]) for a, b in product(found, repeat=2)}) > len(found):
                found = more
            reached_all.append(len(found) == n)
        assert all(reached_all) == whole


@pytest.mark.parametrize("group", SIZES)
def test_labels_are_where_the_things_end_up_when_they_are_moved_one_by_one(group: str) -> None:
    things = {"parity": 2, "s3": 3, "a5": 5}[group]
    orders = sorted(o for o in product(range(things), repeat=things) if len(set(o)) == things)
    orders = [o for o in orders if even(o)] if group == "a5" else orders
    given = np.arange(SIZES[group])
    inputs, labels = word_problem(np.random.default_rng(7), 100, table_GG=products(group), length=40, given=given)
    for row, wanted in zip(inputs.tolist(), labels.tolist(), strict=True):
        at = list(range(things))
        for token, label in zip(row, wanted, strict=True):
            at = [orders[token][place] for place in at]
            assert orders[label] == tuple(at)
    assert len(set(inputs.ravel().tolist())) == SIZES[group]


def test_parity_labels_count_the_ones() -> None:
    inputs, labels = word_problem(np.random.default_rng(0), 50, table_GG=products("parity"), length=100, given=np.arange(2))
    np.testing.assert_array_equal(labels, inputs.cumsum(axis=1) % 2)


def test_swaps_are_their_own_inverses_and_reach_the_whole_group() -> None:
    given, table = swaps("s3"), products("s3")
    assert len(given) == 4
    assert all(table[element, element] == 0 for element in given)
    inputs, labels = word_problem(np.random.default_rng(0), 2000, table_GG=table, length=30, given=given)
    assert set(inputs.ravel().tolist()) == set(given.tolist())
    np.testing.assert_allclose(np.bincount(labels[:, -1]) / 2000, 1 / 6, atol=0.03)


class Counting(nn.Module):
    """Knows the group, and loses count at a place."""

    def __init__(self, table: Tensor, *, lost_at: int) -> None:
        super().__init__()
        self.table, self.lost_at = table, lost_at

    def forward(self, inputs_BT: Tensor, positions: Tensor) -> tuple[Tensor, None]:
        said = inputs_BT.clone()
        for t in range(1, inputs_BT.shape[1]):
            before = said[:, t - 1] if t != self.lost_at else (said[:, t - 1] + 1) % len(self.table)
            said[:, t] = self.table[before, inputs_BT[:, t]]
        return nn.functional.one_hot(said[positions], len(self.table)).float(), None


def test_each_stretch_is_counted_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that loses count at position 100 is right on the trained length and the first stretch, and never again after."""
    table = torch.from_numpy(products("s3"))

    def trained_already(bench: Bench, puzzles: Any, *, also: Any, stop_at: float) -> dict[str, float]:
        assert stop_at > 1
        return dict(also(Counting(table, lost_at=100)))

    monkeypatch.setattr(state_tracking, "measure_probe", trained_already)
    bench = Bench(request=Request(module="attention", benchmark="state-tracking-s3-v1", seed=0), folder=tmp_path)
    found = state_tracking.measure(bench)
    assert found["accuracy_2x"] == 1.0
    assert found["accuracy_4x"] == pytest.approx((100 - 64) / 64)
    assert found["accuracy_8x"] == 0.0


def test_state_tracking_reports_every_stretch_and_a_state_for_the_trained_length(tmp_path: Path) -> None:
    config = {"d_model": 16, "recipe": {"batch": 8}}
    request = Request(module="attention", benchmark="state-tracking-s3-v1", seed=100, config=config, steps=3)
    numbers = catalogue.load("benchmark", request.benchmark)(Bench(request=request, folder=tmp_path))
    assert set(numbers) == set(catalogue.shelf("benchmark")[request.benchmark].arguments["metrics"])
    decoder = Decoder.build("attention", config={"d_model": 16}, decoder={"vocabulary": 6, "tie": False})
    assert numbers["state_bytes"] == decoder.state_bytes(1, 32)
    assert all(numbers[f"accuracy_{times}x"] < 0.3 for times in (2, 4, 8))


def test_windows_cut_short_predict_the_same_bytes_from_less() -> None:
    windows = torch.arange(3 * 33).view(3, 33)
    short = extrapolation.cut(windows, 8)
    assert short.shape == (12, 9)
    assert sorted(short[:, 1:].flatten().tolist()) == sorted(windows[:, 1:].flatten().tolist())
    for i, row in enumerate(short.tolist()):
        document, part = divmod(i, 4)
        assert row == windows[document, 8 * part : 8 * part + 9].tolist()


def test_extrapolation_measures_the_same_text_at_three_lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text_file = tmp_path / "text.txt"
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), size=5)) for _ in range(300)]
    text_file.write_text("\n".join(" ".join(rng.choice(words, size=8)) for _ in range(6000)))
    text = data.corpus(str(text_file))
    monkeypatch.setattr(extrapolation, "corpus", lambda source: text)
    config = {"d_model": 16, "heads": 2, "recipe": {"batch": 2}}
    request = Request(module="transformer", benchmark="bytes-extrapolation-v1", seed=100, config=config, steps=2)
    bench = Bench(request=request, folder=tmp_path)
    numbers = catalogue.load("benchmark", request.benchmark)(bench)
    assert set(numbers) == set(catalogue.shelf("benchmark")[request.benchmark].arguments["metrics"])
    assert bench.facts["validation_bytes_scored"] == 4096 * min(16, (len(text.validation) - 1) // 4096)
    assert numbers["ratio_4k"] == numbers["val_bpb_4k"] / numbers["val_bpb"]
    layers, position = 2, 8
    assert numbers["state_bytes"] == layers * (2 * 4096 * 16 * 4 + position)
    again = Bench(
        request=Request(module="transformer", benchmark="bytes-extrapolation-v1", seed=0, config={"recipe": {"length": 512}}),
        folder=tmp_path,
    )
    with pytest.raises(TermsError, match="length"):
        extrapolation.measure(again)


@pytest.mark.slow
def test_eigenvalues_down_to_minus_one_carry_parity_beyond_the_trained_length_and_others_do_not(tmp_path: Path) -> None:
    """Two minutes: `python -m pytest -m slow tests/bench/test_suites_state_tracking.py` (arXiv:2411.12537, in small)."""
    found = {}
    for module, negative in [("delta_net", True), ("delta_net", False), ("transformer", None)]:
        config = {"d_model": 64, **({} if negative is None else {"negative_eigenvalues": negative})}
        folder = tmp_path / f"{module}-{negative}"
        folder.mkdir()
        request = Request(module=module, benchmark="state-tracking-parity-v1", seed=100, config=config, steps=300)
        found[module, negative] = catalogue.load("benchmark", request.benchmark)(Bench(request=request, folder=folder))
    assert found["delta_net", True]["accuracy_2x"] > 0.95
    assert found["delta_net", False]["accuracy_2x"] < 0.6
    assert found["transformer", None]["accuracy_2x"] < 0.6
