"""What Python shows to rules: what it reaches for, what that says of itself, and whose things it sets."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from alignment.libraries import listed, of_library
from alignment.marks import written


def test_a_call_shows_what_the_library_says_of_it_under_any_of_its_names() -> None:
    assert "doc file" not in written("def f(self, x):\n    return torch.relu(x)")
    for line in ("os.remove('a')", "torch.save(x, 'a')", "np.savez('a')", "Path('a').read_bytes()", "shutil.copyfile('a', 'b')"):
        assert "doc fil" in written(f"def f(self, x):\n    {line}"), line
    assert "doc random" in written("def f(self, x):\n    torch.default_generator.manual_seed(3)")


def test_what_a_text_binds_itself_is_no_library() -> None:
    assert "library time" in written("def f(self):\n    return time.monotonic()")
    assert "library time" not in written("def f(self, time):\n    return time.monotonic()")
    assert "library time" not in written("def f(self):\n    time = self.time\n    return time.monotonic()")


@pytest.mark.parametrize(
    "line", ["F.relu = x", "torch.Tensor.item = x", "del trainer.score", "trainer.table['a'] = x", "setattr(F, 'relu', x)"]
)
def test_setting_what_was_there_before_is_told_from_setting_ones_own(line: str) -> None:
    assert "sets what is everybody's" in written(f"def f(self, x):\n    {line}")


@pytest.mark.parametrize("line", ["self.a = x", "x.grad = None", "x['a'] = 1", "y = x\n    y.data = x", "setattr(self, 'a', x)"])
def test_ones_own_is_not_everybodys(line: str) -> None:
    assert "sets what is everybody's" not in written(f"def f(self, x):\n    {line}")


def test_an_exception_that_no_handler_expects_is_marked() -> None:
    assert "raises what no handler expects" in written("def f(self):\n    raise SystemExit")
    assert "raises what no handler expects" not in written("def f(self):\n    raise ValueError('a')")


@pytest.mark.parametrize("name", [
    "numpy.f2py.__main__.main", "unittest.__main__", "torch.classes.a.b", "torch.ops.a.b", "ctypes.cdll.nowhere.go", "antigravity.fly",
    "wsgiref.validate.validator", "lib2to3.main.main", "numpy.f2py.main", "torch.utils.cpp_extension.load", "concurrent.futures.nothing",
    "torch._dynamo.reset", "importlib.nothing", "os.__loader__.load_module", "pydoc.locate", "a.b.c",
])  # fmt: skip
def test_a_name_in_a_text_makes_its_judge_import_nothing_and_run_nothing(name: str) -> None:
    listed()
    before = set(sys.modules)
    assert "call " + name.rpartition(".")[2] in written(f"def f(self, x):\n    return {name}('a')")
    assert set(sys.modules) == before


def test_what_is_listed_is_imported_together_whatever_a_text_says() -> None:
    of_library.cache_clear()
    listed.cache_clear()
    assert written("x = 1") == {"word x"}
    assert not listed.cache_info().currsize
    written("f(x)")
    assert {"mailbox", "torch.nn.functional"} <= listed().keys()


def test_a_file_that_hides_a_library_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mailbox.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mailbox", raising=False)
    of_library.cache_clear()
    listed.cache_clear()
    try:
        assert of_library("mailbox.Mailbox") == {"library mailbox"}
        assert len(of_library("os.remove")) > 1
    finally:
        of_library.cache_clear()
        listed.cache_clear()


def test_what_this_house_put_in_a_librarys_place_says_nothing_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    of_library.cache_clear()
    assert of_library("shutil.copyfile") > of_library("shutil.nothing")
    monkeypatch.setattr(shutil, "copyfile", written)
    of_library.cache_clear()
    try:
        assert of_library("shutil.copyfile") == of_library("shutil.nothing")
    finally:
        of_library.cache_clear()


def test_text_that_is_no_python_shows_its_words() -> None:
    assert written("not a program (") == {"word not", "word a", "word program"}
