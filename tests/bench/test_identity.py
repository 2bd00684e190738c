"""A run's identity changes exactly when its meaning does. The judge is execution: a small house is edited,
measured and identified in a fresh process, and the key has to change if and only if the number does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from small_house import House

from bench.fingerprint import Code
from bench.identity import Identifier, environment_facts, explain, identify, run_key
from plan.catalogue import HOUSE
from plan.nouns import Request


@dataclass
class Edit:
    """One edit of the small house: in `file` the text `old` becomes `new` (or the request changes)."""

    title: str
    file: str = ""
    old: str = ""
    new: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    told: str = ""
    """What the explanation has to name."""


TINY, MIX, STEP, SUITE = "modules/tiny.py", "modules/layers/mix.py", "kernels/step.py", "bench/suites/small.py"

MANY, FORMS, CPP = "kernels/many.py", "kernels/forms.py", "kernels/cpp/add.cpp"

COSMETIC = [
    Edit("a comment is changed", TINY, "# a comment", "# quite another comment"),
    Edit("a comment names docstrings", TINY, "# a comment", "# not in x.__doc__, nor by getdoc or '__doc__'"),
    Edit("a docstring names docstrings", TINY, "too small to need torch", "with a `__doc__`, see inspect.getdoc"),
    Edit("a comment is added three imports away", STEP, "def step(seed):", "# noqa: why\ndef step(seed):  # type: ignore"),
    Edit("blank lines are added", TINY, "SCALE = 3\n", "\n\n\nSCALE = 3\n\n\n"),
    Edit("a module docstring is changed", TINY, "too small to need torch", "that got a longer story.\n\nAnd a second paragraph"),
    Edit("a function docstring is removed", TINY, '        """Keeps it."""\n', ""),
    Edit("a docstring is added", MIX, "def mixed(seed, width):\n", 'def mixed(seed, width):\n    """Now it says something."""\n'),
    Edit("a field's docstring is changed", TINY, '"""Width."""', '"""Width of the stream, in channels."""'),
    Edit(
        "a line is wrapped",
        TINY,
        "SCALE * factor + mix.mixed(",
        "(\n            SCALE\n            * factor\n        ) + mix.mixed(\n    ",
    ),
    Edit("the quotes are changed", STEP, '("small", "large")', "('small', 'large')"),
    Edit("a trailing comma is added", STEP, '("small", "large")', '(\n    "small",\n    "large",\n)'),
    Edit("redundant parentheses are added", TINY, "total = total * 2", "total = ((total) * (2))"),
    Edit("an encoding line is added", MIX, "from ..layers", "# -*- coding: utf-8 -*-\nfrom ..layers"),
    Edit("the indentation is changed", STEP, "    return 0", "        return 0"),
    Edit("a number is spelt otherwise", STEP, "seed + 7", "seed + 0x7"),
    Edit("an import only types need is removed", TINY, "if TYPE_CHECKING:\n    from modules.unused import Nothing\n", ""),
    Edit("a stray pass is added", MIX, "    from kernels", "    pass\n    from kernels"),
    Edit(
        "a new size of the family is added",
        SUITE,
        "@benchmark",
        '@benchmark("small-4-v1", metrics={}, source="", options={})\n@benchmark',
    ),
    Edit("a file nobody imports is changed", "modules/unused.py", "pass", "x = 1"),
    Edit("a C++ comment is changed", CPP, "// adds", "/* adds\nnumbers */"),
    Edit("a C++ comment is removed", CPP, "  // the first", ""),
    Edit("a C++ line is indented", "kernels/cpp/add.h", "int two", "\n    int  two"),
    Edit("a C++ file nobody names is changed", "kernels/cpp/sub.cpp", "3", "4"),
    Edit("a table nobody names is changed", "kernels/unread.txt", "1", "2"),
    Edit("a table in a folder whose other tables are read", "kernels/tables/unread.json", "1", "2"),
    Edit("a readme is added beside the code", "kernels/README.md", "", "# Kernels\n"),
    Edit("a plan is added", "plan/New.md", "", "# New\n"),
    Edit("a module nobody imports is added", "kernels/new.py", "", "X = 1\n"),
    Edit("a comment is added to an init", "kernels/__init__.py", "", "# nothing here yet\n"),
    Edit("a docstring is added to an init", "modules/layers/__init__.py", "", '"""Layers."""\n'),
    Edit("a lambda gets parentheses", MANY, "lambda: 3", "(lambda: (3))"),
    Edit("strings in a row are joined", FORMS, '"implicit" "concatenation"', '"implicitconcatenation"'),
    Edit("a semicolon joins two lines", FORMS, "seen = []\nLAZY = 10", "seen = []; LAZY = 10"),
    Edit("an import is put in parentheses", MANY, "import branch as chosen", "import (\n        branch as chosen,\n    )"),
    Edit("a one-line body", MANY, "    def __init_subclass__(cls):\n        cls", "    def __init_subclass__(cls): cls"),
    Edit("windows line ends", FORMS, "seen = []\n", "seen = []\r\n"),
    Edit("a form feed", FORMS, "\n\n\ndef by", "\n\f\n\ndef by"),
    Edit("a type comment", FORMS, "LAZY = 10", "LAZY = 10  # type: int"),
    Edit("the corpus is renamed", request={"data": "renamed.txt"}),
]

MEANINGFUL = [
    Edit("a constant", TINY, "SCALE = 3", "SCALE = 4", told="`modules/tiny.py`: `SCALE` changed"),
    Edit("a default argument", TINY, "factor: float = 1.5", "factor: float = 2.5", told="`modules/tiny.py`: `Tiny.value` changed"),
    Edit("an operator", TINY, "total * 2", "total ** 2", told="`modules/tiny.py`: `Tiny.value` changed"),
    Edit("a helper three imports away", STEP, "seed + 7", "seed + 8", told="`kernels/step.py`: `step` changed"),
    Edit("a string that is no docstring", STEP, '"small", "large"', '"tiny", "large"', told="`kernels/step.py`: `ORDER` changed"),
    Edit("a table beside the code", "kernels/table.txt", "5", "6", told="`kernels/table.txt`: `(bytes)` changed"),
    Edit("the data", "corpus.txt", "upon", "on which", request={"data": "corpus.txt"}, told="data `corpus.txt`"),
    Edit("a field's default", TINY, "bias: float = 0.25", "bias: float = 0.5", told="`modules/tiny.py`: `Config.bias` changed"),
    Edit("a config value", request={"config": {"d_model": 16}}, told="request `config.d_model`: null -> 16"),
    Edit("a benchmark's version", request={"benchmark": "small-16-v1"}, told='request `benchmark`: "small-8-v1" -> "small-16-v1"'),
    Edit("a benchmark's option", SUITE, '{"gain": 8}', '{"gain": 9}', told="`bench/suites/small.py`: `measure@small-8-v1` changed"),
    Edit("swapped branches", TINY, "if total > 10", "if not total > 10", told="`modules/tiny.py`: `Tiny.value` changed"),
    Edit("a deleted line", TINY, "        total = total * 2\n", "", told="`modules/tiny.py`: `Tiny.value` changed"),
    Edit("a removed decorator", TINY, "    @doubled\n", "", told="`modules/tiny.py`: `Tiny.value` changed"),
    Edit("an f-string", TINY, 'f"{seed}-label"', 'f"{seed}-a label"', told="`modules/tiny.py`: `Tiny.value` changed"),
    Edit("a walrus", TINY, "(n := 4)", "(n := 5)", told="`modules/tiny.py`: `Tiny.value` changed"),
    Edit("an import with an effect", "modules/layers/deep.py", "import kernels.table", "import kernels.noisy\nimport kernels.table",
         told="`kernels/noisy.py` is newly used"),
    Edit("an effect in a package's init", "kernels/__init__.py", "", "import kernels.noisy\n", told="`kernels/noisy.py` is newly used"),
    Edit("a statement at top level", STEP, "def never", "if step:\n    ORDER = ()\n\n\ndef never", told=f"`{STEP}`: `(top level)` added"),
    *(Edit(f"the table kernels/{name}", f"kernels/{name}", "1", "2", told=f"`kernels/{name}`: `(bytes)` changed")
      for name in ("parts.npz", "vocab", "one.gl", "tables/joined.json", "tables/deeper/far.csv", "tables/size-8.txt", "tables/small.lst",
                   "tables/percent-008.txt", "tables/braces-8.txt", "tables/sum.dat", "tables/plain.cfg", "tables/resource.bin")),
    Edit("a table that a pattern finds", "kernels/two.gl", "", "1", told="`kernels/two.gl` is newly used"),
    Edit("a C++ source", CPP, "one = 1", "one = 2", told=f"`{CPP}`: `(bytes)` changed"),
    Edit("a C++ header", "kernels/cpp/add.h", "two = 2", "two = 3", told="`kernels/cpp/add.h`: `(bytes)` changed"),
    Edit("a C++ line is commented out", CPP, "int one", "// int one", told=f"`{CPP}`: `(bytes)` changed"),
    Edit("another C++ source", "modules/layers/deep.py", '"add"', '"sub"', told="`kernels/cpp/sub.cpp` is newly used"),
    Edit("a helper beside the packages", "helper.py", "VALUE =", "VALUE = 1 +", told="`helper.py`: `VALUE` changed"),
    Edit("a table beside that helper", "beside.txt", "four", "seven..", told="`beside.txt`: `(bytes)` changed"),
    Edit("a star import", "kernels/starred.py", "return 4", "return 5", told="`kernels/starred.py`: `starred` changed"),
    Edit("what a star import brings", "kernels/starred.py", "\n\n\ndef", "\n\n\nlen = lambda x: 0\n__all__ += ['len']\n\n\ndef",
         told="`kernels/starred.py`: `len` added"),
    Edit("a condition around an import", MANY, ">= (3, 0)", ">= (3, 0) and not setattr(forms, 'LAZY', 11)", told=f"`{MANY}`: `(top level)`"),
    Edit("a conditional import", MANY, "import branch as", "import by_string as", told=f"`{MANY}`: `(top level)` changed"),
    Edit("a function called by a made-up name", FORMS, "return 7", "return 8", told=f"`{FORMS}`: `by_string` changed"),
    Edit("a module's own getattr", FORMS, "return LAZY", "return LAZY + 1", told=f"`{FORMS}`: `__getattr__` changed"),
    Edit("a default of a lambda", FORMS, "y=2", "y=3", told=f"`{FORMS}`: `branch` changed"),
    Edit("a default factory", MANY, "lambda: 3", "lambda: 4", told=f"`{MANY}`: `Point.x` changed"),
    Edit("a post-init", MANY, "self.x += 1", "self.x += 2", told=f"`{MANY}`: `Point.__post_init__` changed"),
    Edit("a metaclass", MANY, "2 * super()", "3 * super()", told=f"`{MANY}`: `Meta.__call__` changed"),
    Edit("a metaclass left out", MANY, "(metaclass=Meta):\n    shared", ":\n    __radd__ = lambda s, o: o\n    __add__ = lambda s, o: o\n    shared",
         told=f"`{MANY}`: `Made` changed"),
    Edit("a class's base's hook", MANY, "weight = 5", "weight = 6", told=f"`{MANY}`: `Made.__init_subclass__` changed"),
    Edit("a shared list", MANY, "shared = [1]", "shared = [1, 1]", told=f"`{MANY}`: `Made.shared` changed"),
    Edit("a closure", MANY, "count += 1", "count += 2", told=f"`{MANY}`: `counted` changed"),
    Edit("a comprehension's condition", MANY, "if n % 2", "if n % 3", told=f"`{MANY}`: `counted` changed"),
    Edit("an except clause", MANY, "return 6", "return 7", told=f"`{MANY}`: `guarded` changed"),
    Edit("a finally clause", MANY, "forms.seen.append(1)", "forms.LAZY = 1", told=f"`{MANY}`: `guarded` changed"),
    Edit("a case", MANY, "case 7", "case 8", told=f"`{MANY}`: `total` changed"),
    Edit("a starred target", MANY, "first, *_", "*_, first", told=f"`{MANY}`: `total` changed"),
    Edit("a later definition wins", FORMS, "def __getattr__", "def by_string():\n    return 9\n\n\ndef __getattr__",
         told=f"`{FORMS}`: `by_string` changed"),
    Edit("two statements change places", FORMS, "seen = []\nLAZY = 10", "LAZY = 10\nseen = [LAZY := 11]", told=f"`{FORMS}`: `seen` changed"),
    Edit("an init that replaces a function", "modules/layers/__init__.py", "", "import kernels.forms\nkernels.forms.by_string = lambda: 1\n",
         told="`modules/layers/__init__.py`: `(imports)` added"),
    Edit("a decorator's body", TINY, "2 * function", "3 * function", told=f"`{TINY}`: `doubled` changed"),
    Edit("a seed", request={"seed": 5}, told="request `seed`: 3 -> 5"),
]  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"))
    yield house
    house.close()


@pytest.fixture(scope="module")
def plainly(house: House) -> dict[str, Any]:
    return house.observe()


@pytest.fixture(scope="module")
def on_corpus(house: House) -> dict[str, Any]:
    return house.observe(data="corpus.txt")


def reasons(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    codes = {seen["code"]["digest"]: Code(**seen["code"]) for seen in (old, new)}
    return explain(old["parts"], new["parts"], codes)


def after(house: House, edit: Edit) -> dict[str, Any]:
    with house.edited(edit.file, edit.old, edit.new) if edit.file else nullcontext():
        return house.observe(**edit.request)


@pytest.mark.parametrize("edit", COSMETIC, ids=lambda edit: edit.title)
def test_an_edit_that_leaves_the_number_leaves_the_key(edit: Edit, house: House, plainly: Any, on_corpus: Any) -> None:
    old, new = on_corpus if "data" in edit.request else plainly, after(house, edit)
    assert new["result"] == old["result"]
    assert new["key"] == old["key"]
    assert reasons(old, new) == []


@pytest.mark.parametrize("edit", MEANINGFUL, ids=lambda edit: edit.title)
def test_an_edit_that_changes_the_number_changes_the_key_and_is_named(
    edit: Edit, house: House, plainly: Any, on_corpus: Any
) -> None:
    old, new = on_corpus if "data" in edit.request else plainly, after(house, edit)
    assert new["result"] != old["result"]
    assert new["key"] != old["key"]
    assert any(edit.told in line for line in reasons(old, new)), reasons(old, new)


LINE = ("return seed + 7", "return seed + step.__code__.co_firstlineno")
SOURCE = ("return seed + 7", "import inspect; return seed + len(inspect.getsource(step))")
TYPES = (
    '"""Three',
    'import typing\ntyping.TYPE_CHECKING = True\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    Q = 1\n"""Three',
)


