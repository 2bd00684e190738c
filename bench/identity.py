"""Which run is meant: a key that changes exactly when something changes that could change a number.

The key is made of the request, the meaning of the code, the digest of the data and the facts of the
environment that matter. Its parts are kept with the run, so that a rerun can be explained.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.fingerprint import Code, Reader, code_changes, on_shelf
from bench.overlay import Overlay, Trees, no_trees
from plan import catalogue
from plan.fields import config_fields
from plan.nouns import Request
from plan.wire import encode, plain

BASE_PACKAGES = ("torch", "numpy")
MEASURE = catalogue.HOUSE / "bench" / "autobench" / "measure.py"
"""What calls the benchmark: it seeds the generators, so its meaning is part of every run's."""
COMPILES = "kernels/native.py"
"""Whoever reaches it runs what the machine's compiler makes of C++, or without one something else."""
_codes: dict[str, Code] = {}
"""Every code this process has identified, by digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A run's key and what it was made of."""

    key: str
    parts: Mapping[str, Any]
    """`request`, `code` (digest), `data` (name, digest, and `files` that the config names) and `environment`, as plain values."""
    code: Code
    """To be appended to the ledger once: kind `code`, key `code.digest`."""


class Identifier:
    """Identifies requests as the world stands at one moment: files, data and machine are read once.

    `trees` says where the tree is that a request names.
    """

    def __init__(self, *, trees: Trees = no_trees) -> None:
        self._trees = trees
        self._readers: dict[str, Reader] = {}
        self._code: dict[tuple[str, ...], Code] = {}
        self._data: dict[str, str] = {}

    def identify(self, request: Request) -> Identity:
        """The identity of `request`; KeyError for a module or benchmark that is not on its shelf, LookupError for a tree that is nowhere."""
        entry, own = _entry("benchmark", request.benchmark), _entry("module", request.module)
        tree = self._trees(request.tree) if request.tree else None
        fields = own.fields if tree is None else config_fields(Overlay(catalogue.HOUSE, tree).real(own.path))
        defaults = [field.default for name, field in fields.items() if name not in request.config]
        words = sorted({*_words([request.config, entry.arguments.get("options"), defaults])})
        names = {request.module, *(name for word in words for name in (word, *word.split()) if on_shelf("module", name))}
        roots = [entry.path, MEASURE, *(_entry("module", name).path for name in sorted(names)), *_customs()]
        code = self._fingerprint(request.benchmark, roots, words, tree)
        corpus = request.data or entry.arguments.get("data") or ""
        data: dict[str, Any] = {"name": corpus, "digest": self._digest(corpus)}
        if files := {word: file_digest(Path(word)) for word in words if word != corpus and os.path.isfile(word)}:
            data["files"] = files
        environment = environment_facts(code.packages, device=request.device, compiles=COMPILES in code.files)
        request = replace(request, steps=request.steps or entry.arguments.get("steps"))
        key = run_key(request, code=code.digest, data_digest=data_digest(data), environment=environment)
        parts = {"request": asked(request), "code": code.digest, "data": data, "environment": environment}
        return Identity(key=key, parts=parts, code=code)

    def _fingerprint(self, benchmark: str, roots: list[Path], words: list[str], tree: Path | None) -> Code:
        wanted = (benchmark, str(tree or ""), *map(str, roots), *words)
        if wanted not in self._code:
            reader = self._readers.setdefault(str(tree or ""), Reader(tree=tree))
            self._code[wanted] = reader.fingerprint(roots, benchmark=benchmark, words=words)
            _codes[self._code[wanted].digest] = self._code[wanted]
        return self._code[wanted]

    def _digest(self, corpus: str) -> str:
        if not corpus:
            return ""
        if corpus not in self._data:
            from bench.data import digest

            self._data[corpus] = digest(corpus)
        return self._data[corpus]


def identify(request: Request) -> Identity:
    """The identity of one request as the world stands now; for many, keep one `Identifier`."""
    return Identifier().identify(request)


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    return sha256(path.read_bytes()).hexdigest()


def data_digest(data: Mapping[str, Any]) -> str:
    """Of the corpus, and of the files that the config calls by their paths."""
    digest: str = data["digest"]
    return " ".join([digest, *data.get("files", {}).values()])


def asked(request: Request) -> dict[str, Any]:
    """The request as far as it bears identity: data counts by its digest, not by where it lies, and a tree by what its code means."""
    return {name: value for name, value in plain(request).items() if name not in ("data", "tree")}


