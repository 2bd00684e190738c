"""Conflicts of names: told where the merged program would break, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.pulls.names import read
from bench.pulls import Clash
from tests.agents.pull_repositories import Texts, look, repository

LIBRARY = """import math


LIMIT = 3


def helper(value, scale=1):
    return value * scale


def unused(value):
    return value


class Box:
    size = 2

    def __init__(self, width):
        self.width = width

    def volume(self):
        return self.width * self.size

    def colour(self):
        return "red"


class Crate(Box):
    def label(self):
        return self.colour()

    def colour(self):
        return "brown"
"""
USER = """from shop import library
from shop.library import Box, helper


def main():
    return helper(1) + Box(2).volume() + library.LIMIT
"""
BASE: Texts = {"shop/__init__.py": "", "shop/library.py": LIBRARY, "app.py": USER, "other.py": "import shop\n"}


def edited(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def clashes(folder: Path, one: Texts, other: Texts, base: Texts = BASE) -> tuple[Clash, ...]:
    """The clashes of two branches that merge as text; each merges into main without any."""
    seen = look(repository(folder / "r", base, one=one, other=other))
    assert all(pair.clean for pair in seen.against_base)
    assert not any(pair.conflicts for pair in seen.between)
    return tuple(clash for pair in seen.between for clash in pair.clashes)


BROKEN: dict[str, tuple[Texts, Texts, str, str, str]] = {
    "a function renamed, imported anew": (
        {"shop/library.py": edited(LIBRARY, ("def unused", "def renamed"))},
        {"other.py": "import shop\nfrom shop.library import unused\n\nunused(1)\n"},
        "shop.library.unused", "shop/library.py:11", "other.py:2",
    ),
    "a function removed, called through its module": (
        {"shop/library.py": edited(LIBRARY, ("def unused(value):\n    return value\n\n\n", ""))},
        {"app.py": edited(USER, ("library.LIMIT", "library.LIMIT + library.unused(4)"))},
        "shop.library.unused", "shop/library.py:11", "app.py:6",
    ),
    "a constant renamed, used in the same file": (
        {"shop/library.py": edited(LIBRARY, ("LIMIT = 3", "MOST = 3")), "app.py": edited(USER, ("library.LIMIT", "library.MOST"))},
        {"shop/library.py": edited(LIBRARY, ('return "red"', 'return "red" * LIMIT'))},
        "shop.library.LIMIT", "shop/library.py:4", "shop/library.py:25",
    ),
    "an import cleared away as unused, used by the other side": (
        {"shop/library.py": edited(LIBRARY, ("import math\n", ""))},
        {"shop/library.py": edited(LIBRARY, ('return "red"', "return math.pi"))},
        "shop.library.math", "shop/library.py:1", "shop/library.py:25",
    ),
    "a method renamed, used on self": (
        {"shop/library.py": edited(LIBRARY, ("def volume", "def content")), "app.py": edited(USER, (".volume", ".content"))},
        {"shop/library.py": edited(LIBRARY, ("        return self.colour()", "        return self.colour(), self.volume()"))},
        "shop.library.Box.volume", "shop/library.py:21", "shop/library.py:30",
    ),
    "a method renamed, used on an object of unknown class": (
        {"shop/library.py": edited(LIBRARY, ("def volume", "def content")), "app.py": edited(USER, (".volume", ".content"))},
        {"other.py": "import shop\n\n\ndef heaviest(boxes):\n    return max(box.volume() for box in boxes)\n"},
        "volume", "shop/library.py:21", "other.py:5",
    ),
    "an attribute renamed": (
        {"shop/library.py": edited(LIBRARY, ("self.width", "self.breadth"))},
        {"other.py": "import shop\n\n\ndef widest(boxes):\n    return max(box.width for box in boxes)\n"},
        "width", "shop/library.py:19", "other.py:5",
    ),
    "a module renamed": (
        {"shop/library.py": None, "shop/store.py": LIBRARY, "app.py": edited(USER, ("import library", "import store as library"), ("shop.library", "shop.store"))},
        {"other.py": "import shop.library\n"},
        "shop.library", "shop/library.py:1", "other.py:1",
    ),
    "a class removed": (
        {"shop/library.py": LIBRARY[: LIBRARY.index("class Crate")]},
        {"other.py": "from shop.library import Crate\n"},
        "shop.library.Crate", "shop/library.py:28", "other.py:1",
    ),
    "a parameter renamed": (
        {"shop/library.py": edited(LIBRARY, ("scale", "factor"))},
        {"other.py": "from shop.library import helper\n\nhelper(1, scale=2)\n"},
        "shop.library.helper", "shop/library.py:7", "other.py:3",
    ),
    "a parameter added that has to be given": (
        {"shop/library.py": edited(LIBRARY, ("def unused(value)", "def unused(value, much)"))},
        {"other.py": "from shop.library import unused\n\nunused(1)\n"},
        "shop.library.unused", "shop/library.py:11", "other.py:3",
    ),
    "a parameter taken away from a constructor": (
        {"shop/library.py": edited(LIBRARY, ("self, width", "self"), ("self.width = width", "self.width = 1")), "app.py": edited(USER, ("Box(2)", "Box()"))},
        {"other.py": "import shop.library as lib\n\nlib.Box(7)\n"},
        "shop.library.Box", "shop/library.py:15", "other.py:3",
    ),
    "a relative import": (
        {"shop/library.py": edited(LIBRARY, ("def unused", "def renamed"))},
        {"shop/inner.py": "from .library import unused\n"},
        "shop.library.unused", "shop/library.py:11", "shop/inner.py:1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_name_that_one_side_takes_away_and_the_other_newly_uses_is_told_with_both_places(case: str, tmp_path: Path) -> None:
    one, other, name, gone, used = BROKEN[case]
    found = clashes(tmp_path, one, other)
    assert [(c.name, str(c.gone), str(c.used), c.gone_by, c.used_by) for c in found] == [(name, gone, used, "one", "other")]


@pytest.mark.parametrize(
    "case", ["a function renamed, imported anew", "a module renamed", "a parameter added that has to be given"]
)
def test_what_is_told_is_what_python_itself_refuses(case: str, tmp_path: Path) -> None:
    one, other, *_ = BROKEN[case]
    folder = repository(tmp_path / "r", BASE, one=one, other=other)
    assert run_merged(folder, "other.py") != 0


FINE: dict[str, tuple[Texts, Texts]] = {
    "a function renamed, whose old name stays": (
        {"shop/library.py": edited(LIBRARY, ("def unused", "def renamed")) + "\n\nunused = renamed\n"},
        {"other.py": "from shop.library import unused\n"},
    ),
    "a function moved, and imported where it was": (
        {"shop/library.py": edited(LIBRARY, ("import math\n", "import math\nfrom shop.moved import unused\n"), ("def unused(value):\n    return value\n\n\n", "")), "shop/moved.py": "def unused(value):\n    return value\n"},
        {"other.py": "from shop.library import unused\n"},
    ),
    "a name that a function of the other side binds itself": (
        {"shop/library.py": edited(LIBRARY, ("LIMIT = 3", "MOST = 3")), "app.py": edited(USER, ("library.LIMIT", "library.MOST"))},
        {"shop/library.py": edited(LIBRARY, ('return "red"', 'LIMIT = 4\n        return "red" * LIMIT'))},
    ),
    "an import cleared away, and imported by the function that needs it": (
        {"shop/library.py": edited(LIBRARY, ("import math\n", ""))},
        {"shop/library.py": edited(LIBRARY, ('return "red"', "import math\n\n        return math.pi"))},
    ),
    "a method of a name that others have as well": (
        {"shop/library.py": edited(LIBRARY, ("def colour", "def format"), ("self.colour", "self.format"))},
        {"other.py": "import shop\n\nprint('{}'.format(1), [].append)\n"},
    ),
    "a method removed that is inherited as well": (
        {"shop/library.py": edited(LIBRARY, ('\n    def colour(self):\n        return "brown"\n', ""))},
        {"shop/library.py": edited(LIBRARY, ("class Crate(Box):\n", "class Crate(Box):\n    def both(self):\n        return self.colour()\n\n"))},
    ),
    "an optional import": (
        {"shop/library.py": edited(LIBRARY, ("def unused", "def renamed"))},
        {"other.py": "try:\n    from shop.library import unused\nexcept ImportError:\n    unused = None\n"},
    ),
    "a parameter with a default added": (
        {"shop/library.py": edited(LIBRARY, ("def unused(value)", "def unused(value, much=1)"))},
        {"other.py": "from shop.library import unused\n\nunused(1)\n"},
    ),
    "arguments that cannot be counted": (
        {"shop/library.py": edited(LIBRARY, ("def unused(value)", "def unused(value, much)"))},
        {"other.py": "from shop.library import unused\n\nunused(*range(2))\n"},
    ),
    "another module's function of the same name": (
        {"shop/library.py": edited(LIBRARY, ("def unused", "def renamed"))},
        {"shop/second.py": "def unused():\n    return 1\n", "other.py": "from shop.second import unused\n\nunused()\n"},
    ),
    "both sides rename it alike": (
        {"shop/library.py": edited(LIBRARY, ("def unused", "def renamed")), "other.py": "import shop\n"},
        {"shop/library.py": edited(LIBRARY, ("def unused", "def renamed")), "app.py": USER + "\n\nlibrary.renamed(2)\n"},
    ),
    "a file that is no Python of this version": (
        {"shop/library.py": "this is no python\n" + LIBRARY},
        {"other.py": "from shop.library import unused\n"},
    ),
    "a module that became a package": (
        {"shop/library.py": None, "shop/library/__init__.py": LIBRARY},
        {"other.py": "from shop.library import unused\nimport shop.library\n"},
    ),
    "a module that makes up its names": (
        {"shop/library.py": edited(LIBRARY, ("def unused(value):\n    return value", "def __getattr__(name):\n    return name"))},
        {"other.py": "from shop.library import unused\n"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FINE)
def test_what_still_works_is_no_clash(case: str, tmp_path: Path) -> None:
    assert clashes(tmp_path, *FINE[case]) == ()


def test_a_pull_request_that_uses_what_its_base_has_since_renamed_breaks_it(tmp_path: Path) -> None:
    renamed = {"shop/library.py": edited(LIBRARY, ("def unused", "def renamed"))}
    folder = repository(tmp_path / "r", BASE, later=renamed, pull={"other.py": "from shop.library import unused\n"})
    seen = look(folder, base="later")
    (pair,) = seen.against_base
    assert not pair.clean
    assert pair.mergeable == "mergeable"
    assert [(c.gone_by, c.used_by, str(c.used)) for c in pair.clashes] == [("later", "pull", "other.py:1")]
    assert seen.troubled


def test_reading_never_runs_the_code() -> None:
    facts = read(b"import sys\nsys.exit('ran')\n", "x.py")
    assert facts is not None
    assert ("name", "sys") in facts.defines


@pytest.mark.parametrize(
    "source", [b"\x00", b"def f(:\n", "x = '\ud800'".encode(errors="surrogatepass"), b"(" * 5000, b"-" * 100_000 + b"1"]
)
def test_what_cannot_be_parsed_is_left_out(source: bytes) -> None:
    assert read(source, "x.py") is None


def run_merged(folder: Path, script: str) -> int:
    """The exit code of a script in a work tree where both branches are merged for real."""
    who = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@e", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@e"}
    subprocess.run(["git", "-C", folder, "merge", "--quiet", "one"], check=True, env={**os.environ, **who})
    subprocess.run(["git", "-C", folder, "merge", "--quiet", "other"], check=True, env={**os.environ, **who})
    done = subprocess.run(
        [sys.executable, script], cwd=folder, capture_output=True, env={**os.environ, "PYTHONPATH": str(folder)}, check=False
    )
    return done.returncode