@pytest.mark.parametrize(
    ("setup", "edit"),
    [
        (LINE, Edit("a line above", STEP, "ORDER =", "# why\nORDER =", told=f"`{STEP}`: `(text)` changed")),
        (SOURCE, Edit("a comment", STEP, "def step(seed):", "def step(seed):  # why", told=f"`{STEP}`: `(text)` changed")),
        (TYPES, Edit("a type-only block", STEP, "Q = 1", "Q = 2", told=f"`{STEP}`: `(type-only)` changed")),
    ],
    ids=lambda part: part.title if isinstance(part, Edit) else "",
)
def test_code_that_asks_for_lines_sources_or_type_only_blocks_depends_on_them(
    setup: tuple[str, str], edit: Edit, house: House, plainly: Any
) -> None:
    uses = (("return seed + 7", "return seed + 7 + Q"),) if setup is TYPES else ()
    with ExitStack() as stack:
        for old, new in (setup, *uses):
            stack.enter_context(house.edited(STEP, old, new))
        before, changed = house.observe(), after(house, edit)
    assert changed["result"] != before["result"]
    assert changed["key"] != before["key"]
    assert any(edit.told in line for line in reasons(before, changed)), reasons(before, changed)


def test_what_the_interpreter_of_a_worker_runs_first_changes_the_key(house: House, plainly: Any) -> None:
    with house.edited("sitecustomize.py", "", "import math\n"):
        assert house.observe()["key"] != plainly["key"]


