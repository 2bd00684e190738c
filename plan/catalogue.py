"""What stands on the shelves: every registered module, benchmark, env, decider and guard.

A file put on a shelf exists. The catalogue reads the decorator's literal arguments, the docstring's
first line and the fields of a `Config` class with `ast`; it imports a file only when `load` is called.
"""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

HOUSE = Path(__file__).resolve().parent.parent
SHELVES = {
    "module": "modules",
    "benchmark": "bench/suites",
    "env": "envs",
    "decider": "agents/deciders",
    "guard": "alignment/guards",
}
"""Decorator name -> folder, relative to the house."""

T = TypeVar("T")


def _register(shelf: str, name: str, arguments: dict[str, Any]) -> Callable[[T], T]:
    def mark(thing: T) -> T:
        registered = dict(getattr(thing, "__shelf__", {}))
        registered[(shelf, name)] = arguments
        thing.__shelf__ = registered  # type: ignore[attr-defined]
        return thing

    return mark


def module(name: str, *, system: str, paper: str, metrics: Mapping[str, str] = {}) -> Callable[[T], T]:
    """Register an architecture. `metrics`: name -> unit of numbers only this module reports."""
    return _register("module", name, {"system": system, "paper": paper, "metrics": metrics})


def benchmark(
    name: str,
    *,
    metrics: Mapping[str, str],
    source: str,
    options: Mapping[str, Any] = {},
    data: str = "",
    steps: int | None = None,
    alone: bool = False,
) -> Callable[[T], T]:
    """Register `measure(bench) -> dict[str, float]`. `metrics`: name -> unit; `source`: who defined it.

    `options` are the numbers the versioned name stands for; `data` names the corpus whose digest
    belongs to a run's identity (empty: synthetic, made from the seed); `steps` the default budget.
    `alone`: it times things, so no other measurement may run beside it.
    """
    return _register("benchmark", name, {
        "metrics": metrics, "source": source, "options": options, "data": data, "steps": steps, "alone": alone,
    })


def env(name: str, *, source: str) -> Callable[[T], T]:
    """Register a Gymnasium environment class."""
    return _register("env", name, {"source": source})


def decider(name: str, *, source: str = "") -> Callable[[T], T]:
    """Register a class with the `plan.decision.Decider` protocol and a no-argument constructor."""
    return _register("decider", name, {"source": source})


def guard(name: str, *, clause: str) -> Callable[[T], T]:
    """Register a class with the `plan.decision.Guard` protocol, resting on one clause."""
    return _register("guard", name, {"clause": clause})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing on a shelf, as read from its source without importing it."""

    shelf: str
    name: str
    path: Path
    symbol: str
    """Name of the decorated class or function inside the file."""
    line: int
    summary: str
    """First line of the decorated thing's docstring, or of the file's."""
    arguments: Mapping[str, Any]
    """The decorator's literal arguments."""
    fields: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    """Fields of the file's `Config` class: name -> (annotation as text, default)."""


@cache
def shelf(kind: str) -> Mapping[str, Entry]:
    """Everything on the shelf `kind` (a key of SHELVES), by name, sorted."""
    found: dict[str, Entry] = {}
    for path in sorted((HOUSE / SHELVES[kind]).rglob("*.py")):
        for entry in _read(kind, path):
            if entry.name in found:
                raise ValueError(f"{kind} `{entry.name}` stands twice: {found[entry.name].path} and {path}")
            found[entry.name] = entry
    return dict(sorted(found.items()))


def load(kind: str, name: str) -> Any:
    """Import the file and return the registered class or function; KeyError with a suggestion."""
    entries = shelf(kind)
    if name not in entries:
        near = suggest(name, entries)
        raise KeyError(f"no {kind} `{name}`" + (f"; did you mean `{near}`?" if near else ""))
    entry = entries[name]
    dotted = ".".join(entry.path.relative_to(HOUSE).with_suffix("").parts)
    return getattr(importlib.import_module(dotted), entry.symbol)


def suggest(word: str, names: Iterable[str]) -> str | None:
    """The closest of `names` to a misspelt `word`, or none."""
    close = difflib.get_close_matches(word, list(names), n=1, cutoff=0.6)
    return close[0] if close else None


def config_fields(path: Path, name: str = "Config") -> dict[str, tuple[str, Any]]:
    """Annotated fields of class `name` in the file: name -> (annotation, literal default or None)."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return {
                item.target.id: (ast.unparse(item.annotation), _literal(item.value))
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            }
    return {}


def _read(kind: str, path: Path) -> list[Entry]:
    source = path.read_text(encoding="utf-8")
    if f"@{kind}(" not in source:
        return []
    tree = ast.parse(source)
    entries = []
    for node in tree.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == kind:
                summary = (ast.get_docstring(node) or ast.get_docstring(tree) or "").partition("\n")[0]
                entries.append(Entry(
                    shelf=kind, name=_literal(call.args[0]), path=path, symbol=node.name, line=node.lineno,
                    summary=summary, arguments={k.arg: _literal(k.value) for k in call.keywords if k.arg},
                    fields=config_fields(path) if kind == "module" else {},
                ))
    return entries


def _literal(node: ast.expr | None) -> Any:
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
