"""A run's identity changes exactly when its meaning does. The judge is execution: a small house is edited,
run and identified in a fresh process, and the key has to change if and only if the measured number does."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.fingerprint import Code, Reader, _parse, code_changes
from bench.identity import Identifier, explain, run_key
from plan.catalogue import HOUSE
from plan.nouns import Request
from plan.wire import encode

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
    "modules/unused.py": "class Nothing:\n    pass\n",
    "modules/layers/__init__.py": "",
    "modules/layers/mix.py": """\
from ..layers.deep import weight


def mixed(seed, width):
    from kernels.step import step
    return step(seed) * weight(width)
""",
    "modules/layers/deep.py": """\
import kernels.table


def weight(width):
    return width + kernels.table.first()
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
    "kernels/table.txt": "5\\n",
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
    "corpus.txt": "to be measured upon\n",
}

IDENTIFY_AND_RUN = """
import json, sys
from pathlib import Path
from bench.identity import Identifier
from bench.request import Bench
from plan import catalogue, wire
from plan.nouns import Request
request = wire.decode(Request, sys.argv[1])
identity = Identifier().identify(request)
result = catalogue.load("benchmark", request.benchmark)(Bench(request=request, folder=Path(".")))
assert "torch" not in sys.modules
print(json.dumps({"key": identity.key, "parts": identity.parts, "code": wire.plain(identity.code), "result": result}))
"""


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

