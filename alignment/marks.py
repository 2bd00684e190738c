"""What a text shows, as marks that rules are made of: `kind value`. Prose shows its words; Python what it calls, reaches for, sets and raises.

Of a name that leads into a library, what the library itself says of it is a mark too (`doc process` of `os.posix_spawn`): that is how a
rule reaches a call which nobody has shown it. Docstrings are read from the standard library, numpy and torch only.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from itertools import pairwise

from alignment.libraries import of_library
from alignment.straight import straight

STRANGE = frozenset({"library", "builtin", "raises", "inside"})
"""Kinds of marks of which honest code shows few different ones."""
USUAL_NAMES = {"np": "numpy", "F": "torch.nn.functional", "nn": "torch.nn", "optim": "torch.optim", "Path": "pathlib.Path"}
"""What a name that a snippet does not import usually stands for."""
_WORD = re.compile(r"[A-Za-z]+|\d+")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def said(text: str) -> set[str]:
    """Marks of prose: its words and pairs of words."""
    found = [word.lower() for word in _WORD.findall(straight(text))]
    return {*found, *(f"{a} {b}" for a, b in pairwise(found))}


def written(source: str) -> set[str]:
    """Marks of Python; of text that is none, its words."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {f"word {word.lower()}" for word in _WORD.findall(source)}
    own = _own_names(tree)
    found: set[str] = set()
    for node in ast.walk(tree):
        found |= set(_of_node(node, own))
    for name in _reached(tree, own):
        found |= of_library(name)
    return found


def _of_node(node: ast.AST, own: frozenset[str]) -> Iterator[str]:
    """Marks of one node of the tree."""
    match node:
        case ast.Import(names=names):
            yield from (f"import {name.name.partition('.')[0]}" for name in names)
        case ast.ImportFrom(module=str(module)):
            yield f"import {module.partition('.')[0]}"
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            yield f"call {name}"
            yield from (f"calls {part}" for part in _parts(name))
            if isinstance(node.func, ast.Name) and hasattr(builtins, name):
                yield f"builtin {name}"
            if name in ("setattr", "delattr", "__setattr__") and node.args and _everybodys(node.args[0], own):
                yield "sets what is everybody's"
        case ast.Attribute(attr=name, value=value, ctx=context):
            yield from (f"word {part}" for part in _parts(name))
            if name.startswith("__") and name.endswith("__"):
                yield f"inside {name}"
            elif name.startswith("_") and _everybodys(value, own):
                yield "reads what a library keeps to itself"
            if isinstance(value, ast.Name) and value.id not in ("self", "cls"):
                yield f"of {value.id}"
            if not isinstance(context, ast.Load):
                if not (isinstance(value, ast.Name) and value.id == "self"):
                    yield f"set {name}"
                    yield "sets what is not its own"
                if _everybodys(value, own):
                    yield "sets what is everybody's"
        case ast.Subscript(value=value, ctx=ast.Store() | ast.Del()) if _everybodys(value, own):
            yield "sets what is everybody's"
        case ast.Name(id=name):
            yield from (f"word {part}" for part in _parts(name))
        case ast.Constant(value=str(text)) if len(text) < 80:
            yield from (f"text {word.lower()}" for word in _WORD.findall(text))
        case ast.Raise(exc=ast.Name(id=name) | ast.Call(func=ast.Name(id=name))):
            yield f"raises {name}"
            kind = getattr(builtins, name, None)
            if isinstance(kind, type) and issubclass(kind, BaseException) and not issubclass(kind, Exception):
                yield "raises what no handler expects"
        case ast.Global():
            yield "global"
        case _:
            pass


def _own_names(tree: ast.AST) -> frozenset[str]:
    """Names that the text itself binds, and those by which a method knows what it is of."""
    found = {"self", "cls"}
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.ExceptHandler(name=str(name)):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case _:
                pass
    return frozenset(found)


def _everybodys(node: ast.expr, own: frozenset[str]) -> bool:
    """Whether an expression leads into something that was there before: its chain begins with a name that the text does not bind."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name) and node.id not in own


def _reached(tree: ast.AST, own: frozenset[str]) -> set[str]:
    """Dotted names that begin outside the text, the longest of each chain; what a call gives is taken for what was called."""
    links = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Call)]
    inner = {id(node.value if isinstance(node, ast.Attribute) else node.func) for node in links}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Call | ast.Name) and id(node) not in inner:
            parts: list[str] = []
            part: ast.expr = node
            while isinstance(part, ast.Attribute | ast.Call):
                if isinstance(part, ast.Attribute):
                    parts.append(part.attr)
                part = part.value if isinstance(part, ast.Attribute) else part.func
            if isinstance(part, ast.Name) and part.id not in own:
                found.add(".".join([USUAL_NAMES.get(part.id, part.id), *reversed(parts)]))
    return found


def _parts(name: str) -> set[str]:
    return {part.lower() for part in _PART.findall(name)}
