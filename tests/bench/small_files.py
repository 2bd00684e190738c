"""The files of a house that is small enough to edit and measure in milliseconds: each way in which a number can come about."""

from __future__ import annotations

from small_acts import LATE

SMALL_HOUSE = {
    "modules/__init__.py": "",
    "modules/tiny.py": '''\
"""A module too small to need torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modules.layers import mix
from plan.catalogue import module

if TYPE_CHECKING:
    from modules.unused import Nothing

SCALE = 3


@dataclass(frozen=True)
class Config:
    d_model: int = 8
    """Width."""
    bias: float = 0.25


def doubled(function):
    return lambda *a, **k: 2 * function(*a, **k)


@module("tiny", system="T-0", paper="none")
class Tiny:
    """The first line."""

    def __init__(self, config: Config) -> None:
        """Keeps it."""
        self.config = config

    @doubled
    def value(self, seed: int, factor: float = 1.5) -> float:
        # a comment
        total = SCALE * factor + mix.mixed(seed, self.config.d_model)
        if total > 10:
            total += self.config.bias
        else:
            total -= 100
        total = total * 2
        return total + len(f"{seed}-label") + (n := 4) + n
''',
    "modules/other.py": "from plan.catalogue import module\n\n\n@module('other', system='T-1', paper='none')\nclass Other:\n    pass\n",
    "modules/unused.py": "class Nothing:\n    pass\n",
    "modules/layers/__init__.py": "",
    "modules/layers/mix.py": """\
from ..layers.deep import weight


def mixed(seed, width):
    from kernels.step import step
    return step(seed) * weight(width)
""",
    "modules/layers/deep.py": """\
import helper
import kernels.table
from kernels import many, parts
from kernels.compiled import library


def weight(width):
    return helper.VALUE + width + kernels.table.first() + parts.total(8, "plain") + library("add") + many.total()
""",
    "kernels/__init__.py": "",
    "kernels/step.py": '''\
"""Three imports away from the benchmark."""
ORDER = ("small", "large")


def step(seed):
    return seed + 7 if "small" in ORDER else seed


def never_called():
    return 0
''',
    "kernels/table.py": """\
from pathlib import Path


def first():
    return int(Path(__file__).with_name("table.txt").read_text().split()[0])
""",
    "kernels/table.txt": "5\n",
    "kernels/noisy.py": "import kernels.step\n\nkernels.step.ORDER = ()\n",
    "bench/suites/__init__.py": "",
    "bench/suites/small.py": """\
from pathlib import Path

from modules.tiny import Config
from plan import catalogue
from plan.catalogue import benchmark


@benchmark("small-16-v1", metrics={"score": "x"}, source="here", options={"gain": 16})
@benchmark("small-8-v1", metrics={"score": "x"}, source="here", options={"gain": 8})
def measure(bench):
    gain = catalogue.shelf("benchmark")[bench.request.benchmark].arguments["options"]["gain"]
    words = len(Path(bench.request.data).read_text()) if bench.request.data else 0
    thing = catalogue.load("module", bench.request.module)(Config(**bench.request.config))
    return {"score": gain * thing.value(bench.request.seed) + words}
""",
    "kernels/parts.py": """\
import importlib.resources
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIZES = ["small", "large"]


def total(size, table):
    files = [
        HERE / "tables" / "joined.json",
        HERE / "vocab",
        HERE.joinpath("tables", "deeper", "far.csv"),
        Path(__file__).with_suffix(".npz"),
        HERE / "tables" / f"size-{size}.txt",
        HERE / "tables" / f"{SIZES[0]}.lst",
        HERE / "tables" / ("percent-%03d.txt" % size),
        HERE / "tables" / "braces-{}.txt".format(size),
        HERE / "tables" / ("sum" + ".dat"),
        HERE / "tables" / f"{table}.cfg",
        importlib.resources.files("kernels") / "tables" / "resource.bin",
        *HERE.glob("*.gl"),
    ]
    return sum(float(file.read_text()) for file in files)
""",
    "kernels/parts.npz": "1",
    "kernels/vocab": "1",
    "kernels/one.gl": "1",
    "kernels/unread.txt": "1",
    **{
        f"kernels/tables/{name}": "1"
        for name in (
            "joined.json",
            "deeper/far.csv",
            "size-8.txt",
            "small.lst",
            "percent-008.txt",
            "braces-8.txt",
            "sum.dat",
            "plain.cfg",
            "resource.bin",
            "unread.json",
        )
    },
    "kernels/compiled.py": """\
import re
from pathlib import Path


def library(name):
    source = Path(__file__).parent / "cpp" / f"{name}.cpp"
    text = source.read_text()
    for header in re.findall('#include "(.*)"', text):
        text += (source.parent / header).read_text()
    return sum(map(int, re.findall(r"=\\s*(\\d+);", re.sub("//.*", "", text))))
""",
    "kernels/cpp/add.cpp": '// adds\n#include "add.h"\nint one = 1;  // the first\n',
    "kernels/cpp/add.h": "#pragma once\nint two = 2;\n",
    "kernels/cpp/sub.cpp": "int three = 30;\n",
    "kernels/many.py": """\
import dataclasses
import sys

import kernels.forms
from kernels import forms
from kernels.starred import *

if sys.version_info >= (3, 0):
    from kernels.forms import branch as chosen
else:
    from kernels.unknown import chosen


class Meta(type):
    def __call__(cls, *arguments):
        return 2 * super().__call__(*arguments).value


class Made(metaclass=Meta):
    shared = [1]

    def __init__(self, value):
        self.value = value + len(self.shared)

    def __init_subclass__(cls):
        cls.weight = 5


class Below(Made):
    pass


@dataclasses.dataclass
class Point:
    x: int = dataclasses.field(default_factory=lambda: 3)
    y: int = 1

    def __post_init__(self):
        self.x += 1


def counted():
    count = 0

    def more():
        nonlocal count
        count += 1
        return count

    more()
    return more() + sum(n for n in range(4) if n % 2)


def guarded():
    try:
        return {"a": 1}["b"]
    except KeyError:
        return 6
    finally:
        forms.seen.append(1)


def total():
    by_string = getattr(forms, "by" + "_" + "string")()
    match by_string:
        case 7:
            matched = 1
        case _:
            matched = 2
    first, *_ = [8, 9]
    described = len(chosen.__name__)
    return by_string + matched + first + described + starred() + chosen() + Made(1) + Below.weight + Point().x + counted() + guarded() + forms.lazily
""",
    "kernels/starred.py": "__all__ = ['starred']\n\n\ndef starred():\n    return 4\n",
    "kernels/forms.py": """\
seen = []
LAZY = 10


def by_string():
    return 7


def branch():
    return len("implicit" "concatenation") + (lambda x, /, *, y=2: x * y)(3)


def __getattr__(name):
    if name == "lazily":
        return LAZY
    raise AttributeError(name)
""",
    "helper.py": "from pathlib import Path\n\nVALUE = len(Path(__file__).with_name('beside.txt').read_text())\n",
    "beside.txt": "four",
    "late_beside.py": "VALUE = 6\n",
    "apart_beside.py": "VALUE = 6\n",
    "kernels/late.py": "VALUE = 3\n",
    "kernels/apart.py": "VALUE = 4\n",
    "kernels/lists/even.txt": "2 4 6\n",
    "kernels/lists/odd.txt": "1 3 5\n",
    "bench/suites/late.py": LATE,
    "docs/t.csv": "1",
    "corpus.txt": "to be measured upon\n",
}