def test_installing_an_optional_package_changes_the_key(house: House, tmp_path: Path) -> None:
    site = tmp_path / "site"
    for version in ("1.0", "2.0"):
        (site / version / f"fastpath-{version}.dist-info").mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: fastpath\nVersion: {version}\n"
        (site / version / f"fastpath-{version}.dist-info" / "METADATA").write_text(text)
        (site / version / "fastpath.py").write_text("")
    with house.edited(STEP, '"""Three', 'try:\n    import fastpath\nexcept ImportError:\n    fastpath = None\n"""Three'):
        absent, one, two = (house.observe(path) for path in ("", str(site / "1.0"), str(site / "2.0")))
    assert len({absent["key"], one["key"], two["key"]}) == 3
    assert reasons(absent, one) == ['environment `fastpath`: null -> "1.0"']
    assert reasons(one, two) == ['environment `fastpath`: "1.0" -> "2.0"']


def test_the_order_of_config_keys_and_the_limits_do_not_matter_but_the_threads_do() -> None:
    def key(**asked: Any) -> str:
        request = Request(**{"module": "m", "benchmark": "b", "seed": 0, **asked})
        return run_key(request, code="c", data_digest="d", environment={"torch": "2"})

    assert key(config={"a": 1, "b": 2}) == key(config={"b": 2, "a": 1})
    keys = [key(), key(threads=2), key(device="cuda"), key(seed=1), key(steps=5), key(config={"a": 1}), key(config={"a": "1"})]
    assert len(set(keys)) == len(keys)


