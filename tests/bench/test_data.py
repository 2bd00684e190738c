"""The corpus: what it is made of, how it is split, and that its digest follows the data and nothing else."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench import data
from plan.nouns import Task

WORDS = [hashlib.sha256(str(i).encode()).hexdigest()[:12] for i in range(400)]


def write_text(path: Path, seed: int, lines: int = 60) -> bytes:
    rng = np.random.default_rng(seed)
    text = "\n".join(" ".join(rng.choice(WORDS, size=6)) for _ in range(lines)) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return text.encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(120):
        write_text(tmp_path / "texts" / f"part{i % 3}" / f"{i:03}.txt", seed=i)
    return tmp_path / "texts"


@pytest.fixture(scope="module")
def stdlib() -> data.Corpus:
    return data.corpus(data.STDLIB)


def documents(side: np.ndarray) -> list[bytes]:
    return side.tobytes().split(b"\0")


def normal(content: bytes) -> bytes:
    return b" ".join(content.split())


def test_the_standard_library_is_real_python_without_installed_packages(stdlib: data.Corpus) -> None:
    sides = set(documents(stdlib.train)) | set(documents(stdlib.validation))
    root = Path(sysconfig.get_path("stdlib"))
    assert (root / "argparse.py").read_bytes() in sides
    assert (root / "json" / "decoder.py").read_bytes() in sides
    assert Path(pytest.__file__).read_bytes() not in sides
    assert Path(np.__file__).read_bytes() not in sides


def test_the_sides_share_no_document_and_no_text_up_to_white_space(stdlib: data.Corpus) -> None:
    train, validation = documents(stdlib.train), documents(stdlib.validation)
    assert len(set(map(normal, train))) == len(train)
    assert not set(map(normal, train)) & set(map(normal, validation))
    assert stdlib.facts["documents_train"] == len(train)
    assert stdlib.facts["documents_validation"] == len(validation)
    assert stdlib.facts["bytes_train"] == len(stdlib.train)
    share = len(stdlib.validation) / (len(stdlib.train) + len(stdlib.validation))
    assert 0.03 < share < 0.12


def test_no_validation_document_is_mostly_lines_of_train(stdlib: data.Corpus) -> None:
    seen = {line.strip() for document in documents(stdlib.train) for line in document.splitlines()}
    for document in documents(stdlib.validation):
        telling = {line.strip() for line in document.splitlines() if len(line.strip()) >= 20}
        assert len(telling & seen) <= 0.5 * len(telling)


def test_a_file_keeps_its_side_when_its_neighbours_and_its_place_change(folder: Path) -> None:
    before = data.corpus(str(folder))
    for path in sorted(folder.rglob("*.txt"))[::4]:
        path.unlink()
    for i, path in enumerate(sorted(folder.rglob("*.txt"))):
        path.rename(folder / f"moved{997 * i % 1000:03}.txt")
    after = data.corpus(str(folder))
    assert after.facts["split_unit"] == before.facts["split_unit"] == "file"
    assert set(documents(after.train)) < set(documents(before.train))
    assert set(documents(after.validation)) <= set(documents(before.validation))


def test_copies_and_reformatted_copies_are_kept_once(folder: Path) -> None:
    before = data.corpus(str(folder))
    for i, path in enumerate(sorted(folder.rglob("*.txt"))):
        path.with_suffix(".copy").write_bytes(path.read_bytes())
        path.with_suffix(".tabs").write_bytes(path.read_bytes().replace(b" ", b"\t" * (i + 1)))
    after = data.corpus(str(folder))
    assert after.facts["files"] == 3 * before.facts["files"]
    assert sorted(map(normal, documents(after.train))) == sorted(map(normal, documents(before.train)))
    assert sorted(map(normal, documents(after.validation))) == sorted(map(normal, documents(before.validation)))


def test_a_validation_document_copied_into_train_with_a_few_lines_changed_leaves_validation(folder: Path) -> None:
    held = documents(data.corpus(str(folder)).validation)[0]
    for i in range(20):
        (folder / f"edited{i}.txt").write_bytes(f"edition {i}\n".encode() + held)
    after = data.corpus(str(folder))
    assert held in documents(after.train)
    assert held not in documents(after.validation)


def test_the_digest_follows_content_and_names_and_nothing_else(folder: Path) -> None:
    first = data.digest(str(folder))
    moved = folder.rename(folder.with_name("elsewhere"))
    path = sorted(moved.rglob("*.txt"))[7]
    path.touch()
    (moved / ".hidden").write_text("not data")
    (moved / "__pycache__").mkdir()
    (moved / "__pycache__" / "x.txt").write_text("not data")
    (moved / "image.bin").write_bytes(b"\x00\xff")
    assert data.digest(str(moved)) == first
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"#\n")
    assert data.digest(str(moved)) != first
    path.write_bytes(content)
    assert data.digest(str(moved)) == first
    path.rename(path.with_name("renamed.txt"))
    assert data.digest(str(moved)) != first


def test_the_digest_needs_neither_torch_nor_numpy(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", seed=1)
    code = f"import sys; from bench import data; data.digest({str(tmp_path)!r}); data.survey({str(tmp_path)!r}); print({{'torch', 'numpy'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_single_file_is_split_by_blocks_that_together_are_the_file(tmp_path: Path) -> None:
    content = write_text(tmp_path / "one.txt", seed=3, lines=20_000)
    corpus = data.corpus(str(tmp_path / "one.txt"))
    blocks = documents(corpus.train) + documents(corpus.validation)
    assert corpus.facts["split_unit"] == "block"
    assert corpus.facts["documents_validation"] > 5
    assert all(block.endswith(b"\n") and block in content for block in blocks)
    assert sorted(b"".join(blocks).splitlines()) == sorted(content.splitlines())


def test_the_texts_of_a_plan_are_told_by_task_before_anything_is_run(folder: Path) -> None:
    (folder / "b.txt").write_bytes(b"caf\xe9\n")
    (folder.parent / "short.txt").write_text("ten bytes\n")
    task = Task(id="t", title="", module="transformer", benchmark="bytes-path-v1", targets=(), data=str(folder), data_line=7)
    other = replace(task, data=None, benchmark="bytes-stdlib-v1")
    assert data.survey_tasks((task, other, task), plan="P.md") == [
        f"`{folder}` is read without 1 file that is not UTF-8 text: b.txt"
    ]
    for wrong, what in (("short.txt", "validation side .* needs 257; give more text"), ("nowhere", "no corpus, file or folder")):
        with pytest.raises(data.DataError, match=rf"^task `t` at P\.md:7: .*{what}.*; nothing was run$"):
            data.survey_tasks((other, replace(task, data=str(folder.parent / wrong))), plan="P.md")


def test_a_batch_depends_on_seed_and_step_only(folder: Path) -> None:
    first, second = data.corpus(str(folder)), data.corpus(str(folder))
    batch = first.batch(seed=1, step=5, batch=4, length=32)
    first.batch(seed=1, step=6, batch=4, length=32)
    np.testing.assert_array_equal(batch, first.batch(seed=1, step=5, batch=4, length=32))
    np.testing.assert_array_equal(batch, second.batch(seed=1, step=5, batch=4, length=32))
    others = [first.batch(seed=s, step=t, batch=4, length=32) for s, t in [(1, 6), (2, 5), (5, 1)]]
    assert all((batch != other).any() for other in others)
    assert all(row.astype(np.uint8).tobytes() in first.train.tobytes() for row in batch)


def test_validation_windows_come_from_validation_and_never_predict_a_byte_twice(folder: Path) -> None:
    corpus = data.corpus(str(folder))
    windows = corpus.windows(count=10_000, length=50)
    text = corpus.validation.tobytes()
    assert len(windows) == (len(text) - 1) // 50
    few = corpus.windows(count=6, length=50)
    starts = [text.index(row.astype(np.uint8).tobytes()) for row in few]
    assert all(b - a >= 50 for a, b in pairwise(starts))
    assert starts[0] == 0
    assert starts[-1] == len(text) - 51


def test_files_that_are_no_text_are_counted_and_named(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", seed=1)
    alone = data.corpus(str(tmp_path))
    assert (alone.facts["files"], alone.facts["files_not_text"], alone.facts["not_text"]) == (1, 0, [])
    (tmp_path / "b.txt").write_bytes("caf\xe9\n".encode("latin-1"))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "torn.gz").write_bytes(b"\x1f\x8b\x08")
    (tmp_path / "void.txt").touch()
    beside = data.corpus(str(tmp_path))
    assert (beside.facts["files"], beside.facts["files_not_text"]) == (1, 2)
    assert beside.facts["not_text"] == data.survey(str(tmp_path)) == ["b.txt", "deep/torn.gz"]
    assert beside.facts["data_digest"] == alone.facts["data_digest"], "what is not read is no part of the data"


def test_data_that_cannot_serve_is_told_with_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(data.DataError, match=r"no corpus, file or folder `bytes-stdlb`.*`bytes-stdlib`"):
        data.digest("bytes-stdlb")
    (tmp_path / "void").mkdir()
    with pytest.raises(data.DataError, match="no text in"):
        data.corpus(str(tmp_path / "void"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(data.DataError, match=f"there is no `{tmp_path}/texts/mine`, a relative path counts from where you are"):
        data.survey("texts/mine")
    with pytest.raises(data.DataError, match=f"no text in `{tmp_path}/void`"):
        data.survey("void")
    (tmp_path / "binary").write_bytes(b"\x00\x01")
    with pytest.raises(data.DataError, match="no text in"):
        data.digest(str(tmp_path / "binary"))
    (tmp_path / "short.txt").write_text("ten bytes\n")
    corpus = data.corpus(str(tmp_path / "short.txt"))
    with pytest.raises(
        data.DataError, match=r"train side .* has \d+ bytes, a window of length 256 needs 257; .*shorter `length`"
    ):
        corpus.batch(seed=0, step=0, batch=1, length=256)
    with pytest.raises(data.DataError, match=r"validation side .* has 0 bytes") as caught:
        corpus.windows(count=4, length=8)
    assert "shorter" not in str(caught.value), "what a benchmark holds out is its own to choose"
    assert "give more text: 8% of it is held out" in str(caught.value)


def test_too_little_text_is_told_before_anything_is_run_and_only_where_a_run_would_tell_it(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    outcomes = set()
    for lines in (1, 60, 400, 1000, 4000):
        write_text(path, seed=lines, lines=lines)
        told = []
        for look in (lambda: data.survey(str(path), length=256), lambda: data.corpus(str(path)).windows(count=1, length=256)):
            try:
                look()
                told.append("")
            except data.DataError as fault:
                told.append(str(fault))
        assert told[0] == told[1]
        outcomes.add(bool(told[0]))
    assert outcomes == {True, False}