def run_key(request: Request, *, code: str, data_digest: str, environment: Mapping[str, Any]) -> str:
    """The key of `request` under the code with digest `code`; a sha256 in hexadecimal."""
    parts = {"request": asked(request), "code": code, "data": data_digest, "environment": environment}
    return sha256(encode(parts).encode()).hexdigest()


def foresee() -> None:
    """Fill, in a process that others are forked from, caches that cannot become stale: shelves by the text of their files, the processor."""
    for kind in ("module", "benchmark"):
        catalogue.shelf(kind)
    environment_facts()
    for of_this_moment in (catalogue.announced, catalogue.shelf, _version, _distributions):
        of_this_moment.cache_clear()


def environment_facts(packages: Iterable[str] = (), *, device: str = "cpu", compiles: bool = False) -> dict[str, Any]:
    """What of this machine can change a number: Python, package versions, processor; on `cuda`, the GPU; the C++ compiler of code that `compiles`.

    A package that is not installed counts as None: installing it may open another path.
    """
    facts: dict[str, Any] = {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        **{name: _version(name) for name in sorted({*BASE_PACKAGES, *packages})},
    }
    if device.startswith("cuda"):
        facts |= {"gpu": _gpu(), "gpus_visible": os.environ.get("CUDA_VISIBLE_DEVICES")}
    if compiles:
        facts["compiler"] = _compiler()
    return facts


def explain(old: Mapping[str, Any], new: Mapping[str, Any], codes: Mapping[str, Code] = {}) -> list[str]:
    """Why `new` is another run than `old` (both `Identity.parts`), one line per reason; empty when it is the same.

    Code that `codes` (by digest, as in `Facts.code`) and this process do not know is told without its files.
    """
    told = [f"request `{name}`: {a} -> {b}" for name, a, b in _differing(old["request"], new["request"])]
    if old["code"] != new["code"]:
        before, after = (codes.get(parts["code"]) or _codes.get(parts["code"]) for parts in (old, new))
        told += code_changes(before, after) if before and after else ["the code changed"]
    if old["data"]["digest"] != new["data"]["digest"]:
        told.append(
            f"data `{new['data']['name']}`: {old['data']['digest'][:8] or 'none'} -> {new['data']['digest'][:8] or 'none'}"
        )
    told += [
        f"file {name}: {a[:9]} -> {b[:9]}" for name, a, b in _differing(*(part["data"].get("files", {}) for part in (old, new)))
    ]
    return told + [f"environment `{name}`: {a} -> {b}" for name, a, b in _differing(old["environment"], new["environment"])]


def _differing(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys()):
            yield from _differing(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif old != new or isinstance(old, bool) is not isinstance(new, bool):
        yield path, encode(old), encode(new)


def _customs() -> list[Path]:
    """Files beside the packages that the interpreter of a worker runs before anything else."""
    places = (catalogue.HOUSE / f"{name}.py" for name in ("sitecustomize", "usercustomize"))
    return [place for place in places if place.is_file()]


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _words(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _words(item)


def _entry(kind: str, name: str) -> catalogue.Entry:
    entries = catalogue.measurable() if kind == "module" else catalogue.shelf(kind)
    if name not in entries:
        near = catalogue.suggest(name, entries)
        raise KeyError(f"no {kind} `{name}`" + (f"; did you mean `{near}`?" if near else ""))
    return entries[name]


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        names = sorted(set(_distributions().get(package, ())))  # `yaml` is what `PyYAML` installs
        return ", ".join(f"{name} {metadata.version(name)}" for name in names) or None


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


@cache
def _processor() -> str:
    """Model and a digest of the instruction sets, which choose the kernels and so the rounding."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    first: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in lines):
        first.setdefault(name.strip(), value.strip())
    flags = " ".join(sorted((first.get("flags") or first.get("Features") or "").split()))
    return f"{first.get('model name', platform.machine())} ({sha256(flags.encode()).hexdigest()[:8]})"


@cache
def _compiler() -> str | None:
    """The one that kernels are built with, here and in a worker, and its flags."""
    from kernels.native import compiler

    words = shlex.split(compiler() or "")
    programs = [os.path.realpath(found) for word in words if (found := shutil.which(word))]  # `ccache g++` are two
    flags = [word for word in words if not shutil.which(word)]
    return " ".join([*(f"{program} ({os.stat(program).st_size} B)" for program in programs), *flags]) or None


@cache
def _gpu() -> str:
    found = []
    for path in [Path("/proc/driver/nvidia/version"), *sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]:
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        found += [line.partition(":")[2].strip() for line in lines if line.startswith(("Model", "NVRM version"))]
    return "; ".join(found) or "unknown"