COSMETIC = [
    Edit("a comment is changed", TINY, "# a comment", "# quite another comment"),
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
    Edit("a seed", request={"seed": 5}, told="request `seed`: 3 -> 5"),
]  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the real plan and bench around the small modules, kernels and suite."""
    root = tmp_path_factory.mktemp("house")
    ignored = shutil.ignore_patterns("__pycache__", "suites")
    for package in ("plan", "bench"):
        shutil.copytree(HOUSE / package, root / package, ignore=ignored)
    for name, text in SMALL_HOUSE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text.replace("\\n", "\n") if name.endswith(".txt") else text)
    shutil.copy(root / "corpus.txt", root / "renamed.txt")
    return root


def observe(house: Path, path: str = "", **asked: Any) -> dict[str, Any]:
    """Key, parts, code and result of a request, from a fresh process that knows nothing of earlier ones."""
    request = Request(**{"module": "tiny", "benchmark": "small-8-v1", "seed": 3, **asked})
    env = {**os.environ, "PYTHONPATH": f"{house}{os.pathsep}{path}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", IDENTIFY_AND_RUN, encode(request)]
    done = subprocess.run(command, cwd=house, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.fixture(scope="module")
def plainly(house: Path) -> dict[str, Any]:
    return observe(house)


@pytest.fixture(scope="module")
def on_corpus(house: Path) -> dict[str, Any]:
    return observe(house, data="corpus.txt")


def edited(house: Path, edit: Edit) -> dict[str, Any]:
    if not edit.file:
        return observe(house, **edit.request)
    path = house / edit.file
    before = path.read_text()
    assert edit.old in before
    try:
        path.write_text(before.replace(edit.old, edit.new, 1))
        return observe(house, **edit.request)
    finally:
        path.write_text(before)


def reasons(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    codes = {seen["code"]["digest"]: Code(**seen["code"]) for seen in (old, new)}
    return explain(old["parts"], new["parts"], codes)


@pytest.mark.parametrize("edit", COSMETIC, ids=lambda edit: edit.title)
def test_an_edit_that_leaves_the_number_leaves_the_key(edit: Edit, house: Path, plainly: Any, on_corpus: Any) -> None:
    old, new = on_corpus if "data" in edit.request else plainly, edited(house, edit)
    assert new["result"] == old["result"]
    assert new["key"] == old["key"]
    assert reasons(old, new) == []


@pytest.mark.parametrize("edit", MEANINGFUL, ids=lambda edit: edit.title)
def test_an_edit_that_changes_the_number_changes_the_key_and_is_named(
    edit: Edit, house: Path, plainly: Any, on_corpus: Any
) -> None:
    old, new = on_corpus if "data" in edit.request else plainly, edited(house, edit)
    assert new["result"] != old["result"]
    assert new["key"] != old["key"]
    assert any(edit.told in line for line in reasons(old, new)), reasons(old, new)


def test_installing_an_optional_package_changes_the_key(house: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    for version in ("1.0", "2.0"):
        (site / version / f"fastpath-{version}.dist-info").mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: fastpath\nVersion: {version}\n"
        (site / version / f"fastpath-{version}.dist-info" / "METADATA").write_text(text)
        (site / version / "fastpath.py").write_text("")
    step = house / STEP
    before = step.read_text()
    try:
        step.write_text("try:\n    import fastpath\nexcept ImportError:\n    fastpath = None\n" + before)
        absent, one, two = observe(house), observe(house, str(site / "1.0")), observe(house, str(site / "2.0"))
    finally:
        step.write_text(before)
    assert len({absent["key"], one["key"], two["key"]}) == 3
    assert reasons(absent, one) == ['environment `fastpath`: null -> "1.0"']
    assert reasons(one, two) == ['environment `fastpath`: "1.0" -> "2.0"']


def test_a_module_outside_the_house_is_followed_through_its_own_package(house: Path, tmp_path: Path) -> None:
    for name, text in {"__init__.py": "", "arch.py": "from . import part\nimport kernels.step\n", "part.py": "X = 1\n"}.items():
        (tmp_path / "theirs").mkdir(exist_ok=True)
        (tmp_path / "theirs" / name).write_text(text)
    old = Reader(house).fingerprint([tmp_path / "theirs" / "arch.py"])
    assert {"theirs/arch.py", "theirs/part.py", "theirs/__init__.py", "kernels/step.py"} <= set(old.files)
    (tmp_path / "theirs" / "part.py").write_text("X = 2\n")
    assert code_changes(old, Reader(house).fingerprint([tmp_path / "theirs" / "arch.py"])) == ["`theirs/part.py`: `X` changed"]


def test_literal_dynamic_imports_are_followed(house: Path, tmp_path: Path) -> None:
    (tmp_path / "root.py").write_text('import importlib\ndef go():\n    importlib.import_module("kernels.noisy")\n')
    assert "kernels/step.py" in Reader(house).fingerprint([tmp_path / "root.py"]).files


def test_docstrings_count_where_the_code_reads_them() -> None:
    silent, reading = b'def f():\n    "%s"\n', b'def f():\n    "%s"\nprint(f.__doc__)\n'
    assert _parse(silent % b"a") == _parse(silent % b"b")
    assert _parse(reading % b"a") != _parse(reading % b"b")


def test_a_file_that_does_not_parse_counts_by_its_bytes() -> None:
    assert _parse(b"def broken(:\n").symbols != _parse(b"def broken(::\n").symbols


def real_files() -> list[Path]:
    packages = ("kernels", "modules", "plan")
    return [path for package in packages for path in sorted((HOUSE / package).rglob("*.py"))]


def test_reformatting_any_file_of_the_house_and_dropping_its_comments_changes_nothing() -> None:
    for path in real_files():
        assert _parse(ast.unparse(ast.parse(path.read_bytes())).encode()) == _parse(path.read_bytes()), path


def test_changing_any_number_or_operator_of_a_file_of_the_house_changes_exactly_its_symbol() -> None:
    """Some numbers, comparisons and sums of each file of `modules/` and `kernels/`, one at a time."""
    tried = 0
    for path in [p for p in real_files() if p.is_relative_to(HOUSE / "modules") or p.is_relative_to(HOUSE / "kernels")]:
        source = path.read_text()
        old = _parse(source.encode()).symbols
        for index in range(0, 10_000, 3):
            tree = ast.parse(source)
            places = [n for n in ast.walk(tree) if changeable(n)]
            if index >= len(places):
                break
            change(places[index])
            new = _parse(ast.unparse(tree).encode()).symbols
            differing = {s for s in old.keys() | new.keys() if old.get(s) != new.get(s)}
            assert len(differing) == 1, (path, places[index].lineno, differing)
            tried += 1
            if index > 15:
                break
    assert tried >= 30


def changeable(node: ast.AST) -> bool:
    number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
    return number or isinstance(node, ast.Compare) or (isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)))


def change(node: Any) -> None:
    if isinstance(node, ast.Constant):
        node.value += 1
    elif isinstance(node, ast.Compare):
        node.ops[0] = ast.NotEq() if isinstance(node.ops[0], ast.Eq) else ast.Eq()
    else:
        node.op = ast.Sub()


def test_the_order_of_config_keys_and_the_limits_do_not_matter_but_the_threads_do() -> None:
    def key(**asked: Any) -> str:
        request = Request(**{"module": "m", "benchmark": "b", "seed": 0, **asked})
        return run_key(request, code="c", data_digest="d", environment={"torch": "2"})

    assert key(config={"a": 1, "b": 2}) == key(config={"b": 2, "a": 1})
    keys = [key(), key(threads=2), key(device="cuda"), key(seed=1), key(steps=5), key(config={"a": 1}), key(config={"a": "1"})]
    assert len(set(keys)) == len(keys)


def test_a_name_that_is_on_no_shelf_is_told_with_a_suggestion() -> None:
    with pytest.raises(KeyError, match="no benchmark `contract-v0`; did you mean `contract-v1`"):
        Identifier().identify(Request(module="transformer", benchmark="contract-v0", seed=0))
