"""Files that others published are read whole or not at all: whatever is wrong with one is told with its place."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from alignment import xstest
from alignment.published import DataFault
from alignment.replies import read_pairs

PAIR = b'{"chosen":"\\n\\nHuman: Hi there\\n\\nAssistant: no","rejected":"\\n\\nHuman: Hi there\\n\\nAssistant: yes"}\n'
REPLIES = "prompt,type,completion,final_label\nx,homonyms,y,2_full_refusal\n"


def test_a_pair_of_replies_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(PAIR))
    (pair,) = read_pairs(tmp_path / "a.gz")
    assert (pair.chosen.text, pair.rejected.text, pair.chosen.asked, pair.opening) == ("no", "yes", "Hi there", "hi there")


@pytest.mark.parametrize(("content", "told"), [
    (b"", "holds no pairs"), (b"hello", "a.gz:0: not readable"), (gzip.compress(PAIR)[:-9], "not readable"),
    (gzip.compress(PAIR + b"{x\n"), "a.gz:2: not readable"), (gzip.compress(PAIR + b"\n"), "not readable"), (gzip.compress(b"[1]\n"), "a.gz:1: no JSON object"),
    (gzip.compress(PAIR + b'{"a":1}\n'), "a.gz:2: no dialogues"), (gzip.compress(b'{"chosen":null,"rejected":"ho"}\n'), "a.gz:1: no dialogues"),
    (gzip.compress(b'{"chosen":"hi","rejected":"ho"}\n'), "a.gz:1: no dialogues"), (gzip.compress(PAIR.replace(b"no", b"\xe9")), "not readable"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_rubbish_for_pairs_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataFault, match=told):
        read_pairs(tmp_path / "a.gz")


@pytest.mark.parametrize(("content", "told"), [
    (b"", "no column `completion`"), (b"a,b\n1,2\n", "no column"), (REPLIES.replace("2_full", "9_full").encode(), "csv:2: `9_full_refusal` is none of"),
    (REPLIES.replace(",y", "").encode(), "csv:2: not as many cells"), (REPLIES.replace("y", "\xe9").encode("latin-1"), "not readable as UTF-8"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_rubbish_for_replies_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "completions_a.csv").write_bytes(content)
    with pytest.raises(DataFault, match=told):
        xstest.completions(tmp_path)


def test_a_label_that_is_neither_safe_nor_unsafe_is_told(tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text("prompt,type,label\nx,homonyms,unsafe\ny,homonyms,Unsafe\n")
    with pytest.raises(DataFault, match=r"prompts.csv:3: `Unsafe` is none of safe, unsafe"):
        xstest.prompts(tmp_path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataFault, match="not readable"):
        xstest.prompts(tmp_path)
