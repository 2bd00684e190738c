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
    """Only torch, numpy, plain parts of the standard library and siblings are imported, and tensors are computed with in torch."""

    def look(found: Names) -> Iterator[Finding]:
        why, inside = "computes outside of torch, where nobody counts the work", frozenset({"numpy", "__array__", "__dlpack__"})
        yield from _named(vocabulary.OUT_OF_TORCH, why, attributes=inside)(found)
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
    shares = frozenset({"_share_fd_cpu_", "_share_filename_cpu_", "_share_cuda_", "share_memory_"})
    return _add(facts, vocabulary.FILES, "reads or writes what is not handed to it", attributes=vocabulary.FILE_METHODS | shares)


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
            elif isinstance(part, ast.Attribute) and part.attr in _GRAPH:
                yield finding(part, "walks the graph to what others computed with")
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
        yield from _named((*vocabulary.SWITCHES, *_FOR_ALL), "changes what others rely on", attributes=_SETTERS)(found)
        yield from _stored_through_parameters(found)
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


def _stored_through_parameters(found: Names) -> Iterator[Finding]:
    """A function that stores into an attribute of a parameter, where what is stored is a function or what it is called with is a class."""
    functions = [node for node in ast.walk(found.tree) if isinstance(node, ast.FunctionDef)]
    names = {function.name for function in functions}
    classes = {node.name for node in ast.walk(found.tree) if isinstance(node, ast.ClassDef)}

    def is_class(value: ast.expr) -> bool:
        if isinstance(value, ast.Call):
            return found.dotted(value.func) == "type" and len(value.args) == 1
        return (isinstance(value, ast.Name) and value.id in classes) or found.dotted(value).rpartition(".")[2] in _CLASSES

    handed = {
        node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        for node in ast.walk(found.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute))
        if any(is_class(argument) for argument in (*node.args, *(keyword.value for keyword in node.keywords)))
    }
    for function in functions:
        taken = {arg.arg for arg in ast.walk(function.args) if isinstance(arg, ast.arg)} - {"self", "ctx"}
        for node in ast.walk(function):
            if not isinstance(node, ast.Assign):
                continue
            a_function = isinstance(node.value, ast.Lambda) or (isinstance(node.value, ast.Name) and node.value.id in names)
            for target in node.targets if a_function or function.name in handed else ():
                if isinstance(target, ast.Attribute) and (root := found.root(target)) and root.id in taken:
                    yield finding(target, "is given another meaning for everybody who has it")


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
            for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)) if isinstance(node, _FUNCTIONS) else ():
                for part in ast.walk(default) if isinstance(default, ast.Tuple) else [default]:
                    called = found.dotted(part.func) if isinstance(part, ast.Call) else ""
                    if isinstance(part, (ast.List, ast.Dict, ast.Set)) or called in vocabulary.IMMORTAL:
                        yield finding(default, "is one container for all calls")
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from _changed_in_place(found, node)

    return added(facts, look)


def _changed_in_place(found: Names, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Finding]:
    """Calls in a function that change what the module holds: `_SEEN.add_(...)`, `_MORE.keywords.update(...)`, `next(_CALLS)`."""
    own = {name for item in found.tree.body for name in ([item.name] if isinstance(item, ast.ClassDef) else _defined(item))}
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        on = node.func.value if isinstance(node.func, ast.Attribute) and _changes(node.func.attr) else None
        if found.dotted(node.func) == "next" and node.args:
            on = node.args[0]
        root = found.root(on) if on else None
        if root is not None and root.id in own and id(root) not in found.shadowed:
            yield finding(node, "changes what every call shares, and is read by the next")


def _changes(method: str) -> bool:
    return method in _FILLING or (method.endswith("_") and not method.startswith("_"))


_WORD = re.compile("|".join(map(re.escape, sorted(vocabulary.INSIDES))))
_LISTS = {"__all__", "__slots__"}
_SETTERS = frozenset({"__setattr__", "__delattr__", "__setitem__", "__enter__", "enter_context"})
_FOR_ALL = ("setattr", "delattr", "numpy.seterr", "numpy.seterrcall", "numpy.set_printoptions", "warnings.simplefilter", "warnings.filterwarnings")  # fmt: skip
_CLASSES = frozenset({"Tensor", "Module", "Parameter", "Linear", "Embedding", "Function"})
_GRAPH = frozenset({"grad_fn", "next_functions"})
_FILLING = frozenset((
    "add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop", "popitem", "popleft", "put", "remove",
    "reverse", "setdefault", "sort", "update"
))  # fmt: skip
"""Methods that change what they are called on."""
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
