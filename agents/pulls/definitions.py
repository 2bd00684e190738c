"""What one Python file defines, and which calls its functions take, read from its syntax tree; nothing is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

Key = tuple[str, ...]
"""`("module", m)`, `("name", m, n)`, `("attribute", m, class, n)` or `("member", n)`: an attribute of something unknown."""
PLAIN_DECORATORS = frozenset(
    {"staticmethod", "classmethod", "abstractmethod", "override", "cache", "lru_cache", "no_grad", "wraps"}
)
"""Decorators below which a function is called as it is written."""
OPEN_NAMES = frozenset({"__getattr__", "__getattribute__", "__class_getitem__"})


@dataclass(frozen=True, slots=True)
class Signature:
    """Which calls a function takes; `self` is not among its parameters."""

    positional: tuple[str, ...]
    keyword_only: frozenset[str]
    positional_only: int
    required: frozenset[str]
    any_positional: bool
    any_keyword: bool

    def refuses(self, call: Shape) -> str:
        """What is wrong with the call; empty when nothing is, or when it cannot be told."""
        if call.positional > len(self.positional) and not self.any_positional:
            return f"call with {call.positional} positional arguments, of which it takes {len(self.positional)}"
        taken = {*self.positional[self.positional_only :], *self.keyword_only}
        if not self.any_keyword and (strange := [name for name in call.keywords if name not in taken]):
            return f"call with the keyword `{strange[0]}`"
        given = {*self.positional[: call.positional], *call.keywords}
        if not call.starred and (lacking := sorted(self.required - given)):
            return f"call without `{lacking[0]}`"
        return ""


@dataclass(frozen=True, slots=True)
class Shape:
    """The arguments of a call, without their values."""

    positional: int
    keywords: tuple[str, ...]
    starred: bool
    """`*args` or `**kwargs` give more than can be seen."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One name that a file defines."""

    line: int
    what: str
    """`function`, `class`, `method`, `attribute`, `name` or `import`."""
    signature: Signature | None = None
    """Of what can be called; None when that is not known for certain."""


@dataclass(frozen=True, slots=True)
class Use:
    """One place that names something; `keys` are what it may mean, any of which would do."""

    keys: tuple[Key, ...]
    line: int
    call: Shape | None = None


@dataclass(slots=True)
class Facts:
    """What one file defines and uses."""

    defines: dict[Key, Definition] = field(default_factory=dict)
    """Keys without their module: `("name", n)` and `("attribute", class, n)`."""
    uses: list[Use] = field(default_factory=list)
    bases: dict[str, tuple[Key, ...]] = field(default_factory=dict)
    """By class: what its bases are, `("?",)` for one that cannot be told."""
    open: bool = False
    """Names may come from elsewhere: a star import, or a `__getattr__`."""


