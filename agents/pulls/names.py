"""What one Python file names: imports, its own global names, attributes of classes and modules, `self.x` inside a class.

Only what can be told for certain counts as a use of a definition. Names that a function rebinds, imports inside
`try: ... except ImportError` and whatever is looked up by text are left out: a missed conflict costs less than a false alarm.
"""

from __future__ import annotations

import ast
import builtins

from agents.pulls.definitions import Facts, Key, Shape, Use, define, last_name


def module_of(path: str) -> str:
    """The dotted name under which the file at `path` is imported."""
    parts = path.removesuffix(".py").split("/")
    if len(parts) > 1 and parts[0] in ("src", "lib", "python"):
        parts = parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def read(source: bytes, path: str) -> Facts | None:
    """The facts of the file; None when it is not Python that this interpreter can parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    facts = Facts()
    try:
        define(tree.body, facts)
        _Reader(facts, module_of(path), package=path.endswith("__init__.py")).read(tree)
    except RecursionError:
        return None
    return facts


class _Reader:
    """Walks a file's tree with the scopes it is in and notes every use that can be told."""

    def __init__(self, facts: Facts, module: str, *, package: bool) -> None:
        self.facts, self.module = facts, module
        self.around = module.split(".") if package else module.split(".")[:-1]
        self.imported: dict[str, tuple[Key, ...]] = {}
        self.unsure: set[str] = set()
        """Imported names that something else in the file binds as well."""
        self.inner: set[str] = set()
        """Names that only a function imports."""
        self.guarded: set[int] = set()
        self.parents: list[tuple[str, frozenset[str], str]] = []
        """Scopes around: (`class` or `function`, names bound in it, class name or first argument)."""

    def read(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Try) and any(_catches_import(handler) for handler in node.handlers):
                self.guarded |= {id(inside) for one in node.body for inside in ast.walk(one)}
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self._import(node)
        self.inner = {name for name in self.imported if ("name", name) not in self.facts.defines}
        for statement in tree.body:
            self._visit(statement)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._note(node, (("module", alias.name),))
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                self._bind(alias.asname or whole, (("module", whole),))
            return
        origin = node.module or ""
        if node.level:
            above = self.around[: len(self.around) - node.level + 1]
            origin = ".".join([*above, *filter(None, [origin])])
        self._note(node, (("module", origin),))
        for alias in node.names:
            if alias.name != "*":
                keys = (("name", origin, alias.name), ("module", f"{origin}.{alias.name}"))
                self._note(node, keys)
                self._bind(alias.asname or alias.name, keys)

    def _bind(self, name: str, keys: tuple[Key, ...]) -> None:
        if self.imported.get(name, keys) != keys:
            self.unsure.add(name)
        self.imported[name] = keys

    def _note(self, node: ast.stmt | ast.expr, keys: tuple[Key, ...], call: Shape | None = None) -> None:
        if keys and id(node) not in self.guarded:
            self.facts.uses.append(Use(keys, node.lineno, call))

    def _visit(self, node: ast.AST) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                self._function(node)
                return
            case ast.ClassDef():
                self._class(node)
                return
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                names = frozenset(one.id for gen in node.generators for one in ast.walk(gen.target) if isinstance(one, ast.Name))
                self.parents.append(("function", names, ""))
                self._children(node)
                self.parents.pop()
                return
            case ast.Call():
                shape = Shape(
                    positional=sum(not isinstance(arg, ast.Starred) for arg in node.args),
                    keywords=tuple(one.arg for one in node.keywords if one.arg),
                    starred=any(isinstance(arg, ast.Starred) for arg in node.args)
                    or any(one.arg is None for one in node.keywords),
                )
                self._note(node.func, tuple(key for key in self._meaning(node.func) if key[0] != "member"), shape)
            case ast.Attribute(ctx=ast.Load()):
                self._note(node, self._meaning(node))
            case ast.Name(ctx=ast.Load()):
                self._note(node, self._own_key(node.id))
                self._note(node, self._imported_keys(node.id))
        self._children(node)

    def _children(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            self._visit(child)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        for outside in (*getattr(node, "decorator_list", ()), *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self._visit(outside)
        arguments = [
            *node.args.posonlyargs,
            *node.args.args,
            *node.args.kwonlyargs,
            *filter(None, [node.args.vararg, node.args.kwarg]),
        ]
        for annotation in (*(arg.annotation for arg in arguments), getattr(node, "returns", None)):
            if annotation is not None:
                self._visit(annotation)
        body = node.body if isinstance(node.body, list) else [node.body]
        first = arguments[0].arg if arguments and self.parents and self.parents[-1][0] == "class" else ""
        if any(last_name(one) == "staticmethod" for one in getattr(node, "decorator_list", ())):
            first = ""
        names = {arg.arg for arg in arguments} | _locals(body)
        self.parents.append(("function", frozenset(names), first))
        for statement in body:
            self._visit(statement)
        self.parents.pop()

    def _class(self, node: ast.ClassDef) -> None:
        for outside in (*node.decorator_list, *node.bases, *(one.value for one in node.keywords)):
            self._visit(outside)
        if not self.parents and self.facts.bases.get(node.name) != (("?",),):
            known = [tuple(key for key in self._meaning(base) if key[0] == "name") for base in node.bases]
            self.facts.bases[node.name] = tuple(key for keys in known for key in (keys or (("?",),)))
        names = frozenset(_locals(node.body))
        self.parents.append(("class", names, node.name if not self.parents else ""))
        for statement in node.body:
            self._visit(statement)
        self.parents.pop()

    def _meaning(self, node: ast.expr) -> tuple[Key, ...]:
        """The keys of what an expression names; empty when that cannot be told."""
        if isinstance(node, ast.Name):
            return self._imported_keys(node.id) or self._own_key(node.id)
        if not isinstance(node, ast.Attribute):
            return ()
        if isinstance(node.value, ast.Name) and (owner := self._class_of(node.value.id)):
            return tuple(("attribute", *cls, node.attr) for cls in self._lineage(owner))
        keys: list[Key] = []
        for key in self._meaning(node.value):
            if key[0] == "module":
                keys += [("name", key[1], node.attr), ("module", f"{key[1]}.{node.attr}")]
            elif key[0] == "name":
                keys.append(("attribute", key[1], key[2], node.attr))
        return tuple(keys) or (("member", node.attr),)

    def _lineage(self, owner: str) -> list[tuple[str, str]]:
        """Module and name of a class of this file and of its bases, as far as this file tells them."""
        found = [(self.module, owner)]
        for module, name in found:
            known = self.facts.bases.get(name, ()) if module == self.module else ()
            found += [(base[1], base[2]) for base in known if base[0] == "name" and (base[1], base[2]) not in found]
        return found

    def _is_local(self, name: str) -> bool:
        scopes = enumerate(reversed(self.parents))
        return any(name in names and (kind == "function" or place == 0) for place, (kind, names, _) in scopes)

    def _own_key(self, name: str) -> tuple[Key, ...]:
        """The global of this file that `name` is, unless it is local, a builtin, or imported by a function."""
        if self._is_local(name) or name in self.inner or (hasattr(builtins, name) and ("name", name) not in self.facts.defines):
            return ()
        return (("name", self.module, name),)

    def _imported_keys(self, name: str) -> tuple[Key, ...]:
        """What an import binds `name` to, where nothing else binds it."""
        defined = self.facts.defines.get(("name", name))
        if self._is_local(name) or name in self.unsure or (defined is not None and defined.what != "import"):
            return ()
        return self.imported.get(name, ())

    def _class_of(self, name: str) -> str:
        """The class whose method has `name` as its first argument, if that is what `name` is here."""
        for place in range(len(self.parents) - 1, 0, -1):
            kind, names, first = self.parents[place]
            if kind == "function" and name in names:
                return self.parents[place - 1][2] if first == name and self.parents[place - 1][0] == "class" else ""
        return ""


def _locals(body: list[ast.stmt] | list[ast.expr]) -> set[str]:
    """Names that a function's or a class's own statements bind, without those of functions and classes inside, and without globals."""
    found: set[str] = set()
    outside: set[str] = set()
    queue: list[ast.AST] = list(body)
    while queue:
        node = queue.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
                continue
            case ast.Lambda():
                continue
            case ast.Import() | ast.ImportFrom():
                continue  # an import means the same wherever it stands
            case ast.Global():
                outside |= set(node.names)
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
        queue += ast.iter_child_nodes(node)
    return found - outside


def _catches_import(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return caught is None or any(last_name(name) in ("ImportError", "ModuleNotFoundError", "Exception") for name in names if name)
