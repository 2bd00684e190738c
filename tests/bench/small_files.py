"""The files of a house that is small enough to edit and measure in milliseconds: each way in which a number can come about."""

from __future__ import annotations

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
    "bench/suites/late.py": '''\
"""What a measurement may do once it runs: it waits for the file `go` first."""
import ctypes
import importlib
import os
import runpy
import time
from pathlib import Path

import kernels
from bench import data
from plan import catalogue
from plan.catalogue import benchmark

KERNELS = Path(kernels.__file__).parent


def imports_late(bench):
    import kernels.late
    return kernels.late.VALUE


def swallows(bench):
    try:
        return imports_late(bench)
    except Exception:
        return -1


def opens_late(bench):
    return float((KERNELS / "table.txt").read_text())


def opens_by_descriptor(bench):
    return float(os.read(os.open(KERNELS / "table.txt", os.O_RDONLY), 10))


def imports_by_a_made_up_name(bench):
    return importlib.import_module("kernels." + "trapa"[::-1]).VALUE


def imports_late_beside(bench):
    import late_beside
    return late_beside.VALUE


def imports_beside_by_a_made_up_name(bench):
    return importlib.import_module("trapa"[::-1] + "_beside").VALUE


def imports_an_extension_by_a_made_up_name(bench):
    importlib.import_module("kernels." + bench.request.config["name"][::-1])
    return 1


def maps_from_c(bench):
    libc = ctypes.CDLL(None)
    file = libc.open(os.fsencode(KERNELS / "lists" / ("neve"[::-1] + ".txt")), os.O_RDONLY)
    libc.mmap.restype = ctypes.c_void_p
    there = libc.mmap(None, ctypes.c_size_t(4096), 1, 2, file, ctypes.c_size_t(0))
    return float(ctypes.string_at(there, 1))


def runs_by_a_made_up_name(bench):
    return runpy.run_path(str(KERNELS / ("trapa"[::-1] + ".py")))["VALUE"]


def opens_what_it_finds(bench):
    return sum(len(path.read_text()) for path in sorted((KERNELS / "lists").iterdir()))


def reads_the_config(bench):
    return len(Path(bench.request.config["path"]).read_text())


def reads_the_data(bench):
    bench.facts["data_digest"] = data.digest(bench.request.data)
    return len(Path(bench.request.data).read_text())


def writes_and_reads_in_its_folder(bench):
    (bench.folder / "own.txt").write_text("12")
    return float((bench.folder / "own.txt").read_text())


def lists_the_shelves(bench):
    return sum(len(catalogue.shelf(kind)) for kind in catalogue.SHELVES)


def opens_outside(bench):
    return float(open(bench.request.config["where"]["is"][::-1]).read())


def opens_beside_the_packages(bench):
    return float((KERNELS.parent / ("docs" + os.sep + "t" + ".csv")).read_text())


def makes_and_reads(bench):
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "own.txt").write_text("12")
        return float(Path(folder, "own.txt").read_text())


def lists_a_folder(bench):
    return len(os.listdir(KERNELS))


def looks_for_a_pattern(bench):
    return len(list(KERNELS.glob("*.gl")))


def asks_for_its_text(bench):
    return len(getattr(importlib.import_module("inspect"), "get" + "source")(fails))


def reads_its_own_file(bench):
    return len(Path(__file__).read_text())


def asks_for_another_option(bench):
    return catalogue.shelf("benchmark")["small-16-v1"].arguments["options"]["gain"]


def asks_for_another_paper(bench):
    return len(catalogue.shelf("module")["other"].arguments.get("paper"))


def fails(bench):
    raise ZeroDivisionError("of its own")


@benchmark("late-v1", metrics={"score": "x"}, source="here")
def measure(bench):
    bench.progress(1, 1, {})
    while not (bench.folder / "go").exists():
        time.sleep(0.002)
    return {"score": globals()[bench.request.config["act"]](bench)}
''',
    "docs/t.csv": "1",
    "corpus.txt": "to be measured upon\n",
}