def define(body: list[ast.stmt], facts: Facts) -> None:
    """Take in the names bound at a module's level, also inside its `if`, `try`, `with` and loops."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                _put(facts, ("name", node.name), node.lineno, "function", _signature(node, bound=False))
                facts.open |= node.name in OPEN_NAMES
            case ast.ClassDef():
                _put(facts, ("name", node.name), node.lineno, "class", _constructor(node))
                _define_class(node, facts)
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    facts.open |= alias.name == "*"
                    _put(facts, ("name", alias.asname or alias.name.partition(".")[0]), node.lineno, "import")
            case _:
                for name in _bound(node):
                    _put(facts, ("name", name), node.lineno, "name")
                for inner in _inner_bodies(node):
                    define(inner, facts)
    for node in body:
        for inside in ast.walk(node):
            if isinstance(inside, ast.Global):
                for name in inside.names:
                    _put(facts, ("name", name), inside.lineno, "name")


def _define_class(node: ast.ClassDef, facts: Facts) -> None:
    for statement in node.body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                static = any(last_name(one) == "staticmethod" for one in statement.decorator_list)
                signature = _signature(statement, bound=not static)
                _put(facts, ("attribute", node.name, statement.name), statement.lineno, "method", signature)
                if statement.name in OPEN_NAMES:
                    facts.bases[node.name] = (("?",),)
                for name, line in _own_attributes(statement):
                    _put(facts, ("attribute", node.name, name), line, "attribute")
            case ast.ClassDef():
                _put(facts, ("attribute", node.name, statement.name), statement.lineno, "class")
            case _:
                for name in _bound(statement):
                    _put(facts, ("attribute", node.name, name), statement.lineno, "attribute")
                for inner in _inner_bodies(statement):
                    for below in inner:
                        names = [below.name] if isinstance(below, (ast.FunctionDef, ast.ClassDef)) else _bound(below)
                        for name in names:
                            _put(facts, ("attribute", node.name, name), below.lineno, "attribute")


def _put(facts: Facts, key: Key, line: int, what: str, signature: Signature | None = None) -> None:
    if key in facts.defines:  # defined twice: it is there, and nothing is known of how it is called
        first = facts.defines[key]
        facts.defines[key] = Definition(first.line, first.what)
    else:
        facts.defines[key] = Definition(line, what, signature)


def _own_attributes(method: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, int]]:
    """What the method puts on its first argument."""
    first = (method.args.posonlyargs + method.args.args)[:1]
    for node in ast.walk(method):
        match node:
            case ast.Attribute(ctx=ast.Store(), value=ast.Name(id=name)) if first and name == first[0].arg:
                yield node.attr, node.lineno


def _bound(node: ast.stmt) -> list[str]:
    """Names that a statement binds by itself, without what its blocks bind."""
    found: list[str] = []
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.stmt):
            found += [one.id for one in ast.walk(child) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
            found += [one.name for one in ast.walk(child) if isinstance(one, ast.ExceptHandler) and one.name]
    return found


def _inner_bodies(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        if isinstance(inner := getattr(node, name, None), list):
            yield inner
    for handler in getattr(node, "handlers", ()):
        yield handler.body
    for case in getattr(node, "cases", ()):
        yield case.body


def last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else "?"


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool) -> Signature | None:
    if any(last_name(one) not in PLAIN_DECORATORS for one in node.decorator_list):
        return None
    args = node.args
    plain = [arg.arg for arg in args.posonlyargs + args.args]
    required = plain[: len(plain) - len(args.defaults)]
    if bound:
        if not plain:
            return None
        plain, required = plain[1:], required[1:]
    required += [arg.arg for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None]
    return Signature(
        positional=tuple(plain),
        keyword_only=frozenset(arg.arg for arg in args.kwonlyargs),
        positional_only=max(0, len(args.posonlyargs) - bound),
        required=frozenset(required),
        any_positional=args.vararg is not None,
        any_keyword=args.kwarg is not None,
    )


def _constructor(node: ast.ClassDef) -> Signature | None:
    """How a class without bases is called: by its `__init__`, or by its fields if it is a dataclass."""
    if node.bases or node.keywords or any(getattr(one, "name", "") in ("__new__", "__call__") for one in node.body):
        return None
    if not node.decorator_list:
        made = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
        return _signature(made[0], bound=True) if len(made) == 1 else None
    (decorator, *others) = node.decorator_list
    if others or last_name(decorator) != "dataclass":
        return None
    options = {one.arg: one.value for one in decorator.keywords} if isinstance(decorator, ast.Call) else {}
    if "init" in options or None in options:
        return None
    fields = [one for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
    if any(isinstance(one.value, ast.Call) and last_name(one.value) == "field" and _hides(one.value) for one in fields):
        return None
    if any(word in ast.unparse(one.annotation) for one in fields for word in ("ClassVar", "InitVar", "KW_ONLY")):
        return None
    names = [one.target.id for one in fields if isinstance(one.target, ast.Name)]
    named_only = isinstance(value := options.get("kw_only"), ast.Constant) and value.value is True
    return Signature(
        positional=() if named_only else tuple(names),
        keyword_only=frozenset(names) if named_only else frozenset(),
        positional_only=0,
        required=frozenset(name for name, one in zip(names, fields, strict=True) if one.value is None),
        any_positional=False,
        any_keyword=False,
    )


def _hides(call: ast.Call) -> bool:
    """Whether a `field(...)` is not simply one with a default."""
    return not {one.arg for one in call.keywords} <= {
        "default",
        "default_factory",
        "repr",
        "compare",
        "hash",
        "metadata",
    } or not any(one.arg in ("default", "default_factory") for one in call.keywords)