def test_which_gpus_are_visible_counts_on_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = []
    for visible in ("0", "1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        facts.append([environment_facts(device=device) for device in ("cpu", "cuda")])
    assert facts[0][0] == facts[1][0]
    assert {name for name, value in facts[0][1].items() if facts[1][1][name] != value} == {"gpus_visible"}


def test_a_name_that_is_on_no_shelf_is_told_with_a_suggestion() -> None:
    with pytest.raises(KeyError, match="no benchmark `contract-v0`; did you mean `contract-v1`"):
        Identifier().identify(Request(module="transformer", benchmark="contract-v0", seed=0))


def test_a_module_named_in_a_config_belongs_to_the_code() -> None:
    plain, mixed = (
        Identifier().identify(Request(module="transformer", benchmark="contract-v1", seed=0, config={"other": name}))
        for name in ("", "moe")
    )
    assert "modules/moe.py" not in plain.code.files
    assert "modules/moe.py" in mixed.code.files


def test_only_a_module_with_compiled_kernels_depends_on_the_compiler() -> None:
    requests = [Request(module=name, benchmark="bytes-stdlib-v1", seed=0) for name in ("transformer", "mamba")]
    assert ["compiler" in identify(request).parts["environment"] for request in requests] == [False, True]


def test_the_compiler_that_counts_is_the_one_that_kernels_are_built_with(tmp_path: Path) -> None:
    mine = tmp_path / "my-compiler"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    script = "from bench.identity import environment_facts; print(environment_facts(compiles=True)['compiler'])"
    for flags in ("", " -m64"):
        command, environment = [sys.executable, "-c", script], {**os.environ, "PYTHONPATH": str(HOUSE), "CXX": f"{mine}{flags}"}
        assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout == f"{mine} (10 B){flags}\n"


def test_a_rival_that_a_benchmark_builds_by_its_name_counts() -> None:
    code = identify(Request(module="moe", benchmark="flops-v1", seed=0)).code
    assert "modules/transformer.py" in code.files
