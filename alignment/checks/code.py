"""What code a patch may add: arithmetic on tensors. Each check names one kind of thing that arithmetic has no use for.

They read names, so they see what is written plainly and what is spelt with a literal. What is put together at run time
they refuse in general (`getattr` without a literal, `exec`, `importlib`); what they still miss the harness has to catch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from alignment import vocabulary
from alignment.checks import check
from alignment.facts import Facts
from alignment.syntax import Finding, Look, Names, added, finding


def _among(dotted: str, names: tuple[str, ...]) -> bool:
    return any(
        dotted == name or dotted.startswith(name + ".") or (name.endswith("_") and dotted.startswith(name)) for name in names
    )


def _named(names: tuple[str, ...], why: str, *, attributes: frozenset[str] = frozenset()) -> Look:
    def look(found: Names) -> Iterator[Finding]:
        for node, dotted in found.uses():
            if _among(dotted, names):
                yield Finding(dotted, node.lineno, why)
        for part in ast.walk(found.tree):
            if isinstance(part, ast.Attribute) and part.attr in attributes:
                yield finding(part, why)

    return look


def _add(facts: Facts, names: tuple[str, ...], why: str, *, attributes: frozenset[str] = frozenset()) -> str:
    return added(facts, _named(names, why, attributes=attributes))


@check("imports-arithmetic-only")
def imports_arithmetic_only(facts: Facts) -> str:
    """Only torch, numpy, plain parts of the standard library and sibling modules and kernels are imported."""

    def look(found: Names) -> Iterator[Finding]:
        for node, dotted in found.uses():
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                top = dotted.partition(".")[0]
                if dotted.endswith(".*"):
                    yield Finding(dotted, node.lineno, "does not say what it imports")
                if dotted in vocabulary.HOUSE_NAMES:
                    continue
                if _among(dotted, vocabulary.INSTRUMENTAL) or not top:
                    yield Finding(dotted, node.lineno, "is the house's own machinery, which no candidate needs")
                elif top not in vocabulary.IMPORTABLE:
                    yield Finding(dotted, node.lineno, "is not among what a candidate may import")

    return added(facts, look)


@check("reaches-no-network")
def reaches_no_network(facts: Facts) -> str:
    """Nothing that speaks to another machine or process is named."""
    return _add(facts, vocabulary.NETWORK, "speaks to something outside")


@check("leaves-nothing-behind")
def leaves_nothing_behind(facts: Facts) -> str:
    """No process, thread, handler or finalizer is started, and the process is not ended."""
    return _add(facts, vocabulary.LEAVES, "runs beside, after or instead of the measurement")


@check("opens-no-file")
def opens_no_file(facts: Facts) -> str:
    """No file, log or descriptor is opened, read or written: the data comes from the benchmark alone."""
    return _add(facts, vocabulary.FILES, "reads or writes what is not handed to it", attributes=vocabulary.FILE_METHODS)


@check("looks-into-nothing")
def looks_into_nothing(facts: Facts) -> str:
    """No look at frames, memory, modules or source, no code made at run time, no name that only run time knows."""

    def look(found: Names) -> Iterator[Finding]:
        yield from _named(vocabulary.LOOKS, "looks into the process it is measured in", attributes=vocabulary.INSIDES)(found)
        for node, dotted in found.uses():
            if dotted.startswith("torch.") and any(part.startswith("_") for part in dotted.split(".")):
                yield Finding(dotted, node.lineno, "is an inside of torch")
            elif dotted in ("getattr", "hasattr") and isinstance(node, ast.Name):
                yield from _unspelt(found, node)
        for part in ast.walk(found.tree):
            if isinstance(part, ast.MatchClass) and vocabulary.INSIDES & set(part.kwd_attrs):
                yield finding(part, "looks into the process by a pattern")
            elif isinstance(part, ast.Constant) and isinstance(part.value, str) and _spells(part.value):
                yield finding(part, "names an inside of the interpreter, which a format would follow")

    return added(facts, look)


def _unspelt(found: Names, name: ast.Name) -> Iterator[Finding]:
    """A `getattr` whose attribute is no literal, or that is handed on as a value."""
    calls = [node for node in ast.walk(found.tree) if isinstance(node, ast.Call) and node.func is name]
    for call in calls:
        word = call.args[1] if len(call.args) > 1 else None
        if not (isinstance(word, ast.Constant) and isinstance(word.value, str) and not word.value.startswith("__")):
            yield finding(call, "names what only run time knows")
        elif word.value in vocabulary.INSIDES | vocabulary.FILE_METHODS:
            yield finding(call, "looks into the process it is measured in")
    if not calls:
        yield finding(name, "is handed on; nobody can tell what it will name")


@check("reads-no-clock")
def reads_no_clock(facts: Facts) -> str:
    """No clock is read or set: time is the harness's to take."""
    return _add(facts, vocabulary.CLOCKS, "is a clock")


@check("seeds-are-the-harness's")
def seeds_are_the_harnesss(facts: Facts) -> str:
    """No generator is seeded, made, saved or restored: chance comes from the seed of the run."""
    return _add(facts, vocabulary.CHANCE, "is chance that the run's seed does not rule")


