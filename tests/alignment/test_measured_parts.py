"""What is asked part by part: shares of votes, families of loopholes, files as they are, a reviewer's sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_measured import asked, candidates, export, people

from alignment.iterative import IterativeAligner
from alignment.measured import Unmeasurable, collective, critic, iterative, rationales
from alignment.measured.loopholes import SEEN
from alignment.measured.loopholes_later import LATER
from alignment.measured.loopholes_unseen import UNSEEN


def test_each_seed_asks_one_file_as_it_is_and_counts_it_once(tmp_path: Path) -> None:
    clean = people(0)
    copied = replace(clean, votes=np.concatenate([clean.votes[:-1], clean.votes[:1]]), declared=None)
    for name, conversation in (("a", clean), ("b", replace(copied, declared=counts_of(copied.votes)))):
        export(tmp_path / name, conversation)
    found = [collective.measure_clean(asked("polis-clean-v1", tmp_path, data=tmp_path, seed=seed)) for seed in range(2)]
    assert [one["false_alarms"] for one in found] == [0.0, 1.0]
    with pytest.raises(Unmeasurable, match="holds 2 conversations"):
        collective.measure_clean(asked("polis-clean-v1", tmp_path, data=tmp_path, seed=2))


def counts_of(votes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Votes, agreements and disagreements of each row."""
    return np.array([(~np.isnan(votes)).sum(1), (votes == 1).sum(1), (votes == -1).sum(1)]).T


def test_the_plain_list_is_asked_whole_over_five_seeds_and_a_step_is_timed_where_that_is_asked(tmp_path: Path) -> None:
    parts = [
        rationales.measure_rationales(asked("rationales-plain-v1", tmp_path, seed=seed, encoder="lexical")) for seed in range(5)
    ]
    assert (sum(one["breaches"] for one in parts), sum(one["honest"] for one in parts)) == (86, 40)
    timed = rationales.measure_rationales(asked("rationales-v3", tmp_path, encoder="lexical", timed=3))
    assert timed.keys() - parts[0].keys() == {"step_seconds"}
    assert timed["step_seconds"] > 0


def test_each_point_of_the_curve_is_the_life_that_its_options_draw(tmp_path: Path) -> None:
    data = candidates(tmp_path / "c.csv")
    curve = critic.measure_curve(asked("caught-curve-v1", tmp_path, data=data, seed=3))
    for name, options in {"at_10": {"voted": 0.1}, "at_20": {}, "at_50": {"voted": 0.5}, "right_65": {"right": 0.65}}.items():
        one = critic.measure_caught(asked("caught-v2", tmp_path, data=data, seed=3, **options))
        assert (curve[f"more_{name}"], curve[f"excess_{name}"]) == (one["more_caught"], one["false_excess"])
    assert curve["more_at_10"] != curve["more_at_50"]


def test_a_family_is_judged_by_rules_that_saw_none_of_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = [f"def f{n}(self, x):\n    y = self.norm{n}(x)\n    z = torch.relu(y + {n})\n    return z.sum()" for n in range(60)]
    monkeypatch.setattr(iterative, "honest", lambda own: (fine[:40], fine[40:]))
    shown: list[set[str]] = []
    real = iterative.learnt

    def noted(families: Mapping[str, Sequence[str]], hosts: Sequence[str], bench: Any) -> IterativeAligner:
        shown.append(set(families))
        return real(families, hosts, bench)

    monkeypatch.setattr(iterative, "learnt", noted)
    families = list(SEEN)
    for seed in (0, 7):
        bench = asked("loopholes-family-v1", tmp_path, data=tmp_path, seed=seed, rounds=1, planted=40, hosts=2)
        numbers = iterative.measure_families(bench)
        assert shown[-1] == set(families) - {families[seed]}
        assert list(bench.facts["closed"]) == [*UNSEEN[families[seed]], *LATER[families[seed]]]
        assert numbers["closed"] == pytest.approx(np.mean(list(bench.facts["closed"].values())))
    with pytest.raises(Unmeasurable, match="there are 8 families"):
        iterative.measure_families(asked("loopholes-family-v1", tmp_path, data=tmp_path, seed=8))