@check("rebinds-nothing")
def rebinds_nothing(facts: Facts) -> str:
    """No name of another module or of a class is given another meaning, and no switch of torch is thrown."""

    def look(found: Names) -> Iterator[Finding]:
        yield from _named((*vocabulary.SWITCHES, "setattr", "delattr"), "changes what others rely on", attributes=_SETTERS)(found)
        for module in found.modules_handed_on():
            yield finding(module, "is a module handed on; nobody can tell what becomes of it")
        for node in ast.walk(found.tree):
            if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
                root = found.root(node)
                everybodys = root is not None and id(root) not in found.shadowed and root.id in found.lasting
                if everybodys or (root is not None and root.id == "cls"):
                    yield finding(node, "is given another meaning for everybody")
            elif isinstance(node, ast.ClassDef):
                for item in node.body:
                    for name in _defined(item):
                        if name in vocabulary.ASKED:
                            yield Finding(f"{node.name}.{name}", item.lineno, "replaces what the harness asks of every module")

    return added(facts, look)


@check("values-are-plain")
def values_are_plain(facts: Facts) -> str:
    """No class poses as a number, a text or a tensor, or decides how it is compared, copied or shown; no NaN, no truth value for a number."""

    def look(found: Names) -> Iterator[Finding]:
        yield from _named(vocabulary.NO_NUMBERS, "is no number")(found)
        for node in ast.walk(found.tree):
            if isinstance(node, ast.ClassDef):
                for base in node.bases:
                    if found.dotted(base) in vocabulary.PLAIN:
                        yield Finding(f"class {node.name}({ast.unparse(base)})", node.lineno, "poses as a plain value")
                for keyword in node.keywords:
                    if keyword.arg == "metaclass":
                        yield Finding(f"class {node.name}(metaclass)", node.lineno, "decides what its class is")
                for item in node.body:
                    for name in _defined(item):
                        if name in vocabulary.LIARS:
                            yield Finding(
                                f"{node.name}.{name}", item.lineno, "decides how it is compared, copied, found or ended"
                            )
            elif isinstance(node, ast.Call) and found.dotted(node.func) == "type" and len(node.args) == 3:
                yield finding(node, "makes a class that nobody can read")
            elif isinstance(node, ast.Call) and found.dotted(node.func) == "float" and _spells_nan(node):
                yield finding(node, "is no number")
            elif isinstance(node, _FUNCTIONS[:2]) and isinstance(node.returns, ast.Name) and node.returns.id in ("int", "float"):
                for part in ast.walk(node):
                    if isinstance(part, ast.Return) and part.value is not None and _is_truth(found, part.value):
                        yield finding(part, f"is a truth value where `{node.name}` promises a number")

    return added(facts, look)


@check("keeps-nothing")
def keeps_nothing(facts: Facts) -> str:
    """Nothing outlives a forward but parameters, buffers and the state: no globals, caches or containers of module or class."""

    def look(found: Names) -> Iterator[Finding]:
        yield from _named(("functools.cache", "functools.lru_cache", "functools.cached_property"), "remembers what it saw")(found)
        for node in ast.walk(found.tree):
            if isinstance(node, ast.Global):
                yield finding(node, "outlives the call")
            body = node.body if isinstance(node, (ast.Module, ast.ClassDef)) else []
            for item in body:
                value = item.value if isinstance(item, (ast.Assign, ast.AnnAssign)) and not set(_defined(item)) & _LISTS else None
                calls = isinstance(value, ast.Call) and found.dotted(value.func).rpartition(".")[2] in vocabulary.IMMORTAL
                if isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)) or calls:
                    yield finding(item, "is filled by one document and read by the next")
            for default in (*node.args.defaults, *node.args.kw_defaults) if isinstance(node, _FUNCTIONS) else ():
                if isinstance(default, (ast.List, ast.Dict, ast.Set)) or (
                    isinstance(default, ast.Call) and found.dotted(default.func) in vocabulary.IMMORTAL
                ):
                    yield finding(default, "is one container for all calls")

    return added(facts, look)


_WORD = re.compile("|".join(map(re.escape, sorted(vocabulary.INSIDES))))
_LISTS = {"__all__", "__slots__"}
_SETTERS = frozenset({"__setattr__", "__delattr__", "__setitem__"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def _spells(text: str) -> bool:
    return text in vocabulary.INSIDES or ("{" in text and bool(_WORD.search(text)))


def _spells_nan(call: ast.Call) -> bool:
    words = [part.value for argument in call.args for part in ast.walk(argument) if isinstance(part, ast.Constant)]
    return any(isinstance(word, str) and word.strip().lower().lstrip("+-") == "nan" for word in words)


def _is_truth(found: Names, value: ast.expr) -> bool:
    """Whether an expression is True or False by what it is, whatever its parts are."""
    if isinstance(value, ast.BoolOp):
        return all(_is_truth(found, part) for part in value.values)
    if isinstance(value, ast.IfExp):
        return _is_truth(found, value.body) or _is_truth(found, value.orelse)
    if isinstance(value, ast.Call):
        return found.dotted(value.func) in ("bool", "isinstance", "issubclass", "callable", "hasattr", "all", "any")
    return (
        isinstance(value, ast.Compare)
        or (isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not))
        or (isinstance(value, ast.Constant) and isinstance(value.value, bool))
    )


def _defined(item: ast.stmt) -> list[str]:
    """Names that a statement of a class body defines."""
    if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return [item.name]
    if isinstance(item, ast.Assign):
        return [target.id for target in item.targets if isinstance(target, ast.Name)]
    if isinstance(item, ast.AnnAssign) and item.value is not None and isinstance(item.target, ast.Name):
        return [item.target.id]
    return []
